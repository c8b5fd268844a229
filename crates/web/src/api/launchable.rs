//! What must hold before a run is made: its tags, selection, partition and run config.

use std::collections::BTreeMap;

use catchment_core::definitions::{JobSpec, LocationSnapshot};
use catchment_core::partitions::{PartitionContext, PartitionsDefinition};
use catchment_core::{Selection, tags};
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use serde_json::Value;

use super::find::Known;
use crate::App;
use crate::error::{ApiError, ApiResult, invalid};

/// Reserved tags that users may set.
const USERS_OWN: &[&str] = &[
    tags::PRIORITY,
    tags::MAX_RETRIES,
    tags::RETRY_STRATEGY,
    tags::MAX_RUNTIME,
    tags::RETRY_ON_STEP_FAILURE,
    tags::ISOLATION,
];

/// Tags that a user may not set are refused, so that none is mistaken for what the system says.
pub(super) fn check_tags(own: &BTreeMap<String, String>) -> ApiResult<()> {
    const RESERVED: [&str; 3] = [tags::SYSTEM_PREFIX, tags::HIDDEN_PREFIX, tags::OWN_PREFIX];
    let reserved = |key: &str| RESERVED.iter().any(|prefix| key.starts_with(prefix));
    for (key, value) in own {
        if let Some(allowed) = tags::unreadable(key, value) {
            let what = format!("the tag `{key}` does not take the value `{value}`");
            return Err(invalid(what, "tags", format!("it takes {allowed}")));
        }
    }
    match own.keys().find(|key| reserved(key) && !USERS_OWN.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(invalid(
            format!("the tag `{key}` is set by the system"),
            "tags",
            format!("of those that begin with dagster/ or catchment/, these may be set: {}", USERS_OWN.join(", ")),
        )),
    }
}

/// Checks the partition against the definitions of what is to run; answers its tags.
pub(super) async fn check_partition(
    app: &App,
    known: &Known,
    job: &JobSpec,
    selection: &Selection,
    key: Option<&str>,
) -> ApiResult<BTreeMap<String, String>> {
    let definitions = definitions_of(&known.snapshot, job, selection);
    let Some(key) = key else {
        return match definitions.first_key_value().filter(|_| !is_of_checks_alone(selection)) {
            None => Ok(BTreeMap::new()),
            Some((name, _)) => Err(invalid(
                format!("what is to run has partitions (`{name}`), and none was named"),
                "partition_key",
                "name one (--partition); `catchment partition list` shows them, `catchment backfill create` runs many",
            )),
        };
    };
    if definitions.is_empty() {
        return Err(invalid("what is to run has no partitions", key, "leave the partition out"));
    }
    let dynamic = known.dynamic_keys(app).await?;
    let cx = PartitionContext { now: clock::now(), dynamic: &dynamic };
    let mut all = BTreeMap::new();
    for (name, definition) in definitions {
        if !definition.contains(key, cx) {
            return Err(invalid(
                format!("`{key}` is no partition of `{name}`"),
                "partition_key",
                format!("see `catchment partition list {name}`"),
            ));
        }
        all.extend(tags::of_partition(Some(definition), key));
    }
    Ok(all)
}

/// Has the code location check run config.
pub(super) async fn check_config(
    app: &App,
    known: &Known,
    job: &str,
    run_config: &Value,
    selection: &Selection,
) -> ApiResult<()> {
    let client = known.client(app)?;
    let faults = client.validate_run_config(job, run_config, selection).await.map_err(Problem::from)?;
    if faults.is_empty() {
        return Ok(());
    }
    Err(ApiError(
        Problem::new(Code::InvalidInput, format!("the run config does not fit the job `{job}`"))
            .place(known.record.name.clone())
            .faults(faults)
            .remedy("mend what is listed; the job's config schema says what it takes"),
    ))
}

/// The partitions definitions of what is to run, by name. A selection counts by what it selects: the job that holds
/// all assets may have partitions that the selected ones have not.
fn definitions_of<'a>(
    snapshot: &'a LocationSnapshot,
    job: &'a JobSpec,
    selection: &'a Selection,
) -> BTreeMap<&'a str, &'a PartitionsDefinition> {
    let of_checks = snapshot.checks.iter().filter(|check| selection.checks.contains(&check.key()));
    let assets = selection.assets.iter().chain(of_checks.map(|check| &check.asset_key));
    let of_assets = assets.filter_map(|key| snapshot.asset(key)?.partitions.as_deref());
    let of_job = job.partitions.as_deref().filter(|_| selection.assets.is_empty() && selection.checks.is_empty());
    of_assets.chain(of_job).filter_map(|name| Some((name, snapshot.partitions(name)?))).collect()
}

/// Such a run needs no partition: a check may look at all of an asset.
fn is_of_checks_alone(selection: &Selection) -> bool {
    selection.assets.is_empty() && selection.steps.is_empty() && !selection.checks.is_empty()
}

/// Steps and checks that are named must be there, and a check that is named alone must have a step of its own.
pub(super) fn check_selection(snapshot: &LocationSnapshot, job: &JobSpec, selection: &Selection) -> ApiResult<()> {
    let name = &job.name;
    if let Some(unknown) = selection.steps.iter().find(|key| !job.steps.iter().any(|step| step.key == **key)) {
        let steps = job.steps.iter().map(|step| step.key.as_str()).collect::<Vec<_>>().join(", ");
        return Err(invalid(format!("the job has no step `{unknown}`"), name, format!("its steps are {steps}")));
    }
    if !selection.steps.is_empty() && !selection.checks.is_empty() {
        return Err(invalid("both steps and checks are named", name, "name one of them"));
    }
    for key in &selection.checks {
        let check = snapshot.checks.iter().find(|check| check.key() == *key);
        let Some(check) =
            check.filter(|check| job.steps.iter().any(|step| step.checks.contains(key) || step.key == check.step))
        else {
            return Err(invalid(format!("the job has no check `{key}`"), name, "see `catchment check list`"));
        };
        let asset = snapshot.asset(&check.asset_key);
        if !selection.assets.contains(&check.asset_key) && asset.is_some_and(|asset| asset.step == check.step) {
            return Err(invalid(
                format!("the check `{key}` is evaluated while its asset is made, and not alone"),
                name,
                format!("make the asset: catchment asset materialize {}", check.asset_key),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use catchment_core::Selection;
    use catchment_core::definitions::{AssetSpec, CheckSpec, JobSpec, LocationSnapshot, PartitionsSpec, StepSpec};
    use catchment_core::partitions::PartitionsDefinition;

    use super::{check_selection, check_tags, definitions_of};

    fn snapshot() -> LocationSnapshot {
        let asset = |key: &str, partitions: Option<&str>| AssetSpec {
            key: key.into(),
            step: key.into(),
            partitions: partitions.map(str::to_owned),
            ..AssetSpec::default()
        };
        let check = |name: &str, step: &str| CheckSpec {
            asset_key: "daily".into(),
            name: name.into(),
            step: step.into(),
            ..CheckSpec::default()
        };
        LocationSnapshot {
            assets: vec![asset("plain", None), asset("daily", Some("days"))],
            checks: vec![check("inner", "daily"), check("own", "daily_own")],
            partitions: vec![PartitionsSpec {
                name: "days".into(),
                definition: PartitionsDefinition::Static { keys: vec!["a".into()] },
            }],
            ..LocationSnapshot::default()
        }
    }

    /// The job of all assets, which has the partitions of the only definition that there is.
    fn job() -> JobSpec {
        let step = |key: &str| StepSpec { key: key.into(), ..StepSpec::default() };
        let steps = vec![step("plain"), step("daily"), step("daily_own")];
        JobSpec { name: "all".into(), partitions: Some("days".into()), steps, ..JobSpec::default() }
    }

    fn of_assets(keys: &[&str]) -> Selection {
        Selection { assets: keys.iter().map(|key| (*key).to_owned()).collect(), ..Selection::default() }
    }

    fn of_checks(keys: &[&str]) -> Selection {
        Selection { checks: keys.iter().map(|key| (*key).to_owned()).collect(), ..Selection::default() }
    }

    #[test]
    fn an_asset_without_partitions_needs_none_whatever_other_assets_have() {
        let (snapshot, job) = (snapshot(), job());
        let names = |selection: &Selection| {
            definitions_of(&snapshot, &job, selection).into_keys().map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(names(&of_assets(&["plain"])).is_empty());
        assert_eq!(names(&of_assets(&["plain", "daily"])), ["days"]);
        assert_eq!(names(&of_checks(&["daily:own"])), ["days"]);
        assert_eq!(names(&Selection::default()), ["days"]);
    }

    #[test]
    fn a_check_runs_alone_where_it_has_a_step_of_its_own() {
        let check = |selection: &Selection| check_selection(&snapshot(), &job(), selection).map_err(|e| e.0.what);
        check(&of_checks(&["daily:own"])).unwrap();
        assert!(check(&of_checks(&["daily:inner"])).unwrap_err().contains("not alone"));
        assert!(check(&of_checks(&["daily:none"])).unwrap_err().contains("no check"));
        check(&Selection { checks: vec!["daily:inner".into()], ..of_assets(&["daily"]) }).unwrap();
        assert!(check(&Selection { steps: vec!["plain".into()], ..of_checks(&["daily:own"]) }).is_err());
        assert!(check(&Selection { steps: vec!["none".into()], ..Selection::default() }).is_err());
    }

    #[test]
    fn reserved_tags_are_refused_but_for_those_that_users_may_set() {
        let check = |key: &str| check_tags(&BTreeMap::from([(key.to_owned(), "1".to_owned())])).is_ok();
        for key in ["dagster/priority", "dagster/isolation", "dagster/max_runtime", "team", "catchment"] {
            assert!(check(key), "{key}");
        }
        for key in ["dagster/run_key", ".dagster/repository", "catchment/principal"] {
            assert!(!check(key), "{key}");
        }
    }
}
