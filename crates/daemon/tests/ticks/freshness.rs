//! Freshness policies.

use std::time::Duration;

use catchment_core::definitions::LocationSnapshot;
use catchment_core::freshness::FreshnessPolicy;
use catchment_core::{EventKind, RunId};
use catchment_daemon::freshness::Freshness;

use crate::stage::{LOCATION, Stage, asset, seconds};

fn snapshot() -> LocationSnapshot {
    let mut roads = asset("roads", &[]);
    let policy = FreshnessPolicy::time_window(Duration::from_secs(3600), Some(Duration::from_secs(1800)));
    roads.freshness = Some(policy.unwrap());
    LocationSnapshot {
        location: LOCATION.into(),
        assets: vec![roads, asset("rivers", &[])],
        ..LocationSnapshot::default()
    }
}

async fn changes(stage: &Stage) -> Vec<(String, String)> {
    let events = stage.instance.events_after(0, &[EventKind::FreshnessStateChange], 99).await.unwrap();
    let text = |event: &catchment_core::Event, name: &str| event.event.data[name].as_str().unwrap().to_owned();
    events
        .iter()
        .map(|event| {
            assert_eq!((event.event.run_id, event.event.asset_key()), (RunId::NONE, Some("roads")));
            (text(event, "from"), text(event, "to"))
        })
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
}

#[tokio::test]
async fn an_asset_passes_warns_and_fails_as_time_goes_by_and_each_change_is_written_once() {
    let stage = Stage::new(snapshot()).await;
    let mut freshness = Freshness::new(stage.restarted());
    freshness.step().await.unwrap();
    assert_eq!(changes(&stage).await, []);
    stage.made("roads", None, RunId::NONE).await;
    stage.made("rivers", None, RunId::NONE).await;
    freshness.step().await.unwrap();
    assert_eq!(changes(&stage).await, pairs(&[("UNKNOWN", "PASS")]), "it is looked at as soon as it is made");
    for _ in 0..130 {
        stage.pass(seconds(30));
        // Whoever looks, it is said once.
        freshness.step().await.unwrap();
        Freshness::new(stage.restarted()).step().await.unwrap();
    }
    assert_eq!(changes(&stage).await, pairs(&[("UNKNOWN", "PASS"), ("PASS", "WARN"), ("WARN", "FAIL")]));
    stage.made("roads", None, RunId::NONE).await;
    freshness.step().await.unwrap();
    assert_eq!(changes(&stage).await.last(), pairs(&[("FAIL", "PASS")]).first());
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let stage = Stage::with(snapshot(), "freshness: {enabled: false}").await;
    stage.made("roads", None, RunId::NONE).await;
    Freshness::new(stage.restarted()).step().await.unwrap();
    assert_eq!(changes(&stage).await, []);
}

#[tokio::test]
async fn an_observation_makes_only_an_asset_fresh_that_is_not_made_here() {
    let mut snapshot = snapshot();
    let policy = snapshot.assets[0].freshness.clone();
    let mut external = asset("external", &[]);
    external.step = String::new();
    let mut observed = asset("observed", &[]);
    observed.is_observed = true;
    for mut asset in [external, observed] {
        asset.freshness = policy.clone();
        snapshot.assets.push(asset);
    }
    let stage = Stage::new(snapshot).await;
    for asset in ["roads", "external", "observed"] {
        stage.append(EventKind::AssetObservation, serde_json::json!({ "asset_key": asset }), RunId::NONE).await;
    }
    Freshness::new(stage.restarted()).step().await.unwrap();
    let events = stage.instance.events_after(0, &[EventKind::FreshnessStateChange], 99).await.unwrap();
    let fresh: Vec<_> = events.iter().map(|event| event.event.asset_key().unwrap()).collect();
    assert_eq!(fresh, ["external", "observed"]);
}
