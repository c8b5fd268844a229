//! ListObjects in both versions.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::objects::length;
use super::{Answer, Store, principal};
use crate::access::Principal;
use crate::conditions::timestamp;
use crate::index::{Entry, ListRequest, Listing};

const MAX_KEYS: i32 = 1000;

/// How names are written in the answer: as they are, or percent-encoded (`encoding-type=url`), which any byte of
/// a key survives.
pub(super) struct Encoder(bool);

impl Encoder {
    pub(super) fn new(kind: Option<&EncodingType>) -> S3Result<Self> {
        match kind.map(EncodingType::as_str) {
            None => Ok(Self(false)),
            Some("url") => Ok(Self(true)),
            Some(other) => Err(s3_error!(InvalidArgument, "the encoding type {other} is not `url`")),
        }
    }

    pub(super) fn write(&self, text: &str) -> String {
        if !self.0 {
            return text.to_owned();
        }
        let mut encoded = String::with_capacity(text.len());
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
        encoded
    }

    pub(super) fn write_option(&self, text: Option<&str>) -> Option<String> {
        text.map(|text| self.write(text))
    }
}

/// Where a listing goes on: after a key, or after all that a common prefix stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Continuation {
    Key(String),
    Prefix(String),
}

impl Continuation {
    fn after(entry: &Entry) -> Self {
        match entry {
            Entry::Object { key, .. } => Self::Key(key.clone()),
            Entry::Prefix(prefix) => Self::Prefix(prefix.clone()),
        }
    }

    fn token(&self) -> String {
        match self {
            Self::Key(key) => format!("k{}", hex::encode(key)),
            Self::Prefix(prefix) => format!("p{}", hex::encode(prefix)),
        }
    }

    fn parse(token: &str) -> S3Result<Self> {
        let text = |hexed: &str| hex::decode(hexed).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let parsed = match token.split_at_checked(1) {
            Some(("k", rest)) => text(rest).map(Self::Key),
            Some(("p", rest)) => text(rest).map(Self::Prefix),
            _ => None,
        };
        parsed.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not one that this server gave out"))
    }
}

pub(super) fn limit(asked: Option<i32>) -> S3Result<i32> {
    match asked {
        Some(n) if n < 0 => Err(s3_error!(InvalidArgument, "a listing cannot have {n} entries")),
        other => Ok(other.unwrap_or(MAX_KEYS).min(MAX_KEYS)),
    }
}

/// Objects and common prefixes as the S3 layer has them.
fn answer(listing: &Listing, encoder: &Encoder, owner: Option<&Principal>) -> (Vec<Object>, Vec<CommonPrefix>) {
    let owner = owner.map(|p| Owner { id: Some(p.name.clone()), display_name: Some(p.name.clone()) });
    let mut objects = Vec::new();
    let mut prefixes = Vec::new();
    for entry in &listing.entries {
        match entry {
            Entry::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(encoder.write(prefix)) }),
            Entry::Object { key, size, etag, modified_ms, algorithms } => {
                let algorithms: Vec<_> = algorithms.iter().map(|a| ChecksumAlgorithm::from_static(a)).collect();
                objects.push(Object {
                    key: Some(encoder.write(key)),
                    size: Some(length(*size)),
                    e_tag: Some(ETag::Strong(etag.clone())),
                    last_modified: Some(timestamp(*modified_ms)),
                    storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                    checksum_algorithm: (!algorithms.is_empty()).then_some(algorithms),
                    owner: owner.clone(),
                    ..Default::default()
                });
            }
        }
    }
    (objects, prefixes)
}

impl Store {
    pub(super) async fn do_list_objects(&self, request: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        let asks = principal(&request)?;
        let input = request.input;
        let encoder = Encoder::new(input.encoding_type.as_ref())?;
        let max_keys = limit(input.max_keys)?;
        let mut list = ListRequest {
            bucket: &input.bucket,
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().filter(|d| !d.is_empty()),
            after: input.marker.as_deref(),
            after_prefix: None,
            limit: usize::try_from(max_keys).unwrap_or(0),
        };
        // A marker that is a common prefix itself (the NextMarker of the page before) stands for all below it.
        if let Some(marker) = list.after
            && crate::index::common_prefix(marker, &list).as_deref() == Some(marker)
        {
            list.after_prefix = Some(marker);
        }
        let listing = self.index.list(&list).await?;
        let (contents, common_prefixes) = answer(&listing, &encoder, Some(&asks));
        let next = listing.entries.last().filter(|_| listing.truncated).map(|e| encoder.write(e.name()));
        Ok(S3Response::new(ListObjectsOutput {
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            is_truncated: Some(listing.truncated),
            next_marker: next,
            max_keys: Some(max_keys),
            name: Some(input.bucket.clone()),
            prefix: Some(encoder.write(list.prefix)),
            delimiter: encoder.write_option(list.delimiter),
            marker: Some(encoder.write(input.marker.as_deref().unwrap_or_default())),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }

    pub(super) async fn do_list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        let asks = principal(&request)?;
        let input = request.input;
        let encoder = Encoder::new(input.encoding_type.as_ref())?;
        let max_keys = limit(input.max_keys)?;
        let continuation = input.continuation_token.as_deref().map(Continuation::parse).transpose()?;
        let (after, after_prefix) = match &continuation {
            Some(Continuation::Key(key)) => (Some(key.as_str()), None),
            Some(Continuation::Prefix(prefix)) => (None, Some(prefix.as_str())),
            None => (input.start_after.as_deref(), None),
        };
        let list = ListRequest {
            bucket: &input.bucket,
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().filter(|d| !d.is_empty()),
            after,
            after_prefix,
            limit: usize::try_from(max_keys).unwrap_or(0),
        };
        let listing = self.index.list(&list).await?;
        let owner = (input.fetch_owner == Some(true)).then_some(&asks);
        let (contents, common_prefixes) = answer(&listing, &encoder, owner);
        let next = listing.entries.last().filter(|_| listing.truncated);
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: Some(i32::try_from(listing.entries.len()).unwrap_or(MAX_KEYS)),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            is_truncated: Some(listing.truncated),
            next_continuation_token: next.map(|entry| Continuation::after(entry).token()),
            max_keys: Some(max_keys),
            name: Some(input.bucket.clone()),
            prefix: Some(encoder.write(list.prefix)),
            delimiter: encoder.write_option(list.delimiter),
            start_after: encoder.write_option(input.start_after.as_deref()),
            continuation_token: input.continuation_token,
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Continuation, Encoder};

    #[test]
    fn a_token_goes_there_and_back_and_others_are_refused() {
        for place in [Continuation::Key("ä/b c".into()), Continuation::Prefix("x/".into())] {
            assert_eq!(Continuation::parse(&place.token()).unwrap(), place);
        }
        for token in ["", "x", "kzz", "kff", "ö"] {
            assert!(Continuation::parse(token).is_err(), "{token}");
        }
    }

    #[test]
    fn url_encoding_leaves_slashes_and_nothing_that_xml_cannot_hold() {
        assert_eq!(Encoder(true).write("a/b c\u{1}+ü"), "a/b%20c%01%2B%C3%BC");
    }
}
