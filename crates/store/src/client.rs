//! One bucket of one server, and the connections to it.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use catchment_settings::Secret;
use object_store::aws::AmazonS3Builder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::{Result, StoreError};

/// Where a bucket is and who asks.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The server, such as `http://127.0.0.1:9000`; buckets are addressed by path.
    pub endpoint: String,
    /// The key's public half.
    pub access_key: String,
    /// The key's secret half.
    pub secret_key: Secret,
    /// The bucket.
    pub bucket: String,
}

/// One bucket. Cheap to clone and to make: connections are opened when they are first needed, and shared by
/// clones and by [`Store::with_bucket`].
#[derive(Clone)]
pub struct Store {
    pub(crate) config: Arc<StoreConfig>,
    transfers: Arc<OnceLock<Arc<dyn ObjectStore>>>,
    http: Arc<OnceLock<reqwest::Client>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({}/{})", self.config.endpoint, self.config.bucket)
    }
}

/// Gives `object_store` the client that there is, instead of one more with connections of its own.
#[derive(Debug)]
struct Shared(reqwest::Client);

impl HttpConnector for Shared {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

impl Store {
    /// A client; nothing is looked up or connected yet.
    pub fn new(mut config: StoreConfig) -> Self {
        config.endpoint.truncate(config.endpoint.trim_end_matches('/').len());
        Self { config: Arc::new(config), transfers: Arc::default(), http: Arc::default() }
    }

    /// The same server and key, another bucket.
    pub fn with_bucket(&self, bucket: &str) -> Self {
        let config = StoreConfig { bucket: bucket.to_owned(), ..(*self.config).clone() };
        Self { config: Arc::new(config), transfers: Arc::default(), http: self.http.clone() }
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.config.bucket
    }

    /// What an object is called in messages: `s3://<bucket>/<key>`.
    pub fn place(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.config.bucket)
    }

    pub(crate) fn http(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        // Reading the system's certificates takes longer than all the rest; without TLS it is not needed.
        let tls = self.config.endpoint.starts_with("https:");
        let client = reqwest::Client::builder()
            .tls_built_in_root_certs(tls)
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| StoreError::Failed { place: self.config.endpoint.clone(), cause: crate::error::chain(&e) })?;
        Ok(self.http.get_or_init(|| client))
    }

    pub(crate) fn transfers(&self) -> Result<&Arc<dyn ObjectStore>> {
        if let Some(transfers) = self.transfers.get() {
            return Ok(transfers);
        }
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(50),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: 5,
            retry_timeout: Duration::from_secs(30),
        };
        let built = AmazonS3Builder::new()
            .with_endpoint(&self.config.endpoint)
            .with_region(crate::sign::REGION)
            .with_bucket_name(&self.config.bucket)
            .with_access_key_id(&self.config.access_key)
            .with_secret_access_key(self.config.secret_key.reveal())
            .with_allow_http(true)
            .with_virtual_hosted_style_request(false)
            .with_http_connector(Shared(self.http()?.clone()))
            .with_retry(retry)
            .build()
            .map_err(|e| StoreError::from_object_store(self.config.endpoint.clone(), e))?;
        Ok(self.transfers.get_or_init(|| Arc::new(built)))
    }

    /// The key in `object_store`'s form, byte for byte.
    pub(crate) fn key(&self, key: &str) -> Result<Key> {
        let invalid = |cause: String| StoreError::InvalidKey { key: key.to_owned(), cause };
        let parsed = Key::parse(key).map_err(|e| invalid(e.to_string()))?;
        if parsed.as_ref() != key || key.is_empty() {
            return Err(invalid("it is empty, or begins or ends with `/`".into()));
        }
        Ok(parsed)
    }

    pub(crate) fn error(&self, key: &str, error: object_store::Error) -> StoreError {
        StoreError::from_object_store(self.place(key), error)
    }
}

/// An entity tag without its quotes.
pub(crate) fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// An entity tag with its quotes, as HTTP wants it (RFC 9110, section 8.8.3).
pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{}\"", etag.trim_matches('"'))
}
