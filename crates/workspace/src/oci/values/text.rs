//! Values that are texts, and lists of them.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, SeqAccess, Visitor},
};

/// Reads a text. What is wrong with it is found while it is visited, so that the error points at it, also in a list.
pub(super) struct Text<T> {
    pub(super) expecting: &'static str,
    /// Whether a whole number is taken for its digits.
    pub(super) numbers: bool,
    pub(super) parse: fn(&str) -> Result<T, String>,
}

impl<T> Copy for Text<T> {}

impl<T> Clone for Text<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        match self.numbers {
            true => self.visit_str(&number.to_string()),
            false => Err(E::invalid_type(serde::de::Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de, T> DeserializeSeed<'de> for Text<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_any(self)
    }
}

/// A list of them.
pub(super) struct List<T>(pub(super) Text<T>);

impl<'de, T> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self.0)? {
            list.push(element);
        }
        Ok(list)
    }
}
