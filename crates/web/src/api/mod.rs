//! The handlers, one file for each kind of thing, and the table of all addresses.

mod activity;
mod datasets;
mod health;
mod keys;
mod lake;
mod logs;
mod manifests;
mod runs;
mod sensors;

use crate::endpoint::Endpoint;

/// Every address of the server.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    [
        health::endpoints(),
        runs::endpoints(),
        logs::endpoints(),
        datasets::endpoints(),
        manifests::endpoints(),
        sensors::endpoints(),
        activity::endpoints(),
        keys::endpoints(),
        lake::endpoints(),
        crate::page::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
