//! `entry_points.txt`: the scripts that are made while a wheel is installed.
//!
//! An INI file (<https://packaging.python.org/en/latest/specifications/entry-points/>), read as uv reads it: `#` and `;`
//! begin comments also after a value, names are case-sensitive, the last of several equal names counts.

use std::collections::BTreeMap;

use pixi_oci_package::Error;

const FILE: &str = "entry_points.txt";
/// Each script takes some hundred bytes; real wheels have up to a hundred.
const MAX_BYTES: usize = 1 << 20;

/// A script that calls a function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WheelScript {
    pub name: String,
    pub module: String,
    /// The function, which may be an attribute of something: `cli.main`.
    pub function: String,
}

/// The scripts of both kinds, each in the order of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryPoints {
    pub console_scripts: Vec<WheelScript>,
    pub gui_scripts: Vec<WheelScript>,
}

impl EntryPoints {
    pub(crate) fn parse(wheel: &str, bytes: &[u8]) -> Result<Self, Error> {
        let fail = |reason: String| Error::info(wheel, FILE, reason);
        if bytes.len() > MAX_BYTES {
            let what = "bytes in entry_points.txt";
            return Err(Error::TooBig { package: wheel.into(), what, limit: MAX_BYTES as u64 });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| fail(error.to_string()))?;
        let mut sections = [("console_scripts", BTreeMap::new()), ("gui_scripts", BTreeMap::new())];
        let mut section = "";
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split([';', '#']).next().unwrap_or_default().trim();
            if let Some(header) = line.strip_prefix('[') {
                let name = header.rsplit_once(']').map(|(name, _)| name.trim());
                section = name.ok_or_else(|| fail(format!("line {number} has a `[` without `]`")))?;
            } else if let Some((_, scripts)) = sections.iter_mut().find(|(name, _)| *name == section)
                && !line.is_empty()
            {
                let (name, value) = line.split_once('=').ok_or_else(|| fail(format!("line {number} has no `=`")))?;
                let name = name.trim();
                check_name(name).map_err(|reason| fail(format!("line {number}: the script {name:?} {reason}")))?;
                let (module, function) = reference(value.trim()).ok_or_else(|| {
                    fail(format!("line {number}: {:?} is not of the form `module:function`", value.trim()))
                })?;
                let script = WheelScript { name: name.into(), module: module.into(), function: function.into() };
                scripts.insert(script.name.clone(), script);
            }
        }
        let [console_scripts, gui_scripts] = sections.map(|(_, scripts)| scripts.into_values().collect());
        Ok(Self { console_scripts, gui_scripts })
    }
}

/// uv resolves a name with slashes below `bin`; nobody needs it.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\\']) {
        return Err("is not the name of a file in `bin`");
    }
    if is_interpreter(name) {
        return Err("has a name that is reserved for the interpreter");
    }
    Ok(())
}

/// Whether a file of that name in `bin` would be run in place of Python. uv's list.
pub(crate) fn is_interpreter(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    let name = name.strip_suffix(".py").unwrap_or(name);
    let minor = |text: &str| text.parse::<u8>().is_ok();
    matches!(name, "python" | "pythonw" | "python3" | "graalpy" | "pypy" | "pypy2" | "pypy3")
        || name.strip_prefix("python3.").is_some_and(|rest| minor(rest.strip_suffix('t').unwrap_or(rest)))
        || name.strip_prefix("pythonw3.").and_then(|rest| rest.strip_suffix('t')).is_some_and(minor)
}

/// The module and function of `module:function [extra, extra]`.
fn reference(value: &str) -> Option<(&str, &str)> {
    let (module, rest) = value.split_once(':')?;
    let (function, extras) = match rest.split_once('[') {
        Some((function, extras)) => (function, Some(extras.strip_suffix(']')?)),
        None => (rest, None),
    };
    let dotted =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let (module, function) = (module.trim_end(), function.trim());
    let extras_named = extras.is_none_or(|extras| !extras.trim().is_empty());
    (dotted(module) && dotted(function) && extras_named).then_some((module, function))
}

impl WheelScript {
    /// What is imported from the module.
    pub(crate) fn import(&self) -> &str {
        self.function.split_once('.').map_or(&self.function, |(first, _)| first)
    }
}

/// The console scripts for a Python of this minor version. As pip and uv do it, pip's own versioned command follows the
/// interpreter and not the machine that built the wheel.
pub(crate) fn for_python(scripts: &[WheelScript], minor: u64) -> Vec<WheelScript> {
    let versioned = |name: &str| name.strip_prefix("pip3.").is_some_and(|minor| minor.parse::<u8>().is_ok());
    let mut scripts: Vec<_> = scripts.iter().filter(|script| !versioned(&script.name)).cloned().collect();
    if let Some(pip) = scripts.iter().find(|script| script.name == "pip3") {
        scripts.push(WheelScript { name: format!("pip3.{minor}"), ..pip.clone() });
    }
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<EntryPoints, Error> {
        EntryPoints::parse("x.whl", text.as_bytes())
    }

    #[test]
    fn reads_what_uv_reads() {
        let text = "# c\n[other]\nanything\n[console_scripts]\n b = m.n : f.g [x, y] # c\nA=m:f\nA = m:last\n\n  [ gui_scripts ]\r\ng = m:f;c\r\n";
        let EntryPoints { console_scripts, gui_scripts } = parse(text).unwrap();
        let script = |name: &str, module: &str, function: &str| WheelScript {
            name: name.into(),
            module: module.into(),
            function: function.into(),
        };
        assert_eq!(console_scripts, [script("A", "m", "last"), script("b", "m.n", "f.g")]);
        assert_eq!(gui_scripts, [script("g", "m", "f")]);
        assert_eq!(console_scripts[1].import(), "f");
    }

    #[test]
    fn refuses_what_could_run_something_else() {
        for line in [
            "a",
            "= m:f",
            "a = m",
            "a = m:f()",
            "a = m:f import",
            "a = m\u{1b}:f",
            "a = :f",
            "a = m:",
            "a = m:f [",
            "a = m:f []",
            "../a = m:f",
            "a/b = m:f",
            "/a = m:f",
            ".. = m:f",
            "python = m:f",
            "Python3.12 = m:f",
            "python3.13t = m:f",
        ] {
            let error = parse(&format!("[console_scripts]\n{line}\n")).err().unwrap_or_else(|| panic!("{line:?}"));
            assert!(error.to_string().contains("x.whl: entry_points.txt: line 2"), "{error}");
            assert!(!error.to_string().contains('\u{1b}'));
        }
        assert!(parse("[console_scripts\n").is_err());
        let long = parse(&format!("# {}\n", "x".repeat(1 << 20))).err().unwrap().to_string();
        assert!(long.contains("more than 1048576 bytes in entry_points.txt"), "{long}");
        assert!(is_interpreter("pypy3.EXE") && is_interpreter("pythonw3.13t"));
        assert!(!is_interpreter("python-config") && !is_interpreter("python3.x") && !is_interpreter("ipython"));
    }

    #[test]
    fn pip_has_the_version_of_the_interpreter() {
        let scripts =
            parse("[console_scripts]\npip=a:b\npip3=a:c\npip3.11=a:d\nmemray3.11=a:e\n").unwrap().console_scripts;
        let names: Vec<_> =
            for_python(&scripts, 12).into_iter().map(|script| script.name + ":" + &script.function).collect();
        assert_eq!(names, ["memray3.11:e", "pip:b", "pip3:c", "pip3.12:c"]);
    }
}
