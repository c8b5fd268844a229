//! The address of an object.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// `s3://<bucket>/<key>`. The key is not empty, not longer than 1024 bytes (S3's limit), has no control
/// characters, no empty, `.` or `..` segments, and does not begin or end with `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct S3Path {
    bucket: String,
    key: String,
}

/// Why a text is not the address of an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidS3Path {
    /// Another scheme, or none.
    #[error("`{0}` does not begin with `s3://`")]
    Scheme(String),
    /// No bucket or no key.
    #[error("`{0}` names no object: `s3://<bucket>/<key>` is expected")]
    Incomplete(String),
    /// A `.` or `..` or empty segment.
    #[error("`{0}` has a segment that is empty, `.` or `..`")]
    Segment(String),
    /// A control character.
    #[error("{0:?} holds a control character")]
    Control(String),
    /// Too long for S3.
    #[error("the key has {0} bytes; S3 takes 1024 at most")]
    TooLong(usize),
}

impl S3Path {
    /// An address from its parts.
    ///
    /// # Errors
    /// As [`S3Path::from_str`].
    pub fn new(bucket: &str, key: &str) -> Result<Self, InvalidS3Path> {
        format!("s3://{bucket}/{key}").parse()
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key, without a leading slash.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The last segment of the key.
    pub fn file_name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or(&self.key)
    }
}

impl FromStr for S3Path {
    type Err = InvalidS3Path;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("s3://").ok_or_else(|| InvalidS3Path::Scheme(text.into()))?;
        let (bucket, key) = rest.split_once('/').ok_or_else(|| InvalidS3Path::Incomplete(text.into()))?;
        if bucket.is_empty() || key.is_empty() {
            return Err(InvalidS3Path::Incomplete(text.into()));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidS3Path::Control(text.into()));
        }
        if key.split('/').any(|s| matches!(s, "" | "." | "..")) || matches!(bucket, "." | "..") {
            return Err(InvalidS3Path::Segment(text.into()));
        }
        if key.len() > 1024 {
            return Err(InvalidS3Path::TooLong(key.len()));
        }
        Ok(Self { bucket: bucket.into(), key: key.into() })
    }
}

impl fmt::Display for S3Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

impl TryFrom<String> for S3Path {
    type Error = InvalidS3Path;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<S3Path> for String {
    fn from(path: S3Path) -> Self {
        path.to_string()
    }
}

impl JsonSchema for S3Path {
    fn schema_name() -> Cow<'static, str> {
        "S3Path".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^s3://[^/]+/.+$",
            "description": "An object's address: s3://<bucket>/<key>, without `.` and `..` segments.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::S3Path;

    #[test]
    fn an_address_has_a_bucket_and_a_key_that_stays_in_it() {
        let path: S3Path = "s3://landing-zone/a b/ü.geojson".parse().unwrap();
        assert_eq!((path.bucket(), path.key(), path.file_name()), ("landing-zone", "a b/ü.geojson", "ü.geojson"));
        assert_eq!(path.to_string(), "s3://landing-zone/a b/ü.geojson");
        for bad in ["", "a", "s3://b", "s3://b/", "s3:///k", "s3://b/../k", "s3://b/a//b", "s3://b/a\nb", "http://b/k"]
        {
            assert!(bad.parse::<S3Path>().is_err(), "{bad}");
        }
    }
}
