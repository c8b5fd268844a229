//! The process side: what is opened once, the listener, the layers, the end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use catchment_instance::SharedInstance;
use catchment_ledger::{SharedLedger, SqliteLedger};
use catchment_model::{ActivityLog, Code, Problem};
use catchment_settings::config::Workspace;
use catchment_settings::{Environment, Home, S3Credentials, Secret, clock};
use catchment_store::{Store, StoreConfig};
use http::{HeaderValue, Uri, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::trace::TraceLayer;

use crate::error::ApiError;
use crate::extract::MAX_BODY;
use crate::{api, endpoint, guard, token};

/// Who the bearer of the API token is in the activity log: the installation's one user, as on its S3 server.
pub(crate) const USER: &str = "admin";
/// How long requests that are under way may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The home folder.
    pub home: Home,
    /// What the environment says.
    pub environment: Environment,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The code locations, to check run config by.
    pub workspace: Workspace,
}

/// What every handler can reach.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    home: Home,
    environment: Environment,
    address: SocketAddr,
    token: Secret,
    instance: SharedInstance,
    ledger: SharedLedger,
    admin: S3Credentials,
    workspace: Workspace,
    openapi: bytes::Bytes,
    stopping: CancellationToken,
}

impl App {
    pub(crate) fn home(&self) -> &Home {
        &self.0.home
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.0.environment
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub(crate) fn token(&self) -> &Secret {
        &self.0.token
    }

    pub(crate) fn instance(&self) -> &SharedInstance {
        &self.0.instance
    }

    pub(crate) fn ledger(&self) -> &SharedLedger {
        &self.0.ledger
    }

    pub(crate) fn workspace(&self) -> &Workspace {
        &self.0.workspace
    }

    /// The lake's bucket on the S3 server, where that is now.
    pub(crate) fn lake_store(&self) -> Result<Store, Problem> {
        let endpoints = self.home().endpoints().unwrap_or_default();
        let endpoint = endpoints.s3.ok_or_else(|| {
            Problem::new(Code::Unavailable, "the address of the S3 server is not known")
                .place(self.home().root().display().to_string())
                .remedy("start everything with `catchment dev`")
        })?;
        Ok(Store::new(StoreConfig {
            endpoint,
            access_key: self.0.admin.access_key.clone(),
            secret_key: self.0.admin.secret_key.clone(),
            bucket: self.environment().lake_bucket.clone(),
        }))
    }

    /// Writes into the activity log what was just changed through the API. The change holds even where this fails.
    pub(crate) async fn record(
        &self,
        action: &str,
        resource_type: &str,
        resource_id: &str,
        details: serde_json::Value,
    ) {
        let now = clock::now();
        let entry = ActivityLog {
            id: catchment_ledger::new_id(now),
            timestamp: now,
            user: USER.into(),
            action: action.into(),
            resource_type: resource_type.into(),
            resource_id: resource_id.into(),
            details: details.as_object().cloned().unwrap_or_default(),
            event_key: None,
        };
        if let Err(error) = self.ledger().log_activity(entry).await {
            tracing::error!(action, resource_type, resource_id, %error, "a change is not in the activity log");
        }
    }

    pub(crate) fn openapi(&self) -> bytes::Bytes {
        self.0.openapi.clone()
    }

    /// Whether the server is about to stop: who waits for something answers now.
    pub(crate) fn is_stopping(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    /// Waits, but not longer than the server lives.
    pub(crate) async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.0.stopping.cancelled() => {}
        }
    }
}

/// A server that has its port and does not answer yet.
pub struct Server {
    app: App,
    listener: TcpListener,
}

impl Server {
    /// Opens what the handlers need and binds the port.
    ///
    /// # Errors
    /// Where the home cannot be used, a database is from another version, or the port is taken.
    pub async fn bind(config: Config) -> Result<Self, Problem> {
        let Config { home, environment, listen, workspace } = config;
        let taken = |e: std::io::Error| {
            Problem::new(Code::Unavailable, "the web server cannot listen")
                .place(listen.to_string())
                .cause(e.to_string())
                .remedy("choose another port with --listen, or 0 for a free one")
        };
        let token = token::load_or_create(&home)?;
        let admin = S3Credentials::load_or_create(&home, &environment)?;
        let instance = catchment_instance::open(&home).await?;
        let ledger: SharedLedger = Arc::new(SqliteLedger::open(home.ledger_db()).await?);
        let listener = TcpListener::bind(listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let openapi = bytes::Bytes::from(crate::openapi().to_string());
        let stopping = CancellationToken::new();
        let app = App(Arc::new(Shared {
            home,
            environment,
            address,
            token,
            instance,
            ledger,
            admin,
            workspace,
            openapi,
            stopping,
        }));
        Ok(Self { app, listener })
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.app.address()
    }

    /// Answers until `shutdown` is done; then takes no new requests, and gives those under way five seconds.
    ///
    /// # Errors
    /// Where the listener fails.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Problem> {
        let Self { app, listener } = self;
        let stopping = app.0.stopping.clone();
        let service = router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tracing::info!(address = %app.address(), "the web server answers");
        let ended = stopping.clone();
        let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
            shutdown.await;
            stopping.cancel();
        });
        let overdue = async move {
            ended.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            done = serving => done.map_err(|e| Problem::new(Code::Io, "the web server failed").cause(e.to_string())),
            () = overdue => {
                tracing::warn!("requests that were under way were cut off");
                Ok(())
            }
        }
    }
}

/// All addresses under all layers.
fn router(app: App) -> Router {
    api::endpoints()
        .into_iter()
        .fold(Router::new(), |router, endpoint| endpoint::Endpoint::route(endpoint, router))
        .fallback(nothing_here)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(axum::middleware::map_response(harden))
        .layer(TraceLayer::new_for_http())
        .with_state(app)
}

/// Headers that every answer has.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn nothing_here(uri: Uri) -> ApiError {
    ApiError(
        Problem::new(Code::NotFound, "there is nothing at this address")
            .place(uri.path().to_owned())
            .remedy("see /api/v1/openapi.json for what there is"),
    )
}

async fn no_such_method(request: Request) -> ApiError {
    ApiError(
        Problem::new(Code::InvalidInput, format!("this address does not take {}", request.method()))
            .place(request.uri().path().to_owned())
            .remedy("see /api/v1/openapi.json for what it takes"),
    )
}
