# The program, with what it calls: skopeo reads base images from archives and local storage, podman runs and loads images.
{
  lib,
  rustPlatform,
  makeWrapper,
  podman,
  skopeo,
  src,
}:
rustPlatform.buildRustPackage {
  pname = "pixi-oci";
  version = (builtins.fromTOML (builtins.readFile ../Cargo.toml)).workspace.package.version;
  inherit src;
  cargoLock.lockFile = ../Cargo.lock;
  nativeBuildInputs = [ makeWrapper ];
  # The tests need podman, a registry and real packages: `tests/run` has them.
  doCheck = false;
  postInstall = ''
    wrapProgram $out/bin/pixi-oci --suffix PATH : ${
      lib.makeBinPath [
        skopeo
        podman
      ]
    }
  '';
  meta.mainProgram = "pixi-oci";
}
