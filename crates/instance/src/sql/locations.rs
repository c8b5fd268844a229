//! Follows.
#![allow(warnings, reason = "follows")]
use super::SqlInstance;
use crate::*;
use async_trait::async_trait;
use catchment_core::definitions::LocationSnapshot;
use catchment_model::Problem;
use jiff::Timestamp;

#[async_trait]
impl Locations for SqlInstance {
    async fn locations(&self) -> Result<Vec<LocationRecord>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn save_location(&self, _location: &LocationRecord) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn forget_location(&self, _name: &str) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
}
