# The program, with what it calls: skopeo reads base images from archives and local storage, podman runs and loads images.
{
  lib,
  rustPlatform,
  installShellFiles,
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
  nativeBuildInputs = [
    installShellFiles
    makeWrapper
  ];
  # The tests need podman, a registry and real packages: `tests/run` has them.
  doCheck = false;
  # The build platform runs the program once, as any package does that generates its completions.
  postInstall = ''
    ${import ./extras.nix { inherit lib podman skopeo; }}
  '';
  meta.mainProgram = "pixi-oci";
}
