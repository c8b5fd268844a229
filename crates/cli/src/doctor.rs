//! `catchment doctor`: named claims about this machine and this installation, each passed, failed, warned of or
//! skipped with a reason.

mod machine;
mod services;
mod worker;

use catchment_model::Problem;
use catchment_settings::Home;
use serde::Serialize;

use crate::{Context, report};

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold, and something is weaker for it.
    Warning,
    /// It does not hold, and something does not work.
    Failed,
    /// It could not be looked at.
    Skipped,
}

/// One claim with what came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    /// The claim.
    pub(crate) claim: &'static str,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// What was found, in words.
    pub(crate) detail: String,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<Problem>,
}

impl Check {
    fn passed(claim: &'static str, detail: impl Into<String>) -> Self {
        Self { claim, outcome: Outcome::Passed, detail: detail.into(), problem: None }
    }

    fn skipped(claim: &'static str, detail: impl Into<String>) -> Self {
        Self { claim, outcome: Outcome::Skipped, detail: detail.into(), problem: None }
    }

    fn warning(claim: &'static str, problem: Problem) -> Self {
        Self { claim, outcome: Outcome::Warning, detail: problem.what.clone(), problem: Some(problem) }
    }

    fn failed(claim: &'static str, problem: Problem) -> Self {
        Self { claim, outcome: Outcome::Failed, detail: problem.what.clone(), problem: Some(problem) }
    }
}

#[derive(Serialize)]
struct Diagnosis {
    healthy: bool,
    version: &'static str,
    home: String,
    checks: Vec<Check>,
}

/// Looks at everything; answers the exit code: 0 where nothing failed, 3 where only services are out of reach, else 1.
pub(crate) async fn examine(context: &Context) -> Result<u8, Problem> {
    let environment = &context.environment;
    let home = Home::at(&environment.home)
        .map_err(|e| Problem::new(catchment_model::Code::Io, "the home folder has no path").cause(e.to_string()))?;
    let mut checks = machine::checks(&home);
    checks.extend(worker::checks().await);
    checks.extend(services::checks(context, &home).await);
    let failed: Vec<u8> = checks
        .iter()
        .filter(|check| check.outcome == Outcome::Failed)
        .map(|check| check.problem.as_ref().map_or(1, |problem| problem.code.exit_code()))
        .collect();
    let code = match failed.as_slice() {
        [] => 0,
        codes if codes.iter().all(|code| *code == 3) => 3,
        _ => 1,
    };
    let diagnosis = Diagnosis {
        healthy: failed.is_empty(),
        version: env!("CARGO_PKG_VERSION"),
        home: home.root().display().to_string(),
        checks,
    };
    context.show(&diagnosis, print)?;
    Ok(code)
}

/// What is weaker than it should be about the GDAL worker and its sandbox; nothing where all is well.
pub(crate) async fn worker_problems() -> Vec<Problem> {
    worker::checks().await.into_iter().filter_map(|check| check.problem).collect()
}

fn print(diagnosis: &Diagnosis) {
    let width = diagnosis.checks.iter().map(|check| check.claim.chars().count()).max().unwrap_or_default();
    println!("catchment {} in {}\n", diagnosis.version, diagnosis.home);
    for check in &diagnosis.checks {
        let mark = match check.outcome {
            Outcome::Passed => "passed ",
            Outcome::Warning => "WARNING",
            Outcome::Failed => "FAILED ",
            Outcome::Skipped => "skipped",
        };
        println!("{mark}  {:<width$}  {}", check.claim, check.detail);
        if let Some(problem) = &check.problem {
            let lines = report::render(problem, false);
            lines.lines().skip(1).for_each(|line| println!("         {line}"));
        }
    }
    let count = |outcome| diagnosis.checks.iter().filter(|c| c.outcome == outcome).count();
    let (failed, warned) = (count(Outcome::Failed), count(Outcome::Warning));
    println!("\n{failed} failed, {warned} warnings, {} skipped.", count(Outcome::Skipped));
}
