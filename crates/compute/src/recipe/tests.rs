use super::{AppliesTo, Recipes, Step, parse};

fn faults(text: &str) -> Vec<String> {
    parse(text).unwrap_err().into_iter().map(|fault| format!("{}: {}", fault.path, fault.what)).collect()
}

fn tags(json: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    json.as_object().unwrap().clone()
}

#[test]
fn the_built_in_recipes_are_valid_and_the_default_one_simplifies_nothing() {
    let recipes = Recipes::built_in().unwrap();
    let ingest = recipes.for_intent("ingest_vector", AppliesTo::Vector).unwrap();
    assert_eq!(ingest.steps, [Step::NormalizeCrs { to: "EPSG:4326".into() }, Step::MakeValid]);
    assert!(recipes.iter().all(|recipe| !recipe.title.is_empty() && !recipe.description.is_empty()));
}

#[test]
fn an_unknown_intent_takes_the_default_recipe_of_its_kind() {
    let recipes = Recipes::built_in().unwrap();
    assert_eq!(recipes.for_intent("ingest_road_network", AppliesTo::Vector).unwrap().intent, "ingest_vector");
    assert!(recipes.for_intent("ingest_raster", AppliesTo::Raster).is_err());
}

#[test]
fn a_recipe_of_the_folder_takes_the_place_of_the_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let text = "intent: ingest_vector\napplies_to: vector\nsteps: [force_2d]\n";
    std::fs::write(folder.path().join("mine.yaml"), text).unwrap();
    let recipes = Recipes::with_folder(folder.path()).unwrap();
    let recipe = recipes.for_intent("ingest_vector", AppliesTo::Vector).unwrap();
    assert_eq!(recipe.steps, [Step::Force2d]);
    std::fs::write(folder.path().join("twice.yml"), text).unwrap();
    assert!(Recipes::with_folder(folder.path()).unwrap_err().what.contains("two recipes"));
}

#[test]
fn every_fault_of_a_recipe_is_told_with_its_path() {
    let found = faults(
        "intent: Bad Name\napplies_to: videos\nextra: 1\nparameters: {input: {type: text}}\nsteps:\n\
         - explode\n- make_valid: {how: well}\n- simplify: {tolerance: $size}\n- normalize_crs: {to: wgs84}\n\
         - filter: {where: 'a > 1); DROP TABLE x; --'}\n- sql: SELECT 1\n- {a: 1, b: 2}\n",
    );
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn what_is_no_yaml_and_what_is_no_mapping_is_a_fault_and_no_panic() {
    assert_eq!(faults("[").len(), 1);
    assert_eq!(faults("just text"), ["$: not a mapping"]);
}

#[test]
fn a_query_that_is_several_is_refused() {
    let found =
        faults("intent: x\napplies_to: vector\nsteps:\n- sql: 'SELECT * FROM {input}); DROP TABLE x; SELECT (1'\n");
    assert_eq!(found.len(), 1);
}

#[test]
fn the_fingerprint_is_of_what_a_recipe_does_and_not_of_how_it_is_written() {
    let fingerprint = |text: &str| parse(text).unwrap().fingerprint();
    let one = fingerprint("intent: x\napplies_to: vector\ntitle: A\nsteps: [make_valid]\n");
    assert_eq!(one, fingerprint("# note\nsteps:\n  - make_valid: {}\napplies_to: vector\nintent: x\n"));
    assert_ne!(one, fingerprint("intent: x\napplies_to: vector\nsteps: [force_2d]\n"));
    assert_eq!(one.len(), 64);
}

#[test]
fn tags_set_parameters_and_what_does_not_fit_is_a_fault_of_the_manifest() {
    let recipes = Recipes::built_in().unwrap();
    let recipe = recipes.for_intent("generalize_vector", AppliesTo::Vector).unwrap();
    let values = |json| recipe.values(&tags(json));
    assert_eq!(values(serde_json::json!({})).unwrap(), [("tolerance".to_owned(), 0.0001)]);
    assert_eq!(values(serde_json::json!({"tolerance": 0.5})).unwrap(), [("tolerance".to_owned(), 0.5)]);
    assert_eq!(values(serde_json::json!({"tolerance": "0.5"})).unwrap(), [("tolerance".to_owned(), 0.5)]);
    for wrong in [serde_json::json!(-1), serde_json::json!("far"), serde_json::json!(true)] {
        let problem = values(serde_json::json!({"tolerance": wrong})).unwrap_err();
        assert_eq!(problem.faults[0].path, "$.metadata.tags.tolerance");
    }
}
