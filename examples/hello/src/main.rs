//! A code location of one's own: two assets, a job and a sensor.
//!
//! `cargo run --release -p catchment-hello -- check` finds what is wrong with it, `list` shows what it
//! defines, `code-server` serves it to the control plane.

use std::process::ExitCode;
use std::sync::Arc;

use catchment::{
    AssetContext, Config, Definitions, Input, Problem, Res, RunRequest, SensorContext, SensorResult, asset, asset_job,
    sensor,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// What `words` may be told.
#[derive(Debug, Deserialize, JsonSchema)]
struct Text {
    /// The text to count in.
    text: String,
}

/// What the sensor watches: here, a fixed list.
struct Inbox {
    texts: Vec<String>,
}

/// The words of a text.
#[asset(group = "hello")]
async fn words(config: Config<Text>) -> Result<Vec<String>, Problem> {
    Ok(config.text.split_whitespace().map(str::to_owned).collect())
}

/// How many words there are.
#[asset(group = "hello")]
async fn word_count(ctx: AssetContext, words: Input<Vec<String>>) -> Result<usize, Problem> {
    ctx.add_metadata("longest", words.iter().map(String::len).max());
    Ok(words.len())
}

/// Asks for one count of each text, whatever happens.
#[sensor(jobs = ["count"], minimum_interval_s = 5, default = running)]
async fn inbox_sensor(ctx: SensorContext, inbox: Res<Inbox>) -> Result<SensorResult, Problem> {
    let seen: usize = ctx.cursor().and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let request = |(place, text): (usize, &String)| RunRequest {
        run_key: Some(format!("text-{place}")),
        job_name: "count".into(),
        run_config: json!({"ops": {"words": {"config": {"text": text}}}}),
        tags: Default::default(),
        partition_key: None,
        claim: None,
    };
    let run_requests = inbox.texts.iter().enumerate().skip(seen).map(request).collect();
    Ok(SensorResult { run_requests, cursor: Some(inbox.texts.len().to_string()), ..Default::default() })
}

fn definitions() -> Definitions {
    Definitions::new("hello")
        .assets([words(), word_count()])
        .job(asset_job("count", ["words", "word_count"]))
        .sensor(inbox_sensor())
        .resource("inbox", |_| async { Ok(Arc::new(Inbox { texts: vec!["the quick brown fox".into()] })) })
}

fn main() -> ExitCode {
    catchment::serve(definitions)
}

#[tokio::test]
async fn the_words_of_a_text_are_counted() {
    assert!(definitions().check().is_empty());
    assert_eq!(words::call(Config(Text { text: "a b".into() })).await.unwrap(), ["a", "b"]);
    let config = json!({"ops": {"words": {"config": {"text": "one two three"}}}});
    let made = catchment::materialize(&definitions(), ["words", "word_count"]).config(config).await.unwrap();
    assert_eq!(made.value("word_count").as_deref(), Some(&3_usize));
}
