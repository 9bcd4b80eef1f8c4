{
  description = "Pixi workspaces as reproducible OCI images";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEachSystem = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = forEachSystem (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = "pixi-oci";
          version = (builtins.fromTOML (builtins.readFile ./Cargo.toml)).workspace.package.version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          nativeBuildInputs = [ pkgs.makeWrapper ];
          # The tests need podman, a registry and real packages: `tests/run` has them.
          doCheck = false;
          # skopeo reads base images from archives and local storage, podman takes images with --load.
          postInstall = ''
            wrapProgram $out/bin/pixi-oci --suffix PATH : ${pkgs.lib.makeBinPath [ pkgs.skopeo pkgs.podman ]}
          '';
          meta.mainProgram = "pixi-oci";
        };
      });

      devShells = forEachSystem (pkgs: {
        default = pkgs.mkShell {
          packages = with pkgs; [
            cargo
            clippy
            rustc
            rustfmt
            podman
            skopeo
            umoci
          ];
        };
      });
    };
}
