//! A code location of one's own: two assets by day with a check, a job of them, a schedule and a sensor.
//!
//! `cargo run --release -p catchment-hello -- check` finds what is wrong with it, `list` shows what it defines.

use std::path::PathBuf;
use std::process::ExitCode;

use catchment::{
    AssetContext, CheckResult, Definitions, Input, Partition, PartitionsDefinition, Problem, Res, ResourceContext,
    RunRequest, asset, asset_check, asset_job, resource, schedule_from_partitioned_job, sensor,
};

fn days() -> PartitionsDefinition {
    PartitionsDefinition::daily("day", "2026-01-01").timezone("Europe/Zurich")
}

/// The folder that texts are put into, one for each day: `2026-01-31.txt`.
#[resource]
async fn inbox(ctx: ResourceContext) -> Result<PathBuf, Problem> {
    let folder = ctx.home().root().join("inbox");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The words of a day's text; none where there is no text.
#[asset(group = "hello", partitions = days)]
async fn words(day: Partition, inbox: Res<PathBuf>) -> Result<Vec<String>, Problem> {
    let text = tokio::fs::read_to_string(inbox.join(format!("{}.txt", &*day))).await.unwrap_or_default();
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// How many words there are.
#[asset(group = "hello", partitions = days, retry = 2)]
async fn word_count(ctx: AssetContext, words: Input<Vec<String>>) -> Result<usize, Problem> {
    ctx.add_metadata("longest", words.iter().map(String::len).max());
    Ok(words.len())
}

/// The day has words.
#[asset_check(asset = "words")]
async fn not_empty(words: Input<Vec<String>>) -> Result<CheckResult, Problem> {
    Ok(CheckResult::of(!words.is_empty()).with("words", words.len()))
}

/// Counts the words of a day as soon as its text is there; the schedule counts them when the day is over.
#[sensor(jobs = ["count"], minimum_interval_s = 5, default = running)]
async fn inbox_sensor(inbox: Res<PathBuf>) -> Result<Vec<RunRequest>, Problem> {
    let files = std::fs::read_dir(&*inbox)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let days = files.filter_map(|file| Some(file.strip_suffix(".txt")?.to_owned()));
    Ok(days.map(|day| RunRequest::new(&day).partition(day)).collect())
}

fn definitions() -> Definitions {
    Definitions::new("hello")
        .assets([words(), word_count()])
        .asset_checks([not_empty()])
        .job(asset_job("count", ["words", "word_count"]))
        .schedule(schedule_from_partitioned_job("count").running_by_default(true))
        .sensor(inbox_sensor())
        .add_resource(inbox())
}

fn main() -> ExitCode {
    catchment::serve(definitions)
}

#[tokio::test]
async fn the_words_of_a_day_are_counted() {
    let inbox = tempfile::tempdir().unwrap();
    std::fs::write(inbox.path().join("2026-01-31.txt"), "the quick brown fox").unwrap();
    let inbox = std::sync::Arc::new(inbox.path().to_owned());
    assert_eq!(inbox_sensor::call(inbox.clone().into()).await.unwrap()[0].partition_key.as_deref(), Some("2026-01-31"));
    let made = catchment::materialize(&definitions(), ["words", "word_count"]).resource("inbox", inbox);
    let made = made.partition("2026-01-31").await.unwrap();
    assert_eq!((made.value("word_count").as_deref(), made.check("words", "not_empty")), (Some(&4_usize), Some(true)));
}
