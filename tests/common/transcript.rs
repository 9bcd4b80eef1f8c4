//! What the program says, kept as a snapshot in `tests/snapshots`: a change of wording is a diff that is reviewed.
//! `INSTA_UPDATE=always cargo test -p pixi-oci --test main` accepts it.

use std::{fmt::Write, path::Path, process::Command};

use super::sandbox::{Outcome, Sandbox};

/// Commands with their exit code, stdout and stderr.
#[derive(Default)]
pub struct Transcript {
    text: String,
    replaced: Vec<(String, &'static str)>,
}

/// Of what differs between two runs.
const VARYING: [(&str, &str); 11] = [
    (r"sha256:[0-9a-f]{64}", "sha256:[digest]"),
    (r"\b[0-9a-f]{64}\b", "[sha256]"),
    (r"\b[0-9a-f]{12}\b", "[short]"),
    (r"\b[0-9a-f]{32}\b", "[md5]"),
    // Columns are as wide as their numbers.
    (r" {2,}(~?)[0-9]+(\.[0-9])? (B|kB|MB)\b", "  $1[size]"),
    (r"\b[0-9]+(\.[0-9])? (B|kB|MB)\b", "[size]"),
    (r#""(size|bytes|tarSize|requests)": [0-9]+"#, r#""$1": [number]"#),
    (r"the lock file says [0-9]+", "the lock file says [number]"),
    (r"descriptor says [0-9]+", "descriptor says [number]"),
    (r"\b[0-9]+ bytes", "[number] bytes"),
    (r"(localhost|127\.0\.0\.1):[0-9]+", "HOST"),
];

impl Transcript {
    /// Runs a command, and writes down what it says. It must end with this code.
    #[track_caller]
    pub fn run(&mut self, sandbox: &Sandbox, arguments: &[&str], code: i32) -> Outcome {
        self.run_with(sandbox, arguments, &[], code)
    }

    /// The same with variables of the environment.
    #[track_caller]
    pub fn run_with(
        &mut self,
        sandbox: &Sandbox,
        arguments: &[&str],
        variables: &[(&'static str, &str)],
        code: i32,
    ) -> Outcome {
        let mut command: Command = sandbox.pixi_oci(arguments);
        command.envs(variables.iter().copied());
        let outcome = Outcome::of(&mut command);
        assert_eq!(outcome.code, Some(code), "{arguments:?}: {outcome:#?}");
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        self.replaced.push((sandbox.path("").display().to_string().trim_end_matches('/').to_owned(), "[work]"));
        let set: String = variables.iter().map(|(name, value)| format!("{name}={value} ")).collect();
        let end = if code == 0 { String::new() } else { format!("[exit code {code}]\n") };
        writeln!(self.text, "$ {set}pixi-oci {}\n{}{}{end}", arguments.join(" "), outcome.stdout, outcome.stderr)
            .unwrap();
        outcome
    }

    /// Compares everything with the snapshot of this name.
    #[track_caller]
    pub fn check(self, name: &str) {
        let mut text = self.text;
        for (from, to) in &self.replaced {
            text = text.replace(from, to);
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        for (pattern, instead) in VARYING {
            settings.add_filter(pattern, instead);
        }
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}
