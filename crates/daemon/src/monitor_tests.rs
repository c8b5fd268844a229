use std::collections::BTreeMap;
use std::time::Duration;

use catchment_core::{Run, RunId, RunStatus, Selection, tags};
use catchment_launchers::{Exit, Liveness};
use jiff::Timestamp;

use super::{Verdict, later, verdict};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn run(status: RunStatus, lease_until: Option<i64>) -> Run {
    Run {
        run_id: RunId::random(),
        job_name: "j".into(),
        location: "l".into(),
        status,
        run_config: serde_json::Value::Null,
        tags: BTreeMap::new(),
        partition_key: None,
        selection: Selection::default(),
        parent_run_id: None,
        root_run_id: None,
        created_at: at(0),
        launched_at: None,
        started_at: None,
        ended_at: None,
        lease_epoch: 1,
        lease_until: lease_until.map(at),
        process: Some("9".into()),
        problem: None,
    }
}

fn ended() -> Exit {
    Exit { run_id: RunId::random(), epoch: 1, process: "9".into(), how: "signal: 9 (SIGKILL)".into() }
}

/// A lease that was seen to be renewed a moment ago.
const SHORT: Duration = Duration::from_secs(1);
/// A lease that was not renewed for longer than a process may take.
const LONG: Duration = Duration::from_secs(11);

fn judge(run: &Run, stood_still: Duration, ended: Option<&Exit>, liveness: Liveness) -> Verdict {
    verdict(run, at(5), ended, liveness, stood_still, None)
}

#[test]
fn a_run_that_renews_its_lease_is_left_alone() {
    for status in [RunStatus::Starting, RunStatus::Started] {
        for liveness in [Liveness::Alive, Liveness::Unknown] {
            assert_eq!(judge(&run(status, Some(10)), SHORT, None, liveness), Verdict::Leave);
        }
    }
}

#[test]
fn a_run_without_a_process_to_be_is_left_alone() {
    for status in
        [RunStatus::NotStarted, RunStatus::Queued, RunStatus::Success, RunStatus::Failure, RunStatus::Canceled]
    {
        assert_eq!(judge(&run(status, None), SHORT, Some(&ended()), Liveness::Gone), Verdict::Leave);
    }
}

#[test]
fn a_process_that_has_ended_is_seen_before_its_lease_lapses() {
    for status in [RunStatus::Starting, RunStatus::Started, RunStatus::Canceling] {
        let found = judge(&run(status, Some(10)), SHORT, Some(&ended()), Liveness::Unknown);
        assert!(matches!(&found, Verdict::TakeOver(why) if why.contains("SIGKILL")), "{found:?}");
        let found = judge(&run(status, Some(10)), SHORT, None, Liveness::Gone);
        assert!(matches!(found, Verdict::TakeOver(_)), "{found:?}");
    }
}

#[test]
fn a_lapsed_lease_costs_a_started_run_its_process_even_if_that_lives() {
    for liveness in [Liveness::Alive, Liveness::Unknown] {
        let found = judge(&run(RunStatus::Started, Some(4)), LONG, None, liveness);
        assert!(matches!(found, Verdict::TakeOver(_)), "{found:?}");
    }
    assert!(matches!(judge(&run(RunStatus::Started, None), SHORT, None, Liveness::Unknown), Verdict::TakeOver(_)));
}

#[test]
fn a_launch_that_nobody_answered_is_put_back() {
    assert_eq!(judge(&run(RunStatus::Starting, Some(4)), LONG, None, Liveness::Unknown), Verdict::PutBack);
}

#[test]
fn a_cancelled_run_is_escalated_while_its_process_may_live() {
    let cancelling = |until| run(RunStatus::Canceling, until);
    assert_eq!(judge(&cancelling(Some(10)), SHORT, None, Liveness::Unknown), Verdict::Escalate);
    assert_eq!(judge(&cancelling(Some(4)), LONG, None, Liveness::Alive), Verdict::Escalate);
    let found = judge(&cancelling(Some(4)), LONG, None, Liveness::Unknown);
    assert!(matches!(found, Verdict::TakeOver(_)), "{found:?}");
}

#[test]
fn a_lease_that_never_ends_does_not_overflow() {
    assert_eq!(later(at(5), Duration::from_secs(10)), at(15));
    assert_eq!(later(at(5), Duration::MAX), Timestamp::MAX);
}

#[test]
fn a_run_that_works_longer_than_it_may_is_ended() {
    let mut long = run(RunStatus::Started, Some(200));
    long.started_at = Some(at(0));
    let minute = Some(Duration::from_secs(60));
    assert_eq!(verdict(&long, at(59), None, Liveness::Alive, SHORT, minute), Verdict::Leave);
    assert_eq!(verdict(&long, at(61), None, Liveness::Alive, SHORT, minute), Verdict::TooLong(60));
    long.tags.insert(tags::MAX_RUNTIME.into(), "100".into());
    assert_eq!(verdict(&long, at(61), None, Liveness::Alive, SHORT, minute), Verdict::Leave, "its own tag rules");
    long.tags.insert(tags::MAX_RUNTIME.into(), "0".into());
    assert_eq!(verdict(&long, at(150), None, Liveness::Alive, SHORT, minute), Verdict::Leave, "0 does not bound");
}

#[test]
fn a_lease_that_has_run_out_by_this_clock_is_no_reason_while_it_is_renewed() {
    let behind = run(RunStatus::Started, Some(-3600));
    assert_eq!(judge(&behind, SHORT, None, Liveness::Unknown), Verdict::Leave, "its machine's clock is an hour late");
}
