//! Scripts as uv writes them.

use crate::entry_points::WheelScript;

/// The longest first line that every kernel runs, with `#!` and the line break.
const MAX_SHEBANG: usize = 127;

/// What the first line of a script in a wheel begins with if it is for whatever Python there is.
pub(crate) const PLACEHOLDER: &[u8] = b"#!python";

/// The first line for the interpreter at `executable`, without a line break. Where a kernel would not understand it, it
/// is two lines that are both a shell script and a Python string.
pub(crate) fn shebang(executable: &str) -> String {
    let len = "#!".len() + executable.len() + "\n".len();
    if len <= MAX_SHEBANG && !executable.contains(' ') {
        return format!("#!{executable}");
    }
    let quoted = executable.replace('\'', r#"'"'"'"#);
    format!("#!/bin/sh\n'''exec' '{quoted}' \"$0\" \"$@\"\n' '''")
}

/// The script that calls a function. Byte for byte uv's: its hash is in `RECORD`.
pub(crate) fn launcher(script: &WheelScript, shebang: &str) -> String {
    let WheelScript { module, function, .. } = script;
    let import = script.import();
    [
        shebang,
        "# -*- coding: utf-8 -*-",
        "import sys",
        &format!("from {module} import {import}"),
        "if __name__ == \"__main__\":",
        "    if sys.argv[0].endswith(\"-script.pyw\"):",
        "        sys.argv[0] = sys.argv[0][:-11]",
        "    elif sys.argv[0].endswith(\".exe\"):",
        "        sys.argv[0] = sys.argv[0][:-4]",
        &format!("    sys.exit({function}())"),
        "",
    ]
    .join("\n")
}

/// A script that begins with [`PLACEHOLDER`], with another first line. Of a line break `\r\n` the `\n` stays, as in the
/// uv that pixi uses; later ones take it away.
pub(crate) fn with_shebang(script: &[u8], shebang: &str) -> Vec<u8> {
    let end = script.iter().position(|byte| matches!(byte, b'\n' | b'\r')).map_or(script.len(), |at| at + 1);
    [shebang.as_bytes(), b"\n", &script[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_odd_interpreters_are_run_by_the_shell() {
        let fits = format!("/{}", "x".repeat(123));
        assert_eq!(shebang(&fits), format!("#!{fits}"));
        let long = format!("{fits}x");
        assert_eq!(shebang(&long), format!("#!/bin/sh\n'''exec' '{long}' \"$0\" \"$@\"\n' '''"));
        assert_eq!(shebang("/a 'b"), "#!/bin/sh\n'''exec' '/a '\"'\"'b' \"$0\" \"$@\"\n' '''");
    }

    #[test]
    fn first_lines_are_replaced() {
        for (script, expected) in [
            ("#!python\nx\n", "#!/p\nx\n"),
            ("#!pythonw -u\nx", "#!/p\nx"),
            ("#!python\r\nx", "#!/p\n\nx"),
            ("#!python3", "#!/p\n"),
        ] {
            assert_eq!(with_shebang(script.as_bytes(), "#!/p"), expected.as_bytes());
        }
    }
}
