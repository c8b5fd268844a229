//! Dynamic partitions.

use async_trait::async_trait;

use super::Result;

/// Dynamic partitions.
#[async_trait]
pub trait Partitions: Send + Sync {
    /// Adds keys; answers those that are new.
    async fn add_partitions(&self, definition: &str, keys: &[String]) -> Result<Vec<String>>;
    /// Takes keys out; answers those that were there.
    async fn delete_partitions(&self, definition: &str, keys: &[String]) -> Result<Vec<String>>;
    /// Keys in the order of their addition.
    async fn partitions(&self, definition: &str) -> Result<Vec<String>>;
    /// Whether a key is there.
    async fn has_partition(&self, definition: &str, key: &str) -> Result<bool>;
}
