//! Hints that there is something to do, from PostgreSQL: they save time, and nothing rests on them.

use std::time::Duration;

use catchment_settings::wake::Hint;
use sqlx::postgres::{PgListener, PgNotification};
use uuid::Uuid;

use super::{Shared, dialect, open};
use crate::Result;

/// Between tries to reach the server again.
const AGAIN: Duration = Duration::from_secs(2);

/// Receives hints of what other handles on the same state have written. SQLite gives none: there,
/// `catchment_settings::wake` does it.
#[derive(Debug)]
pub struct Hints {
    listener: Option<PgListener>,
    own: Uuid,
}

impl Hints {
    pub(super) async fn listen(shared: &Shared) -> Result<Self> {
        let listener = match &shared.postgres {
            None => None,
            Some(settings) => {
                let mut listener = PgListener::connect(&open::postgres_url(settings)).await?;
                listener.listen(dialect::CHANNEL).await?;
                Some(listener)
            }
        };
        Ok(Self { listener, own: shared.id })
    }

    /// Waits for the next hint, which stands for all those that have piled up behind it. A server that is away is
    /// asked again until it is back, which counts as a hint: some may have been missed meanwhile. Cancel-safe.
    pub async fn woken(&mut self) -> Hint {
        let Some(listener) = &mut self.listener else { return std::future::pending().await };
        loop {
            match listener.try_recv().await {
                Ok(Some(first)) => {
                    let rest = std::iter::from_fn(|| listener.next_buffered());
                    if let Some(hint) =
                        std::iter::once(first).chain(rest).filter_map(|sent| read(&sent, self.own)).max()
                    {
                        return hint;
                    }
                }
                // The connection was lost; the next call makes it again.
                Ok(None) => return Hint::Anything,
                Err(error) => {
                    tracing::debug!(%error, "no hints from PostgreSQL: work is found by looking");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

/// What goes out on the channel: whose hint it is, and of what.
pub(super) fn payload(own: Uuid, hint: Hint) -> String {
    let what = match hint {
        Hint::Runs => "runs",
        Hint::Anything => "anything",
    };
    format!("{own} {what}")
}

/// A hint of somebody else; of a kind that is not known, it may be anything.
fn read(sent: &PgNotification, own: Uuid) -> Option<Hint> {
    let (whose, what) = sent.payload().split_once(' ').unwrap_or_default();
    (whose != own.to_string()).then_some(if what == "runs" { Hint::Runs } else { Hint::Anything })
}
