//! Which texts of user code a column takes, on both databases the same: PostgreSQL's text holds no zero byte, and an
//! entry of its indexes no more than 2,704 bytes. What is refused here is the caller's fault; the database would only
//! say that it failed, and whoever asks again would hear the same for ever.

use std::collections::BTreeMap;

use catchment_core::sensor::{ClaimKey, SensorResult};

use crate::{InstanceError, Result};

/// The longest name or key, in bytes: an entry of an index holds two of them, and more.
const LONGEST_KEY: usize = 1024;
/// The longest tag, name and value together, in bytes.
const LONGEST_TAG: usize = 2500;

/// A text for people, without zero bytes, which a program may well print.
pub(super) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Refuses a zero byte.
pub(super) fn plain(what: &str, text: &str) -> Result<()> {
    match text.find('\0') {
        Some(place) => Err(InstanceError::Invalid(format!(
            "{what} holds a zero byte (at byte {place}), which cannot be stored: leave it out, or write it as hex digits"
        ))),
        None => Ok(()),
    }
}

/// The same for what things are found by, which must not be too long either.
pub(super) fn key(what: &str, text: &str) -> Result<()> {
    plain(what, text)?;
    if text.len() > LONGEST_KEY {
        let begin: String = text.chars().take(40).collect();
        return Err(InstanceError::Invalid(format!(
            "{what} `{begin}…` has {} bytes, and may have {LONGEST_KEY}: take a digest of it",
            text.len()
        )));
    }
    Ok(())
}

/// Tags of a run.
pub(super) fn tags(tags: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in tags {
        key("the name of a tag", name)?;
        plain(&format!("the tag {name}"), value)?;
        if name.len() + value.len() > LONGEST_TAG {
            return Err(InstanceError::Invalid(format!(
                "the tag {name} has a value of {} bytes; name and value together may have {LONGEST_TAG}: long values \
                 belong into the run config",
                value.len()
            )));
        }
    }
    Ok(())
}

/// All that a sensor or schedule answers: what is refused has left nothing behind.
pub(super) fn answer(result: &SensorResult) -> Result<()> {
    let claim = |claim: &ClaimKey| {
        key("the key of an object", &claim.key)?;
        key("the ETag of an object", &claim.etag)
    };
    for request in &result.run_requests {
        key("the name of a job", &request.job_name)?;
        tags(&request.tags)?;
        request.run_key.as_deref().map_or(Ok(()), |text| key("the run key", text))?;
        request.partition_key.as_deref().map_or(Ok(()), |text| key("the partition key", text))?;
        request.claim.as_ref().map_or(Ok(()), claim)?;
    }
    result.rejections.iter().try_for_each(|rejection| claim(&rejection.claim))?;
    let added = result.add_partitions.iter().map(|added| (&added.definition, &added.keys));
    let deleted = result.delete_partitions.iter().map(|deleted| (&deleted.definition, &deleted.keys));
    for (definition, keys) in added.chain(deleted) {
        key("the name of a partitions definition", definition)?;
        keys.iter().try_for_each(|text| key("the partition key", text))?;
    }
    for event in &result.asset_events {
        event.asset_key().map_or(Ok(()), |text| key("the asset key", text))?;
        event.partition().map_or(Ok(()), |text| key("the partition key", text))?;
    }
    result.cursor.as_deref().map_or(Ok(()), |text| plain("the cursor", text))
}
