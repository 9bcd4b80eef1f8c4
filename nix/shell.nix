# What one needs to work on pixi-oci.
{
  mkShell,
  cargo,
  clippy,
  podman,
  rustc,
  rustfmt,
  skopeo,
  umoci,
}:
mkShell {
  packages = [
    cargo
    clippy
    podman
    rustc
    rustfmt
    skopeo
    umoci
  ];
}
