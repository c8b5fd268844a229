//! Presigned addresses: Signature Version 4 in the query (AWS General Reference, "Create a signed AWS API
//! request", and Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters").

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::{Result, Store, StoreError};

/// The region that requests are signed for; servers of one's own have no others.
pub(crate) const REGION: &str = "us-east-1";

/// What stays as it is: RFC 3986's unreserved characters.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// A path, encoded as S3 wants it.
pub(crate) fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

impl Store {
    /// An address that reads an object without a key, for `ttl` from `now` on (7 days at most).
    ///
    /// # Errors
    /// Where the endpoint is not an address.
    pub fn presign_get(&self, key: &str, ttl: Duration, now: Timestamp) -> Result<String> {
        self.presign(&Method::GET, Some(key), &[], &[], ttl, now)
    }

    /// An address for any request. `headers` (names in lower case) are signed too and must be sent with it;
    /// without a key it is about the bucket.
    pub(crate) fn presign(
        &self,
        method: &Method,
        key: Option<&str>,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        ttl: Duration,
        now: Timestamp,
    ) -> Result<String> {
        let config = &self.config;
        let host = host(&config.endpoint).ok_or_else(|| StoreError::Failed {
            place: config.endpoint.clone(),
            cause: "it is not an address such as http://127.0.0.1:9000".into(),
        })?;
        let path = match key {
            Some(key) => format!("/{}/{}", encode_path(&config.bucket), encode_path(key)),
            None => format!("/{}", encode_path(&config.bucket)),
        };
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = &time[..8];
        let scope = format!("{date}/{REGION}/s3/aws4_request");

        let mut headers: Vec<_> =
            headers.iter().map(|(n, v)| (*n, v.trim())).chain([("host", host.as_str())]).collect();
        headers.sort_unstable();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let credential = format!("{}/{scope}", config.access_key);
        let ttl = ttl.as_secs().clamp(1, 604_800).to_string();
        let signing = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", credential.as_str()),
            ("X-Amz-Date", time.as_str()),
            ("X-Amz-Expires", ttl.as_str()),
            ("X-Amz-SignedHeaders", names.as_str()),
        ];
        let mut query: Vec<_> =
            query.iter().chain(&signing).map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
        query.sort_unstable();
        let query = query.join("&");

        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!("{method}\n{path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD");
        let digest = hex::encode(Sha256::digest(request.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
        let secret = format!("AWS4{}", config.secret_key.reveal());
        let key = [date, REGION, "s3", "aws4_request"]
            .iter()
            .try_fold(secret.into_bytes(), |key, part| mac(&key, part.as_bytes()))
            .and_then(|key| mac(&key, to_sign.as_bytes()));
        let signature = key.map(hex::encode).ok_or_else(|| StoreError::Failed {
            place: config.endpoint.clone(),
            cause: "a request could not be signed".into(),
        })?;
        Ok(format!("{}{path}?{query}&X-Amz-Signature={signature}", config.endpoint))
    }
}

fn mac(key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text);
    Some(mac.finalize().into_bytes().to_vec())
}

/// The `Host` header of an endpoint: with the port, unless it is the scheme's own.
fn host(endpoint: &str) -> Option<String> {
    let url = url::Url::parse(endpoint).ok()?;
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use catchment_settings::Secret;

    use crate::{Store, StoreConfig};

    /// The credentials and the time of the Amazon S3 API Reference's example; the address is botocore's for the
    /// same request with the bucket in the path.
    #[test]
    fn an_address_is_signed_as_the_reference_says() {
        let store = Store::new(StoreConfig {
            endpoint: "http://127.0.0.1:9000/".into(),
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            bucket: "examplebucket".into(),
        });
        let now = "2013-05-24T00:00:00Z".parse().unwrap();
        let url = store.presign_get("a b/ü+~.txt", Duration::from_secs(86400), now).unwrap();
        let expected = [
            "http://127.0.0.1:9000/examplebucket/a%20b/%C3%BC%2B~.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256",
            "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request",
            "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host",
            "&X-Amz-Signature=08cadec4267edba77528f4446390dc0fb7e8f96df64f428dac15dad1e25cbf57",
        ];
        assert_eq!(url, expected.concat());
    }
}
