//! Recipes: what an intent means, as an ordered list of named transformations in a YAML file.
//!
//! A recipe is data. It is checked whole when it is loaded ([`parse`]), has a fingerprint that goes into every
//! version's provenance, and is rendered to SQL by crate module [`crate::sql`].

use catchment_model::{Code, Fault, Problem};
use serde::Serialize;
use sha2::{Digest, Sha256};

mod library;
mod parse;

pub use library::Recipes;
pub use parse::parse;

/// Which kind of file a recipe takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AppliesTo {
    /// Features with a geometry.
    Vector,
    /// Pixels.
    Raster,
    /// Rows without a geometry.
    Tabular,
}

/// A recipe that was checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    /// The intent that it is the meaning of.
    pub intent: String,
    /// Which kind of file it takes.
    pub applies_to: AppliesTo,
    /// A title for people.
    pub title: String,
    /// What it does and what for.
    pub description: String,
    /// What a manifest's tags may set.
    pub parameters: Vec<Parameter>,
    /// The transformations, in order.
    pub steps: Vec<Step>,
}

/// A number that a manifest may set by a tag of this name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    /// The tag's name.
    pub name: String,
    /// The value where the tag is missing.
    pub default: f64,
    /// The value must be greater than this.
    pub above: Option<f64>,
    /// What it means, with its unit.
    pub description: String,
}

/// One transformation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Transforms coordinates to another CRS.
    NormalizeCrs {
        /// The target, as `AUTHORITY:CODE`.
        to: String,
    },
    /// Repairs invalid geometries, leaves valid ones as they are.
    MakeValid,
    /// Simplifies each geometry by itself, topology preserved.
    Simplify {
        /// How far a line may move, in units of the CRS at this point.
        tolerance: Number,
    },
    /// Drops heights and measures.
    #[serde(rename = "force_2d")]
    Force2d,
    /// Drops rows whose geometry is null or empty.
    DropEmpty,
    /// Renames columns.
    Rename {
        /// Pairs of old and new name, in the order of the file.
        columns: Vec<(String, String)>,
    },
    /// Keeps the named columns, in this order, and the geometry.
    Select {
        /// Their names.
        columns: Vec<String>,
    },
    /// Keeps the rows for which a condition is true.
    Filter {
        /// A SQL expression over the columns.
        condition: String,
    },
    /// A query over `{input}`.
    Sql {
        /// The query; `{input}` stands for what the steps before it made, `{name}` for a parameter.
        query: String,
        /// The columns that it returns; `None` promises those of its input.
        columns: Option<Vec<String>>,
    },
}

/// A number in a step: written there, or a parameter's.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Number {
    /// Written in the recipe.
    Value(f64),
    /// The value of the parameter of this name.
    Parameter(String),
}

impl Recipe {
    /// SHA-256 (64 hex digits) of the recipe's canonical form: what it does, whatever the file's layout,
    /// comments, title and description.
    pub fn fingerprint(&self) -> String {
        let canonical = serde_json::json!({
            "version": 1,
            "intent": self.intent,
            "applies_to": self.applies_to,
            "parameters": self.parameters.iter()
                .map(|p| serde_json::json!({"name": p.name, "default": p.default, "above": p.above}))
                .collect::<Vec<_>>(),
            "steps": self.steps,
        });
        hex::encode(Sha256::digest(canonical.to_string()))
    }

    /// The values of the parameters: the tags' where they are given, else the defaults.
    pub fn values(&self, tags: &serde_json::Map<String, serde_json::Value>) -> Result<Vec<(String, f64)>, Problem> {
        let mut faults = Vec::new();
        let mut values = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            let value = match tags.get(&parameter.name) {
                None | Some(serde_json::Value::Null) => Some(parameter.default),
                Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
                Some(other) => other.as_f64(),
            };
            match value.filter(|v: &f64| v.is_finite() && parameter.above.is_none_or(|above| *v > above)) {
                Some(value) => values.push((parameter.name.clone(), value)),
                None => faults.push(Fault {
                    path: format!("$.metadata.tags.{}", parameter.name),
                    what: format!("{} is not a value for it", tags[&parameter.name]),
                    allowed: match parameter.above {
                        Some(above) => format!("a number above {above}"),
                        None => "a number".to_owned(),
                    },
                }),
            }
        }
        if faults.is_empty() {
            return Ok(values);
        }
        Err(Problem::new(Code::InvalidInput, format!("the tags do not fit the recipe {}", self.intent))
            .remedy("correct the tags in the manifest and upload it with a new batch_id")
            .faults(faults))
    }
}

#[cfg(test)]
mod tests;
