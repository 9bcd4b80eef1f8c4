//! What bash makes of a value of pixi's activation script, as far as that is known when the image is built.
//!
//! pixi writes a value that has a `$` between double quotes, with its own double quotes escaped, and any other in single
//! quotes (rattler_shell's `Bash::set_env_var`). So this reads the inside of double quotes (Bash manual, 3.1.2.3 and 3.5.3).

/// A variable, as far as it is known when the image is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable<'a> {
    Value(&'a str),
    /// Nothing sets it, so that it is empty.
    Unset,
    /// Only a running container has it.
    AtRunTime,
}

/// Expands a value. The error names what only a running shell knows: `$HOME`, `$(…)`.
pub fn expand<'a>(value: &str, known: &dyn Fn(&str) -> Variable<'a>) -> Result<String, String> {
    if !value.contains('$') {
        return Ok(value.to_owned());
    }
    let text = between_quotes(value);
    let mut quoted = Quoted { rest: &text, known };
    quoted.text(false)
}

/// A value as pixi puts it between double quotes.
pub fn between_quotes(value: &str) -> String {
    value.replace('"', "\\\"")
}

/// A value of our own, in which nothing but variables is special: `\`` and other backslashes than that of `\$` are
/// themselves, as is a `$` that begins nothing.
pub fn only_variables(value: &str) -> String {
    if !value.contains('$') {
        return value.to_owned();
    }
    let mut out = String::new();
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('$')) => out.extend(['\\', chars.next().unwrap_or_default()]),
            ('$', Some(next)) if next.is_ascii_alphabetic() || "_{(".contains(*next) => out.push('$'),
            ('\\' | '`' | '$', _) => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

struct Quoted<'t, 'k, 'a> {
    rest: &'t str,
    known: &'k dyn Fn(&str) -> Variable<'a>,
}

impl<'t, 'a> Quoted<'t, '_, 'a> {
    /// Reads to the end, or to the `}` of the braces it is in.
    fn text(&mut self, in_braces: bool) -> Result<String, String> {
        let mut out = String::new();
        while let Some(c) = self.next() {
            match c {
                '}' if in_braces => return Ok(out),
                '"' => return Err("a quotation mark after a backslash".into()),
                '`' => return Err("`…`".into()),
                // Which quotes count there depends on the version of bash.
                '\'' if in_braces => return Err("a quotation mark in `${…}`".into()),
                '$' => self.dollar(&mut out)?,
                '\\' => match self.next() {
                    None => return Err("a backslash at the end".into()),
                    Some('\n') => {}
                    Some('"') if in_braces => return Err("a quotation mark in `${…}`".into()),
                    Some(c @ ('$' | '`' | '"' | '\\')) => out.push(c),
                    Some('}') if in_braces => out.push('}'),
                    Some(c) => out.extend(['\\', c]),
                },
                c => out.push(c),
            }
        }
        if in_braces { Err("a `${` without a `}`".into()) } else { Ok(out) }
    }

    fn dollar(&mut self, out: &mut String) -> Result<(), String> {
        if let Some(name) = self.name() {
            out.push_str(self.value(name)?.unwrap_or_default());
            return Ok(());
        }
        match self.rest.chars().next() {
            Some('{') => {
                self.next();
                out.push_str(&self.braces()?);
            }
            Some('(') => return Err("$(…)".into()),
            Some('[') => return Err("$[…]".into()),
            // Pixi's script has no arguments.
            Some('0'..='9' | '@' | '*' | '#' | '?' | '!' | '-' | '$') => self.special(out)?,
            _ => out.push('$'),
        }
        Ok(())
    }

    /// `$1`, `$#`, `$$`, …
    fn special(&mut self, out: &mut String) -> Result<(), String> {
        match self.next() {
            Some('1'..='9' | '@' | '*') => {}
            Some('#') => out.push('0'),
            other => return Err(format!("${}", other.unwrap_or_default())),
        }
        Ok(())
    }

    /// Behind `${`.
    fn braces(&mut self) -> Result<String, String> {
        let Some(name) = self.name() else { return Err("${…}".into()) };
        let value = self.value(name)?;
        let colon = self.rest.starts_with(':');
        self.rest = self.rest.strip_prefix(':').unwrap_or(self.rest);
        // With a colon an empty variable counts as unset.
        let set = value.filter(|value| !(colon && value.is_empty()));
        match self.next() {
            Some('}') if !colon => Ok(value.unwrap_or_default().to_owned()),
            Some('-') => self.text(true).map(|word| set.map_or(word, str::to_owned)),
            Some('+') => self.text(true).map(|word| if set.is_some() { word } else { String::new() }),
            Some('=' | '?') if set.is_some() => self.text(true).map(|_| set.unwrap_or_default().to_owned()),
            _ => Err(format!("${{{name}…}}")),
        }
    }

    fn value(&self, name: &str) -> Result<Option<&'a str>, String> {
        match (self.known)(name) {
            Variable::Value(value) => Ok(Some(value)),
            Variable::Unset => Ok(None),
            Variable::AtRunTime => Err(format!("${name}")),
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn name(&mut self) -> Option<&'t str> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.rest = rest;
        Some(name)
    }
}

/// Whether the variable is one that the shell or the container's runtime sets.
pub fn is_of_run_time(name: &str) -> bool {
    const NAMES: [&str; 37] = [
        "_",
        "COLUMNS",
        "DIRSTACK",
        "EPOCHREALTIME",
        "EPOCHSECONDS",
        "EUID",
        "FUNCNAME",
        "GROUPS",
        "HISTCMD",
        "HOME",
        "HOSTNAME",
        "HOSTTYPE",
        "IFS",
        "LINENO",
        "LINES",
        "LOGNAME",
        "MACHTYPE",
        "OLDPWD",
        "OPTARG",
        "OPTERR",
        "OPTIND",
        "OSTYPE",
        "PIPESTATUS",
        "POSIXLY_CORRECT",
        "PPID",
        "PS4",
        "PWD",
        "RANDOM",
        "REPLY",
        "SECONDS",
        "SHELL",
        "SHELLOPTS",
        "SHLVL",
        "SRANDOM",
        "TERM",
        "UID",
        "USER",
    ];
    NAMES.contains(&name) || name.starts_with("BASH")
}
