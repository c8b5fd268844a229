//! What a user reads when something is wrong: a code, what, where, why and what to do.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The closed list of error codes. Each is mapped once to an exit code and once to an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A command, setting or environment variable is wrong.
    InvalidConfig,
    /// A manifest has faults; they are listed.
    InvalidManifest,
    /// A `batch_id` was used before.
    DuplicateBatch,
    /// A request or argument is wrong.
    InvalidInput,
    /// A file is not there.
    FileNotFound,
    /// A file is empty.
    FileEmpty,
    /// A file is damaged, cut off, or not what its format demands.
    FileCorrupt,
    /// A file is not what the manifest's `format` says, or its format is not accepted.
    FormatMismatch,
    /// A file is of a format that is not allowed.
    FormatNotAllowed,
    /// An archive breaks a limit or holds a hostile member.
    ArchiveRefused,
    /// A file has several layers and none was named, or the named one is not there.
    LayerAmbiguous,
    /// A file states no CRS and the manifest gives none.
    CrsMissing,
    /// The manifest's CRS contradicts the file's.
    CrsConflict,
    /// A CRS is not known, or coordinates cannot be transformed.
    CrsInvalid,
    /// A geometry cannot be used or repaired.
    GeometryInvalid,
    /// A recipe is wrong.
    RecipeInvalid,
    /// A blocking check failed.
    CheckFailed,
    /// A limit of memory, time, size or count was reached.
    LimitExceeded,
    /// A worker process crashed.
    WorkerCrashed,
    /// A lease was lost: another process has taken over.
    LeaseLost,
    /// The process of a run ended without a word.
    RunLost,
    /// What was asked for is not there.
    NotFound,
    /// The request conflicts with what is there.
    Conflict,
    /// The caller may not do this.
    Forbidden,
    /// The caller is not known.
    Unauthenticated,
    /// Another process holds the lock.
    AlreadyRunning,
    /// A service is out of reach.
    Unavailable,
    /// The lake and the ledger disagree.
    Integrity,
    /// The run was cancelled.
    Canceled,
    /// The disk or network failed.
    Io,
    /// What is asked for is not supported by this version.
    Unsupported,
    /// A bug in Catchment.
    Bug,
}

impl Code {
    /// The text of the code, as in JSON: `crs_missing`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid_config",
            Self::InvalidManifest => "invalid_manifest",
            Self::DuplicateBatch => "duplicate_batch",
            Self::InvalidInput => "invalid_input",
            Self::FileNotFound => "file_not_found",
            Self::FileEmpty => "file_empty",
            Self::FileCorrupt => "file_corrupt",
            Self::FormatMismatch => "format_mismatch",
            Self::FormatNotAllowed => "format_not_allowed",
            Self::ArchiveRefused => "archive_refused",
            Self::LayerAmbiguous => "layer_ambiguous",
            Self::CrsMissing => "crs_missing",
            Self::CrsConflict => "crs_conflict",
            Self::CrsInvalid => "crs_invalid",
            Self::GeometryInvalid => "geometry_invalid",
            Self::RecipeInvalid => "recipe_invalid",
            Self::CheckFailed => "check_failed",
            Self::LimitExceeded => "limit_exceeded",
            Self::WorkerCrashed => "worker_crashed",
            Self::LeaseLost => "lease_lost",
            Self::RunLost => "run_lost",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Forbidden => "forbidden",
            Self::Unauthenticated => "unauthenticated",
            Self::AlreadyRunning => "already_running",
            Self::Unavailable => "unavailable",
            Self::Integrity => "integrity",
            Self::Canceled => "canceled",
            Self::Io => "io",
            Self::Unsupported => "unsupported",
            Self::Bug => "bug",
        }
    }

    /// The exit code of a command that ends with this: 1 the work failed, 2 wrong usage or bad input,
    /// 3 a service is out of reach.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::InvalidConfig
            | Self::InvalidManifest
            | Self::DuplicateBatch
            | Self::InvalidInput
            | Self::FileNotFound
            | Self::NotFound
            | Self::Unsupported
            | Self::RecipeInvalid => 2,
            Self::Unavailable => 3,
            _ => 1,
        }
    }

    /// The HTTP status of an answer with this code.
    pub fn http_status(self) -> u16 {
        match self {
            Self::NotFound | Self::FileNotFound => 404,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::Conflict | Self::DuplicateBatch | Self::AlreadyRunning | Self::LeaseLost => 409,
            Self::InvalidConfig
            | Self::InvalidManifest
            | Self::InvalidInput
            | Self::FileEmpty
            | Self::FileCorrupt
            | Self::FormatMismatch
            | Self::FormatNotAllowed
            | Self::ArchiveRefused
            | Self::LayerAmbiguous
            | Self::CrsMissing
            | Self::CrsConflict
            | Self::CrsInvalid
            | Self::GeometryInvalid
            | Self::RecipeInvalid => 400,
            Self::CheckFailed | Self::LimitExceeded => 422,
            Self::Unavailable => 503,
            Self::Unsupported => 501,
            Self::WorkerCrashed | Self::RunLost | Self::Integrity | Self::Canceled | Self::Io | Self::Bug => 500,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One error as its reader needs it. The only error type that crosses a process boundary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Which kind of error.
    pub code: Code,
    /// What is wrong, as one sentence without a full stop.
    pub what: String,
    /// Where: an object, a path, a JSON path, a feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Why: the underlying error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The single faults, where there are several (a manifest's).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// One fault of a document, found by validation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// The JSON path (RFC 9535), such as `$.files[0].path`.
    pub path: String,
    /// What is wrong there.
    pub what: String,
    /// What is allowed there.
    pub allowed: String,
}

impl Problem {
    /// A problem with its code and its sentence.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), place: None, cause: None, remedy: None, faults: Vec::new() }
    }

    /// Says where.
    pub fn place(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Says why.
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Says what to do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Lists the single faults.
    pub fn faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(place) = &self.place {
            write!(f, " [{place}]")?;
        }
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        for fault in &self.faults {
            write!(f, "; {}: {} (allowed: {})", fault.path, fault.what, fault.allowed)?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; to mend it: {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::new(Code::Io, "a file or connection failed").cause(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Problem};

    #[test]
    fn a_code_has_the_same_text_in_json_and_in_print() {
        for code in [Code::CrsMissing, Code::Io, Code::AlreadyRunning, Code::FormatNotAllowed, Code::Bug] {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
        }
    }

    #[test]
    fn a_problem_prints_what_where_why_and_the_remedy() {
        let problem = Problem::new(Code::Io, "cannot read").place("a.gpkg").cause("disk full").remedy("free space");
        assert_eq!(problem.to_string(), "cannot read [a.gpkg]: disk full; to mend it: free space");
    }
}
