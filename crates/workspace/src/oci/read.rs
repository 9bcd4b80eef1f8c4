//! Reads `[tool.pixi-oci]` strictly: a typing error there would silently make another image.

use std::ops::Range;

use serde::{Deserialize, de::IntoDeserializer};
use toml_edit::{Document, Item, TableLike, Value};

use super::{OciConfig, values::MODE};
use crate::suggestion;

/// What is wrong in the table, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub message: String,
    /// Of the text that the table was read from.
    pub span: Option<Range<usize>>,
    pub hint: Option<String>,
}

/// Reads the table of a workspace that has these environments.
pub fn read<'a>(table: &Item, environments: impl Iterator<Item = &'a str> + Clone) -> Result<OciConfig, Problem> {
    let value = table.clone().into_value().unwrap_or_else(|item| Value::from(item.type_name()));
    let config = OciConfig::deserialize(value.into_deserializer()).map_err(|error| explained(&error))?;
    let Some(table) = table.as_table_like() else { return Ok(config) };
    check(table, &config)?;
    let unknown = |name: &str, span| Problem {
        message: format!("the workspace has no environment `{name}`"),
        span,
        hint: suggestion(name, environments.clone()),
    };
    let known = |name: &str| environments.clone().any(|known| known == name);
    if let Some(name) = config.environment.as_deref().filter(|name| !known(name)) {
        return Err(unknown(name, table.get("environment").and_then(Item::span)));
    }
    let parts = table.get("environments").and_then(Item::as_table_like);
    for (name, part) in &config.environments {
        if !known(name) {
            return Err(unknown(name, parts.and_then(|parts| key_span(parts, name))));
        }
        let Some(written) = parts.and_then(|parts| parts.get(name)).and_then(Item::as_table_like) else { continue };
        check(written, part)?;
        if let Some(key) = ["environment", "environments", "hashes"].into_iter().find(|key| written.contains_key(key)) {
            let message = format!("`{key}` belongs into [tool.pixi-oci], not into one environment's part");
            return Err(Problem { message, span: key_span(written, key), hint: None });
        }
    }
    Ok(config)
}

fn key_span(table: &dyn TableLike, key: &str) -> Option<Range<usize>> {
    table.get_key_value(key).and_then(|(key, _)| key.span())
}

/// What one key does not show.
fn check(table: &dyn TableLike, config: &OciConfig) -> Result<(), Problem> {
    let problem = |span, message: &str| Err(Problem { message: message.into(), span, hint: None });
    if config.cmd.is_some() && config.task.is_some() {
        return problem(key_span(table, "task"), "`cmd` and `task` both say what runs; keep one of them");
    }
    let includes = table.get("include").and_then(Item::as_array);
    for include in includes.into_iter().flatten().filter_map(Value::as_inline_table) {
        // A plain 755 would be 0o1363, and 400 would pass for 0o620.
        let Some(Value::Integer(mode)) = include.get("mode") else { continue };
        let octal = mode.as_repr().and_then(|repr| repr.as_raw().as_str()).is_none_or(|text| text.starts_with("0o"));
        if !octal {
            return problem(mode.span(), &format!("expected {MODE}"));
        }
    }
    Ok(())
}

/// serde's words, and TOML's.
const WORDS: [(&str, &str); 7] = [
    ("a sequence", "a list"),
    ("a map", "a table"),
    ("sequence", "a list"),
    ("map", "a table"),
    ("struct OciConfig", "a table"),
    ("a nonzero u32", "a whole number from 1"),
    ("a nonzero u64", "a whole number from 1"),
];

fn word(text: &str) -> &str {
    WORDS.iter().find(|(serde, _)| *serde == text).map_or(text, |(_, toml)| toml)
}

/// What serde says, with what may have been meant.
fn explained(error: &toml_edit::de::Error) -> Problem {
    let message = error.message().trim();
    let mut problem = Problem { message: message.to_owned(), span: error.span(), hint: None };
    if let Some((key, known)) = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, ")) {
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        problem.message = format!("unknown key `{key}`");
        let suggestion = suggestion(key, known.iter().copied());
        problem.hint = suggestion.or_else(|| Some(format!("known keys: {}", known.join(", "))));
    } else if let Some((found, expected)) =
        message.strip_prefix("invalid ").and_then(|rest| rest.split_once(": ")?.1.split_once(", expected "))
    {
        problem.message = format!("expected {}, found {}", word(expected), word(found));
        let number = found.split_once('`').filter(|_| expected == "a string");
        problem.hint = number.map(|(_, number)| format!("write \"{}\"", number.trim_end_matches('`')));
    } else if let Some(key) = message.strip_prefix("missing field ") {
        problem.message = format!("{key} is missing");
    }
    problem
}

/// Reads `KEY=VALUE` of a command line. The value is TOML, or a text that may do without quotes.
pub fn setting(text: &str) -> Result<OciConfig, String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, with a key of [tool.pixi-oci]")?;
    let (key, value) = (key.trim(), value.trim());
    let read = |value: &str| {
        let document = Document::parse(format!("{key} = {value}")).map_err(|error| error.message().to_owned())?;
        let table = Item::Table(document.into_table());
        let config = read(&table, std::iter::empty()).map_err(|problem| match problem.hint {
            Some(hint) => format!("{}; {hint}", problem.message),
            None => problem.message,
        })?;
        if config.environment.is_some() || !config.environments.is_empty() {
            return Err(format!("`{key}` cannot be set for one run"));
        }
        Ok(config)
    };
    let quoted = toml_edit::Value::from(value).to_string();
    // As text if it is no TOML, or if the key has a text that looks like something else: base-glibc=2.36.
    read(value).or_else(|error| {
        read(&quoted).map_err(|as_text| if value.starts_with(['[', '{', '"', '\'']) { error } else { as_text })
    })
}
