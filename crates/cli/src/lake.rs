//! `catchment lake`: verify and gc, as work that the server does and reports on.

use std::time::Duration;

use catchment_model::{Code, Problem};
use serde_json::{Value, json};

use crate::args::LakeCommand;
use crate::progress::Progress;
use crate::{Context, humane};

/// Carries a command under `catchment lake` out; answers the exit code.
pub(crate) async fn carry_out(command: LakeCommand, context: &Context) -> Result<u8, Problem> {
    let api = context.api()?;
    match command {
        LakeCommand::Verify { repair, quick } => {
            let mut progress = Progress::new("lake verify", context.global.json);
            let done = api
                .work("/lake/verify", &json!({"repair": repair, "quick": quick}), |stage, done, total| {
                    progress.count(stage, done, total);
                })
                .await;
            progress.done();
            let report = done?;
            context.show(&report, print_verified)?;
            Ok(u8::from(report["clean"] != true))
        }
        LakeCommand::Gc { dry_run, grace } => {
            let mut body = json!({"dry_run": dry_run});
            if let Some(grace) = grace {
                body["grace_s"] = seconds(&grace)?.as_secs().into();
            }
            let mut progress = Progress::new("lake gc", context.global.json);
            let done = api.work("/lake/gc", &body, |stage, done, total| progress.count(stage, done, total)).await;
            progress.done();
            let report = done?;
            context.show(&report, print_collected)?;
            Ok(0)
        }
    }
}

/// A length of time: a number and `s`, `m`, `h` or `d`.
fn seconds(text: &str) -> Result<Duration, Problem> {
    let wrong = || {
        Problem::new(Code::InvalidInput, format!("`{text}` is no length of time"))
            .place("--grace")
            .remedy("write a number and a unit: 0s, 30m, 12h, 7d")
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "s" | "" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number.checked_mul(factor).ok_or_else(wrong)?))
}

/// The facts of a report, and its lists an entry a line.
fn print_report(report: &Value) {
    let Some(fields) = report.as_object() else { return };
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let facts: Vec<(&str, String)> = fields
        .iter()
        .filter(|(_, value)| !value.is_array() && !value.is_object())
        .map(|(name, value)| {
            let text = match value.as_u64() {
                Some(n) if name.contains("bytes") => humane::bytes(n),
                _ => plain(value),
            };
            (name.as_str(), text)
        })
        .collect();
    humane::facts(&facts);
    for (name, list) in fields.iter().filter_map(|(name, value)| Some((name, value.as_array()?))) {
        for entry in list {
            match entry.as_object() {
                None => println!("{name}: {}", plain(entry)),
                Some(parts) => {
                    let parts = parts.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| format!("{k} {}", plain(v)));
                    println!("{name}: {}", parts.collect::<Vec<_>>().join(", "));
                }
            }
        }
    }
}

fn print_verified(report: &Value) {
    print_report(report);
    if report["clean"] == true {
        println!("\nThe ledger and the lake agree.");
    } else {
        println!("\nThe ledger and the lake disagree: see above. --repair mends what can be mended without loss.");
    }
}

fn print_collected(report: &Value) {
    print_report(report);
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn lengths_of_time_have_a_unit() {
        for (text, expected) in [("0s", 0), ("90", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(seconds(text).unwrap().as_secs(), expected);
        }
        for wrong in ["", "h", "-1s", "1.5h", "3 weeks"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
