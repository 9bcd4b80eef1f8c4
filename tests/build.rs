//! What `pixi-oci build` makes of a workspace: the index, the images, their layers and settings.

use std::fs;

use serde_json::{Value, json};

use crate::common::{
    image::{self, Kind, content},
    odd,
    packages::*,
    sandbox::{Outcome, Sandbox},
    workspace::workspace,
};

#[test]
fn the_result_is_the_reference_with_the_digest_and_nothing_else() {
    let sandbox = Sandbox::new();
    workspace([package("a", [file("bin/a", "a").mode(0o755)])]).write(&sandbox.path("ws"));
    let outcome = sandbox.build("ws", "oci:out:v1");
    let index = image::read(&sandbox.path("out"), "v1");
    assert_eq!(outcome.stdout, format!("oci:out:v1@{}\n", index.digest));
    let sizes: Vec<&str> = outcome.stderr.lines().map(|line| line.split(" layers, ").next().unwrap()).collect();
    assert_eq!(sizes, ["linux/amd64: 3", "linux/arm64: 3"], "how big they are, and nothing went wrong");
    assert_eq!(sandbox.run(&["build", "ws", "-o", "oci:out:v1", "-q"]).success().stderr, "");

    // Without a tag the layout has one image and its reference no name; without an output it is in the workspace.
    let outcome = sandbox.run(&["build", "ws"]).success();
    assert!(outcome.stdout.contains("dist/oci@sha256:") || outcome.stdout.contains("dist/oci:"), "{}", outcome.stdout);
    assert_eq!(image::roots(&sandbox.path("ws/dist/oci"))[0]["digest"], outcome.digest());
    assert_eq!(outcome.digest(), index.digest, "the destination does not show in the image");
}

#[test]
fn both_architectures_are_in_the_index() {
    let sandbox = Sandbox::new();
    workspace([
        package("a", [file("bin/a", "a").mode(0o755)]),
        package("n", [file("share/n", "n")]).noarch("generic").depends(&[]),
    ])
    .write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:both");
    let index = image::read(&sandbox.path("out"), "both");
    let platforms: Vec<_> = index.images.iter().map(|image| &*image.platform).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);

    sandbox.run(&["build", "ws", "--arch", "arm64", "-o", "oci:out:one"]).success();
    let one = image::read(&sandbox.path("out"), "one");
    assert_eq!(one.images.len(), 1);
    assert_eq!(one.images[0].digest, index.image("linux/arm64").digest);
    // The other tag is still there.
    assert_eq!(image::read(&sandbox.path("out"), "both").digest, index.digest);

    sandbox.run(&["build", "ws", "--arch", "riscv64"]).refused(2, &["amd64", "arm64"]);
    workspace([]).platforms(&["linux-64"]).write(&sandbox.path("amd"));
    sandbox.run(&["build", "amd", "--arch", "arm64"]).refused(1, &["linux-aarch64", "`linux-64`"]);
}

#[test]
fn packages_of_either_kind_and_layers_as_planned() {
    let sandbox = Sandbox::new();
    // Noise does not compress: this one is big enough for a layer of its own.
    let noise: Vec<u8> =
        (0..40_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).rotate_left(i % 32).to_le_bytes()).collect();
    let small =
        ["b", "c", "d", "e", "f", "g"].map(|name| package(name, [file(&format!("share/{name}"), name)]).tar_bz2());
    let big = package("big", [file("share/big", noise)]);
    let ws = workspace(small.into_iter().chain([big]));
    ws.write(&sandbox.path("ws"));
    let plan = sandbox.run(&["plan", "ws", "--arch", "amd64", "--json"]).success();
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    sandbox.build("ws", "oci:out:x");
    let index = image::read(&sandbox.path("out"), "x");
    let image = index.image("linux/amd64");

    let planned: Vec<Vec<String>> = plan[0]["platforms"][0]["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| {
            let packages = layer["packages"].as_array().unwrap().iter();
            packages
                .map(|p| {
                    format!(
                        "{} {} {}",
                        p["name"].as_str().unwrap(),
                        p["version"].as_str().unwrap(),
                        p["build"].as_str().unwrap()
                    )
                })
                .collect()
        })
        .collect();
    let built: Vec<Vec<String>> = image
        .layers
        .iter()
        .filter_map(|layer| layer.annotations["dev.pixi-oci.packages"].as_str())
        .map(|names| names.split(", ").map(str::to_owned).collect())
        .collect();
    assert_eq!(planned, built);
    assert_eq!(built[0], ["big 1.0 h1234567_0"]);
    assert!(built.len() <= 1 + 4, "six tiny packages share four layers: {built:?}");
    // Environment and application come last; the manifest, which changes most often, above all.
    assert_eq!(image.layers.len(), built.len() + 2);
    assert!(image.layers.last().unwrap().entries.iter().any(|(path, _)| path == "app/pixi.toml"));

    // All files and the record of a package are in its layer.
    for (layer, names) in image.layers.iter().zip(&built) {
        let mut expected: Vec<_> = names
            .iter()
            .flat_map(|label| {
                let name = label.split(' ').next().unwrap();
                [
                    format!("opt/pixi/env/conda-meta/{}.json", label.replace(' ', "-")),
                    format!("opt/pixi/env/share/{name}"),
                ]
            })
            .collect();
        let mut found: Vec<_> =
            layer.entries.iter().filter(|(_, e)| e.kind != Kind::Directory).map(|(path, _)| path.clone()).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }

    sandbox.run(&["build", "ws", "--set", "max-layers=15", "-o", "oci:few:x"]).success();
    assert!(image::read(&sandbox.path("few"), "x").images.iter().all(|image| image.layers.len() <= 15));
    sandbox.run(&["build", "ws", "--set", "max-layers=3"]).refused(1, &["max-layers"]);
}

#[test]
fn noarch_packages_are_the_same_blobs_for_both_architectures() {
    let sandbox = Sandbox::new();
    workspace([package("n", [file("share/n", "n")]).noarch("generic").depends(&[])]).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    let index = image::read(&sandbox.path("out"), "x");
    assert_eq!(index.images[0].layers[0].digest, index.images[1].layers[0].digest);
    assert_ne!(index.images[0].digest, index.images[1].digest);
}

/// Two workspaces with the same package share its layer.
#[test]
fn layers_are_shared_between_workspaces() {
    let sandbox = Sandbox::new();
    let shared = package("shared", [file("lib/shared", odd::text("PREFIX")).patched("text")]);
    workspace([shared.clone()]).write(&sandbox.path("one"));
    workspace([shared, package("own", [file("lib/own", "x")])])
        .oci("cmd = [\"x\"]")
        .manifest("[activation.env]\nX = \"y\"")
        .write(&sandbox.path("deeper/two"));
    sandbox.build("one", "oci:out:one");
    sandbox.build("deeper/two", "oci:out:two");
    let digests = |tag: &str| -> Vec<String> {
        let index = image::read(&sandbox.path("out"), tag);
        let layers = index.images.iter().flat_map(|image| &image.layers);
        layers
            .filter(|layer| layer.annotations["dev.pixi-oci.packages"] == "shared 1.0 h1234567_0")
            .map(|layer| layer.digest.clone())
            .collect()
    };
    assert_eq!(digests("one").len(), 2);
    assert_eq!(digests("one"), digests("two"));
}

#[test]
fn settings_of_the_image() {
    let sandbox = Sandbox::new();
    let ws = workspace([package("a", [file("bin/a", "a").mode(0o755), file("ssl/cacert.pem", "certificates")])])
        .manifest("[activation.env]\nDATA = \"$CONDA_PREFIX/share\"\n\n[tasks]\nserve = \"a serve 'two words'\"")
        .oci("workdir = \"/srv/app\"\nuser = 1000\ntask = \"serve\"\nports = [8000, \"53/udp\"]\nenv = { GREETING = \"hi $DATA\" }\nlabels = { \"org.example.team\" = \"x\" }");
    ws.write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    let index = image::read(&sandbox.path("out"), "x");
    for image in &index.images {
        let config = &image.config["config"];
        assert_eq!(config["WorkingDir"], "/srv/app");
        assert_eq!(config["User"], "1000");
        assert_eq!(config["Cmd"], json!(["a", "serve", "two words"]));
        assert_eq!(config["Entrypoint"], Value::Null, "no activation scripts, no entrypoint");
        assert_eq!(config["ExposedPorts"], json!({"8000/tcp": {}, "53/udp": {}}));
        for (name, value) in [
            ("PATH", "/opt/pixi/env/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("CONDA_PREFIX", "/opt/pixi/env"),
            ("PIXI_PROJECT_ROOT", "/srv/app"),
            ("PIXI_PROJECT_NAME", "demo"),
            ("PIXI_PROJECT_VERSION", "1.2.3"),
            ("PIXI_PROJECT_MANIFEST", "/srv/app/pixi.toml"),
            ("PIXI_ENVIRONMENT_NAME", "default"),
            ("LANG", "C.UTF-8"),
            ("SSL_CERT_FILE", "/opt/pixi/env/ssl/cacert.pem"),
            ("DATA", "/opt/pixi/env/share"),
            ("GREETING", "hi /opt/pixi/env/share"),
        ] {
            assert_eq!(image.env(name), Some(value), "{name}");
        }
        let labels = &config["Labels"];
        assert_eq!(labels["org.example.team"], "x");
        assert_eq!(labels["org.opencontainers.image.title"], "demo");
        assert_eq!(labels["org.opencontainers.image.version"], Value::Null, "the manifest's is not what is published");
        assert_eq!(image.config["created"], "2020-01-01T00:00:00Z");
        assert_eq!(labels["org.opencontainers.image.created"], "2020-01-01T00:00:00Z");
        let history = image.config["history"].as_array().unwrap();
        assert!(
            history.iter().any(|step| step["created_by"].as_str().unwrap().contains("a 1.0 h1234567_0")),
            "{history:?}"
        );

        let tree = image.tree();
        assert_eq!(tree["srv/app"].mode, 0o775, "any group may write there");
        assert_eq!(tree["srv/app/.pixi/envs/default"].kind, Kind::Link("/opt/pixi/env".into()));
        assert_eq!(tree["tmp"].mode, 0o1777);
        assert!(content(&tree, "etc/passwd").starts_with(b"root:x:0:0:"));
        assert_eq!(content(&tree, "srv/app/pixi.lock"), fs::read(sandbox.path("ws/pixi.lock")).unwrap());
        let apptainer = String::from_utf8(content(&tree, ".singularity.d/env/91-pixi-oci.sh").to_vec()).unwrap();
        assert!(apptainer.contains("export GREETING='hi /opt/pixi/env/share'\n"), "{apptainer}");
    }
    assert_eq!(index.document["annotations"]["org.opencontainers.image.title"], "demo");
}

#[test]
fn flags_win_over_the_environments_part_and_that_over_the_rest() {
    let sandbox = Sandbox::new();
    let ws = workspace([package("a", [])])
        .environment("prod", [package("b", [file("b", "b")])])
        .oci("cmd = [\"general\"]\nenv = { A = \"general\", B = \"general\" }\nuser = \"7:8\"\n[tool.pixi-oci.environments.prod]\ncmd = \"of prod\"\nenv = { B = \"prod\" }");
    ws.write(&sandbox.path("ws"));
    let config = |arguments: &[&str]| {
        let common = ["build", "ws", "-o", "oci:out:x", "--arch", "amd64"];
        sandbox.run(&[&common[..], arguments].concat()).success();
        image::read(&sandbox.path("out"), "x").images.remove(0)
    };
    let general = config(&[]);
    assert_eq!(general.config["config"]["Cmd"], json!(["general"]));
    let prod = config(&["-e", "prod"]);
    assert_eq!(prod.config["config"]["Cmd"], json!(["of", "prod"]));
    assert_eq!((prod.env("A"), prod.env("B")), (Some("general"), Some("prod")));
    assert_eq!(prod.env("PIXI_ENVIRONMENT_NAME"), Some("prod"));
    assert_eq!(prod.config["config"]["User"], "7:8");
    assert!(prod.tree().contains_key("opt/pixi/env/b"));
    let flags = config(&[
        "-e",
        "prod",
        "--cmd",
        "[\"of\", \"flag\"]",
        "--env",
        "B=flag",
        "--user",
        "5:6",
        "--set",
        "prefix=/srv/env",
        "--label",
        "l=1",
    ]);
    assert_eq!(flags.config["config"]["Cmd"], json!(["of", "flag"]));
    let line = config(&["--cmd", "of 'a line'"]);
    assert_eq!(line.config["config"]["Cmd"], json!(["of", "a line"]));
    assert_eq!(flags.env("B"), Some("flag"));
    assert_eq!(flags.config["config"]["User"], "5:6");
    assert_eq!(flags.config["config"]["Labels"]["l"], "1");
    assert_eq!(flags.env("CONDA_PREFIX"), Some("/srv/env"));
    assert!(flags.tree().contains_key("srv/env/b"));
}

#[test]
fn zstd_and_levels() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).write(&sandbox.path("ws"));
    let mut diff_ids = Vec::new();
    for compression in ["gzip", "gzip:9", "zstd", "zstd:1"] {
        let tag = compression.replace(':', "-");
        sandbox.run(&["build", "ws", "-o", &format!("oci:out:{tag}"), "--compression", compression]).success();
        let index = image::read(&sandbox.path("out"), &tag);
        let kind = compression.split(':').next().unwrap();
        assert!(index.images.iter().flat_map(|i| &i.layers).all(|layer| layer.media_type.ends_with(kind)));
        diff_ids
            .push(index.images.iter().flat_map(|i| &i.layers).map(|layer| layer.diff_id.clone()).collect::<Vec<_>>());
    }
    assert!(diff_ids.windows(2).all(|pair| pair[0] == pair[1]), "the compressor does not change the tar");
}

#[test]
fn odd_packages_are_built_and_warned_of() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).write(&sandbox.path("ws"));
    let outcome: Outcome = sandbox.build("ws", "oci:out:x");
    for words in ["post-linked 1.0 h1234567_0 has a post-link script", "share/outside -> /usr/share/zoneinfo"] {
        assert!(outcome.stderr.contains(words), "{words} is not in {}", outcome.stderr);
    }
    let index = image::read(&sandbox.path("out"), "x");
    let amd64 = index.image("linux/amd64");
    let tree = amd64.tree();
    assert!(!tree.contains_key("ran"), "post-link scripts do not run");
    assert!(tree.contains_key("opt/pixi/env/bin/.post-linked-post-link.sh"));
    assert_eq!(content(&tree, "opt/pixi/env/bin/contested"), b"clobber-a");
    assert_eq!(content(&tree, "opt/pixi/env/__clobbers__/clobber-b/bin/contested"), b"clobber-b");
    assert_eq!(tree["opt/pixi/env/bin/setuid"].mode, 0o755);
    assert_eq!(tree["opt/pixi/env/lib/private"].mode, 0o644, "any user may read everything");
    assert!(tree.contains_key("opt/pixi/env/conda-meta/epoch-1!2.0+local.1-h1234567_0.json"));
    let script = String::from_utf8(content(&tree, "opt/pixi/env/bin/pure-x").to_vec()).unwrap();
    assert!(script.starts_with("#!/opt/pixi/env/bin/python3.12\n") && script.contains("Class.run()"), "{script}");
    assert!(tree.contains_key("opt/pixi/env/lib/python3.12/site-packages/pure/x.py"));
    assert!(tree.contains_key("opt/pixi/env/site-packages/g"), "generic packages are as they are");
    assert_eq!(amd64.env("NVIDIA_REQUIRE_CUDA"), Some("cuda>=12.0"));
    assert_eq!(amd64.env("GDAL_DATA"), Some("a 'b' \"c\" $HOME"));
    for record in tree.keys().filter(|path| path.starts_with("opt/pixi/env/conda-meta/") && path.ends_with(".json")) {
        let record: Value = serde_json::from_slice(content(&tree, record)).unwrap();
        assert!(!record.to_string().contains(sandbox.path("").to_str().unwrap()), "{record}");
    }
}

/// `lib64 -> lib` of one package and `lib64/x` of another: the link stays and the file is where it leads.
#[test]
fn files_through_the_link_of_another_package() {
    let sandbox = Sandbox::new();
    let one = package("one", [file("lib/a", "a"), symlink("lib64", "lib")]);
    let two = package("two", [file("lib64/b", "b"), file("lib64/sub/c", "c")]);
    workspace([one, two]).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    for image in image::read(&sandbox.path("out"), "x").images {
        let tree = image.tree();
        assert_eq!(tree["opt/pixi/env/lib64"].kind, Kind::Link("lib".into()));
        assert_eq!(content(&tree, "opt/pixi/env/lib/b"), b"b");
        assert_eq!(content(&tree, "opt/pixi/env/lib/sub/c"), b"c");
    }
}

#[test]
fn a_directory_that_is_listed_is_made() {
    let sandbox = Sandbox::new();
    workspace([package("a", [directory("var/empty").list("path_type", "directory")])]).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    assert_eq!(image::read(&sandbox.path("out"), "x").images[0].tree()["opt/pixi/env/var/empty"].kind, Kind::Directory);
}

#[test]
fn an_environment_without_packages() {
    let sandbox = Sandbox::new();
    workspace([]).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    for image in image::read(&sandbox.path("out"), "x").images {
        assert_eq!(image.layers.len(), 2);
        assert!(image.tree().contains_key("opt/pixi/env/conda-meta/history"));
    }
}

#[test]
fn users_and_commands_have_to_be_in_the_image() {
    let sandbox = Sandbox::new();
    let ws = || workspace([package("a", [file("bin/tool", "x").mode(0o755)])]).platforms(&["linux-64"]);
    let build = |oci: &str| {
        ws().oci(oci).write(&sandbox.path("ws"));
        sandbox.run(&["build", "ws", "-o", "oci:out:x"])
    };
    build("user = \"app\"").refused(1, &["\"app\" is not in the image's /etc/passwd", "number"]);
    build("user = \"1000:app\"").refused(1, &["\"app\" is not in the image's /etc/group"]);
    for user in ["1000", "12345:0", "nobody", "root:root"] {
        build(&format!("user = \"{user}\"")).success();
    }
    for (command, is_there) in [
        ("[\"tool\"]", true),
        ("[\"/opt/pixi/env/bin/tool\"]", true),
        ("[\"./pixi.toml\"]", true),
        ("[\"nowhere\"]", false),
        ("[\"/opt/pixi/env/bin/nowhere\"]", false),
    ] {
        let said = build(&format!("cmd = {command}")).success().stderr;
        assert_eq!(!said.contains("is not in the image"), is_there, "{command}: {said}");
    }
}
