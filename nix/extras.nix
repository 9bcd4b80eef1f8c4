# What is installed beside the program: completions, manual pages, and the programs that it calls.
{
  lib,
  podman,
  skopeo,
}:
''
  installShellCompletion --cmd pixi-oci \
    --bash <($out/bin/pixi-oci completion --shell bash) \
    --fish <($out/bin/pixi-oci completion --shell fish) \
    --zsh <($out/bin/pixi-oci completion --shell zsh)
  $out/bin/pixi-oci man man
  installManPage man/*
  wrapProgram $out/bin/pixi-oci --suffix PATH : ${
    lib.makeBinPath [
      skopeo
      podman
    ]
  }
''
