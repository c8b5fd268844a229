//! Reads JSON so that nothing is lost: names that occur twice are found, depth and size are limited.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{MAX_BYTES, MAX_DEPTH};
use crate::problem::{Code, Fault, Problem};

const TOO_DEEP: &str = "objects and arrays lie more than";

/// A JSON document and what is wrong with its form.
pub(super) struct Document {
    pub(super) value: Value,
    pub(super) faults: Vec<Fault>,
}

/// Reads a document. A byte order mark before it is passed over (RFC 8259, section 8.1, allows that).
pub(super) fn read(bytes: &[u8]) -> Result<Document, Problem> {
    let fail = |what: &str, place: Option<String>, cause: Option<String>, remedy: &str| {
        let mut problem = Problem::new(Code::InvalidManifest, what).remedy(remedy);
        problem.place = place;
        problem.cause = cause;
        Err(problem)
    };
    if bytes.len() > MAX_BYTES {
        let cause = format!("it has {} bytes; {MAX_BYTES} are the limit", bytes.len());
        return fail("the manifest is too large", None, Some(cause), "split the batch into several manifests");
    }
    let text = match std::str::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)) {
        Ok(text) => text,
        Err(e) => {
            let place = Some(format!("byte {}", e.valid_up_to() + 1));
            return fail("the manifest is not UTF-8 text", place, None, "save it as UTF-8");
        }
    };
    if text.trim().is_empty() {
        return fail(
            "the manifest is empty",
            None,
            None,
            "write a JSON object: `catchment manifest schema` shows its form",
        );
    }
    let faults = RefCell::new(Vec::new());
    let mut json = serde_json::Deserializer::from_str(text);
    let seed = Seed { path: "$".into(), depth: 0, faults: &faults };
    match seed.deserialize(&mut json).and_then(|value| json.end().map(|()| value)) {
        Ok(value) => Ok(Document { value, faults: faults.into_inner() }),
        Err(e) => {
            let full = e.to_string();
            let cause = full.split(" at line ").next().unwrap_or(&full).to_owned();
            let place = format!("line {}, column {}", e.line(), e.column());
            fail(
                "the manifest is not JSON",
                Some(place),
                Some(cause),
                "mend the syntax there; JSON has no comments and no comma after the last entry",
            )
        }
    }
}

/// The path of a member: `$.files`, or `$['odd name']` (RFC 9535, section 2.3.1).
pub(super) fn member(path: &str, name: &str) -> String {
    let plain = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain {
        format!("{path}.{name}")
    } else {
        let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
        format!("{path}['{shown}']")
    }
}

struct Seed<'a> {
    path: String,
    depth: usize,
    faults: &'a RefCell<Vec<Fault>>,
}

impl Seed<'_> {
    fn child(&self, path: String) -> Self {
        Self { path, depth: self.depth + 1, faults: self.faults }
    }

    fn deep<E: Error>(&self) -> Result<(), E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("{TOO_DEEP} {MAX_DEPTH} deep in each other")));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is too large"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.deep()?;
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self.child(format!("{}[{}]", self.path, all.len())))? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        self.deep()?;
        let mut all = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let path = member(&self.path, &name);
            let value = members.next_value_seed(self.child(path.clone()))?;
            if all.insert(name, value).is_some() {
                self.faults.borrow_mut().push(Fault {
                    path,
                    what: "occurs twice in the same object".into(),
                    allowed: "each name once".into(),
                });
            }
        }
        Ok(Value::Object(all))
    }
}
