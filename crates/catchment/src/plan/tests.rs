//! Plans of jobs: order, selection, graphs, fans.

use catchment_core::run::Selection;
use catchment_model::{Code, Problem};

use super::{Past, Plan};
use crate::{
    Definitions, DynamicOutput, Graph, Input, Inputs, Optional, asset, asset_check, asset_job, graph, job, multi_asset,
    op,
};

#[asset(deps = ["b"])]
async fn c() -> Result<(), Problem> {
    Ok(())
}

#[asset]
async fn b(a: Input<u32>) -> Result<u32, Problem> {
    Ok(*a)
}

#[asset]
async fn a() -> Result<u32, Problem> {
    Ok(1)
}

#[asset_check(asset = "a", blocking)]
async fn sound(a: Input<u32>) -> Result<crate::CheckResult, Problem> {
    Ok(crate::CheckResult::of(*a > 0))
}

#[asset_check(asset = "a")]
async fn pretty(a: Input<u32>) -> Result<crate::CheckResult, Problem> {
    Ok(crate::CheckResult::of(*a > 0))
}

#[multi_asset(assets = ["x", "y"])]
async fn both() -> Result<(u32, u32), Problem> {
    Ok((1, 2))
}

#[multi_asset(assets = ["p", "q"], can_subset)]
async fn either() -> Result<(Optional<u32>, Optional<u32>), Problem> {
    Ok((Optional(None), Optional(None)))
}

fn definitions() -> Definitions {
    Definitions::new("test")
        .assets([c(), b(), a(), both(), either()])
        .asset_checks([sound(), pretty()])
        .job(asset_job("letters", ["a", "b", "c"]))
        .job(asset_job("x_and_p", ["x", "p"]))
        .job(nested())
        .job(fan())
        .job(fan_in_fan())
}

fn selection(assets: &[&str], checks: &[&str], steps: &[&str]) -> Selection {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Selection { assets: list(assets), checks: list(checks), steps: list(steps) }
}

fn plan(job: &str, selection: &Selection) -> Result<Plan, Problem> {
    let definitions = definitions();
    Plan::of(&definitions, &definitions.find_job(job)?, selection)
}

/// Each step with those that it waits for.
fn wired(plan: &Plan) -> Vec<String> {
    let line = |step: catchment_core::definitions::StepSpec| match step.needs.is_empty() {
        true => step.key,
        false => format!("{} ← {}", step.key, step.needs.join(", ")),
    };
    plan.specs().into_iter().map(line).collect()
}

#[test]
fn what_is_downstream_of_an_asset_waits_for_its_blocking_checks_too() {
    let plan = plan("letters", &Selection::default()).unwrap();
    assert_eq!(wired(&plan), ["a", "a_sound ← a", "b ← a, a_sound", "c ← b", "a_pretty ← a"]);
}

#[test]
fn the_checks_of_an_asset_go_with_it_unless_checks_are_named() {
    let keys = |selection| plan("letters", &selection).unwrap().step_keys();
    assert_eq!(keys(selection(&["a"], &[], &[])), ["a", "a_sound", "a_pretty"]);
    assert_eq!(keys(selection(&["a"], &["a:sound"], &[])), ["a", "a_sound"]);
    assert_eq!(keys(selection(&[], &["a:sound"], &[])), ["a_sound"]);
}

#[test]
fn a_function_makes_all_of_its_assets_unless_it_can_leave_some_out() {
    let plan = plan("x_and_p", &Selection::default()).unwrap();
    let assets: Vec<_> = plan.steps.iter().map(|step| step.assets.clone()).collect();
    assert_eq!(assets, [vec!["x", "y"], vec!["p"]]);
}

#[test]
fn a_step_that_is_named_makes_of_its_assets_those_that_are_named_beside_it() {
    let assets = |selection| {
        let plan = plan("x_and_p", &selection).unwrap();
        plan.steps.iter().map(|step| step.assets.clone()).collect::<Vec<_>>()
    };
    let definitions = definitions();
    let all = |selection| {
        let plan = Plan::of(&definitions, &definitions.asset_job(), &selection).unwrap();
        plan.steps.iter().map(|step| step.assets.clone()).collect::<Vec<_>>()
    };
    assert_eq!(all(selection(&["p"], &[], &["either"])), [vec!["p"]]);
    assert_eq!(all(selection(&[], &[], &["either"])), [vec!["p", "q"]]);
    assert_eq!(all(selection(&["a"], &[], &["either"])), [vec!["p", "q"]], "nothing of it is named");
    assert_eq!(all(selection(&["x"], &[], &["both"])), [vec!["x", "y"]], "it cannot leave one out");
    assert_eq!(assets(selection(&["q"], &[], &["either"])), [Vec::<String>::new()], "of the job's only");
}

#[test]
fn what_a_job_does_not_have_is_refused_with_what_it_has() {
    for wrong in [selection(&["x"], &[], &[]), selection(&[], &["a:no"], &[]), selection(&[], &[], &["d"])] {
        let problem = plan("letters", &wrong).err().unwrap();
        assert_eq!(problem.code, Code::NotFound);
        assert!(problem.cause.unwrap().contains('a'));
    }
}

#[op]
async fn one() -> Result<u32, Problem> {
    Ok(1)
}

#[op]
async fn twice(n: Input<u32>) -> Result<u32, Problem> {
    Ok(*n * 2)
}

#[op]
async fn many(_n: Input<u32>) -> Result<Vec<DynamicOutput<u32>>, Problem> {
    Ok(Vec::new())
}

#[op]
async fn all(ns: Inputs<u32>) -> Result<usize, Problem> {
    Ok(ns.len())
}

#[graph]
fn inside(g: &mut Graph, n: crate::Wire<u32>) -> crate::Wire<u32> {
    let doubled = twice::node(g, n);
    twice::node(g, doubled)
}

#[job]
fn nested(g: &mut Graph) {
    let n = one::node(g);
    let four = inside::node(g, n);
    twice::node(g, four);
}

#[job]
fn fan(g: &mut Graph) {
    let n = one::node(g);
    let each = many::node(g, n).each();
    let doubled = twice::node(g, each);
    all::node(g, doubled.collect());
}

#[job]
fn fan_in_fan(g: &mut Graph) {
    let n = one::node(g);
    let each = many::node(g, n).each();
    let more = many::node(g, each);
    all::node(g, more.collect());
}

#[test]
fn steps_of_graphs_within_graphs_have_their_path_as_key() {
    let plan = plan("nested", &Selection::default()).unwrap();
    assert_eq!(wired(&plan), ["one", "inside.twice ← one", "inside.twice_2 ← inside.twice", "twice ← inside.twice_2"]);
}

#[test]
fn what_is_between_a_fan_and_its_collection_is_mapped_over_it() {
    let specs = plan("fan", &Selection::default()).unwrap().specs();
    let over: Vec<_> =
        specs.iter().map(|step| (step.key.as_str(), step.is_dynamic, step.mapped_over.as_deref())).collect();
    let expected = [("one", false, None), ("many", true, None), ("twice", false, Some("many")), ("all", false, None)];
    assert_eq!(over, expected);
}

#[test]
fn a_fan_inside_a_fan_is_refused() {
    let problem = plan("fan_in_fan", &Selection::default()).err().unwrap();
    assert_eq!(problem.code, Code::InvalidConfig);
    assert!(problem.remedy.unwrap().contains("collect"));
}

#[op]
async fn normalise(_n: Input<u32>, all: Inputs<u32>) -> Result<u32, Problem> {
    Ok(all.iter().sum())
}

#[job]
fn branch_that_collects(g: &mut Graph) {
    let n = one::node(g);
    let each = many::node(g, n).each();
    let doubled = twice::node(g, each);
    let all = doubled.collect();
    normalise::node(g, doubled, all);
}

#[job]
fn branch_with_all_values(g: &mut Graph) {
    let n = one::node(g);
    let values = many::node(g, n);
    normalise::node(g, values.each(), values.collect());
}

#[test]
fn a_branch_of_a_fan_that_collects_its_siblings_is_refused() {
    let definitions = Definitions::new("test").job(branch_that_collects()).job(branch_with_all_values());
    let problem = definitions.check().into_iter().next().unwrap();
    assert_eq!(problem.code, Code::InvalidConfig);
    assert!(problem.cause.unwrap().contains("its input `all` collects `twice`"));
    let job = definitions.find_job("branch_with_all_values").unwrap();
    assert!(Plan::of(&definitions, &job, &Selection::default()).is_ok(), "all values of the fan's source are there");
}

#[op(outputs = ["low", "high"])]
async fn two_fans() -> Result<(Vec<DynamicOutput<u32>>, Vec<DynamicOutput<u32>>), Problem> {
    Ok((Vec::new(), Vec::new()))
}

#[job]
fn of_two_fans(g: &mut Graph) {
    two_fans::node(g);
}

#[test]
fn an_op_with_two_dynamic_outputs_is_refused() {
    let problem = Definitions::new("test").job(of_two_fans()).check().into_iter().next().unwrap();
    assert_eq!(problem.what, "a step opens one fan only");
    assert!(problem.cause.unwrap().contains("`low` and `high`"));
}

#[test]
fn a_re_execution_of_steps_takes_the_others_from_the_past() {
    let definitions = definitions();
    let job = definitions.find_job("nested").unwrap();
    let plan = Plan::after(&definitions, &job, &selection(&[], &[], &["twice"]), &Past::default()).unwrap();
    assert_eq!(plan.step_keys(), ["twice"]);
    assert!(plan.steps[..3].iter().all(|step| step.node.runs.is_given()));
    assert!(crate::executor::inputs::all_kept(&plan, &Past::default()).is_err(), "nothing was kept");
}
