//! Graphs and jobs of ops.

use catchment::{
    Code, Definitions, DynamicOutput, Graph, Input, Inputs, Optional, Problem, Wire, execute_job, graph, job, op,
};
use serde_json::json;

#[op]
async fn load(rows: Input<Vec<u32>>) -> Result<Vec<u32>, Problem> {
    Ok(rows.to_vec())
}

#[op(outputs = ["even", "odd"])]
async fn split(rows: Input<Vec<u32>>) -> Result<(Vec<u32>, Vec<u32>), Problem> {
    Ok(rows.iter().partition(|n| **n % 2 == 0))
}

#[op]
async fn sum(rows: Input<Vec<u32>>) -> Result<u32, Problem> {
    Ok(rows.iter().sum())
}

#[op]
async fn add(all: Inputs<u32>) -> Result<u32, Problem> {
    Ok(all.iter().sum())
}

#[op]
async fn each_of(rows: Input<Vec<u32>>) -> Result<Vec<DynamicOutput<u32>>, Problem> {
    Ok(rows.iter().map(|n| DynamicOutput::new(format!("n{n}"), *n)).collect())
}

#[op]
async fn square(n: Input<u32>) -> Result<u32, Problem> {
    Ok(*n * *n)
}

#[op(outputs = ["some", "none"])]
async fn one_of_two() -> Result<(Optional<u32>, Optional<u32>), Problem> {
    Ok((Optional(Some(1)), Optional(None)))
}

/// Both halves, added up.
#[graph]
fn halves(g: &mut Graph, rows: Wire<Vec<u32>>) -> Wire<u32> {
    let (even, odd) = split::node(g, rows);
    let even = sum::node(g, even);
    let odd = sum::node(g.alias("odd_sum"), odd);
    add::node(g, [even, odd])
}

/// A graph in a job, fed from run config.
#[job(tags = [("team", "x")])]
fn total(g: &mut Graph) {
    let rows = load::node(g, Wire::from_config());
    halves::node(g, rows);
}

#[job]
fn squares(g: &mut Graph, rows: Wire<Vec<u32>>) {
    let each = each_of::node(g, rows).each();
    let squared = square::node(g, each);
    add::node(g, squared.collect());
}

#[job]
fn half_wired(g: &mut Graph) {
    let (some, none) = one_of_two::node(g);
    square::node(g.alias("of_some"), some);
    square::node(g.alias("of_none"), none);
}

fn definitions() -> Definitions {
    Definitions::new("graphs").job(total()).job(squares()).job(half_wired())
}

#[test]
fn a_graph_comes_down_to_steps_named_after_the_graphs_around_them() {
    assert_eq!(definitions().check(), []);
    let snapshot = definitions().snapshot();
    let steps: Vec<_> = snapshot.jobs[0].steps.iter().map(|step| (step.key.as_str(), step.needs.clone())).collect();
    let needs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected = [
        ("load", needs(&[])),
        ("halves.split", needs(&["load"])),
        ("halves.sum", needs(&["halves.split"])),
        ("halves.odd_sum", needs(&["halves.split"])),
        ("halves.add", needs(&["halves.sum", "halves.odd_sum"])),
    ];
    assert_eq!(steps, expected);
    assert_eq!(snapshot.jobs[0].tags["team"], "x");
    assert!(!snapshot.jobs[0].is_asset_job);
    assert!(snapshot.jobs[1].steps[0].is_dynamic);
}

#[tokio::test]
async fn a_graph_runs_with_what_run_config_gives_it() {
    let config = json!({"ops": {"load": {"inputs": {"rows": {"value": [1, 2, 3]}}}}});
    let made = execute_job(&definitions(), "total").config(config).await.unwrap();
    assert!(made.success(), "{:?}", made.failures);
    assert_eq!(made.output("halves.add").as_deref(), Some(&6_u32));
    assert_eq!(made.output("halves.split.odd").as_deref(), Some(&vec![1_u32, 3]));
}

#[tokio::test]
async fn an_input_that_nothing_gives_is_a_fault_of_the_run_config_with_its_path() {
    let refused = execute_job(&definitions(), "total").await.err().unwrap();
    assert_eq!(refused.code, Code::InvalidConfig);
    assert_eq!(refused.faults[0].path, "$.ops.load.inputs.rows.value");
    let config = json!({"ops": {"load": {"inputs": {"rows": {"value": [1, "x"]}}}, "halves": {"ops": {"nix": {}}}}});
    let refused = execute_job(&definitions(), "total").config(config).await.err().unwrap();
    let paths: Vec<_> = refused.faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["$.ops.halves.ops.nix", "$.ops.load.inputs.rows.value[1]"]);
}

#[tokio::test]
async fn a_dynamic_output_runs_what_follows_once_for_each_until_it_is_collected() {
    let config = json!({"ops": {"each_of": {"inputs": {"rows": {"value": [1, 2, 3]}}}}});
    let made = execute_job(&definitions(), "squares").config(config).await.unwrap();
    assert!(made.success(), "{:?}", made.failures);
    assert_eq!(made.output("add").as_deref(), Some(&14_u32));
    let started = made.events.iter().filter(|event| event.kind == catchment::EventKind::StepStart);
    let keys: Vec<_> = started.filter_map(|event| event.step_key.as_deref()).collect();
    for key in ["square[n1]", "square[n2]", "square[n3]"] {
        assert!(keys.contains(&key), "{keys:?}");
    }
}

#[tokio::test]
async fn what_follows_an_output_that_was_left_out_is_skipped_and_nothing_failed() {
    let made = execute_job(&definitions(), "half_wired").await.unwrap();
    assert_eq!(made.failures, []);
    assert_eq!(made.output("of_some").as_deref(), Some(&1_u32));
    assert_eq!(made.output::<u32>("of_none"), None);
}

#[tokio::test]
async fn an_op_is_called_like_any_function() {
    assert_eq!(add::call(Inputs::of([1, 2])).await.unwrap(), 3);
}
