use super::{Input, SedonaDialect, render};
use crate::recipe::{AppliesTo, Recipes, parse};

fn sql(steps: &str, columns: &[&str]) -> Result<String, String> {
    let recipe = parse(&format!("intent: x\napplies_to: vector\nsteps:\n{steps}")).map_err(|f| f[0].what.clone())?;
    let input = input(columns);
    render(&recipe, &SedonaDialect, &input, &[]).map(|s| s.sql).map_err(|problem| problem.to_string())
}

fn input(columns: &[&str]) -> Input {
    Input { table: "input".into(), columns: columns.iter().map(|c| (*c).into()).collect(), row: "__row".into() }
}

#[test]
fn the_default_recipe_is_this_statement() {
    let recipe = Recipes::built_in().unwrap().for_intent("ingest_vector", AppliesTo::Vector).unwrap();
    insta::assert_snapshot!(render(&recipe, &SedonaDialect, &input(&["id", "geom"]), &[]).unwrap().sql);
}

#[test]
fn generalising_simplifies_by_the_tolerance_of_the_tags() {
    let recipe = Recipes::built_in().unwrap().for_intent("generalize_vector", AppliesTo::Vector).unwrap();
    let values = recipe.values(serde_json::json!({"tolerance": 0.002}).as_object().unwrap()).unwrap();
    let statement = render(&recipe, &SedonaDialect, &input(&["id", "geom"]), &values).unwrap();
    assert_eq!(statement.parameters["tolerance"], 0.002);
    insta::assert_snapshot!(statement.sql);
}

#[test]
fn every_step_has_its_sql() {
    let steps = "- force_2d\n- drop_empty\n- rename: {Größe: size}\n- filter: {where: \"size > 10 -- only large\"}\n\
                 - sql: SELECT *, ST_Area(geom) AS area FROM {input};\n  columns: [size, geom, area]\n\
                 - select: {columns: [area]}\n- make_valid\n";
    insta::assert_snapshot!(sql(steps, &["Größe", "geom"]).unwrap());
}

#[test]
fn hostile_names_stay_names() {
    let statement = sql("- make_valid\n", &["a\"; DROP TABLE x; --", "geom"]).unwrap();
    assert!(statement.contains(r#""a""; DROP TABLE x; --""#), "{statement}");
}

#[test]
fn columns_that_are_not_there_or_would_be_double_are_told() {
    assert!(
        sql("- select: {columns: [b]}\n", &["a", "geom"])
            .unwrap_err()
            .contains("there is no column b; there are a, geom")
    );
    assert!(sql("- rename: {a: b}\n", &["a", "b", "geom"]).unwrap_err().contains("two columns would be called b"));
    assert!(sql("- rename: {geom: shape}\n", &["a", "geom"]).unwrap_err().contains("the geometry stays geom"));
}
