{
  description = "Pixi workspaces as reproducible OCI images";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { self, nixpkgs }:
    let
      forEachSystem = nixpkgs.lib.genAttrs [
        "x86_64-linux"
        "aarch64-linux"
      ];
      pkgsOf = system: nixpkgs.legacyPackages.${system};
      packageOf = system: self.packages.${system}.default;
      scripts =
        options: system:
        import ./nix/apps.nix {
          pkgs = pkgsOf system;
          pixi-oci = packageOf system;
        } options;
    in
    {
      packages = forEachSystem (system: {
        default = (pkgsOf system).callPackage ./nix/package.nix { src = self; };
      });

      devShells = forEachSystem (system: {
        default = (pkgsOf system).callPackage ./nix/shell.nix { };
      });

      # What `nix flake check` builds: the program, and the apps' scripts through shellcheck.
      checks = forEachSystem (
        system:
        {
          package = packageOf system;
        }
        // scripts { } system
      );

      # `nix run .#publish`, in any directory with a Pixi workspace.
      apps = self.lib.mkApps { };

      # The same apps for another repository: `apps = pixi-oci.lib.mkApps { workspace = "services/api"; };`
      lib.mkApps =
        options:
        forEachSystem (
          system:
          nixpkgs.lib.mapAttrs (name: script: {
            type = "app";
            program = "${script}/bin/pixi-oci-${name}";
          }) (scripts options system)
        );
    };
}
