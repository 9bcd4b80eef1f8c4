//! Command lines without a shell: the ones that mean the same to a shell and to `exec`.

/// Splits a command line into its arguments, or says why a shell would be needed to understand it.
///
/// The rules are those of pixi's task shell (deno_task_shell), less everything that expands, redirects or chains: quotes
/// and backslashes quote; templates (`{{ }}`) are refused even inside quotes, for pixi fills them in first. The error is
/// the end of a sentence about the line: "needs a shell (`|`)".
pub fn split_plain(line: &str) -> Result<Vec<String>, String> {
    if let Some(found) = ["{{", "{%", "{#"].into_iter().find(|t| line.contains(t)) {
        return Err(format!("has a template (`{found}`)"));
    }
    let line = line.trim();
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("has a quote that is not closed".to_owned()),
                    }
                }
            }
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                Some('\n') | None => return Err("ends a line with a backslash".to_owned()),
                Some(c) => word.get_or_insert_default().push(c),
            },
            '\n' | '\r' => return Err("has several lines".to_owned()),
            '$' | '`' | '&' | '|' | ';' | '<' | '>' | '(' | ')' | '*' | '?' | '[' | ']' => {
                return Err(format!("needs a shell (`{c}`)"));
            }
            '~' | '#' | '!' if word.is_none() => return Err(format!("needs a shell (`{c}`)")),
            '=' if words.is_empty() => return Err("sets a variable in front of the command".to_owned()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    check_program(&words)?;
    Ok(words)
}

/// Whether arguments that are given as a list can go to `exec` as they are. Pixi joins such a list and gives it to its
/// task shell, which still expands variables and templates.
pub(crate) fn check_list(words: &[String]) -> Result<(), String> {
    let line = words.join(" ");
    if let Some(found) = ["{{", "{%", "{#", "$", "`"].into_iter().find(|t| line.contains(t)) {
        return Err(format!("needs a shell or has a template (`{found}`)"));
    }
    if let Some(operator) =
        words.iter().find(|w| matches!(w.as_str(), "&&" | "||" | "|" | ";" | "&" | ">" | "<" | ">>"))
    {
        return Err(format!("needs a shell (`{operator}`)"));
    }
    check_program(words)
}

fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    loop {
        match chars.next() {
            Some('"') => return Ok(()),
            Some(c @ ('$' | '`')) => return Err(format!("needs a shell (`{c}`)")),
            Some('\\') => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some(c) => word.extend(['\\', c]),
                None => return Err("has a quote that is not closed".to_owned()),
            },
            Some(c) => word.push(c),
            None => return Err("has a quote that is not closed".to_owned()),
        }
    }
}

/// Commands that only exist inside a shell.
const BUILT_IN: [&str; 9] = ["cd", "exit", "export", "unset", "set", "alias", "source", ".", "eval"];

fn check_program(words: &[String]) -> Result<(), String> {
    match words.first() {
        None => Err("has no command".to_owned()),
        Some(program) if program.is_empty() => Err("has an empty command".to_owned()),
        Some(program) if BUILT_IN.contains(&program.as_str()) => {
            Err(format!("needs a shell (`{program}` is built into shells)"))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_plain_lines() {
        let cases: [(&str, &[&str]); 6] = [
            ("gunicorn -w 4 app:app --bind :8000", &["gunicorn", "-w", "4", "app:app", "--bind", ":8000"]),
            ("  python -c 'print(\"$x\")'\n", &["python", "-c", "print(\"$x\")"]),
            (r#"a "b c" d\ e "" 'f'g"#, &["a", "b c", "d e", "", "fg"]),
            (r#"a "q\"\\ \n""#, &["a", r#"q"\ \n"#]),
            ("a --x=y {} b#c d~", &["a", "--x=y", "{}", "b#c", "d~"]),
            ("a é", &["a", "é"]),
        ];
        for (line, expected) in cases {
            assert_eq!(
                split_plain(line).as_deref(),
                Ok(&expected.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..])
            );
        }
    }

    #[test]
    fn refuses_what_needs_a_shell() {
        for line in [
            "a && b",
            "a | b",
            "a > b",
            "a; b",
            "echo $HOME",
            "a *.py",
            "X=1 a",
            "a \"$X\"",
            "a `b`",
            "(a)",
            "cd x",
            "",
            "a 'b",
            "a \"b",
            "a\nb",
            "a {{ b }}",
            "a '{{ b }}'",
            "a [x]",
            "a \\",
            "a ~",
        ] {
            assert!(split_plain(line).is_err(), "{line}");
        }
    }

    #[test]
    fn lists() {
        let list = |words: &[&str]| check_list(&words.iter().map(|s| s.to_string()).collect::<Vec<_>>());
        assert_eq!(list(&["python", "-c", "print(1); print(2)"]), Ok(()));
        for bad in [&["a", "&&", "b"][..], &["a", "$B"], &["a", "{{ b }}"], &[], &["cd", "x"]] {
            assert!(list(bad).is_err(), "{bad:?}");
        }
    }
}
