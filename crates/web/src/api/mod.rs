//! The handlers, one file for each kind of thing, and the table of all addresses.

mod activity;
mod asset_history;
mod backfills;
mod datasets;
mod definitions;
mod find;
mod health;
mod instigators;
mod keys;
mod lake;
mod launch;
mod launchable;
mod locations;
mod logs;
mod manifests;
mod operations;
mod partitions;
mod runs;

use crate::endpoint::Endpoint;

/// Every address of the server.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    [
        health::endpoints(),
        runs::endpoints(),
        logs::endpoints(),
        datasets::endpoints(),
        manifests::endpoints(),
        locations::endpoints(),
        definitions::endpoints(),
        asset_history::endpoints(),
        launch::endpoints(),
        instigators::endpoints(),
        partitions::endpoints(),
        backfills::endpoints(),
        operations::endpoints(),
        activity::endpoints(),
        keys::endpoints(),
        lake::endpoints(),
        crate::page::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
