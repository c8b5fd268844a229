//! Hints that there is something to do, from PostgreSQL: they save time, and nothing rests on them.

use catchment_settings::PostgresSettings;
use sqlx::postgres::PgListener;

use super::{dialect, open};
use crate::Result;

/// Receives hints of other processes. SQLite gives none: there, `catchment_settings::wake` does it.
#[derive(Debug)]
pub struct Hints {
    listener: Option<PgListener>,
}

impl Hints {
    pub(super) async fn listen(settings: Option<&PostgresSettings>) -> Result<Self> {
        let listener = match settings {
            None => None,
            Some(settings) => {
                let mut listener = PgListener::connect(&open::postgres_url(settings)).await?;
                listener.listen(dialect::CHANNEL).await?;
                Some(listener)
            }
        };
        Ok(Self { listener })
    }

    /// Waits for the next hint, and swallows those that have piled up behind it. A connection that was lost is made
    /// again, and counts as a hint, since some may have been missed meanwhile; one that cannot be made gives no more.
    /// Cancel-safe.
    pub async fn woken(&mut self) {
        if let Some(listener) = &mut self.listener {
            match listener.try_recv().await {
                Ok(_) => {
                    while listener.next_buffered().is_some() {}
                    return;
                }
                Err(error) => tracing::warn!(%error, "no more hints from PostgreSQL: work is found by looking"),
            }
        }
        self.listener = None;
        std::future::pending().await
    }
}
