//! `test`: what shows that an image works.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// What shows that an image works. It becomes `/.singularity.d/test`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageTest {
    /// Lines for a shell; the first that fails ends it.
    Commands(Vec<String>),
    Script(String),
    /// A pixi task that is a plain command.
    Task(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TestTable {
    Script(String),
    Task(String),
}

impl<'de> Deserialize<'de> for ImageTest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TestVisitor)
    }
}

struct TestVisitor;

impl<'de> Visitor<'de> for TestVisitor {
    type Value = ImageTest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"COMMAND\", a list of commands, { script = \"FILE\" } or { task = \"NAME\" }")
    }

    fn visit_str<E: Error>(self, line: &str) -> Result<ImageTest, E> {
        Ok(ImageTest::Commands(vec![line.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> Result<ImageTest, A::Error> {
        let lines: Vec<String> =
            std::iter::from_fn(|| lines.next_element().transpose()).collect::<Result<_, A::Error>>()?;
        if lines.is_empty() {
            Err(A::Error::custom("a test has at least one command"))
        } else {
            Ok(ImageTest::Commands(lines))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<ImageTest, A::Error> {
        Ok(match TestTable::deserialize(MapAccessDeserializer::new(table))? {
            TestTable::Script(file) => ImageTest::Script(file),
            TestTable::Task(name) => ImageTest::Task(name),
        })
    }
}
