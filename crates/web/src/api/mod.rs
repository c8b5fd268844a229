//! The handlers, one file for each kind of thing, and the table of all addresses.

mod health;
mod logs;
mod runs;
mod sensors;

use crate::endpoint::Endpoint;

/// Every address of the server.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    [health::endpoints(), runs::endpoints(), logs::endpoints(), sensors::endpoints()].into_iter().flatten().collect()
}
