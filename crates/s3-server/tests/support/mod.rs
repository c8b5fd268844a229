//! A server for a test, in this process or in one of its own, and a client that sends keys as they are: other
//! clients tidy `..` and `//` away before the server could be tried with them.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test file uses its part of this module"
)]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use catchment_s3_server::keys::{self, Role};
use catchment_s3_server::{Config, Server};
use catchment_settings::{Environment, Home, S3Credentials, clock, task};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const LANDING: &str = "landing-zone";
pub const LAKE: &str = "data-lake";

/// A server in this process.
pub struct InProcess {
    pub folder: tempfile::TempDir,
    pub home: Home,
    pub admin: Client,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl InProcess {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    pub async fn start_in(folder: tempfile::TempDir) -> Self {
        let home = Home::open(folder.path()).unwrap();
        let config = config(&home);
        let credentials = config.admin.clone();
        let server = Server::bind(config).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = task::spawn("test-server", async move {
            server.serve(async { drop(stopped.await) }).await.unwrap();
        });
        Self { folder, home, admin: Client { address, credentials }, stop: Some(stop), served }
    }

    /// Stops it in good order and gives the folder back.
    pub async fn stop(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        self.served.await.unwrap();
        self.folder
    }

    /// A client with a new named key.
    pub fn client(&self, name: &str, role: Role) -> Client {
        let key = keys::add(&self.keys_file(), name, role).unwrap();
        let credentials = S3Credentials { access_key: key.access_key, secret_key: key.secret_key };
        Client { address: self.admin.address, credentials }
    }

    pub fn keys_file(&self) -> PathBuf {
        self.home.s3_dir().join("keys.json")
    }
}

pub fn config(home: &Home) -> Config {
    let environment = Environment::from_lookup(|_| None).unwrap();
    let admin = S3Credentials::load_or_create(home, &environment).unwrap();
    Config::for_home(home, &environment, admin, SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// The example `serve` as a process that can be killed.
pub struct OwnProcess {
    pub child: Child,
    pub client: Client,
}

impl OwnProcess {
    pub fn start(home: &Path, failpoints: &str) -> Self {
        let mut program = std::env::current_exe().unwrap();
        program.pop();
        program.pop();
        let mut child = Command::new(program.join("examples/serve"))
            .arg(home)
            .env("CATCHMENT_FAILPOINTS", failpoints)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().unwrap().unwrap();
        let address = line().strip_prefix("http://").unwrap().parse().unwrap();
        let credentials = S3Credentials { access_key: line(), secret_key: catchment_settings::Secret::new(line()) };
        Self { child, client: Client { address, credentials } }
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for OwnProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All files below a folder, by path.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The texts of all elements of that name.
    pub fn elements(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let text = self.text();
        text.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap().to_owned()).collect()
    }

    /// The S3 error code.
    pub fn code(&self) -> String {
        self.elements("Code").pop().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub fn ok(self) -> Self {
        assert!(self.status.is_success(), "{} {}", self.status, self.text());
        self
    }
}

/// Signs with SigV4 and sends over a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub credentials: S3Credentials,
}

impl Client {
    pub async fn put(&self, bucket: &str, key: &str, body: &[u8]) -> Answer {
        self.send(Method::PUT, bucket, key, &[], &[], body).await
    }

    pub async fn get(&self, bucket: &str, key: &str) -> Answer {
        self.send(Method::GET, bucket, key, &[], &[], b"").await
    }

    pub async fn delete(&self, bucket: &str, key: &str) -> Answer {
        self.send(Method::DELETE, bucket, key, &[], &[], b"").await
    }

    pub async fn list(&self, bucket: &str, query: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, bucket, "", &[&[("list-type", "2")], query].concat(), &[], b"").await
    }

    /// Keys of a bucket, all pages.
    pub async fn keys(&self, bucket: &str) -> Vec<String> {
        let answer = self.list(bucket, &[("encoding-type", "url")]).await.ok();
        answer.elements("Key").iter().map(|key| decode(key)).collect()
    }

    pub async fn send(
        &self,
        method: Method,
        bucket: &str,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_send(method, bucket, key, query, headers, body).await.unwrap()
    }

    /// As [`Client::send`]; an error where the connection breaks.
    pub async fn try_send(
        &self,
        method: Method,
        bucket: &str,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let request = self.request(method, bucket, key, query, headers).body(Full::new(Bytes::copy_from_slice(body)));
        self.transmit(request.unwrap()).await
    }

    /// Sends a request that is signed already.
    pub async fn transmit(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        task::spawn("test-connection", connection);
        let response = sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        Ok(Answer { status: parts.status, headers: parts.headers, body: body.collect().await?.to_bytes() })
    }

    /// A signed request; the path is percent-encoded and not tidied.
    pub fn request(
        &self,
        method: Method,
        bucket: &str,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> http::request::Builder {
        self.sign(method, bucket, key, query, headers).request
    }

    /// A signed request with what the signatures of its chunks go on from.
    pub fn sign(
        &self,
        method: Method,
        bucket: &str,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Signed {
        let time = clock::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let path = if bucket.is_empty() { "/".into() } else { format!("/{bucket}/{}", encode(key, true)) };
        let path = if key.is_empty() { path.trim_end_matches('/').to_owned() } else { path };
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let mut query: Vec<String> =
            query.iter().map(|(n, v)| format!("{}={}", encode(n, false), encode(v, false))).collect();
        query.sort();
        let query = query.join("&");

        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        all.insert("host", HeaderValue::from_str(&self.address.to_string()).unwrap());
        all.insert("x-amz-date", HeaderValue::from_str(&time).unwrap());
        all.entry("x-amz-content-sha256").or_insert(HeaderValue::from_static("UNSIGNED-PAYLOAD"));
        let mut names: Vec<&str> = all.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let lines: String = names.iter().map(|n| format!("{n}:{}\n", all[*n].to_str().unwrap().trim())).collect();
        let signed = names.join(";");
        let payload = all["x-amz-content-sha256"].to_str().unwrap();
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{signed}\n{payload}");
        let scope = format!("{}/us-east-1/s3/aws4_request", &time[..8]);
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical.as_bytes())));
        let secret = format!("AWS4{}", self.credentials.secret_key.reveal());
        let key = [&time[..8], "us-east-1", "s3", "aws4_request"]
            .iter()
            .fold(secret.into_bytes(), |key, part| hmac(&key, part.as_bytes()));
        let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            self.credentials.access_key,
        );
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut request = Request::builder().method(method).uri(target).header("authorization", authorization);
        for (name, value) in &all {
            request = request.header(name, value);
        }
        Signed { request, key, time, scope, signature }
    }

    /// The same server as `object_store` sees it.
    pub fn object_store(&self, bucket: &str) -> object_store::aws::AmazonS3 {
        object_store::aws::AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.address))
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(bucket)
            .with_access_key_id(&self.credentials.access_key)
            .with_secret_access_key(self.credentials.secret_key.reveal())
            .build()
            .unwrap()
    }
}

/// A signed request and what it was signed with.
pub struct Signed {
    pub request: http::request::Builder,
    pub key: Vec<u8>,
    pub time: String,
    pub scope: String,
    pub signature: String,
}

/// RFC 2104 with SHA-256.
pub fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |byte: u8| block.map(|b| b ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// Percent-encoding as SigV4 wants it.
pub fn encode(text: &str, keep_slash: bool) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            b'/' if keep_slash => "/".into(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

pub fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        bytes.push(if b == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
        } else {
            b
        });
    }
    String::from_utf8(bytes).unwrap()
}
