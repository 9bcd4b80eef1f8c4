# A stand-in for nixpkgs with just what our flake uses, for machines that cannot reach the real one. Its packages are
# scripts of /bin/sh; `pixi-oci` is the program that the test was built with.
{
  outputs =
    { self }:
    let
      lib = rec {
        genAttrs = names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
        mapAttrs = builtins.mapAttrs;
        optionalAttrs = wanted: attributes: if wanted then attributes else { };
        makeBinPath = packages: builtins.concatStringsSep ":" (map (package: "${package}/bin") packages);
        escapeShellArg = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString text)}'";
        escapeShellArgs = texts: builtins.concatStringsSep " " (map escapeShellArg texts);
      };
      packagesOf =
        system:
        let
          run =
            name: environment: script:
            derivation (
              {
                inherit name system;
                builder = "/bin/sh";
                args = [
                  "-euc"
                  "PATH=/usr/bin:/bin; ${script}"
                ];
              }
              // environment
            );
          program = name: run name { } "mkdir -p $out/bin; ln -s /bin/true $out/bin/${name}";
        in
        rec {
          inherit lib;
          installShellFiles = program "installShellFiles";
          makeWrapper = program "makeWrapper";
          skopeo = program "skopeo";
          podman = program "podman";
          cargo = program "cargo";
          clippy = program "clippy";
          rustc = program "rustc";
          rustfmt = program "rustfmt";
          umoci = program "umoci";
          callPackage =
            file: arguments:
            let
              function = import file;
              wanted = builtins.intersectAttrs (builtins.functionArgs function) everything;
            in
            function (wanted // arguments);
          mkShell = { packages }: run "shell" { inherit packages; } "echo $packages > $out";
          rustPlatform.buildRustPackage =
            { pname, version, cargoLock, ... }:
            run "${pname}-${version}" {
              lock = builtins.hashFile "sha256" cargoLock.lockFile;
            } "mkdir -p $out/bin; ln -s @pixi-oci@ $out/bin/pixi-oci";
          # By hash and nothing else, as the real one.
          fetchurl =
            { url, sha256 }:
            derivation {
              name = baseNameOf url;
              system = "builtin";
              builder = "builtin:fetchurl";
              inherit url;
              outputHashMode = "flat";
              outputHashAlgo = "sha256";
              outputHash = sha256;
              preferLocalBuild = true;
              impureEnvVars = [ ];
            };
          stdenvNoCC = {
            hostPlatform = { inherit system; };
            # installShellCompletion, installManPage and wrapProgram are of packages that are not here.
            mkDerivation =
              { pname, version, src, installPhase, ... }:
              run "${pname}-${version}" {
                inherit src installPhase;
                passAsFile = [ "installPhase" ];
              } ''
                installShellCompletion() { :; }; installManPage() { :; }; wrapProgram() { :; }
                eval "$(sed 's/<(.*)//' $installPhasePath)"'';
          };
          writeShellApplication =
            { name, runtimeInputs, text }:
            run name {
              script = ''
                #!/bin/bash
                set -euo pipefail
                PATH=${lib.makeBinPath runtimeInputs}:$PATH
                ${text}'';
              passAsFile = [ "script" ];
            } "mkdir -p $out/bin; cp $scriptPath $out/bin/${name}; chmod +x $out/bin/${name}";
          everything = {
            inherit lib installShellFiles makeWrapper skopeo podman cargo clippy rustc rustfmt umoci mkShell rustPlatform;
            inherit fetchurl stdenvNoCC;
          };
        };
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] packagesOf;
    };
}
