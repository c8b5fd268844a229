//! The ids of documents and of datasets.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The id of a ledger document: MongoDB's ObjectId, 12 bytes, written as 24 lower-case hex digits.
///
/// The layout is BSON's: four bytes of seconds since 1970 (big endian), five bytes that a process draws once,
/// three bytes of a counter. Ids made by one process sort in the order in which they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectId([u8; 12]);

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: 24 hex digits are expected")]
pub struct InvalidObjectId(String);

impl ObjectId {
    /// An id from its parts: the time, five random bytes of the process, and a counter of which the lower
    /// three bytes count. Times before 1970 and after 2106 do not fit and are cut to the nearest that does.
    pub fn from_parts(time: jiff::Timestamp, process: [u8; 5], counter: u32) -> Self {
        let seconds = u32::try_from(time.as_second().max(0)).unwrap_or(u32::MAX);
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&seconds.to_be_bytes());
        bytes[4..9].copy_from_slice(&process);
        bytes[9..].copy_from_slice(&counter.to_be_bytes()[1..]);
        Self(bytes)
    }

    /// An id from its twelve bytes.
    pub fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// The twelve bytes.
    pub fn bytes(self) -> [u8; 12] {
        self.0
    }

    /// When it was made, to the second.
    pub fn time(self) -> jiff::Timestamp {
        let seconds = u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]);
        jiff::Timestamp::from_second(i64::from(seconds)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

impl FromStr for ObjectId {
    type Err = InvalidObjectId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 12];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidObjectId(text.into()))?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for ObjectId {
    type Error = InvalidObjectId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ObjectId> for String {
    fn from(id: ObjectId) -> Self {
        id.to_string()
    }
}

impl JsonSchema for ObjectId {
    fn schema_name() -> Cow<'static, str> {
        "ObjectId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9a-f]{24}$",
            "description": "A document's id: 24 lower-case hex digits (12 bytes).",
        })
    }
}

/// The name of a dataset, which is also its partition key and its folder in the lake: 1 to 128 of
/// `A-Z a-z 0-9 _ . -`, beginning with a letter or digit, without `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetId(String);

/// A text that cannot name a dataset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot name a dataset: {rule}", rule = DatasetId::RULE)]
pub struct InvalidDatasetId(String);

impl DatasetId {
    /// The rule in words, for messages.
    pub const RULE: &str =
        "1 to 128 of the characters A-Z a-z 0-9 _ . -, beginning with a letter or digit, without `..`";

    /// The rule as a regular expression (`..` is not in it: look-ahead is not portable).
    pub const PATTERN: &str = "^[A-Za-z0-9](?:[A-Za-z0-9_-]|\\.[A-Za-z0-9_-])*\\.?$";

    /// Checks a text against [`DatasetId::RULE`].
    ///
    /// # Errors
    /// Where it breaks the rule.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidDatasetId> {
        let text = text.into();
        let good = (1..=128).contains(&text.len())
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
            && !text.contains("..");
        if good { Ok(Self(text)) } else { Err(InvalidDatasetId(text)) }
    }

    /// The name of a batch's dataset where its tags give none: `dataset_` and the first 12 hex digits of the
    /// SHA-256 of the `batch_id`.
    pub fn of_batch(batch_id: &str) -> Self {
        let digest = hex::encode(Sha256::digest(batch_id.as_bytes()));
        Self(format!("dataset_{}", &digest[..12]))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DatasetId {
    type Err = InvalidDatasetId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for DatasetId {
    type Error = InvalidDatasetId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<DatasetId> for String {
    fn from(id: DatasetId) -> Self {
        id.0
    }
}

impl JsonSchema for DatasetId {
    fn schema_name() -> Cow<'static, str> {
        "DatasetId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 128,
            "pattern": Self::PATTERN,
            "description": "A dataset's name, also its partition key and its folder in the lake.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{DatasetId, ObjectId};

    #[test]
    fn an_id_is_24_hex_digits_and_knows_its_time() {
        let time = jiff::Timestamp::from_second(1_790_000_000).unwrap();
        let id = ObjectId::from_parts(time, [1, 2, 3, 4, 5], 0x0a0b_0c0d);
        assert_eq!(id.to_string(), "6ab13b8001020304050b0c0d");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.time(), time);
        assert!("6ab1".parse::<ObjectId>().is_err());
    }

    #[test]
    fn a_dataset_name_keeps_to_its_rule() {
        for good in ["a", "parcels", "A.b-c_9", "9x", "a."] {
            assert!(DatasetId::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a..b", "a/b", "a b", "ä", &"x".repeat(129)] {
            assert!(DatasetId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_batch_without_a_dataset_gets_one_from_its_id() {
        assert_eq!(DatasetId::of_batch("batch-1").as_str(), "dataset_8f5815465303");
    }
}
