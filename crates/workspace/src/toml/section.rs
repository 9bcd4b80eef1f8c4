//! Reading TOML tables with errors that name the key and point at it. Unknown keys are the caller's business.

use std::{ops::Range, path::PathBuf};

use toml_edit::{Item, Table, TableLike, Value};

use crate::ManifestError;

#[derive(Debug)]
pub(crate) struct ManifestText {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl ManifestText {
    /// Parses TOML 1.1 (which allows inline tables over several lines, as pixi manifests have them).
    pub(crate) fn parse(&self) -> Result<Table, ManifestError> {
        match toml_edit::Document::parse(self.text.as_str()) {
            Ok(document) => Ok(document.into_table()),
            Err(error) => Err(self.error(error.span(), error.message().trim().replace('\n', ", "))),
        }
    }

    pub(crate) fn error(&self, span: Option<Range<usize>>, message: impl Into<String>) -> ManifestError {
        ManifestError { path: self.path.clone(), message: message.into(), span, text: self.text.clone(), hint: None }
    }
}

/// A table with its name, for errors.
#[derive(Clone)]
pub(crate) struct Section<'a> {
    manifest: &'a ManifestText,
    table: &'a dyn TableLike,
    /// Dotted path from the root, e.g. `tool.pixi.workspace`; empty at the root.
    name: String,
    span: Option<Range<usize>>,
}

/// An element of a list, or the value of a key: a table or something else.
pub(crate) enum Element<'a> {
    Table(Section<'a>),
    Value(Leaf<'a>),
}

/// A value that is no table.
pub(crate) struct Leaf<'a> {
    manifest: &'a ManifestText,
    value: &'a Value,
    name: String,
}

impl<'a> Section<'a> {
    pub(crate) fn root(manifest: &'a ManifestText, table: &'a Table) -> Self {
        Self { manifest, table, name: String::new(), span: None }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|item| !item.is_none())
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.table.iter().map(|(key, _)| key)
    }

    /// The item as it is, for those who keep it unread.
    pub(crate) fn raw(&self, key: &str) -> Option<&'a Item> {
        self.table.get(key).filter(|item| !item.is_none())
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> ManifestError {
        self.manifest.error(self.span.clone(), message)
    }

    /// An error at a key (its value, if it has one).
    pub(crate) fn error_at(&self, key: &str, message: impl Into<String>) -> ManifestError {
        let span = self.table.get(key).and_then(Item::span).or_else(|| self.key_span(key));
        self.manifest.error(span.or_else(|| self.span.clone()), message)
    }

    pub(crate) fn error_at_key(&self, key: &str, message: impl Into<String>) -> ManifestError {
        self.manifest.error(self.key_span(key).or_else(|| self.span.clone()), message)
    }

    fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.table.get_key_value(key).and_then(|(key, _)| key.span())
    }

    fn path_of(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    pub(crate) fn section(&self, key: &str) -> Result<Option<Section<'a>>, ManifestError> {
        match self.entry(key)? {
            None => Ok(None),
            Some(Element::Table(section)) => Ok(Some(section)),
            Some(Element::Value(leaf)) => Err(leaf.wanted("a table")),
        }
    }

    /// All tables under this one, in the manifest's order.
    pub(crate) fn sections(&self) -> Result<Vec<(&'a str, Section<'a>)>, ManifestError> {
        let mut all = Vec::new();
        for key in self.keys() {
            if let Some(section) = self.section(key)? {
                all.push((key, section));
            }
        }
        Ok(all)
    }

    /// The value under `key`, whatever it is; an array of tables is an error here (see [`Self::list`]).
    pub(crate) fn entry(&self, key: &str) -> Result<Option<Element<'a>>, ManifestError> {
        let Some(item) = self.raw(key) else { return Ok(None) };
        if let Some(table) = item.as_table_like() {
            return Ok(Some(Element::Table(Section {
                manifest: self.manifest,
                table,
                name: self.path_of(key),
                span: item.span().or_else(|| self.key_span(key)),
            })));
        }
        match item.as_value() {
            Some(value) => Ok(Some(Element::Value(Leaf { manifest: self.manifest, value, name: self.path_of(key) }))),
            None => Err(self.error_at(key, format!("`{}` cannot be an array of tables", self.path_of(key)))),
        }
    }

    fn leaf(&self, key: &str, wanted: &str) -> Result<Option<Leaf<'a>>, ManifestError> {
        match self.entry(key)? {
            None => Ok(None),
            Some(Element::Value(leaf)) => Ok(Some(leaf)),
            Some(Element::Table(section)) => {
                Err(section.error(format!("`{}` must be {wanted}, not a table", section.name)))
            }
        }
    }

    pub(crate) fn string(&self, key: &str) -> Result<Option<String>, ManifestError> {
        self.leaf(key, "a string")?.map(|leaf| leaf.string()).transpose()
    }

    /// The string under `key` as `parse` reads it; what that says of it is an error there.
    pub(crate) fn parsed<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ManifestError> {
        let Some(text) = self.string(key)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|message| self.error_at(key, message))
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, ManifestError> {
        let Some(leaf) = self.leaf(key, "true or false")? else { return Ok(None) };
        leaf.value.as_bool().map(Some).ok_or_else(|| leaf.wanted("true or false"))
    }

    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, ManifestError> {
        let Some(leaf) = self.leaf(key, "a number")? else { return Ok(None) };
        leaf.value.as_integer().map(Some).ok_or_else(|| leaf.wanted("a whole number"))
    }

    /// The value that the word under `key` stands for.
    pub(crate) fn one_of<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, ManifestError> {
        let Some(text) = self.string(key)? else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.map(Some).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.error_at(key, format!("`{}` must be one of {}, not \"{text}\"", self.path_of(key), words.join(", ")))
        })
    }

    /// The elements of the list under `key`: `[…]` or `[[…]]`.
    pub(crate) fn list(&self, key: &str) -> Result<Option<Vec<Element<'a>>>, ManifestError> {
        let Some(item) = self.raw(key) else { return Ok(None) };
        let name = self.path_of(key);
        if let Some(tables) = item.as_array_of_tables() {
            let entry = |table: &'a Table| {
                Element::Table(Section { manifest: self.manifest, table, name: name.clone(), span: table.span() })
            };
            return Ok(Some(tables.iter().map(entry).collect()));
        }
        let Some(array) = item.as_array() else {
            let found = item.type_name();
            return Err(self.error_at(key, format!("`{name}` must be a list, not {}", article(found))));
        };
        let entry = |value: &'a Value| match value.as_inline_table() {
            Some(table) => {
                Element::Table(Section { manifest: self.manifest, table, name: name.clone(), span: value.span() })
            }
            None => Element::Value(Leaf { manifest: self.manifest, value, name: name.clone() }),
        };
        Ok(Some(array.iter().map(entry).collect()))
    }

    pub(crate) fn strings(&self, key: &str) -> Result<Option<Vec<String>>, ManifestError> {
        let Some(entries) = self.list(key)? else { return Ok(None) };
        entries.iter().map(Element::string).collect::<Result<_, _>>().map(Some)
    }

    /// A table of strings, in the manifest's order.
    pub(crate) fn string_map(&self, key: &str) -> Result<Option<Vec<(String, String)>>, ManifestError> {
        let Some(section) = self.section(key)? else { return Ok(None) };
        let mut map = Vec::new();
        for key in section.keys() {
            if let Some(value) = section.string(key)? {
                map.push((key.to_owned(), value));
            }
        }
        Ok(Some(map))
    }
}

impl Element<'_> {
    pub(crate) fn string(&self) -> Result<String, ManifestError> {
        match self {
            Self::Value(leaf) => leaf.string(),
            Self::Table(section) => Err(section.error(format!("`{}` must be strings", section.name))),
        }
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> ManifestError {
        match self {
            Self::Value(leaf) => leaf.error(message),
            Self::Table(section) => section.error(message),
        }
    }
}

impl<'a> Leaf<'a> {
    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    pub(crate) fn written(&self) -> &'a str {
        self.value.span().and_then(|span| self.manifest.text.get(span)).unwrap_or_default()
    }

    pub(crate) fn string(&self) -> Result<String, ManifestError> {
        self.value.as_str().map(str::to_owned).ok_or_else(|| self.wanted("a string"))
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> ManifestError {
        self.manifest.error(self.value.span(), message)
    }

    /// "`x` must be a string, not an integer", with the quoted form as a hint where that is what was meant.
    pub(crate) fn wanted(&self, wanted: &str) -> ManifestError {
        let mut error =
            self.error(format!("`{}` must be {wanted}, not {}", self.name, article(self.value.type_name())));
        if wanted.starts_with("a string") && (self.value.is_integer() || self.value.is_float() || self.value.is_bool())
        {
            error.hint = Some(format!("write \"{}\"", self.written()));
        }
        error
    }
}

fn article(type_name: &str) -> String {
    match type_name.chars().next() {
        Some('a' | 'e' | 'i' | 'o' | 'u') => format!("an {type_name}"),
        _ => format!("a {type_name}"),
    }
}
