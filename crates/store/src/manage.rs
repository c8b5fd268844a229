//! What is done with objects as they lie: list, copy, delete.

use std::time::Duration;

use catchment_settings::clock;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::{Method, StatusCode};
use jiff::Timestamp;

use crate::client::{quoted, unquoted};
use crate::sign::encode_path;
use crate::{Attributes, Result, Store, StoreError, xml};

/// How often a request is tried where the server is out of reach.
const TRIES: u32 = 4;
/// How long a signature holds.
const TTL: Duration = Duration::from_secs(300);

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// How many bytes it has.
    pub size: u64,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// When it was last written.
    pub last_modified: Timestamp,
}

impl Store {
    /// The objects whose keys begin with `prefix`, in the order of their keys, page by page as they are asked for.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Listed>> {
        self.list_after(prefix, None)
    }

    /// The same, beginning after a key.
    pub fn list_after(&self, prefix: &str, after: Option<&str>) -> BoxStream<'static, Result<Listed>> {
        enum Next {
            First(Option<String>),
            Page(String),
            End,
        }
        let (store, prefix) = (self.clone(), prefix.to_owned());
        stream::unfold(Next::First(after.map(str::to_owned)), move |next| {
            let (store, prefix) = (store.clone(), prefix.clone());
            async move {
                let (name, value) = match &next {
                    Next::First(after) => ("start-after", after.as_deref()),
                    Next::Page(token) => ("continuation-token", Some(token.as_str())),
                    Next::End => return None,
                };
                let mut query = vec![("list-type", "2"), ("prefix", prefix.as_str())];
                query.extend(value.map(|value| (name, value)));
                Some(match store.list_page(&query).await {
                    Ok((page, more)) => (stream::iter(page).map(Ok).boxed(), more.map_or(Next::End, Next::Page)),
                    Err(error) => (stream::iter([Err(error)]).boxed(), Next::End),
                })
            }
        })
        .flatten()
        .boxed()
    }

    async fn list_page(&self, query: &[(&str, &str)]) -> Result<(Vec<Listed>, Option<String>)> {
        let body = self.request(&Method::GET, None, query, &[]).await?;
        let mut page = Vec::new();
        let (mut key, mut size, mut etag, mut modified) = (String::new(), 0, String::new(), Timestamp::UNIX_EPOCH);
        let (mut token, mut truncated) = (None, false);
        xml::walk(&body, |open, text| match open.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [_, "Contents", "Key"] => key = text.to_owned(),
            [_, "Contents", "Size"] => size = text.parse().unwrap_or_default(),
            [_, "Contents", "ETag"] => etag = unquoted(text),
            [_, "Contents", "LastModified"] => modified = text.parse().unwrap_or_default(),
            [_, "Contents"] => {
                page.push(Listed { key: key.clone(), size, etag: etag.clone(), last_modified: modified });
            }
            [_, "NextContinuationToken"] => token = Some(text.to_owned()),
            [_, "IsTruncated"] => truncated = text == "true",
            _ => {}
        });
        Ok((page, token.filter(|_| truncated)))
    }

    /// Copies an object within the server, with its attributes, if it still has the entity tag.
    ///
    /// # Errors
    /// [`StoreError::PreconditionFailed`] where it has another one, [`StoreError::NotFound`] where it is gone.
    pub async fn copy_if_match(&self, from: &str, to: &str, etag: &str) -> Result<()> {
        let source = encode_path(&format!("/{}/{from}", self.bucket()));
        let etag = quoted(etag);
        let headers = [("x-amz-copy-source", source.as_str()), ("x-amz-copy-source-if-match", etag.as_str())];
        self.copied(to, &self.request(&Method::PUT, Some(to), &[], &headers).await?)
    }

    /// A copy may fail after its answer has begun with status 200 (Amazon S3 API Reference, CopyObject).
    fn copied(&self, to: &str, body: &str) -> Result<()> {
        match xml::element(body, "Code") {
            Some(_) => Err(StoreError::from_status(self.place(to), StatusCode::INTERNAL_SERVER_ERROR, body)),
            None => Ok(()),
        }
    }

    /// Replaces what is kept with an object (media type, user metadata) and leaves its bytes, if it still has the
    /// entity tag.
    ///
    /// # Errors
    /// As [`Store::copy_if_match`].
    pub async fn replace_attributes(&self, key: &str, etag: &str, attributes: &Attributes) -> Result<()> {
        let source = encode_path(&format!("/{}/{key}", self.bucket()));
        let etag = quoted(etag);
        let named: Vec<_> = attributes.metadata.iter().map(|(n, v)| (format!("x-amz-meta-{n}"), v.as_str())).collect();
        let mut headers = vec![
            ("x-amz-copy-source", source.as_str()),
            ("x-amz-copy-source-if-match", etag.as_str()),
            ("x-amz-metadata-directive", "REPLACE"),
        ];
        headers.extend(attributes.content_type.as_deref().map(|value| ("content-type", value)));
        headers.extend(named.iter().map(|(name, value)| (name.as_str(), *value)));
        self.copied(key, &self.request(&Method::PUT, Some(key), &[], &headers).await?)
    }

    /// Deletes an object; one that is not there is as good as deleted.
    ///
    /// # Errors
    /// As the server refuses.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.gone(self.request(&Method::DELETE, Some(key), &[], &[]).await)
    }

    /// Deletes an object if it still has the entity tag; one that is not there is as good as deleted.
    ///
    /// # Errors
    /// [`StoreError::PreconditionFailed`] where it has another one.
    pub async fn delete_if_match(&self, key: &str, etag: &str) -> Result<()> {
        let etag = quoted(etag);
        self.gone(self.request(&Method::DELETE, Some(key), &[], &[("if-match", etag.as_str())]).await)
    }

    fn gone(&self, answer: Result<String>) -> Result<()> {
        match answer {
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes the bucket; one that is there is left as it is.
    ///
    /// # Errors
    /// As the server refuses.
    pub async fn create_bucket(&self) -> Result<()> {
        match self.request(&Method::PUT, None, &[], &[]).await {
            // 409: BucketAlreadyOwnedByYou.
            Ok(_) | Err(StoreError::PreconditionFailed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a signed request without a body, again where the server is out of reach; answers the body.
    async fn request(
        &self,
        method: &Method,
        key: Option<&str>,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Result<String> {
        let mut tried = 1;
        loop {
            match self.request_once(method, key, query, headers).await {
                Err(error) if error.is_retryable() && tried < TRIES => {
                    tracing::debug!(%error, tried, "the object store is asked again");
                    tokio::time::sleep(Duration::from_millis(50 << tried)).await;
                    tried += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn request_once(
        &self,
        method: &Method,
        key: Option<&str>,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Result<String> {
        let place = || self.place(key.unwrap_or_default());
        let unavailable = |e: reqwest::Error| StoreError::Unavailable {
            place: place(),
            cause: crate::error::chain(&e.without_url()),
        };
        let address = self.presign(method, key, query, headers, TTL, clock::now())?;
        let mut request = self.http()?.request(method.clone(), address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.map_err(unavailable)?;
        let status = answer.status();
        let body = answer.text().await.map_err(unavailable)?;
        if status.is_success() { Ok(body) } else { Err(StoreError::from_status(place(), status, &body)) }
    }
}
