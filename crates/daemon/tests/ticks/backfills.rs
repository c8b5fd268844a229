//! Backfills that people pause, resume and cancel.

use std::collections::BTreeMap;

use catchment_core::backfill::{Backfill, BackfillId, BackfillStatus, BackfillTarget, NewBackfill};
use catchment_core::definitions::{JobSpec, LocationSnapshot, PartitionsSpec, StepSpec};
use catchment_core::partitions::PartitionsDefinition;
use catchment_core::state::Command;
use catchment_core::{Run, RunStatus, tags};
use serde_json::Value;

use crate::stage::{BEGIN, LOCATION, Stage, Work, at, seconds};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn snapshot() -> LocationSnapshot {
    let keys = KEYS.map(str::to_owned).to_vec();
    let job = JobSpec {
        name: "job".into(),
        partitions: Some("letters".into()),
        steps: vec![StepSpec { key: "a".into(), ..StepSpec::default() }],
        ..JobSpec::default()
    };
    LocationSnapshot {
        location: LOCATION.into(),
        jobs: vec![job],
        partitions: vec![PartitionsSpec { name: "letters".into(), definition: PartitionsDefinition::Static { keys } }],
        ..LocationSnapshot::default()
    }
}

/// A backfill of all letters, of which at most two work at once.
struct Filling {
    stage: Stage,
    work: Work,
    id: BackfillId,
}

impl Filling {
    async fn new() -> Self {
        let stage = Stage::with(snapshot(), "backfills: {runs_at_once: 2}").await;
        let id = BackfillId("letters1".to_owned());
        let wanted = NewBackfill {
            id: id.clone(),
            location: LOCATION.into(),
            target: BackfillTarget::Job { job: "job".into(), partitions: KEYS.map(str::to_owned).to_vec() },
            policy: None,
            run_config: Value::Null,
            tags: BTreeMap::new(),
            title: None,
            description: None,
        };
        stage.instance.request_backfill(wanted, stage.now()).await.unwrap();
        let mut work = stage.work().await;
        work.step("backfills").await;
        Self { stage, work, id }
    }

    async fn backfill(&self) -> Backfill {
        self.stage.instance.backfill(&self.id).await.unwrap().unwrap()
    }

    async fn set(&self, status: BackfillStatus) {
        let mut backfill = self.backfill().await;
        backfill.status = status;
        self.stage.instance.update_backfill(&backfill).await.unwrap();
    }

    async fn look(&mut self) {
        self.stage.pass(seconds(5));
        self.work.step("backfills").await;
    }

    async fn runs(&self, status: RunStatus) -> Vec<Run> {
        self.stage.runs().await.into_iter().filter(|run| run.status == status).collect()
    }

    /// Lets all runs that wait end well.
    async fn do_what_waits(&self) {
        for run in self.runs(RunStatus::Queued).await {
            let run = self.stage.start(run.run_id).await;
            self.stage.end(&run, Command::Succeed).await;
        }
    }
}

#[tokio::test]
async fn a_paused_backfill_asks_for_no_run_until_it_is_resumed() {
    let mut filling = Filling::new().await;
    assert_eq!(filling.runs(RunStatus::Queued).await.len(), 2);
    assert_eq!(filling.backfill().await.status, BackfillStatus::Requested);
    filling.set(BackfillStatus::Paused).await;
    for _ in 0..5 {
        filling.do_what_waits().await;
        filling.look().await;
    }
    assert_eq!(filling.runs(RunStatus::Success).await.len(), 2, "what was asked for goes on");
    assert_eq!(filling.stage.runs().await.len(), 2);
    assert_eq!(filling.backfill().await.status, BackfillStatus::Paused);
    filling.set(BackfillStatus::Requested).await;
    for _ in 0..5 {
        filling.look().await;
        assert!(filling.runs(RunStatus::Queued).await.len() <= 2);
        filling.do_what_waits().await;
    }
    let ended = filling.backfill().await;
    assert_eq!((ended.status, ended.ended_at.is_some()), (BackfillStatus::CompletedSuccess, true));
    let mut done: Vec<_> = filling.stage.runs().await.into_iter().filter_map(|run| run.partition_key).collect();
    done.sort();
    assert_eq!(done, KEYS);
}

#[tokio::test]
async fn a_cancelled_backfill_cancels_its_runs_and_ends_when_they_have_ended() {
    for location_is_known in [true, false] {
        let mut filling = Filling::new().await;
        let stranger = filling.stage.queued("job", &[]).await;
        let mut of_backfill = filling.runs(RunStatus::Queued).await;
        of_backfill.retain(|run| run.tags.contains_key(tags::BACKFILL));
        let working = filling.stage.start(of_backfill[0].run_id).await;
        if !location_is_known {
            let fake = filling.stage.fake.clone();
            filling.stage.locations.set_unknown(LOCATION, fake, at(BEGIN));
        }
        filling.set(BackfillStatus::Canceling).await;
        filling.look().await;
        assert_eq!(filling.runs(RunStatus::Canceled).await.len(), 1, "one that waits ends at once");
        assert_eq!(filling.runs(RunStatus::Canceling).await.len(), 1);
        assert_eq!(filling.backfill().await.status, BackfillStatus::Canceling, "one of its runs still works");
        filling.stage.end(&working, Command::Canceled).await;
        filling.look().await;
        let ended = filling.backfill().await;
        assert_eq!((ended.status, ended.ended_at.is_some()), (BackfillStatus::Canceled, true));
        let waiting = filling.runs(RunStatus::Queued).await;
        assert_eq!(waiting.iter().map(|run| run.run_id).collect::<Vec<_>>(), [stranger.run_id]);
        assert_eq!(filling.stage.runs().await.len(), 3);
    }
}
