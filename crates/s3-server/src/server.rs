//! The process side: the lock, the listener, the connections, the sweep at the start, the end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catchment_model::problem::{Code, Problem};
use catchment_settings::lock::Lock;
use catchment_settings::{Environment, Home, S3Credentials, clock, durable, task};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};

use crate::access::{Guard, Keyring};
use crate::api::Store;
use crate::blobs::BlobStore;
use crate::index::Index;

/// How long requests that are under way may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// How long a connection may be idle, or take to send the head of a request.
const IDLE: Duration = Duration::from_secs(300);

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds `index.db`, `blobs/` and `keys.json`; made where it is not there.
    pub root: PathBuf,
    /// The lock that keeps a second server off the folder.
    pub lock_file: PathBuf,
    /// The datagram socket that is told of new manifests.
    pub wake_socket: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The key that may do everything.
    pub admin: S3Credentials,
    /// The bucket that users write to.
    pub landing_bucket: String,
    /// The bucket that users read.
    pub lake_bucket: String,
}

impl Config {
    /// The configuration of a home folder.
    pub fn for_home(home: &Home, environment: &Environment, admin: S3Credentials, listen: SocketAddr) -> Self {
        Self {
            root: home.s3_dir(),
            lock_file: home.lock_file("s3"),
            wake_socket: home.daemon_socket(),
            listen,
            admin,
            landing_bucket: environment.landing_bucket.clone(),
            lake_bucket: environment.lake_bucket.clone(),
        }
    }
}

/// A server that holds its lock and its port, and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    store: Store,
    _lock: Lock,
}

impl Server {
    /// Takes the lock, opens the store, makes the two buckets, and binds the port.
    ///
    /// # Errors
    /// Where another server holds the folder (its pid is said), the folder cannot be used, a bucket's name is not
    /// one that S3 allows, or the port is taken.
    pub async fn bind(config: Config) -> Result<Self, Problem> {
        for bucket in [&config.landing_bucket, &config.lake_bucket] {
            if !s3s::path::check_bucket_name(bucket) {
                return Err(Problem::new(Code::InvalidConfig, format!("`{bucket}` cannot be the name of a bucket"))
                    .place("MINIO_LANDING_BUCKET, MINIO_LAKE_BUCKET")
                    .remedy("use 3 to 63 of a-z 0-9 - ., beginning and ending with a letter or digit"));
            }
        }
        let unusable = |cause: String| {
            Problem::new(Code::Io, "the folder of the S3 server cannot be used")
                .place(config.root.display().to_string())
                .cause(cause)
                .remedy("see that it may be written, has room, and was made by this version or an earlier one")
        };
        for folder in [Some(config.root.as_path()), config.lock_file.parent()].into_iter().flatten() {
            durable::create_dir_private(folder).map_err(|e| unusable(e.to_string()))?;
        }
        let lock = Lock::take(&config.lock_file)?;
        let blobs = BlobStore::open(&config.root).map_err(|e| unusable(e.to_string()))?;
        let index = Index::open(&config.root).await.map_err(|e| unusable(e.to_string()))?;
        for bucket in [&config.landing_bucket, &config.lake_bucket] {
            let now = clock::now().as_millisecond();
            index.create_bucket(bucket, now).await.map_err(|e| unusable(e.to_string()))?;
        }
        let taken = |e: std::io::Error| {
            Problem::new(Code::Unavailable, "the S3 server cannot listen")
                .place(config.listen.to_string())
                .cause(e.to_string())
                .remedy("choose another port, or 0 for a free one")
        };
        let listener = TcpListener::bind(config.listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let keyring =
            Keyring::new(config.admin, config.root.join("keys.json"), config.landing_bucket, config.lake_bucket);
        let store = Store { index: Arc::new(index), blobs, keyring, wake_socket: Arc::new(config.wake_socket) };
        Ok(Self { listener, address, store, _lock: lock })
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is done; then takes no new requests, and gives those under way ten seconds.
    ///
    /// # Errors
    /// None at present; a connection that fails concerns its client alone.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), Problem> {
        let sweeping = task::spawn("s3-sweep", sweep(self.store.clone()));
        let service = {
            let guard = Guard(self.store.keyring.clone());
            let mut builder = S3ServiceBuilder::new(self.store.clone());
            builder.set_auth(guard.clone());
            builder.set_access(guard);
            builder.build()
        };
        tracing::info!(address = %self.address, "the S3 server answers");
        let graceful = GracefulShutdown::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => answer(stream, service.clone(), &graceful),
                    Err(error) => {
                        // Out of descriptors, most likely: those in use must be given back first.
                        tracing::warn!(%error, "a connection could not be taken");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }
        drop(self.listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still under way after {} seconds; they are cut off", GRACE.as_secs());
        }
        sweeping.abort();
        self.store.index.close().await;
        Ok(())
    }
}

/// Binds and serves.
///
/// # Errors
/// As [`Server::bind`].
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Problem> {
    Server::bind(config).await?.serve(shutdown).await
}

fn answer(stream: TcpStream, service: S3Service, graceful: &GracefulShutdown) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the connection keeps its delay");
    }
    let routed = service_fn(move |request| route(service.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), routed);
    let watched = graceful.watch(connection);
    task::spawn("s3-connection", async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
}

/// `/healthz` needs no signature; all else is S3.
async fn route(service: S3Service, request: Request<Incoming>) -> Result<Response<s3s::Body>, Infallible> {
    if request.uri().path() == "/healthz" && matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(Response::new(s3s::Body::from(Bytes::from_static(b"ok\n"))));
    }
    let expects_continue = request.headers().contains_key(header::EXPECT);
    let empty = request.body().is_end_stream();
    let mut response = service.call(request.map(s3s::Body::from)).await.unwrap_or_else(|error| {
        tracing::error!(?error, "the S3 layer could not answer");
        let mut response = Response::new(s3s::Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    // botocore takes the answer to its next request for this one's, if this one was answered without a 100 before
    // and the connection is used again.
    if expects_continue && (empty || !response.status().is_success()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Removes blob files that the index does not name: what a crash left behind.
async fn sweep(store: Store) {
    let mut swept = 0;
    for first in 0..=0xff_u8 {
        let blobs = store.blobs.clone();
        let names = match tokio::task::spawn_blocking(move || blobs.settled(first)).await {
            Ok(Ok(names)) => names,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a folder of blobs cannot be swept");
                continue;
            }
            Err(_) => return,
        };
        if names.is_empty() {
            continue;
        }
        match store.index.unknown_blobs(names).await {
            Ok(unknown) => {
                swept += unknown.len();
                store.discard(unknown);
            }
            Err(error) => tracing::warn!(%error, "a folder of blobs cannot be swept"),
        }
    }
    if swept > 0 {
        tracing::info!(swept, "removed blobs that unfinished uploads had left behind");
    }
}
