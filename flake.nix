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
      release = builtins.fromJSON (builtins.readFile ./packaging/release.json);
      isReleased = release.version != null;
      packageOf = system: self.packages.${system}.default;
      # Fetched, once there is a release; compiled before that, and for who wants it.
      programOf =
        fromSource: system: if fromSource then packageOf system else self.packages.${system}.bin;
      scripts =
        {
          fromSource ? !isReleased,
          ...
        }@options:
        system:
        import ./nix/apps.nix {
          pkgs = pkgsOf system;
          pixi-oci = programOf fromSource system;
        } (removeAttrs options [ "fromSource" ]);
    in
    {
      packages = forEachSystem (
        system:
        {
          default = (pkgsOf system).callPackage ./nix/package.nix { src = self; };
        }
        // nixpkgs.lib.optionalAttrs isReleased {
          bin = (pkgsOf system).callPackage ./nix/bin.nix { inherit release; };
        }
      );

      devShells = forEachSystem (system: {
        default = (pkgsOf system).callPackage ./nix/shell.nix { };
      });

      # What `nix flake check` builds: the program, and the apps' scripts through shellcheck.
      checks = forEachSystem (
        system:
        {
          package = packageOf system;
        }
        // scripts { fromSource = true; } system
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
