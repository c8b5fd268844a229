//! The daemon against a real code location, real processes and real databases.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use catchment_core::instigator::TickStatus;
use catchment_core::state::Command;
use catchment_core::{EventKind, Level, NewEvent, RunId, RunStatus, tags};
use catchment_instance::TickFilter;
use catchment_model::{Code, Status};
use catchment_settings::{clock, wake};
use support::location::Server;
use support::{World, is_suspended, lives, pid_of, process, sensor, until};

/// Not a test: what the processes that the tests start begin with.
#[tokio::test]
async fn entry_of_other_processes() {
    process::play().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_becomes_a_run_that_works_and_ends() {
    let world = World::new().await;
    let server = Server::start(&world).await;
    let daemon = world.daemon(&server.url);
    until("the first tick", async || {
        world.instance.ticks(&sensor(), &TickFilter::default(), None, 1).await.unwrap().pop()
    })
    .await;
    let put = clock::now();
    world.put("a.json", "b1", "succeed");
    let run = world.run_in(RunStatus::Success).await;
    println!("put to STARTED: {:?}", run.started_at.unwrap().duration_since(put));
    println!("put to STARTING: {:?}", run.launched_at.unwrap().duration_since(put));
    println!("STARTED to SUCCESS: {:?}", run.ended_at.unwrap().duration_since(run.started_at.unwrap()));
    assert_eq!((run.job_name.as_str(), run.partition_key.as_deref()), ("spatial_asset_job", Some("parcels")));
    assert_eq!(run.tags[tags::RUN_KEY], "b1");
    until("the archived manifest", async || world.archived("a.json").then_some(())).await;
    let ledger = &world.ledger;
    until("the batch's status", async || {
        ledger.manifest("b1").await.unwrap().filter(|doc| doc.status == Status::Success && doc.completed_at.is_some())
    })
    .await;
    let id = run.run_id.to_string();
    until("the run's status", async || ledger.run_doc(&id).await.unwrap().filter(|doc| doc.status == Status::Success))
        .await;
    until("the end of scratch", async || (!world.home.scratch_dir(&id).exists()).then_some(())).await;
    let sensor = sensor();
    let claims = || world.instance.unfinished_claims(&sensor, 9);
    until("finished claims", async || claims().await.unwrap().is_empty().then_some(())).await;
    let beats: Vec<_> = world.instance.heartbeats().await.unwrap().into_iter().map(|beat| beat.daemon).collect();
    for daemon in ["SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "BACKFILL", "MONITORING", "EVENT_LOG_CONSUMER"] {
        assert!(beats.iter().any(|beat| beat == daemon), "{daemon} in {beats:?}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_run_once_and_a_bad_manifest_uses_nothing_up() {
    let world = World::new().await;
    let server = Server::start(&world).await;
    let daemon = world.daemon(&server.url);
    world.put("a.json", "b1", "succeed");
    world.run_in(RunStatus::Success).await;
    world.put("again.json", "b1", "succeed");
    until("the duplicate's end", async || world.archived("again.json").then_some(())).await;
    let refusal = std::fs::read_to_string(world.landing.join("archive/again.json.error.json")).unwrap();
    assert!(refusal.contains("b1") && refusal.contains("a.json"), "{refusal}");
    std::fs::write(world.landing.join("bad.json"), "nonsense").unwrap();
    wake::wake(&world.home.daemon_socket());
    until("the bad one's end", async || world.archived("bad.json").then_some(())).await;
    assert_eq!(world.runs().await.len(), 1);
    let refused = until("the tick", async || {
        let ticks = world.instance.ticks(&sensor(), &TickFilter::default(), None, 100).await.unwrap();
        ticks.into_iter().find(|tick| tick.rejected.iter().any(|claim| claim.claim.key == "bad.json"))
    })
    .await;
    assert_eq!(refused.status, TickStatus::Success);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_run_is_found_at_once_and_says_where_to_look() {
    let world = World::new().await;
    let server = Server::start(&world).await;
    let daemon = world.daemon(&server.url);
    world.put("a.json", "b1", "crash");
    let run = world.run_in(RunStatus::Failure).await;
    let problem = run.problem.clone().unwrap();
    assert_eq!(problem.code, Code::RunLost);
    assert!(problem.what.contains("signal: 6") && problem.place.unwrap().ends_with("stderr.log"), "{}", problem.what);
    let took = run.ended_at.unwrap().duration_since(run.started_at.unwrap());
    assert!(took.as_millis() < 1000, "the lease of 1.5 s was waited for: {took:?}");
    let id = run.run_id.to_string();
    until("the end of scratch", async || (!world.home.scratch_dir(&id).exists()).then_some(())).await;
    until("the batch's status", async || {
        let doc = world.ledger.manifest("b1").await.unwrap()?;
        (doc.status == Status::Failure && doc.error_message.is_some()).then_some(())
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_lost_after_its_last_commit_is_rolled_forward() {
    let world = World::new().await;
    let server = Server::start(&world).await;
    let daemon = world.daemon(&server.url);
    let source = NewEvent {
        run_id: RunId::NONE,
        timestamp: clock::now(),
        kind: EventKind::AssetMaterialization,
        step_key: None,
        level: Level::Info,
        message: String::new(),
        data: serde_json::json!({"asset_key": "source", "data_version": "s1"}),
    };
    world.instance.append(&[source], None).await.unwrap();
    world.put("a.json", "b1", "commit_and_crash");
    let run = world.run_in(RunStatus::Success).await;
    let made = world.events(&run, EventKind::AssetMaterialization).await;
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].event.data["asset_key"], "raw_spatial_asset");
    let data = &made[0].event.data;
    assert_eq!(data["metadata"]["version"], serde_json::json!({"type": "int", "value": 1}));
    assert_eq!(data["metadata"]["format"], serde_json::json!({"type": "text", "value": "geoparquet"}));
    assert_eq!((&data["data_version"], &data["partition"]), (&"0".repeat(64).into(), &"parcels".into()));
    assert_eq!(
        (&data["code_version"], &data["input_data_versions"]),
        (&"7".into(), &serde_json::json!({"source": "s1"}))
    );
    let record = world.instance.assets(&["raw_spatial_asset".to_owned()], None, 1).await.unwrap().pop().unwrap();
    assert_eq!(record.data_version, Some("0".repeat(64)));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_run_loses_its_lease_and_commits_nothing() {
    let world = World::new().await;
    let server = Server::start(&world).await;
    let daemon = world.daemon(&server.url);
    world.put("a.json", "b1", "suspend");
    let run = world.run_in(RunStatus::Failure).await;
    assert!(run.problem.clone().unwrap().what.contains("lease"), "{:?}", run.problem);
    let pid = pid_of(&run);
    until("the process's end", async || (!lives(&pid)).then_some(())).await;
    assert!(world.ledger.run_assets(&run.run_id.to_string()).await.unwrap().is_empty());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_run_that_is_cancelled_by_force_is_killed_and_can_commit_nothing() {
    for daemon_is_away in [false, true] {
        let world = World::new().await;
        let server = Server::start(&world).await;
        let mut daemon = Some(world.daemon(&server.url));
        world.put("a.json", "b1", "suspend");
        let run = world.run_in(RunStatus::Started).await;
        let run = until("the process's pid", async || {
            world.instance.run(run.run_id).await.unwrap().filter(|run| run.process.is_some())
        })
        .await;
        let (id, pid) = (run.run_id.to_string(), pid_of(&run));
        until("the suspended process", async || is_suspended(&pid).then_some(())).await;
        if daemon_is_away {
            daemon.take().unwrap().stop().await;
        }
        let canceled =
            world.instance.command(run.run_id, Command::ForceCancel, None, None, clock::now()).await.unwrap();
        assert_eq!(canceled.status, RunStatus::Canceled);
        if daemon_is_away {
            assert!(lives(&pid));
            daemon = Some(world.daemon(&server.url));
        }
        wake::wake(&world.home.daemon_socket());
        until("the process's end", async || (!lives(&pid)).then_some(())).await;
        let doc = world.ledger.run_doc(&id).await.unwrap().unwrap();
        assert_eq!(doc.lease_epoch, canceled.lease_epoch, "a commit under the old epoch is refused");
        assert!(world.ledger.run_assets(&id).await.unwrap().is_empty());
        daemon.unwrap().stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_reaches_the_whole_process_group_within_a_second() {
    let world = World::new().await;
    let server = Server::start(&world).await;
    let daemon = world.daemon(&server.url);
    world.put("a.json", "b1", "hang");
    let run = world.run_in(RunStatus::Started).await;
    let child = world.output(&run).await;
    assert!(lives(&child));
    let asked = clock::monotonic();
    world.instance.command(run.run_id, Command::Cancel, None, None, clock::now()).await.unwrap();
    until("the child's end", async || (!lives(&child)).then_some(())).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    world.run_in(RunStatus::Canceled).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_deaf_to_a_cancel_is_killed_after_the_grace() {
    let world = World::new().await;
    let server = Server::start(&world).await;
    let mut settings = World::settings();
    settings.run_monitoring.cancel_timeout_seconds = 1;
    let daemon = world.daemon_with(&server.url, settings);
    world.put("a.json", "b1", "hang_deaf");
    let run = world.run_in(RunStatus::Started).await;
    world.output(&run).await;
    world.instance.command(run.run_id, Command::Cancel, None, None, clock::now()).await.unwrap();
    wake::wake(&world.home.daemon_socket());
    let canceled = world.run_in(RunStatus::Canceled).await;
    assert!(!lives(&pid_of(&canceled)));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_started_fails_with_a_reason() {
    let world = World::new().await;
    let server = Server::start(&world).await;
    let daemon = world.daemon(&server.url);
    world.put("a.json", "b1", "refused");
    world.put("b.json", "b2", "sh echo no >&2; exit 3");
    let failed = until("two failures", async || {
        let runs = world.runs().await;
        (runs.len() == 2 && runs.iter().all(|run| run.status == RunStatus::Failure)).then_some(runs)
    })
    .await;
    let reason = |batch: &str| {
        failed.iter().find(|run| run.tags[tags::RUN_KEY] == batch).and_then(|run| run.problem.clone()).unwrap()
    };
    assert!(reason("b1").to_string().contains("no such job"), "{}", reason("b1"));
    assert!(reason("b2").what.contains("exit status: 3"), "{}", reason("b2"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_runs_work_at_once_than_allowed() {
    let world = World::new().await;
    let server = Server::start(&world).await;
    let mut settings = World::settings();
    settings.run_queue.max_concurrent_runs = 2;
    let daemon = world.daemon_with(&server.url, settings);
    for n in 0..6 {
        world.put(&format!("{n}.json"), &format!("b{n}"), "succeed");
    }
    let mut most = 0;
    until("all six", async || {
        let runs = world.runs().await;
        most = most.max(runs.iter().filter(|run| run.status.is_active()).count());
        (runs.len() == 6 && runs.iter().all(|run| run.status == RunStatus::Success)).then_some(())
    })
    .await;
    assert!((1..=2).contains(&most), "{most}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_is_refused_with_the_pid_of_the_first() {
    let world = World::new().await;
    let server = Server::start(&world).await;
    let daemon = world.daemon(&server.url);
    until("the first's work", async || (!world.instance.heartbeats().await.unwrap().is_empty()).then_some(())).await;
    let refused = world.daemon(&server.url).handle.await.unwrap().unwrap_err();
    assert_eq!(refused.code, Code::AlreadyRunning);
    assert!(refused.what.contains(&std::process::id().to_string()), "{refused}");
    daemon.stop().await;
    world.daemon(&server.url).stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_location_is_one_failed_tick_and_then_work_goes_on() {
    let world = World::new().await;
    let mut server = Server::start(&world).await;
    let daemon = world.daemon(&server.url);
    until("the first tick", async || {
        world.instance.ticks(&sensor(), &TickFilter::default(), None, 1).await.unwrap().pop()
    })
    .await;
    server.crash().await;
    let failed = async || {
        let ticks = world.instance.ticks(&sensor(), &TickFilter::default(), None, 1000).await.unwrap();
        ticks.iter().filter(|tick| tick.status == TickStatus::Failure).count()
    };
    until("the failed tick", async || (failed().await > 0).then_some(())).await;
    for n in 0..20 {
        world.put(&format!("{n}.json"), "b1", "succeed");
        tokio::task::yield_now().await;
    }
    server.again(&world).await;
    let run = world.run_in(RunStatus::Success).await;
    assert_eq!(failed().await, 1);
    assert_eq!(world.events(&run, EventKind::RunStart).await.len(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_anywhere_leaves_a_run_that_starts_exactly_once() {
    let points = [
        "daemon.admitted",
        "daemon.claims_finished",
        "daemon.after_launch_command",
        "daemon.before_spawn",
        "daemon.after_spawn",
    ];
    for point in points {
        let world = World::new().await;
        let server = Server::start(&world).await;
        world.put("a.json", "b1", "succeed");
        let mut killed = process::daemon(&world.home, &server.url, &format!("{point}=kill"))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let status = until(point, async || killed.try_wait().unwrap()).await;
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{point}");
        let began = clock::monotonic();
        let daemon = world.daemon(&server.url);
        let run = world.run_in(RunStatus::Success).await;
        println!("{point}: done {:?} after the new daemon's start", began.elapsed());
        assert_eq!(world.events(&run, EventKind::RunStart).await.len(), 1, "{point}");
        until("the archived manifest", async || world.archived("a.json").then_some(())).await;
        until("the batch's status", async || {
            world.ledger.manifest("b1").await.unwrap().filter(|doc| doc.status == Status::Success)
        })
        .await;
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_outlives_its_daemon_and_the_next_one_sees_it_through() {
    let world = World::new().await;
    let server = Server::start(&world).await;
    let daemon = world.daemon(&server.url);
    world.put("a.json", "b1", "hang");
    let run = world.run_in(RunStatus::Started).await;
    let child = world.output(&run).await;
    daemon.stop().await;
    assert!(lives(&child));
    let daemon = world.daemon(&server.url);
    let pid: libc::pid_t = pid_of(&world.runs().await[0]).parse().unwrap();
    // SAFETY: sending a signal to the process that this test has started touches no memory.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let lost = world.run_in(RunStatus::Failure).await;
    assert_eq!(lost.problem.unwrap().code, Code::RunLost);
    until("the grandchild's end", async || (!lives(&child)).then_some(())).await;
    daemon.stop().await;
}
