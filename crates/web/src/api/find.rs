//! Finds what code locations define, and a client of the one that does.

use std::collections::BTreeMap;
use std::sync::Arc;

use catchment_core::definitions::LocationSnapshot;
use catchment_core::partitions::PartitionsDefinition;
use catchment_instance::LocationRecord;
use catchment_locations::{GrpcClient, LocationClient};
use catchment_model::{Code, Problem};
use catchment_settings::config::GrpcAddress;

use crate::App;
use crate::error::{ApiError, ApiResult, invalid, not_found};

/// A code location with its last definitions.
pub(super) struct Known {
    pub(super) record: LocationRecord,
    pub(super) snapshot: LocationSnapshot,
}

/// All code locations that ever answered, or the one that is named.
pub(super) async fn locations(app: &App, only: Option<&str>) -> ApiResult<Vec<Known>> {
    let mut records = app.instance().locations().await?;
    if let Some(only) = only {
        records.retain(|record| record.name == only);
        if records.is_empty() {
            return Err(not_found(format!("there is no code location `{only}`"), "see `catchment location list`"));
        }
    }
    let known = records.into_iter().filter_map(|mut record| {
        let snapshot = record.snapshot.take()?;
        // What is asked of the record is whether it answers.
        record.snapshot = Some(LocationSnapshot::default());
        Some(Known { record, snapshot })
    });
    Ok(known.collect())
}

/// The code location that defines something; `what` is its kind and name.
pub(super) async fn defining(
    app: &App,
    only: Option<&str>,
    what: &str,
    defines: impl Fn(&LocationSnapshot) -> bool,
) -> ApiResult<Known> {
    let known = locations(app, only).await?;
    let mut found = known.into_iter().filter(|known| defines(&known.snapshot));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(one), Some(other)) => Err(invalid(
            format!("several code locations define the {what}: {}, {}", one.record.name, other.record.name),
            "location",
            "say which one is meant (--location)",
        )),
        (None, _) => {
            // `sensor `x``: the commands have the same names. Partitions are listed by their name only.
            let kind = what.split(' ').next().filter(|kind| *kind != "partitions").unwrap_or("asset");
            Err(not_found(
                format!("no code location defines the {what}"),
                format!("see `catchment {kind} list` for what there is, `catchment location list` for what is away"),
            ))
        }
    }
}

impl Known {
    /// A client of the location.
    ///
    /// # Errors
    /// `unavailable` where it does not answer now.
    pub(super) fn client(&self, app: &App) -> ApiResult<Arc<dyn LocationClient>> {
        let name = &self.record.name;
        if !self.record.is_here() {
            let why = self.record.problem.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(ApiError(
                Problem::new(Code::Unavailable, format!("the code location `{name}` does not answer"))
                    .place(name.clone())
                    .cause(why)
                    .remedy("start it, or mend what is wrong with it; see `catchment location list`"),
            ));
        }
        let entry = app.workspace().locations.iter().find(|entry| entry.name == *name);
        let address = entry
            .map_or_else(|| GrpcAddress::Socket(app.home().location_socket(name)), |entry| entry.address(app.home()));
        Ok(Arc::new(GrpcClient::new(&address)?))
    }

    /// The keys of the dynamic partitions that the location's definitions name.
    pub(super) async fn dynamic_keys(&self, app: &App) -> ApiResult<BTreeMap<String, Vec<String>>> {
        let mut keys = BTreeMap::new();
        let mut open: Vec<_> = self.snapshot.partitions.iter().map(|spec| &spec.definition).collect();
        while let Some(definition) = open.pop() {
            match definition {
                PartitionsDefinition::Dynamic { name } if !keys.contains_key(name) => {
                    keys.insert(name.clone(), app.instance().partitions(name).await?);
                }
                PartitionsDefinition::Multi { dimensions } => open.extend(dimensions.values()),
                _ => {}
            }
        }
        Ok(keys)
    }
}
