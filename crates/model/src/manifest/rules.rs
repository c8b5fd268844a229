//! What is demanded of a manifest's values, beyond their types.

use std::collections::HashMap;

use serde_json::Value;

use super::check::{Check, quote};
use super::{FileEntry, FileType, Rules};
use crate::id::DatasetId;
use crate::s3_path::S3Path;

/// What could be read of a manifest; a part that has faults of its own is missing, and the others are checked
/// all the same.
pub(super) struct Seen<'a> {
    pub(super) batch_id: Option<&'a str>,
    pub(super) intent: Option<&'a str>,
    pub(super) files_given: bool,
    pub(super) files: &'a [SeenFile],
    pub(super) metadata_given: bool,
    pub(super) dataset_id: Option<&'a Value>,
    pub(super) join_given: bool,
}

/// What could be read of a file's entry, and the entry where it is whole.
#[derive(Default)]
pub(super) struct SeenFile {
    pub(super) path: Option<S3Path>,
    pub(super) kind: Option<FileType>,
    pub(super) crs: Option<String>,
    pub(super) entry: Option<FileEntry>,
}

pub(super) fn values(check: &mut Check, rules: &Rules, seen: &Seen<'_>) {
    if let Some(batch_id) = seen.batch_id
        && (batch_id.chars().any(char::is_control) || batch_id.trim() != batch_id)
    {
        let what = format!("is {}", quote(batch_id));
        check.fault("$.batch_id", what, "a text without control characters and without spaces at its ends");
    }
    if let Some(intent) = seen.intent {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if !intent.bytes().all(plain) {
            check.fault("$.intent", format!("is {}", quote(intent)), "a recipe's name: letters, digits, `_`, `-`, `.`");
        }
    }
    for (i, file) in seen.files.iter().enumerate() {
        one_file(check, rules, i, file);
    }
    duplicates(check, seen.files);
    intent_and_files(check, seen);
    dataset_id(check, seen.dataset_id);
}

fn one_file(check: &mut Check, rules: &Rules, i: usize, file: &SeenFile) {
    if let Some(path) = &file.path {
        address(check, rules, i, path);
    }
    if let Some(crs) = file.crs.as_deref().filter(|crs| !looks_like_crs(crs)) {
        let mut what = format!("is {}, which is no CRS", quote(crs));
        if crs.trim().bytes().all(|b| b.is_ascii_digit()) {
            what.push_str(&format!("; did you mean `EPSG:{}`?", crs.trim()));
        }
        check.fault(format!("$.files[{i}].crs"), what, "`EPSG:n` (such as `EPSG:2056`), WKT or a PROJ string");
    }
    if file.kind == Some(FileType::Tabular) && file.crs.is_some() {
        check.fault(format!("$.files[{i}].crs"), "is given for a table", "no `crs` where the type is `tabular`");
    }
}

fn address(check: &mut Check, rules: &Rules, i: usize, path: &S3Path) {
    let bucket = path.bucket();
    if bucket != rules.landing_bucket {
        let what = format!("is in the bucket {}", quote(bucket));
        check.fault(format!("$.files[{i}].path"), what, format!("an object of `s3://{}/`", rules.landing_bucket));
        return;
    }
    for reserved in ["manifests/", "archive/"] {
        if path.key().starts_with(reserved) {
            let what = format!("lies under `{reserved}`, which is kept for manifests");
            check.fault(format!("$.files[{i}].path"), what, "any other folder of the landing zone");
        }
    }
}

/// `authority:code`, a PROJ string, or WKT by its first word (OGC 18-010r7 and its forerunner 01-009).
fn looks_like_crs(text: &str) -> bool {
    let text = text.trim();
    if text.starts_with("+proj=") || text.starts_with("+init=") || text.starts_with("urn:ogc:def:crs:") {
        return true;
    }
    if let Some((word, rest)) = text.split_once(['[', '(']) {
        let word = word.trim().to_ascii_uppercase();
        return !rest.is_empty() && (word.ends_with("CRS") || word.ends_with("CS") || word == "TIMECRS");
    }
    text.split_once(':').is_some_and(|(authority, code)| {
        authority.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && authority.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !code.is_empty()
            && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
            && (!authority.eq_ignore_ascii_case("EPSG") || code.bytes().all(|b| b.is_ascii_digit()))
    })
}

fn duplicates(check: &mut Check, files: &[SeenFile]) {
    let mut first = HashMap::new();
    for (i, file) in files.iter().enumerate() {
        let Some(path) = &file.path else { continue };
        let before = *first.entry(path).or_insert(i);
        if before != i {
            let what = format!("is the same object as `$.files[{before}].path`");
            check.fault(format!("$.files[{i}].path"), what, "each object once");
        }
    }
}

fn intent_and_files(check: &mut Check, seen: &Seen<'_>) {
    let Some(intent) = seen.intent else { return };
    if intent == "join_datasets" {
        if !seen.files.is_empty() {
            check.fault("$.files", "names files, which `join_datasets` does not take", "an empty list");
        }
        if seen.metadata_given && !seen.join_given {
            check.fault("$.metadata.join_config", "is missing", "an object, where the intent is `join_datasets`");
        }
        return;
    }
    if !seen.files_given {
        check.fault("$.files", "is missing", "a list of one file or more");
    } else if seen.files.is_empty() {
        check.fault("$.files", "names no file", "a list of one file or more");
    }
    if seen.join_given {
        check.fault("$.metadata.join_config", "is given", "only with the intent `join_datasets`");
    }
    for (i, file) in seen.files.iter().enumerate() {
        let Some(kind) = file.kind else { continue };
        let path = format!("$.files[{i}].type");
        match (wanted(intent), kind) {
            (Some(wanted), kind) if wanted != kind => {
                check.fault(path, format!("is `{kind}`"), format!("`{wanted}`, where the intent is `{intent}`"));
            }
            (None, FileType::Tabular) => {
                check.fault(path, "is `tabular`", "`tabular` only where the intent is `ingest_tabular`");
            }
            _ => {}
        }
    }
}

/// What type of file a built-in intent takes.
fn wanted(intent: &str) -> Option<FileType> {
    match intent {
        "ingest_vector" | "ingest_building_footprints" | "ingest_road_network" | "generalize_vector" => {
            Some(FileType::Vector)
        }
        "ingest_raster" | "ingest_satellite_raster" => Some(FileType::Raster),
        "ingest_tabular" => Some(FileType::Tabular),
        _ => None,
    }
}

fn dataset_id(check: &mut Check, tag: Option<&Value>) {
    let Some(tag) = tag else { return };
    if tag.as_str().is_none_or(|text| DatasetId::new(text).is_err()) {
        let shown = tag.as_str().map_or_else(|| format!("{tag}, not a text"), quote);
        check.fault("$.metadata.tags.dataset_id", format!("is {shown}"), DatasetId::RULE);
    }
}
