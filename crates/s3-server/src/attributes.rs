//! What a client says about an object: the system headers that are answered as they came, and user metadata.

use std::collections::BTreeMap;

use s3s::dto::{Metadata, Timestamp, TimestampFormat};
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

/// The user metadata in which the server answers whose key wrote an object.
pub const PRINCIPAL_METADATA: &str = "catchment-principal";

/// S3 allows 2 KB of user metadata, names and values together.
const MAX_METADATA: usize = 2048;

/// System headers and user metadata of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    /// As an HTTP date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Attributes {
    /// User metadata as it is kept: names in lower case, the server's own name left out.
    pub(crate) fn set_metadata(&mut self, metadata: Option<Metadata>) -> S3Result {
        self.metadata = metadata
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| (name.to_lowercase(), value))
            .filter(|(name, _)| name != PRINCIPAL_METADATA)
            .collect();
        let size: usize = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > MAX_METADATA {
            return Err(s3_error!(MetadataTooLarge, "the user metadata has {size} bytes; {MAX_METADATA} are allowed"));
        }
        Ok(())
    }

    /// User metadata as it is answered: with the principal.
    pub(crate) fn answered_metadata(&self, principal: &str) -> Metadata {
        let mut metadata: Metadata = self.metadata.clone().into_iter().collect();
        metadata.insert(PRINCIPAL_METADATA.into(), principal.into());
        metadata
    }

    /// `Content-Encoding` without the `aws-chunked` of the way here.
    pub(crate) fn set_encoding(&mut self, header: Option<String>) {
        self.content_encoding = header.and_then(|value| {
            let kept: Vec<&str> = value
                .split(',')
                .map(str::trim)
                .filter(|e| !e.is_empty() && !e.eq_ignore_ascii_case("aws-chunked"))
                .collect();
            (!kept.is_empty()).then(|| kept.join(","))
        });
    }

    pub(crate) fn set_expires(&mut self, expires: Option<&Timestamp>) {
        self.expires = expires.and_then(|time| {
            let mut text = Vec::new();
            time.format(TimestampFormat::HttpDate, &mut text).ok()?;
            String::from_utf8(text).ok()
        });
    }

    pub(crate) fn answered_expires(&self) -> Option<Timestamp> {
        self.expires.as_deref().and_then(|text| Timestamp::parse(TimestampFormat::HttpDate, text).ok())
    }

    pub(crate) fn answered_type(&self) -> String {
        self.content_type.clone().unwrap_or_else(|| "binary/octet-stream".into())
    }
}

#[cfg(test)]
mod tests {
    use super::Attributes;

    #[test]
    fn the_principal_is_the_servers_to_say() {
        let mut attributes = Attributes::default();
        let claimed = [("Catchment-Principal", "mallory"), ("Colour", "blue")];
        attributes.set_metadata(Some(claimed.map(|(k, v)| (k.into(), v.into())).into())).unwrap();
        let answered = attributes.answered_metadata("alice");
        assert_eq!(answered["catchment-principal"], "alice");
        assert_eq!(answered["colour"], "blue");
        assert_eq!(answered.len(), 2);
    }

    #[test]
    fn the_encoding_of_the_transfer_is_not_that_of_the_object() {
        let mut attributes = Attributes::default();
        attributes.set_encoding(Some("aws-chunked, gzip".into()));
        assert_eq!(attributes.content_encoding.as_deref(), Some("gzip"));
        attributes.set_encoding(Some("aws-chunked".into()));
        assert_eq!(attributes.content_encoding, None);
    }
}
