//! From a YAML file to a [`Recipe`]: every fault is found, each with its path.

use catchment_model::Fault;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use serde_yaml_ng::{Mapping, Value};

use super::{AppliesTo, Number, Parameter, Recipe, Step};
use crate::proj::is_authority_code;
use crate::sql;

/// Parses and checks a recipe. All faults are returned together.
pub fn parse(text: &str) -> Result<Recipe, Vec<Fault>> {
    let value: Value = serde_yaml_ng::from_str(text).map_err(|error| {
        vec![Fault { path: "$".to_owned(), what: error.to_string(), allowed: "a YAML document".to_owned() }]
    })?;
    let mut faults = Faults(Vec::new());
    let recipe = faults.recipe(&value);
    if faults.0.is_empty()
        && let Some(recipe) = &recipe
        && let Err(what) = sql::check(recipe)
    {
        faults.add("$.steps", what, "steps that make one query in the dialects of SedonaDB and PostGIS");
    }
    match recipe {
        Some(recipe) if faults.0.is_empty() => Ok(recipe),
        _ => Err(faults.0),
    }
}

struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, path: impl Into<String>, what: impl Into<String>, allowed: impl Into<String>) {
        self.0.push(Fault { path: path.into(), what: what.into(), allowed: allowed.into() });
    }

    fn recipe(&mut self, value: &Value) -> Option<Recipe> {
        let Some(map) = value.as_mapping() else {
            self.add("$", "not a mapping", "intent, applies_to, title, description, parameters, steps");
            return None;
        };
        self.unknown(map, "$", &["intent", "applies_to", "title", "description", "parameters", "steps"]);
        let intent = self.text(map, "$", "intent");
        if let Some(intent) = &intent
            && !(intent.len() <= 128
                && intent.starts_with(|c: char| c.is_ascii_lowercase())
                && intent.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        {
            self.add("$.intent", format!("{intent:?} is not a name"), "a to z, 0 to 9 and _, beginning with a letter");
        }
        let applies_to = match map.get("applies_to").and_then(Value::as_str) {
            Some("vector") => Some(AppliesTo::Vector),
            Some("raster") => Some(AppliesTo::Raster),
            Some("tabular") => Some(AppliesTo::Tabular),
            _ => {
                self.add("$.applies_to", "missing or unknown", "vector, raster, tabular");
                None
            }
        };
        let optional = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let parameters = self.parameters(map.get("parameters"));
        let steps = self.steps(map.get("steps"), &parameters);
        Some(Recipe {
            intent: intent?,
            applies_to: applies_to?,
            title: optional("title"),
            description: optional("description"),
            parameters,
            steps,
        })
    }

    fn parameters(&mut self, value: Option<&Value>) -> Vec<Parameter> {
        let Some(value) = value else { return Vec::new() };
        let Some(map) = value.as_mapping() else {
            self.add("$.parameters", "not a mapping", "names, each with type, default, above, description");
            return Vec::new();
        };
        let mut parameters = Vec::new();
        for (name, value) in map {
            let name = name.as_str().unwrap_or_default().to_owned();
            let path = format!("$.parameters.{name}");
            let Some(map) = value.as_mapping() else {
                self.add(path, "not a mapping", "type, default, above, description");
                continue;
            };
            if !is_name(&name) || name == "input" {
                self.add(&path, format!("{name:?} is not a name for a parameter"), "a to z, 0 to 9 and _, not input");
            }
            self.unknown(map, &path, &["type", "default", "above", "description"]);
            if map.get("type").and_then(Value::as_str) != Some("number") {
                self.add(format!("{path}.type"), "missing or unknown", "number");
            }
            let default = map.get("default").and_then(Value::as_f64).filter(|v| v.is_finite());
            let above = map.get("above").and_then(Value::as_f64);
            match default {
                Some(default) if above.is_none_or(|above| default > above) => parameters.push(Parameter {
                    name,
                    default,
                    above,
                    description: map.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
                }),
                _ => self.add(format!("{path}.default"), "missing or out of range", "a number greater than `above`"),
            }
        }
        parameters
    }

    fn steps(&mut self, value: Option<&Value>, parameters: &[Parameter]) -> Vec<Step> {
        let Some(list) = value.and_then(Value::as_sequence).filter(|list| !list.is_empty()) else {
            self.add("$.steps", "missing or empty", "a list of steps");
            return Vec::new();
        };
        let nothing = Value::Mapping(Mapping::new());
        let mut steps = Vec::new();
        for (index, step) in list.iter().enumerate() {
            let path = format!("$.steps[{index}]");
            let (name, arguments) = match step {
                Value::String(name) => (name.as_str(), &nothing),
                Value::Mapping(map) if map.len() == 1 || map.contains_key("sql") => {
                    let (name, arguments) = if map.contains_key("sql") { ("sql", step) } else { pair(map, &nothing) };
                    (name, arguments)
                }
                _ => {
                    self.add(path, "not a step", "the name of a step, or a mapping of one name to its parameters");
                    continue;
                }
            };
            let path = if name == "sql" { path } else { format!("{path}.{name}") };
            steps.extend(self.step(name, arguments, &path, parameters));
        }
        steps
    }

    fn step(&mut self, name: &str, arguments: &Value, path: &str, parameters: &[Parameter]) -> Option<Step> {
        let Some(map) = arguments.as_mapping() else {
            self.add(path, "not a mapping", "the parameters of the step by name");
            return None;
        };
        match name {
            "normalize_crs" => {
                self.unknown(map, path, &["to"]);
                let to = self.text(map, path, "to")?;
                if !is_authority_code(&to) {
                    self.add(format!("{path}.to"), format!("{to:?} is not a CRS code"), "AUTHORITY:CODE, as EPSG:4326");
                }
                Some(Step::NormalizeCrs { to })
            }
            "make_valid" | "force_2d" | "drop_empty" => {
                self.unknown(map, path, &[]);
                Some(match name {
                    "make_valid" => Step::MakeValid,
                    "force_2d" => Step::Force2d,
                    _ => Step::DropEmpty,
                })
            }
            "simplify" => {
                self.unknown(map, path, &["tolerance"]);
                let tolerance = self.number(map.get("tolerance"), &format!("{path}.tolerance"), parameters)?;
                Some(Step::Simplify { tolerance })
            }
            "rename" => {
                let mut columns = Vec::new();
                for (old, new) in map {
                    match (old.as_str(), new.as_str()) {
                        (Some(old), Some(new)) if !new.is_empty() => columns.push((old.to_owned(), new.to_owned())),
                        _ => self.add(path, "a name is not text", "old names to new names"),
                    }
                }
                Some(Step::Rename { columns })
            }
            "select" => {
                self.unknown(map, path, &["columns"]);
                let columns = self.names(map.get("columns"), &format!("{path}.columns"))?;
                Some(Step::Select { columns })
            }
            "filter" => {
                self.unknown(map, path, &["where"]);
                let condition = self.text(map, path, "where")?;
                if let Err(error) = expression(&condition) {
                    self.add(format!("{path}.where"), error, "one SQL expression");
                }
                Some(Step::Filter { condition })
            }
            "sql" => {
                self.unknown(map, path, &["sql", "columns"]);
                let query = self.text(map, path, "sql")?;
                if !query.contains("{input}") {
                    self.add(format!("{path}.sql"), "does not read {input}", "a query over {input}");
                }
                let columns = match map.get("columns") {
                    None => None,
                    some => Some(self.names(some, &format!("{path}.columns"))?),
                };
                Some(Step::Sql { query, columns })
            }
            other => {
                let known = "normalize_crs, make_valid, simplify, force_2d, drop_empty, rename, select, filter, sql";
                self.add(path, format!("{other} is not a step"), known);
                None
            }
        }
    }

    fn number(&mut self, value: Option<&Value>, path: &str, parameters: &[Parameter]) -> Option<Number> {
        match value {
            Some(Value::String(text)) if text.starts_with('$') => {
                let name = &text[1..];
                if parameters.iter().any(|parameter| parameter.name == name) {
                    return Some(Number::Parameter(name.to_owned()));
                }
                self.add(path, format!("no parameter is called {name}"), "a number, or $ and the name of a parameter");
            }
            Some(value) if value.as_f64().is_some_and(|v| v.is_finite() && v > 0.0) => {
                return value.as_f64().map(Number::Value);
            }
            _ => {
                self.add(path, "missing or not a number above 0", "a number above 0, or $ and the name of a parameter")
            }
        }
        None
    }

    fn names(&mut self, value: Option<&Value>, path: &str) -> Option<Vec<String>> {
        let names: Option<Vec<String>> = value
            .and_then(Value::as_sequence)
            .and_then(|list| list.iter().map(|name| name.as_str().map(str::to_owned)).collect());
        match names {
            Some(names) if !names.is_empty() => Some(names),
            _ => {
                self.add(path, "missing or not a list of names", "a list of column names");
                None
            }
        }
    }

    fn text(&mut self, map: &Mapping, path: &str, name: &str) -> Option<String> {
        let text = map.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        if text.is_none() {
            self.add(format!("{path}.{name}"), "missing or not text", "text");
        }
        text.map(str::to_owned)
    }

    fn unknown(&mut self, map: &Mapping, path: &str, known: &[&str]) {
        for key in map.keys() {
            let key = key.as_str().unwrap_or("(not text)");
            if !known.contains(&key) {
                let allowed = if known.is_empty() { "no parameters".to_owned() } else { known.join(", ") };
                self.add(format!("{path}.{key}"), "unknown", allowed);
            }
        }
    }
}

fn pair<'a>(map: &'a Mapping, nothing: &'a Value) -> (&'a str, &'a Value) {
    match map.iter().next() {
        Some((name, Value::Null)) => (name.as_str().unwrap_or_default(), nothing),
        Some((name, arguments)) => (name.as_str().unwrap_or_default(), arguments),
        None => ("", nothing),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Checks that a text is one expression and nothing after it, so that it cannot end the statement around it.
fn expression(text: &str) -> Result<(), String> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).map_err(|error| error.to_string())?;
    parser.parse_expr().map_err(|error| error.to_string())?;
    match parser.next_token().token {
        datafusion::sql::sqlparser::tokenizer::Token::EOF => Ok(()),
        other => Err(format!("{other} stands after the end of the expression")),
    }
}
