//! Asset checks: what is asked of an asset before it may count as made.

use catchment_core::automation::AutomationCondition;
use catchment_core::definitions::CheckSpec;
use catchment_core::metadata::{Metadata, MetadataValue};
use catchment_model::Problem;
use serde::{Deserialize, Serialize};

use crate::asset::Tried;
use crate::op::{OpDefinition, step_settings};

/// How bad it is that a check does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// Worth a look.
    Warn,
    /// Wrong.
    #[default]
    Error,
}

/// What came out of a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check's name, unique for its asset.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// Whether its failure with severity ERROR keeps the asset from being committed, and stops what is downstream.
    pub blocking: bool,
    /// How bad its failure is.
    pub severity: Severity,
    /// What was found, as a sentence.
    pub description: String,
    /// Numbers and texts that belong to it.
    #[serde(default)]
    pub metadata: Metadata,
}

impl CheckResult {
    /// What an `#[asset_check]` answers: whether it holds.
    pub fn of(passed: bool) -> Self {
        Self::new("", passed, "")
    }

    /// What was found, as a sentence.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// How bad its failure is.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// A check with severity ERROR. It blocks where its definition says so (`#[asset_check(blocking)]`), or
    /// [`CheckResult::blocking`].
    pub fn new(name: impl Into<String>, passed: bool, description: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            passed,
            blocking: false,
            severity: Severity::Error,
            description: description.into(),
            metadata: Metadata::new(),
        }
    }

    /// Says that its failure with severity ERROR keeps the asset from being committed, and stops what is downstream.
    /// What is a step of its own blocks as its definition says, for steps downstream have to know it before.
    pub fn blocking(mut self) -> Self {
        self.blocking = true;
        self
    }

    /// The same as a mere warning: it never keeps anything from being committed.
    pub fn warning(mut self) -> Self {
        self.blocking = false;
        self.severity = Severity::Warn;
        self
    }

    /// Adds a number or text.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Whether this keeps the asset from being committed, and stops what is downstream.
    pub fn blocks(&self) -> bool {
        self.blocking && !self.passed && self.severity == Severity::Error
    }
}

/// A check of an asset that is a step of its own: it runs after the asset is made, or alone. `#[asset_check]` writes
/// this for a function. The name and blocking of its [`CheckResult`] are those of the definition.
#[derive(Clone)]
pub struct CheckDefinition {
    /// The function. Its name is the key of the step: `<asset>_<check>`.
    pub(crate) op: OpDefinition,
    pub(crate) spec: CheckSpec,
    /// Further assets that it needs without taking their value.
    pub(crate) deps: Vec<String>,
    /// What was wrong with what it was given.
    pub(crate) problems: Vec<Problem>,
}

step_settings!(CheckDefinition, op);

impl CheckDefinition {
    /// The check that an op evaluates.
    pub fn of(asset: &str, name: &str, mut op: OpDefinition) -> Self {
        op.name = format!("{}_{name}", asset.replace('/', "__"));
        let spec = CheckSpec {
            asset_key: asset.to_owned(),
            name: name.to_owned(),
            step: op.name.clone(),
            ..CheckSpec::default()
        };
        Self { op, spec, deps: Vec::new(), problems: Vec::new() }
    }

    /// Says that its failure with severity ERROR stops what is downstream of the asset in the same run.
    pub fn blocking(mut self, blocking: bool) -> Self {
        self.spec.blocking = blocking;
        self
    }

    /// Further assets that it needs without taking their value.
    pub fn deps<const N: usize>(mut self, deps: [&str; N]) -> Self {
        self.deps = deps.map(str::to_owned).to_vec();
        self
    }

    /// When it is evaluated by itself.
    pub fn automation(mut self, condition: impl Tried<AutomationCondition>) -> Self {
        match condition.tried() {
            Ok(condition) => self.spec.automation = Some(condition),
            Err(problem) => self.problems.push(problem),
        }
        self
    }
}
