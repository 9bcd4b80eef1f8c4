//! The one writer of JSON documents.
//!
//! oci-spec keeps annotations and labels in hash maps, whose order differs at every run, and serde_json keeps the order
//! of insertion when any crate of the program asks for it. So every object is sorted here, by the bytes of its keys.

use serde_json::{Map, Value};

/// `document` as JSON in one line: keys sorted recursively, no white space, no final newline.
pub fn canonical(document: Value) -> Vec<u8> {
    sorted(document).to_string().into_bytes()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<(String, Value)> = object.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_at_every_level_and_lists_are_not() {
        let document: Value =
            serde_json::from_str(r#"{"b":[{"z":1,"a":2},"y","x"],"a":{"d":null,"c":"é\n"}}"#).unwrap();
        let text = String::from_utf8(canonical(document)).unwrap();
        assert_eq!(text, r#"{"a":{"c":"é\n","d":null},"b":[{"a":2,"z":1},"y","x"]}"#);
    }

    #[test]
    fn hash_maps_do_not_show_their_order() {
        let once = || {
            let map: std::collections::HashMap<String, u32> = (0..100).map(|n| (format!("k{n}"), n)).collect();
            canonical(serde_json::json!(map))
        };
        assert_eq!(once(), once());
    }
}
