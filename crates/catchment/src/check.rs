//! Asset checks: what is asked of an asset before it may count as made.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
    /// Whether its failure keeps the asset from being committed.
    pub blocking: bool,
    /// How bad its failure is.
    pub severity: Severity,
    /// What was found, as a sentence.
    pub description: String,
    /// Numbers and texts that belong to it.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

impl CheckResult {
    /// A blocking check with severity ERROR.
    pub fn new(name: impl Into<String>, passed: bool, description: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            passed,
            blocking: true,
            severity: Severity::Error,
            description: description.into(),
            metadata: Map::new(),
        }
    }

    /// The same as a mere warning: it never keeps anything from being committed.
    pub fn warning(mut self) -> Self {
        self.blocking = false;
        self.severity = Severity::Warn;
        self
    }

    /// Adds a number or text.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Whether this keeps the asset from being committed.
    pub fn blocks(&self) -> bool {
        self.blocking && !self.passed
    }
}
