//! Who may ask what: host names, origins, the token, and the time that an answer may take.
//!
//! The rules, in this order:
//! 1. A server that is bound to loopback answers only requests that name it by a loopback name, so that a web
//!    page whose name was pointed at 127.0.0.1 (DNS rebinding) learns nothing.
//! 2. A request that changes something and comes from another web page (`Origin`, `Sec-Fetch-Site`) is refused.
//! 3. A request that changes something needs the token, as does every read that does not come from this machine
//!    by a loopback name.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use catchment_model::{Code, Problem};
use catchment_settings::task;
use http::{HeaderMap, Method, header};

use crate::App;
use crate::error::ApiError;
use crate::token::same;

/// How long a handler may take until its answer begins.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Lets a request through, or answers why not.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip());
    let token = app.token().reveal();
    let asked = Asked {
        bound_to_loopback: app.address().ip().is_loopback(),
        client,
        method: request.method(),
        path: request.uri().path(),
        headers: request.headers(),
        authority: request.uri().host(),
    };
    if let Err(problem) = asked.check(token) {
        return ApiError(problem).into_response();
    }
    let late = |remedy| {
        let what = format!("no answer within {} s", ANSWER_WITHIN.as_secs());
        ApiError(Problem::new(Code::Unavailable, what).remedy(remedy)).into_response()
    };
    if reads(request.method()) {
        let answered = tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await;
        return answered.unwrap_or_else(|_| late("try again; `catchment doctor` says what is slow or missing"));
    }
    // A change goes on to its end, with its entry in the activity log, where the client goes away or the time is up.
    let change = task::spawn("change", next.run(request));
    match tokio::time::timeout(ANSWER_WITHIN, change).await {
        Ok(Ok(response)) => response,
        Ok(Err(broken)) => {
            let problem = Problem::new(Code::Bug, "the work on a request broke off").cause(broken.to_string());
            ApiError(problem).into_response()
        }
        Err(_) => late("it may still be carried out: see `/api/v1/activity` before you ask again"),
    }
}

/// Whether a method changes nothing.
fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What a decision rests on.
struct Asked<'a> {
    bound_to_loopback: bool,
    client: Option<IpAddr>,
    method: &'a Method,
    path: &'a str,
    headers: &'a HeaderMap,
    authority: Option<&'a str>,
}

impl Asked<'_> {
    fn check(&self, token: &str) -> Result<(), Problem> {
        let host = self.text(header::HOST).or(self.authority).unwrap_or_default();
        let local_name = is_loopback_name(host);
        if self.bound_to_loopback && !local_name {
            return Err(Problem::new(Code::Forbidden, "this server answers only to loopback names")
                .place(format!("Host: {host}"))
                .remedy("ask for http://127.0.0.1 or http://localhost, or bind it to another address with --listen"));
        }
        let reads = reads(self.method);
        if reads && matches!(self.path, "/healthz" | "/readyz") {
            return Ok(());
        }
        if !reads {
            self.check_origin(host)?;
        }
        let from_here = self.client.is_some_and(|ip| ip.to_canonical().is_loopback()) && local_name;
        if (reads && from_here) || self.bears(token) {
            return Ok(());
        }
        let problem = match self.text(header::AUTHORIZATION) {
            Some(_) => Problem::new(Code::Unauthenticated, "the token is not the one of this server"),
            None => Problem::new(Code::Unauthenticated, "this needs the API token"),
        };
        Err(problem.remedy(
            "send `Authorization: Bearer <token>`; the token is in the file api-token of CATCHMENT_HOME; the command line reads CATCHMENT_TOKEN",
        ))
    }

    fn check_origin(&self, host: &str) -> Result<(), Problem> {
        let refused = |what: String| {
            Err(Problem::new(Code::Forbidden, "changes are not taken from other web pages")
                .place(what)
                .remedy("send the request from a program, or from a page of this server"))
        };
        if let Some(site) = self.text(header::HeaderName::from_static("sec-fetch-site"))
            && !matches!(site, "same-origin" | "none")
        {
            return refused(format!("Sec-Fetch-Site: {site}"));
        }
        match self.text(header::ORIGIN) {
            Some(origin) if origin.split_once("://").map(|(_, authority)| authority) != Some(host) => {
                refused(format!("Origin: {origin}"))
            }
            _ => Ok(()),
        }
    }

    fn bears(&self, token: &str) -> bool {
        let given = self.text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        given.is_some_and(|(scheme, given)| scheme.eq_ignore_ascii_case("bearer") && same(given.trim(), token))
    }

    fn text(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Whether `host` (with or without a port) names this machine by its loopback interface.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{Asked, is_loopback_name};
    use catchment_model::Code;
    use http::{HeaderMap, Method};

    const LOCAL: &str = "127.0.0.1";
    const FAR: &str = "192.0.2.7";

    fn ask(bound: bool, client: &str, method: &Method, headers: &[(&'static str, &str)]) -> Option<Code> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let client = Some(client.parse().unwrap());
        let asked =
            Asked { bound_to_loopback: bound, client, method, path: "/api/v1/runs", headers: &map, authority: None };
        asked.check("t0ken").err().map(|p| p.code)
    }

    #[test]
    fn loopback_names_are_recognised_with_and_without_a_port() {
        for name in ["localhost", "localhost:3000", "127.0.0.1:3000", "127.1.2.3", "[::1]:3000", "LOCALHOST"] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in ["", "evil.example", "127.0.0.1.evil.example:3000", "10.0.0.1:3000", "localhost.evil:1"] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn a_page_whose_name_was_pointed_at_loopback_learns_nothing() {
        assert_eq!(ask(true, LOCAL, &Method::GET, &[("host", "evil.example")]), Some(Code::Forbidden));
        assert_eq!(
            ask(false, LOCAL, &Method::GET, &[("host", "evil.example")]),
            Some(Code::Unauthenticated),
            "bound to the world, a foreign name needs the token even from this machine"
        );
    }

    #[test]
    fn a_read_from_this_machine_needs_no_token_and_one_from_afar_does() {
        assert_eq!(ask(true, LOCAL, &Method::GET, &[("host", "localhost:3000")]), None);
        assert_eq!(ask(false, FAR, &Method::GET, &[("host", "server:3000")]), Some(Code::Unauthenticated));
        let bearer = [("host", "server:3000"), ("authorization", "Bearer t0ken")];
        assert_eq!(ask(false, FAR, &Method::GET, &bearer), None);
    }

    #[test]
    fn a_change_needs_the_token_and_comes_from_no_other_page() {
        let host = ("host", "localhost:3000");
        let bearer = ("authorization", "bearer t0ken");
        assert_eq!(ask(true, LOCAL, &Method::POST, &[host]), Some(Code::Unauthenticated));
        assert_eq!(
            ask(true, LOCAL, &Method::POST, &[host, ("authorization", "Bearer no")]),
            Some(Code::Unauthenticated)
        );
        assert_eq!(ask(true, LOCAL, &Method::POST, &[host, bearer]), None);
        for origin in ["http://evil.example", "null", "http://localhost:3001"] {
            assert_eq!(ask(true, LOCAL, &Method::POST, &[host, bearer, ("origin", origin)]), Some(Code::Forbidden));
        }
        assert_eq!(ask(true, LOCAL, &Method::DELETE, &[host, bearer, ("origin", "http://localhost:3000")]), None);
        assert_eq!(
            ask(true, LOCAL, &Method::POST, &[host, bearer, ("sec-fetch-site", "cross-site")]),
            Some(Code::Forbidden)
        );
    }
}
