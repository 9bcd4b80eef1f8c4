# The released program: one static file, whose hash packaging/release.json has. With what it calls, as nix/package.nix has it.
{
  lib,
  stdenvNoCC,
  fetchurl,
  installShellFiles,
  makeWrapper,
  podman,
  skopeo,
  release,
}:
let
  system = stdenvNoCC.hostPlatform.system;
  target =
    {
      x86_64-linux = "x86_64-unknown-linux-musl";
      aarch64-linux = "aarch64-unknown-linux-musl";
    }
    .${system};
in
stdenvNoCC.mkDerivation {
  pname = "pixi-oci-bin";
  inherit (release) version;
  src = fetchurl {
    url = "${release.url}/pixi-oci-${target}";
    sha256 = release.sha256.${target};
  };
  dontUnpack = true;
  nativeBuildInputs = [
    installShellFiles
    makeWrapper
  ];
  installPhase = ''
    install -D -m 755 $src $out/bin/pixi-oci
    ${import ./extras.nix { inherit lib podman skopeo; }}
  '';
  meta.mainProgram = "pixi-oci";
}
