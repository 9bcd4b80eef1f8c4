//! JSON that means one thing only.
//!
//! Go ignores the case of a field's name and takes the last of two; serde takes the exact name. One document is then two
//! images (CVE-2021-41190 is the same with two documents in one). So the fields of the types that are read are the
//! schema: within an object that is read as a struct, a key that differs from a field only by Go's folding is refused,
//! and everywhere so are two keys that fold to one. Maps (labels, annotations, paths) have free keys: only equal ones are refused there.
//! serde_json bounds the nesting to 128.

use std::{collections::HashSet, fmt};

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};

/// # Errors
///
/// It is not JSON of this type, or some reader could take it for something else.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Strict(&mut json))?;
    json.end()?;
    Ok(value)
}

/// A key as Go compares it (encoding/json, `foldName`): `ſ` is s, and the Kelvin sign is k.
pub fn fold(key: &str) -> String {
    key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[derive(Clone, Copy)]
enum Keys {
    /// Fields of a struct, of which these are read.
    Fields(&'static [&'static str]),
    /// Fields of which nothing is known.
    Unknown,
    Free,
}

struct Strict<D>(D);

macro_rules! forward {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(Watch(visitor, Keys::Unknown))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option deserialize_unit deserialize_seq
        deserialize_identifier
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Watch(visitor, Keys::Free))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, Watch(visitor, Keys::Fields(fields)))
    }

    /// What is ignored is looked at all the same.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Watch(IgnoredAny, Keys::Unknown))?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, Watch(visitor, Keys::Unknown))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Watch(visitor, Keys::Unknown))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, Watch(visitor, Keys::Unknown))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, len, Watch(visitor, Keys::Unknown))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, Watch(visitor, Keys::Unknown))
    }
}

/// A visitor of what is behind [`Strict`].
struct Watch<V>(V, Keys);

macro_rules! scalars {
    ($($method:ident($type:ty))*) => {$(
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watch<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    scalars! {
        visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str) visit_borrowed_str(&'de str)
        visit_string(String)
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        // serde reads a struct from a list as well, by position.
        if let Keys::Fields(_) = self.1 {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &"an object"));
        }
        self.0.visit_seq(Watched { access: seq, keys: self.1, seen: HashSet::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Watched { access: map, keys: self.1, seen: HashSet::new() })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(data)
    }
}

/// The members of a list or object.
struct Watched<A> {
    access: A,
    keys: Keys,
    /// Keys that were there, folded where they are fields.
    seen: HashSet<String>,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Watched<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.access.next_element_seed(Seed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.access.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Watched<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.access.next_key::<String>()? else { return Ok(None) };
        let (is_field, folded) = match self.keys {
            Keys::Free => (true, key.clone()),
            Keys::Unknown => (true, fold(&key)),
            Keys::Fields(fields) => {
                let folded = fold(&key);
                let differs = |field: &&str| **field != key && folded.eq_ignore_ascii_case(field);
                (!fields.iter().any(differs), folded)
            }
        };
        let short = || key.chars().take(100).collect::<String>();
        if !is_field {
            return Err(de::Error::custom(format_args!("the key {:?} differs from a field only in case", short())));
        }
        if !self.seen.insert(folded) {
            return Err(de::Error::custom(format_args!("it has the key {:?} twice, perhaps in another case", short())));
        }
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.access.next_value_seed(Seed(seed))
    }
}

struct Seed<T>(T);

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Image {
        media_type: Option<String>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        #[serde(default)]
        layers: Vec<Image>,
    }

    #[test]
    fn what_go_reads_otherwise_is_refused() {
        for bad in [
            r#"{"mediaType":"a","mediaType":"b"}"#,
            r#"{"mediaType":"a","MediaType":"b"}"#,
            r#"{"MEDIATYPE":"b"}"#,
            r#"{"layers":[{"layers":[{"mediatype":"b"}]}]}"#,
            "{\"layer\u{17f}\":[]}",
            "{\"labels\":{},\"labe\u{17f}\u{17f}\":{},\"label\u{17f}\":{}}",
            r#"{"labels":{"a":"1","a":"2"}}"#,
            // Nobody reads these here; somebody else may.
            r#"{"config":{"k":1,"K":2}}"#,
            "{\"config\":[{\"k\":1,\"\u{212a}\":2}]}",
            r#"{"config":1,"config":1}"#,
            r#"{} {}"#,
            r#"[]"#,
        ] {
            let error = parse::<Image>(bad.as_bytes()).expect_err(bad).to_string();
            assert!(!error.is_empty());
        }
        assert!(parse::<serde_json::Value>(br#"{"a":{"b":1,"B":1}}"#).is_err());
        assert!(parse::<Image>("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn free_keys_may_differ_in_case() {
        let text = r#"{"mediaType":"a","labels":{"k":"1","K":"2"},"layers":[{"x":[1,-1,1.5,null,true,"s",{"y":{}}]}]}"#;
        let image: Image = parse(text.as_bytes()).unwrap();
        assert_eq!(image.labels.len(), 2);
        assert_eq!(image.layers.len(), 1);
    }
}
