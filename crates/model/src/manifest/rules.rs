//! What is demanded of a manifest's values, beyond their types.

use std::collections::HashMap;

use super::check::{Check, quote};
use super::{FileEntry, FileType, ManifestMetadata, Rules, TagValue};
use crate::id::DatasetId;

/// What could be read of a manifest; each part may be missing because it has faults of its own.
pub(super) struct Seen<'a> {
    pub(super) batch_id: Option<&'a str>,
    pub(super) intent: Option<&'a str>,
    pub(super) files_given: bool,
    pub(super) files: &'a [Option<FileEntry>],
    pub(super) metadata: Option<&'a ManifestMetadata>,
}

pub(super) fn values(check: &mut Check, rules: &Rules, seen: &Seen<'_>) {
    if let Some(batch_id) = seen.batch_id {
        if batch_id.chars().any(char::is_control) || batch_id.trim() != batch_id {
            let what = format!("is {}", quote(batch_id));
            check.fault("$.batch_id", what, "a text without control characters and without spaces at its ends");
        }
    }
    if let Some(intent) = seen.intent {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if !intent.bytes().all(plain) {
            check.fault("$.intent", format!("is {}", quote(intent)), "a recipe's name: letters, digits, `_`, `-`, `.`");
        }
    }
    for (i, file) in seen.files.iter().enumerate() {
        if let Some(file) = file {
            one_file(check, rules, i, file);
        }
    }
    duplicates(check, seen.files);
    intent_and_files(check, seen);
    tags(check, seen.metadata);
}

fn one_file(check: &mut Check, rules: &Rules, i: usize, file: &FileEntry) {
    let bucket = file.path.bucket();
    if bucket != rules.landing_bucket {
        let what = format!("is in the bucket {}", quote(bucket));
        check.fault(format!("$.files[{i}].path"), what, format!("an object of `s3://{}/`", rules.landing_bucket));
    }
    for reserved in ["manifests/", "archive/"] {
        if bucket == rules.landing_bucket && file.path.key().starts_with(reserved) {
            let what = format!("lies under `{reserved}`, which is kept for manifests");
            check.fault(format!("$.files[{i}].path"), what, "any other folder of the landing zone");
        }
    }
    if let Some(crs) = &file.crs {
        if !looks_like_crs(crs) {
            let mut what = format!("is {}, which is no CRS", quote(crs));
            if crs.trim().bytes().all(|b| b.is_ascii_digit()) {
                what.push_str(&format!("; did you mean `EPSG:{}`?", crs.trim()));
            }
            check.fault(format!("$.files[{i}].crs"), what, "`EPSG:n` (such as `EPSG:2056`), WKT or a PROJ string");
        }
    }
    if file.kind == FileType::Tabular && file.crs.is_some() {
        check.fault(format!("$.files[{i}].crs"), "is given for a table", "no `crs` where the type is `tabular`");
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

fn duplicates(check: &mut Check, files: &[Option<FileEntry>]) {
    let mut first = HashMap::new();
    for (i, file) in files.iter().enumerate() {
        let Some(file) = file else { continue };
        let before = *first.entry((&file.path, file.layer.as_deref())).or_insert(i);
        if before != i {
            let what = format!("is the same object as `$.files[{before}].path`");
            check.fault(format!("$.files[{i}].path"), what, "each object once");
        }
    }
}

fn intent_and_files(check: &mut Check, seen: &Seen<'_>) {
    let Some(intent) = seen.intent else { return };
    let join = seen.metadata.map(|metadata| metadata.join_config.is_some());
    if intent == "join_datasets" {
        if !seen.files.is_empty() {
            check.fault("$.files", "names files, which `join_datasets` does not take", "an empty list");
        }
        if join == Some(false) {
            check.fault("$.metadata.join_config", "is missing", "an object, where the intent is `join_datasets`");
        }
        return;
    }
    if !seen.files_given {
        check.fault("$.files", "is missing", "a list of one file or more");
    } else if seen.files.is_empty() {
        check.fault("$.files", "names no file", "a list of one file or more");
    }
    if join == Some(true) {
        check.fault("$.metadata.join_config", "is given", "only with the intent `join_datasets`");
    }
    for (i, file) in seen.files.iter().enumerate() {
        let Some(file) = file else { continue };
        let path = format!("$.files[{i}].type");
        match (wanted(intent), file.kind) {
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

fn tags(check: &mut Check, metadata: Option<&ManifestMetadata>) {
    match metadata.and_then(|metadata| metadata.tag("dataset_id")) {
        None => {}
        Some(TagValue::Text(text)) if DatasetId::new(text.as_str()).is_ok() => {}
        Some(other) => {
            check.fault("$.metadata.tags.dataset_id", format!("is {}", quote(&other.to_string())), DatasetId::RULE);
        }
    }
}
