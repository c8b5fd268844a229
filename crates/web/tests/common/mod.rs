//! A whole control plane in one process: a temporary home, the state, the ledger, the embedded S3 server, and the
//! web server on a free port.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::sync::Arc;

use catchment_core::{NewRun, RunId, tags};
use catchment_instance::SharedInstance;
use catchment_ledger::{SharedLedger, SqliteLedger};
use catchment_settings::home::Endpoints;
use catchment_settings::{Environment, Home, S3Credentials, task};
use catchment_store::{Store, StoreConfig};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;

const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub(crate) struct Plane {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) home: Home,
    pub(crate) instance: SharedInstance,
    pub(crate) ledger: SharedLedger,
    pub(crate) lake: Store,
    pub(crate) token: String,
    pub(crate) base: String,
    pub(crate) http: Client,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) served: Option<tokio::task::JoinHandle<()>>,
    _s3: oneshot::Sender<()>,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::start_with(catchment_settings::config::Workspace::default()).await
    }

    pub(crate) async fn start_with(workspace: catchment_settings::config::Workspace) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let environment = Environment::from_lookup(|_| None).unwrap();
        let admin = S3Credentials::load_or_create(&home, &environment).unwrap();

        let config = catchment_s3_server::Config::for_home(&home, &environment, admin.clone(), FREE);
        let s3 = catchment_s3_server::Server::bind(config).await.unwrap();
        let endpoint = format!("http://{}", s3.local_addr());
        let (s3_stop, s3_stopped) = oneshot::channel::<()>();
        task::spawn("s3", async move {
            s3.serve(async move { drop(s3_stopped.await) }).await.unwrap();
        });
        home.write_endpoints(&Endpoints { s3: Some(endpoint.clone()), ..Endpoints::default() }).unwrap();

        let config =
            catchment_web::Config { home: home.clone(), environment: environment.clone(), listen: FREE, workspace };
        let server = catchment_web::Server::bind(config).await.unwrap();
        let base = format!("http://{}", server.local_addr());
        let (stop, stopped) = oneshot::channel::<()>();
        let served = task::spawn("web", async move {
            server.serve(async move { drop(stopped.await) }).await.unwrap();
        });
        let lake = Store::new(StoreConfig {
            endpoint,
            access_key: admin.access_key,
            secret_key: admin.secret_key,
            bucket: environment.lake_bucket,
        });
        Self {
            instance: catchment_instance::open(&home).await.unwrap(),
            ledger: Arc::new(SqliteLedger::open(home.ledger_db()).await.unwrap()),
            token: catchment_web::token::load(&home).unwrap().reveal().to_owned(),
            lake,
            home,
            folder,
            base,
            http: Client::builder().no_proxy().build().unwrap(),
            stop: Some(stop),
            served: Some(served),
            _s3: s3_stop,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub(crate) async fn change(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(method, path).bearer_auth(&self.token).json(&body)).await
    }

    /// A queued run of that batch.
    pub(crate) async fn run(&self, batch_id: &str) -> RunId {
        let run_id = RunId::random();
        let run = NewRun {
            run_id,
            job_name: "spatial_asset_job".into(),
            location: "etl_pipelines".into(),
            run_config: json!({"ops": {"raw_manifest_json": {"config": {
                "object": {"key": format!("manifests/{batch_id}.json"), "etag": "e1", "principal": "admin"},
            }}}}),
            tags: [(tags::RUN_KEY.to_owned(), batch_id.to_owned())].into(),
            partition_key: Some("parcels".into()),
            selection: catchment_core::Selection::default(),
            parent_run_id: None,
            root_run_id: None,
        };
        self.instance.enqueue(run, catchment_settings::clock::now()).await.unwrap();
        run_id
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
