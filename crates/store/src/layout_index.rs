//! The `index.json` of an OCI layout: the names of what is in it.

use pixi_oci_image::{Descriptor, MediaType, canonical};
use serde_json::{Value, json};

/// The annotation that is an image's name in a layout (OCI image-spec, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// `index.json`. Fields and entries that others put there are kept as they are.
#[derive(Debug)]
pub(crate) struct LayoutIndex(Value);

impl LayoutIndex {
    pub(crate) fn new() -> Self {
        Self(json!({ "schemaVersion": 2, "mediaType": MediaType::ImageIndex, "manifests": [] }))
    }

    /// Reads one; the error says why it is none.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut index: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if !index.is_object() {
            return Err("it is not an object".into());
        }
        // Go programs write null for an empty list.
        if index.get("manifests").is_none_or(Value::is_null) {
            index["manifests"] = json!([]);
        }
        let entries = index["manifests"].as_array().ok_or("`manifests` is not a list")?;
        if !entries.iter().all(Value::is_object) {
            return Err("an entry of `manifests` is not an object".into());
        }
        Ok(Self(index))
    }

    /// Gives `name`, or no name, to `root`. The entry that had it is replaced at its place, others are kept.
    pub(crate) fn set_root(&mut self, root: &Descriptor, name: Option<&str>) {
        let mut entry = json!(root);
        if let Some(name) = name {
            if entry.get("annotations").is_none() {
                entry["annotations"] = json!({});
            }
            entry["annotations"][REF_NAME] = name.into();
        }
        let Some(entries) = self.0["manifests"].as_array_mut() else { return };
        let named_so = |entry: &Value| entry["annotations"][REF_NAME].as_str() == name;
        match entries.iter().position(named_so) {
            Some(place) => {
                let after = entries.split_off(place + 1);
                entries[place] = entry;
                entries.extend(after.into_iter().filter(|entry| !named_so(entry)));
            }
            None => entries.push(entry),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        canonical(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Descriptor {
        Descriptor::of(MediaType::ImageIndex, text.as_bytes())
    }

    #[test]
    fn a_name_is_replaced_and_foreign_entries_stay() {
        let text = r#"{"schemaVersion":2,"x":1,"manifests":[
            {"digest":"sha512:aa","size":1,"mediaType":"a/b","annotations":{"org.opencontainers.image.ref.name":"other"},"more":[1]},
            {"digest":"old","annotations":{"org.opencontainers.image.ref.name":"v1"}},
            {"digest":"unnamed"},
            {"digest":"again","annotations":{"org.opencontainers.image.ref.name":"v1"}}]}"#;
        let mut index = LayoutIndex::parse(text.as_bytes()).unwrap();
        index.set_root(&root("new"), Some("v1"));
        index.set_root(&root("new"), Some("v2"));
        index.set_root(&root("new"), None);
        let before: Value = serde_json::from_str(text).unwrap();
        let after: Value = serde_json::from_slice(&index.to_bytes()).unwrap();
        assert_eq!(after["x"], 1);
        let entries = after["manifests"].as_array().unwrap();
        assert_eq!(entries[0], before["manifests"][0]);
        let seen: Vec<_> =
            entries[1..].iter().map(|e| (e["digest"].as_str(), e["annotations"][REF_NAME].as_str())).collect();
        let digest = root("new").digest.to_string();
        let digest = Some(digest.as_str());
        assert_eq!(seen, [(digest, Some("v1")), (digest, None), (digest, Some("v2"))]);
    }

    #[test]
    fn null_is_an_empty_list_and_nonsense_is_refused() {
        LayoutIndex::parse(br#"{"manifests":null}"#).unwrap().set_root(&root("a"), None);
        LayoutIndex::parse(b"{}").unwrap();
        for bad in ["", "[]", "1", r#"{"manifests":{}}"#, r#"{"manifests":[1]}"#, r#"{"manifests":[{}"#] {
            assert!(LayoutIndex::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
