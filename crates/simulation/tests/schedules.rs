//! Thousands of schedules: what must always hold does, and what is planted is found.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::atomic::{AtomicU64, Ordering};

use catchment_simulation::flaky::Planted;
use catchment_simulation::scenario::{Report, Setup, play};

/// How many schedules are played.
fn schedules() -> u64 {
    std::env::var("CATCHMENT_SIMULATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn tell(seed: u64, report: &Report) -> String {
    let from = report.trace.len().saturating_sub(120);
    format!("seed {seed}: {:#?}\n{}", report.violations, report.trace[from..].join("\n"))
}

#[test]
fn what_must_always_hold_does_under_every_schedule() {
    let seeds: Vec<u64> = match std::env::var("CATCHMENT_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..schedules()).collect(),
    };
    let (next, runs) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(seeds.len()) {
            scope.spawn(|| {
                let runtime = runtime();
                loop {
                    let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(seed) = seeds.get(place).copied() else { return };
                    let report = play(Setup { seed, planted: None }, runtime.handle());
                    assert!(report.violations.is_empty(), "{}", tell(seed, &report));
                    runs.fetch_add(report.runs as u64, Ordering::Relaxed);
                }
            });
        }
    });
    let runs = runs.into_inner();
    println!("{} schedules with {runs} runs", seeds.len());
    assert!(runs >= seeds.len() as u64 * 3, "the schedules are not idle");
}

#[test]
fn a_seed_plays_the_same_schedule_again() {
    let runtime = runtime();
    let play = || play(Setup { seed: 7, planted: None }, runtime.handle()).trace;
    let (first, second) = (play(), play());
    let differs = first.iter().zip(&second).position(|(a, b)| a != b);
    assert_eq!(differs.map(|at| (&first[at], &second[at])), None);
    assert_eq!(first.len(), second.len());
}

fn finds(planted: Planted) {
    let runtime = runtime();
    let found = (0..300)
        .find(|seed| !play(Setup { seed: *seed, planted: Some(planted) }, runtime.handle()).violations.is_empty());
    assert!(found.is_some(), "{planted:?} was not found");
    println!("{planted:?} was found by seed {found:?}");
}

#[test]
fn a_forgotten_lease_is_found() {
    finds(Planted::ForgottenLease);
}

#[test]
fn a_forgotten_fence_is_found() {
    finds(Planted::ForgottenFence);
}

#[test]
fn a_forgotten_run_key_is_found() {
    finds(Planted::ForgottenRunKey);
}

#[test]
fn a_hasty_cursor_is_found() {
    finds(Planted::HastyCursor);
}

#[test]
fn a_generous_pool_is_found() {
    finds(Planted::GenerousPool);
}
