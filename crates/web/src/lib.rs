//! The web server: the REST API under `/api/v1`, health, and a start page.
//!
//! Here: the server itself ([`Server`]), who may ask what (`guard`, [`token`]), one table of all addresses from
//! which router and OpenAPI document are made (`endpoint`, [`openapi`]), the handlers (`api`), what they answer
//! ([`views`], which the command line reads too), and the start page (`page`).
//!
//! Not here: any decision about runs (the daemon's), any state of its own (it can be killed at any time), and
//! anything spatial.

mod api;
mod endpoint;
mod error;
mod extract;
mod guard;
mod page;

mod server;
pub mod token;
pub mod views;

pub use error::ApiError;
pub use extract::MAX_BODY;
pub use server::{App, Config, Server};

/// The OpenAPI 3.1 document of the API.
pub fn openapi() -> serde_json::Value {
    endpoint::openapi(&api::endpoints())
}
