# The scripts behind the apps of a workspace: the same names on a laptop and in CI.
#
#   stage-amd64, stage-arm64      build into the layer cache and an OCI layout; no contact with the target registry
#   publish-amd64, publish-arm64  push one architecture, and leave its leg file
#   publish-index                 join the legs; builds nothing
#   publish                       everything at once
#
# Nothing is pushed without `-- --publish` or PUBLISH=1. More arguments go to pixi-oci: `nix run .#publish -- --tag edge`.
{ pkgs, pixi-oci }:
{
  # The workspace's directory, below the current directory.
  workspace ? ".",
  # Where the legs of one run meet, below the workspace.
  legs ? "dist/legs",
  # Where staged images go; below the workspace.
  stage ? "dist/oci",
  # Arguments of every command, so only what `build`, `publish` and `publish-index` all take: [ "--environment" "prod" ].
  flags ? [ ],
}:
let
  inherit (pkgs.lib) escapeShellArgs mapAttrs;
  script =
    name: arguments:
    pkgs.writeShellApplication {
      name = "pixi-oci-${name}";
      runtimeInputs = [ pixi-oci ];
      # Without `set -x`: arguments of the user may be secrets.
      text = ''
        exec pixi-oci ${escapeShellArgs arguments} "$@"
      '';
    };
  leg = arch: "${workspace}/${legs}/${arch}.json";
  commands = {
    stage-amd64 = [ "build" workspace "--arch" "amd64" "--output" "oci:${workspace}/${stage}:amd64" ] ++ flags;
    stage-arm64 = [ "build" workspace "--arch" "arm64" "--output" "oci:${workspace}/${stage}:arm64" ] ++ flags;
    publish-amd64 = [ "publish" workspace "--arch" "amd64" "--leg-file" (leg "amd64") ] ++ flags;
    publish-arm64 = [ "publish" workspace "--arch" "arm64" "--leg-file" (leg "arm64") ] ++ flags;
    publish-index = [ "publish-index" "--workspace" workspace (leg "amd64") (leg "arm64") ] ++ flags;
    publish = [ "publish" workspace ] ++ flags;
  };
in
mapAttrs script commands
