//! Text that is never shown.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// A password or token. It cannot be printed by accident: its `Debug` says only that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it; an unset CI variable often arrives as an empty one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Everything that must not be in a message, however a server came to repeat it.
#[derive(Default)]
pub(crate) struct Secrets(Mutex<Vec<String>>);

/// Shorter ones would hide words of every message.
const LEAST_SECRET: usize = 4;

impl Secrets {
    /// Hides a password or token from now on, as it is and as it stands in a URL.
    pub(crate) fn add(&self, secret: &str) {
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for form in [secret.to_owned(), encoded] {
            if form.len() >= LEAST_SECRET && !all.contains(&form) {
                all.push(form);
            }
        }
        // One may be a part of another.
        all.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// The text with `***` in place of secrets.
    pub(crate) fn mask(&self, text: &str) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}
