//! Listings in pages, by keyset: what is written meanwhile shifts nothing.

use catchment_model::ObjectId;

/// Which part of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Begin after this document; `None` begins at the beginning.
    pub after: Option<ObjectId>,
    /// How many at most.
    pub limit: u32,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
}

impl PageRequest {
    /// The oldest documents.
    pub fn oldest(limit: u32) -> Self {
        Self { after: None, limit, newest_first: false }
    }

    /// The newest documents.
    pub fn newest(limit: u32) -> Self {
        Self { after: None, limit, newest_first: true }
    }

    /// The page after a document.
    pub fn after(mut self, id: Option<ObjectId>) -> Self {
        self.after = id;
        self
    }
}

/// Part of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, K = ObjectId> {
    /// The documents.
    pub items: Vec<T>,
    /// Where the next page begins; `None` where this was the last.
    pub next: Option<K>,
}
