//! Follows.
#![allow(warnings, reason = "follows")]
use super::SqlInstance;
use crate::*;
use async_trait::async_trait;

#[async_trait]
impl Partitions for SqlInstance {
    async fn add_partitions(&self, _definition: &str, _keys: &[String]) -> Result<Vec<String>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn delete_partitions(&self, _definition: &str, _keys: &[String]) -> Result<Vec<String>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn partitions(&self, _definition: &str) -> Result<Vec<String>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn has_partition(&self, _definition: &str, _key: &str) -> Result<bool> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
}
