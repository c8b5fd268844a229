//! How an error looks: its code, what, where, why, every fault, and what to do. Snapshots fix it.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use catchment_model::Problem;

/// Escape sequences, or none.
struct Paint(bool);

impl Paint {
    fn with(&self, style: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Prints a problem on standard error: for people, or as one line of JSON.
pub(crate) fn print(problem: &Problem, json: bool) {
    if json {
        eprintln!("{}", serde_json::json!({"problem": problem}));
    } else {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        eprint!("{}", render(problem, colour));
    }
}

/// The text for people.
pub(crate) fn render(problem: &Problem, colour: bool) -> String {
    let paint = Paint(colour);
    let mut text = format!("{}: {}\n", paint.with("1;31", &format!("error[{}]", problem.code)), problem.what);
    let mut line = |label: &str, body: &str| {
        let mut lines = body.lines();
        let label = paint.with("1", &format!("{label:>8}"));
        text.push_str(&format!("{label}  {}\n", lines.next().unwrap_or_default()));
        for rest in lines {
            text.push_str(&format!("{:8}  {rest}\n", ""));
        }
    };
    if let Some(place) = &problem.place {
        line("where", place);
    }
    if let Some(cause) = &problem.cause {
        line("why", cause);
    }
    for fault in &problem.faults {
        line("at", &format!("{}\n{}\nallowed: {}", fault.path, fault.what, fault.allowed));
    }
    if let Some(remedy) = &problem.remedy {
        line("to mend", remedy);
    }
    if problem.code == catchment_model::Code::Bug {
        let _ = writeln!(text, "{:8}  this is a bug in Catchment: please report it with this text", "");
    }
    text
}

#[cfg(test)]
mod tests {
    use catchment_model::{Code, Fault, Problem};

    use super::render;

    #[test]
    fn an_error_says_code_what_where_why_and_the_remedy() {
        let problem = Problem::new(Code::CrsMissing, "the file states no CRS and the manifest gives none")
            .place("s3://landing-zone/b1/parcels.zip")
            .cause("parcels.shp has no .prj beside it")
            .remedy("give the CRS: catchment ingest parcels.zip --crs EPSG:2056");
        insta::assert_snapshot!(render(&problem, false), @r"
        error[crs_missing]: the file states no CRS and the manifest gives none
           where  s3://landing-zone/b1/parcels.zip
             why  parcels.shp has no .prj beside it
         to mend  give the CRS: catchment ingest parcels.zip --crs EPSG:2056
        ");
    }

    #[test]
    fn every_fault_has_its_place_and_what_is_allowed() {
        let fault = |path: &str, what: &str, allowed: &str| Fault {
            path: path.into(),
            what: what.into(),
            allowed: allowed.into(),
        };
        let problem = Problem::new(Code::InvalidManifest, "the manifest has 2 faults").faults(vec![
            fault("$.bacth_id", "unknown field", "batch_id, uploader, intent, files, metadata"),
            fault("$.files[0].type", "`cube` is no type", "vector, raster, tabular"),
        ]);
        insta::assert_snapshot!(render(&problem, false), @r"
        error[invalid_manifest]: the manifest has 2 faults
              at  $.bacth_id
                  unknown field
                  allowed: batch_id, uploader, intent, files, metadata
              at  $.files[0].type
                  `cube` is no type
                  allowed: vector, raster, tabular
        ");
    }

    #[test]
    fn a_bug_says_that_it_is_one() {
        insta::assert_snapshot!(render(&Problem::new(Code::Bug, "a child has no standard output"), false), @r"
        error[bug]: a child has no standard output
                  this is a bug in Catchment: please report it with this text
        ");
    }

    #[test]
    fn colour_is_only_added() {
        let problem = Problem::new(Code::Io, "x").remedy("y");
        let plain: String = strip(&render(&problem, true));
        assert_eq!(plain, render(&problem, false));
    }

    fn strip(text: &str) -> String {
        let mut parts = text.split("\x1b[");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| all + part.split_once('m').map_or(part, |(_, rest)| rest))
    }
}
