//! The manual says what the program does: references are compared with it. `UPDATE=1 cargo test --test main manual`
//! writes docs/cli.md anew.

use std::{fmt::Write, fs, path::Path};

use crate::common::sandbox::Sandbox;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The help of a command, and of those below it.
fn help(sandbox: &Sandbox, command: &[&str], text: &mut String) {
    let said = sandbox.run(&[command, &["--help"]].concat()).success().stdout;
    let title = [&["pixi-oci"], command].concat().join(" ");
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    writeln!(text, "\n## {title}\n\n```\n{}\n```", lines.join("\n").trim_end()).unwrap();
    let commands = said.split_once("\nCommands:\n").map(|(_, rest)| rest.split_once("\n\n").unwrap_or((rest, "")).0);
    for line in commands.unwrap_or_default().lines() {
        let Some(name) = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')) else { continue };
        let name = name.split_whitespace().next().unwrap();
        if name != "help" {
            help(sandbox, &[command, &[name]].concat(), text);
        }
    }
}

// `UPDATE` is for whoever runs the tests, not for the program.
#[allow(clippy::disallowed_methods)]
#[test]
fn the_reference_of_commands_is_what_they_say() {
    let mut text = String::from(
        "# Commands\n\nWhat `--help` of each command says; `-h` is shorter. `pixi oci …` is the same as `pixi-oci …` where pixi finds it.\n",
    );
    help(&Sandbox::new(), &[], &mut text);
    let page = Path::new(ROOT).join("docs/cli.md");
    if std::env::var("UPDATE").is_ok() {
        fs::write(&page, &text).unwrap();
    }
    let written = fs::read_to_string(&page).unwrap_or_default();
    let differs = text.lines().zip(written.lines()).find(|(a, b)| a != b);
    assert!(text == written, "docs/cli.md is old; UPDATE=1 writes it anew. First: {differs:?}");
}

/// It shows examples, fits a terminal of 100 columns, and says nothing of the machine that it is asked on.
#[test]
fn the_help_of_every_command() {
    let mut text = String::new();
    help(&Sandbox::new(), &[], &mut text);
    for command in text.split("\n## ").skip(2) {
        let examples = command.split_once("\nExamples:\n").unwrap_or_else(|| panic!("no examples: {command}")).1;
        for line in examples.lines().take_while(|line| *line != "```") {
            let starts = ["pixi-oci ", "podman ", "airgap/", "eval ", ". /"].map(|program| format!("  {program}"));
            assert!(starts.iter().any(|start| line.starts_with(start)), "wrapped, or no command: {line}");
        }
        for line in command.lines() {
            assert!(line.chars().count() <= 100, "too wide: {line}");
        }
    }
    // The sandbox sets these.
    for variable in ["PIXI_NO_PROGRESS=", "XDG_CACHE_HOME="] {
        assert!(!text.contains(variable), "the value of {variable} is shown");
    }
}

#[test]
fn the_reference_of_configuration_has_every_key() {
    let said = Sandbox::new().run(&["build", "--set", "nonsense=1"]).refused(2, &[]).stderr;
    let list = said.split_once("known keys: ").unwrap().1.lines().next().unwrap();
    let keys: Vec<&str> = list.split(", ").collect();
    assert!(keys.len() > 20 && keys.contains(&"max-layers"), "{keys:?}");
    let page = fs::read_to_string(Path::new(ROOT).join("docs/configuration.md")).unwrap();
    let rows: String = page.lines().filter(|line| line.starts_with('|')).collect();
    for key in keys {
        assert!(rows.contains(&format!("`{key}`")), "docs/configuration.md has no row for `{key}`");
    }
}

/// Every page is in the index, and no link of the manual leads nowhere.
#[test]
fn the_manual_hangs_together() {
    let docs = Path::new(ROOT).join("docs");
    let index = fs::read_to_string(docs.join("README.md")).unwrap();
    let mut pages = vec![Path::new(ROOT).join("README.md"), Path::new(ROOT).join("CONTRIBUTING.md")];
    for entry in fs::read_dir(&docs).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".md") {
            assert!(name == "README.md" || index.contains(&format!("({name})")), "docs/README.md does not name {name}");
            pages.push(path);
        }
    }
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || link.contains("://") || link.starts_with("mailto:") || link.contains(' ') {
                continue;
            }
            assert!(page.parent().unwrap().join(file).exists(), "{}: there is no {file}", page.display());
        }
    }
}

#[test]
fn shells_complete_our_commands_and_the_manual_pages_are_written() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.run(&["completion", "--shell", shell]).success().stdout;
        assert!(script.contains("publish-index") && script.contains("workspace-glob"), "{shell}");
    }
    let mut bash = sandbox.program("bash");
    let try_it = "source <(\"$0\" completion --shell bash); COMP_WORDS=(pixi-oci publ); COMP_CWORD=1; \
                  _pixi__oci pixi-oci publ pixi-oci; echo \"${COMPREPLY[@]}\"";
    let completed = crate::common::sandbox::Outcome::of(bash.args(["-c", try_it, crate::common::sandbox::BINARY]));
    assert_eq!(completed.success().stdout.trim(), "publish publish-index");
    sandbox.run(&["man", "pages/man1"]).success();
    for page in ["pixi-oci.1", "pixi-oci-publish.1", "pixi-oci-verify.1"] {
        let text = fs::read_to_string(sandbox.path("pages/man1").join(page)).unwrap();
        assert!(text.contains(".TH "), "{page}");
    }
}
