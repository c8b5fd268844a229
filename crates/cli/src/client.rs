//! The client of the REST API.

use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::{Environment, Home, Secret};
use futures::StreamExt as _;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use catchment_web::views::WorkLine;

/// The web server as this command reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<Secret>,
}

impl Api {
    /// Finds the server: `--url`, else `CATCHMENT_URL`, else `endpoints.json` of the home; and the token:
    /// `CATCHMENT_TOKEN`, else the home's file.
    ///
    /// # Errors
    /// [`Code::Unavailable`] where no address is known, [`Code::InvalidInput`] where one is no URL.
    pub(crate) fn find(url: Option<&str>, environment: &Environment) -> Result<Self, Problem> {
        let set = |name| std::env::var(name).ok().filter(|v: &String| !v.is_empty());
        let home = Home::at(&environment.home)
            .map_err(|e| Problem::new(Code::Io, "the home has no path").cause(e.to_string()))?;
        let base = match url.map(str::to_owned).or_else(|| set("CATCHMENT_URL")) {
            Some(url) => url,
            None => home.endpoints().ok().and_then(|e| e.web).ok_or_else(|| no_address(&home))?,
        };
        let base = base.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&base).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        let Some(parsed) = parsed else {
            return Err(Problem::new(Code::InvalidInput, "this is not the address of a web server")
                .place(base)
                .remedy("write it as http://127.0.0.1:3000"));
        };
        let token = set("CATCHMENT_TOKEN").map(Secret::new).or_else(|| catchment_web::token::load(&home));
        // Reading the system's certificates takes longer than a whole command: only where they are needed.
        let mut http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .tls_built_in_root_certs(parsed.scheme() == "https")
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&parsed) {
            http = http.no_proxy();
        }
        let http =
            http.build().map_err(|e| Problem::new(Code::Bug, "the HTTP client cannot be made").cause(chain(&e)))?;
        Ok(Self { http, base, token })
    }

    /// Where the server is.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The client for other addresses, such as signed ones.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// GET, as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Problem> {
        self.json(self.request(Method::GET, path).query(query).timeout(Duration::from_secs(90))).await
    }

    /// GET, as it is.
    pub(crate) async fn raw(&self, path: &str, from: u64) -> Result<Response, Problem> {
        let mut request = self.request(Method::GET, path);
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        self.send(request).await
    }

    /// POST with a JSON body.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Problem> {
        self.json(self.request(Method::POST, path).json(body).timeout(Duration::from_secs(90))).await
    }

    /// DELETE.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        self.json(self.request(Method::DELETE, path).timeout(Duration::from_secs(90))).await
    }

    /// DELETE with a JSON body.
    pub(crate) async fn delete_with<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        self.json(self.request(Method::DELETE, path).json(body).timeout(Duration::from_secs(90))).await
    }

    /// POST of a long work: `progress` sees each line on the way; the report is the answer.
    pub(crate) async fn work(
        &self,
        path: &str,
        body: &impl Serialize,
        mut progress: impl FnMut(&str, u64, Option<u64>),
    ) -> Result<serde_json::Value, Problem> {
        let response = self.send(self.request(Method::POST, path).json(body)).await?;
        let mut stream = response.bytes_stream();
        let mut buffer: Vec<u8> = Vec::new();
        while let Some(chunk) = stream.next().await {
            buffer.extend_from_slice(&chunk.map_err(|e| self.broken(&e))?);
            while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                match serde_json::from_slice(&line).map_err(|e| self.not_understood(&e.to_string()))? {
                    WorkLine::Progress { stage, done, total } => progress(&stage, done, total),
                    WorkLine::Report { report } => return Ok(report),
                    WorkLine::Problem { problem } => return Err(problem),
                }
            }
        }
        Err(Problem::new(Code::Unavailable, "the server ended before the work was done")
            .place(self.base.clone())
            .remedy("run the command again; see the log of the webserver"))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}/api/v1{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Problem> {
        let response = request.send().await.map_err(|e| self.broken(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        Err(serde_json::from_slice::<Problem>(&body)
            .unwrap_or_else(|_| self.not_understood(&format!("HTTP status {status}"))))
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Problem> {
        let bytes = self.send(request).await?.bytes().await.map_err(|e| self.broken(&e))?;
        serde_json::from_slice(&bytes).map_err(|e| self.not_understood(&e.to_string()))
    }

    fn broken(&self, error: &reqwest::Error) -> Problem {
        Problem::new(Code::Unavailable, "the web server is out of reach")
            .place(self.base.clone())
            .cause(chain(error))
            .remedy("start it with `catchment dev`, or say where it is with --url or CATCHMENT_URL")
    }

    fn not_understood(&self, cause: &str) -> Problem {
        Problem::new(Code::Unavailable, "the answer of the server is not understood")
            .place(self.base.clone())
            .cause(cause)
            .remedy("see that it is Catchment's web server, of the same version as this program")
    }
}

fn no_address(home: &Home) -> Problem {
    Problem::new(Code::Unavailable, "no web server is known")
        .place(home.root().display().to_string())
        .cause("nothing has been started in this home yet")
        .remedy("start it with `catchment dev`, or say where it is with --url or CATCHMENT_URL")
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An error with everything that is under it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut under = error.source();
    while let Some(error) = under {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        under = error.source();
    }
    texts.join(": ")
}
