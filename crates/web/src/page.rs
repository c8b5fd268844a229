//! The start page: says what this is, links the API, lists the latest runs and datasets. One HTML document
//! without scripts, fonts or anything from elsewhere.

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use catchment_core::Run;
use catchment_instance::RunFilter;
use catchment_ledger::DatasetSummary;
use http::header;

use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::ApiResult;

/// How many runs and datasets are listed.
const SHOWN: u32 = 20;
/// Only what the document itself holds may be used.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("page.css");

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::other(Verb::Get, "/", "A page for people", "text/html", start_page)]
}

async fn start_page(State(app): State<App>) -> ApiResult<Response> {
    let runs = app.instance().runs(&RunFilter::default(), None, SHOWN).await?;
    let datasets = app.ledger().datasets(None, SHOWN).await?.items;
    let endpoints = app.home().endpoints().unwrap_or_default();
    let html = document(&runs, &datasets, endpoints.s3.as_deref());
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    Ok((headers, html).into_response())
}

fn document(runs: &[Run], datasets: &[DatasetSummary], s3: Option<&str>) -> String {
    let s3 = s3.map(|url| format!(" The S3 server is at <code>{}</code>.", escape(url))).unwrap_or_default();
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Catchment</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>Catchment</h1>
<p>An offline-first spatial data platform: files that land here are checked, transformed, and led into a versioned lake.
This page is all there is to see in version {version}; everything else is the command line and the API.</p></header>
<main>
<section aria-labelledby="use"><h2 id="use">Use it</h2>
<p>Put a file in with <code>catchment ingest parcels.gpkg --dataset parcels</code>, or with any S3 client and a manifest.{s3}</p>
<ul>
<li><a href="/api/v1/openapi.json">The API, described (OpenAPI 3.1)</a></li>
<li><a href="/api/v1/health">How the parts are</a></li>
<li><a href="/api/v1/manifests">Batches</a>, <a href="/api/v1/rejected-manifests">refused manifests</a>,
<a href="/api/v1/activity">activity</a></li>
</ul></section>
<section aria-labelledby="datasets"><h2 id="datasets">Datasets</h2>{datasets}</section>
<section aria-labelledby="runs"><h2 id="runs">Latest runs</h2>{runs}</section>
</main>
</body>
</html>
"#,
        version = env!("CARGO_PKG_VERSION"),
        datasets = dataset_table(datasets),
        runs = run_table(runs),
    )
}

fn dataset_table(datasets: &[DatasetSummary]) -> String {
    if datasets.is_empty() {
        return "<p>None yet.</p>".into();
    }
    let mut rows = String::new();
    for DatasetSummary { dataset, latest, .. } in datasets {
        let id = escape(dataset.dataset_id.as_str());
        let rows_in = latest.metadata.feature_count.map_or_else(|| "–".into(), |n| n.to_string());
        let _ = write!(
            rows,
            r#"<tr><th scope="row"><a href="/api/v1/datasets/{id}">{id}</a></th><td>{}</td><td class="n">{}</td><td class="n">{rows_in}</td><td>{}</td></tr>"#,
            escape(dataset.title.as_deref().unwrap_or("–")),
            latest.version,
            time(latest.created_at),
        );
    }
    table("Datasets by name", &["Dataset", "Title", "Version", "Rows", "Since (UTC)"], &rows)
}

fn run_table(runs: &[Run]) -> String {
    if runs.is_empty() {
        return "<p>None yet.</p>".into();
    }
    let mut rows = String::new();
    for run in runs {
        let id = run.run_id.to_string();
        let _ = write!(
            rows,
            r#"<tr><th scope="row"><a href="/api/v1/runs/{id}">{}</a></th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"#,
            id.get(..8).unwrap_or(&id),
            run.status,
            escape(&run.job_name),
            escape(run.partition_key.as_deref().unwrap_or("–")),
            time(run.created_at),
        );
    }
    table("Runs, newest first", &["Run", "Status", "Job", "Dataset", "Made (UTC)"], &rows)
}

fn table(caption: &str, header: &[&str], rows: &str) -> String {
    let header: String = header.iter().map(|name| format!(r#"<th scope="col">{name}</th>"#)).collect();
    format!(
        r#"<div class="wide" role="region" aria-label="{caption}" tabindex="0"><table><caption>{caption}</caption><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>"#
    )
}

fn time(at: jiff::Timestamp) -> String {
    format!(r#"<time datetime="{at}">{}</time>"#, at.strftime("%Y-%m-%d %H:%M:%S"))
}

/// Text that cannot become markup.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::{document, escape};

    #[test]
    fn an_empty_installation_says_so_and_asks_for_nothing_from_elsewhere() {
        let html = document(&[], &[], Some("http://127.0.0.1:9000"));
        assert_eq!(html.matches("None yet.").count(), 2);
        assert!(!html.contains("https://") && !html.contains("<script") && html.contains("viewport"));
    }

    #[test]
    fn what_users_wrote_cannot_become_markup() {
        assert_eq!(escape(r#"<a href='x'>&"#), "&lt;a href=&#39;x&#39;&gt;&amp;");
    }
}
