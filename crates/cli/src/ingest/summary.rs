//! What came of a batch, for people and for programs.

use catchment_model::{Asset, Bounds, Code, Problem};
use catchment_settings::clock;
use catchment_web::views::RunView;
use serde::Serialize;

use super::Announced;
use crate::{humane, report};

/// One batch at its end.
#[derive(Debug, Serialize)]
pub(super) struct Batch {
    batch_id: String,
    dataset_id: String,
    file: Option<String>,
    /// `announced`, `success`, `failure`, `canceled` or `rejected`.
    status: &'static str,
    run_id: Option<String>,
    version: Option<u64>,
    rows: Option<u64>,
    crs: Option<String>,
    bounds: Option<Bounds>,
    bytes: Option<u64>,
    content_hash: Option<String>,
    s3_key: Option<String>,
    seconds: f64,
    warnings: Vec<String>,
    problem: Option<Problem>,
}

impl Batch {
    /// A batch that nobody waited for.
    pub(super) fn announced(of: &Announced) -> Self {
        Self {
            batch_id: of.batch_id.clone(),
            dataset_id: of.dataset_id.clone(),
            file: of.file.clone(),
            status: "announced",
            run_id: None,
            version: None,
            rows: None,
            crs: None,
            bounds: None,
            bytes: None,
            content_hash: None,
            s3_key: None,
            seconds: clock::monotonic().duration_since(of.began).as_secs_f64(),
            warnings: Vec::new(),
            problem: None,
        }
    }

    /// A batch whose manifest was refused.
    pub(super) fn rejected(of: &Announced, problem: Problem) -> Self {
        Self { status: "rejected", problem: Some(problem), ..Self::announced(of) }
    }

    /// A batch whose run has ended.
    pub(super) fn ended(of: &Announced, run: RunView, assets: Vec<Asset>) -> Self {
        let status = match run.status.as_str() {
            "SUCCESS" => "success",
            "CANCELED" => "canceled",
            _ => "failure",
        };
        let asset = assets.into_iter().next();
        let asset = asset.as_ref();
        let problem = run.problem.or_else(|| match status {
            "success" => None,
            "canceled" => Some(Problem::new(Code::Canceled, "the run was cancelled")),
            _ => Some(Problem::new(Code::RunLost, "the run failed and left no reason")),
        });
        let problem = problem.map(|problem| match problem.place {
            Some(_) => problem,
            None => problem.place(format!("run {}", run.run_id)),
        });
        Self {
            status,
            version: asset.map(|a| a.version),
            rows: asset.and_then(|a| a.metadata.feature_count),
            crs: asset.and_then(|a| a.crs.clone()),
            bounds: asset.and_then(|a| a.bounds),
            bytes: asset.map(|a| a.bytes),
            content_hash: asset.map(|a| a.content_hash.to_string()),
            s3_key: asset.map(|a| a.s3_key.clone()),
            warnings: asset.map(|a| a.metadata.warnings.clone()).unwrap_or_default(),
            run_id: Some(run.run_id),
            problem,
            ..Self::announced(of)
        }
    }

    /// 0 where it is in the lake (or nobody waits for it), 2 where the manifest was refused, else 1.
    pub(super) fn exit_code(&self) -> u8 {
        match (self.status, &self.problem) {
            ("success" | "announced", _) => 0,
            ("rejected", Some(problem)) => problem.code.exit_code().max(1),
            _ => 1,
        }
    }

    /// For people: what landed on standard output, what went wrong on standard error.
    pub(super) fn print(&self) {
        let name = self.file.as_deref().unwrap_or(&self.batch_id);
        match (self.status, &self.problem) {
            ("success", _) => self.print_landed(name),
            ("announced", _) => println!("{name}  is announced as batch {}", self.batch_id),
            (_, Some(problem)) => {
                eprintln!("{name} did not come into the lake.");
                report::print(problem, false);
                if let Some(run_id) = &self.run_id {
                    eprintln!("     see  catchment run logs {run_id}");
                }
            }
            (status, None) => eprintln!("{name}: {status}"),
        }
    }

    fn print_landed(&self, name: &str) {
        println!("{name}  is in the lake");
        humane::facts(&[
            ("  dataset", format!("{} version {}", self.dataset_id, humane::or_dash(self.version))),
            ("  rows", humane::or_dash(self.rows.map(humane::count))),
            ("  CRS", humane::or_dash(self.crs.clone())),
            ("  extent", humane::or_dash(self.bounds.as_ref().map(humane::bounds))),
            ("  bytes", humane::or_dash(self.bytes.map(humane::bytes))),
            ("  took", format!("{:.2} s", self.seconds)),
            ("  hash", humane::or_dash(self.content_hash.clone())),
            ("  object", humane::or_dash(self.s3_key.clone())),
            ("  batch", self.batch_id.clone()),
            ("  run", humane::or_dash(self.run_id.clone())),
        ]);
        for warning in &self.warnings {
            println!("  warning: {warning}");
        }
    }
}
