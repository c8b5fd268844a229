//! Conditional reads, as RFC 9110 (section 13.2.2) orders them, and the range that a read asks for.

use std::ops;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, header};
use s3s::dto::{ETag, ETagCondition, PartNumber, Range, Timestamp, TimestampFormat};
use s3s::{S3Error, S3Result, s3_error};

use crate::index::Object;

/// Milliseconds since 1970 as the S3 layer's time.
pub(crate) fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(ms.unsigned_abs()))
}

/// The conditions of a read, or of a copy's source.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadConditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

/// What the conditions say of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

impl ReadConditions {
    /// Times are compared by the second, which is all that the headers can say.
    pub(crate) fn judge(&self, etag: &str, modified_ms: i64) -> Verdict {
        let found = ETag::Strong(etag.to_owned());
        let modified = timestamp(modified_ms - modified_ms.rem_euclid(1000));
        let failed = match (&self.if_match, &self.if_unmodified_since) {
            (Some(ETagCondition::ETag(wanted)), _) => !found.strong_cmp(wanted),
            (Some(ETagCondition::Any), _) | (None, None) => false,
            (None, Some(limit)) => modified > *limit,
        };
        if failed {
            return Verdict::Failed;
        }
        let unchanged = match (&self.if_none_match, &self.if_modified_since) {
            (Some(ETagCondition::ETag(known)), _) => found.weak_cmp(known),
            (Some(ETagCondition::Any), _) => true,
            (None, Some(limit)) => modified <= *limit,
            (None, None) => false,
        };
        if unchanged { Verdict::NotModified } else { Verdict::Proceed }
    }

    /// For a GET or HEAD: 304 or 412 where the object is not to be answered.
    pub(crate) fn check_read(&self, object: &Object) -> S3Result {
        match self.judge(&object.etag, object.modified_ms) {
            Verdict::Proceed => Ok(()),
            Verdict::Failed => Err(precondition_failed()),
            Verdict::NotModified => {
                let mut error = s3_error!(NotModified);
                let mut headers = HeaderMap::new();
                if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", object.etag)) {
                    headers.insert(header::ETAG, etag);
                }
                let mut time = Vec::new();
                if timestamp(object.modified_ms).format(TimestampFormat::HttpDate, &mut time).is_ok()
                    && let Ok(time) = HeaderValue::from_bytes(&time)
                {
                    headers.insert(header::LAST_MODIFIED, time);
                }
                error.set_headers(headers);
                Err(error)
            }
        }
    }

    /// For the source of a copy: 412 in either case.
    pub(crate) fn check_source(&self, object: &Object) -> S3Result {
        match self.judge(&object.etag, object.modified_ms) {
            Verdict::Proceed => Ok(()),
            Verdict::Failed | Verdict::NotModified => Err(precondition_failed()),
        }
    }
}

fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "a condition of the request does not hold for the object as it is now")
}

/// The bytes that a read asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) bytes: ops::Range<u64>,
    /// `Content-Range`, where it is a part of the object.
    pub(crate) content_range: Option<String>,
}

/// Works out the window of a range or part number.
pub(crate) fn window(object: &Object, range: Option<Range>, part: Option<PartNumber>) -> S3Result<Window> {
    let size = object.size;
    let bytes = match (range, part) {
        (Some(_), Some(_)) => {
            return Err(s3_error!(InvalidRequest, "a range and a part number cannot be asked for at once"));
        }
        (Some(range), None) => range.check(size).map_err(|_| unsatisfiable(size))?,
        (None, Some(number)) => part_bytes(object, number)?,
        (None, None) => return Ok(Window { bytes: 0..size, content_range: None }),
    };
    let content_range = (!bytes.is_empty()).then(|| format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1));
    Ok(Window { bytes, content_range })
}

fn part_bytes(object: &Object, number: PartNumber) -> S3Result<ops::Range<u64>> {
    let mut start = 0;
    for (position, part) in (1..).zip(&object.layout.parts) {
        if position == number {
            return Ok(start..start + part.size);
        }
        start += part.size;
    }
    if number == 1 && object.layout.parts.is_empty() {
        return Ok(0..object.size);
    }
    let mut error = s3_error!(InvalidRange, "the object has no part {number}");
    error.set_status_code(http::StatusCode::RANGE_NOT_SATISFIABLE);
    Err(error)
}

fn unsatisfiable(size: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange, "the range begins behind the end of the object, which has {size} bytes");
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    error.set_headers(headers);
    error
}

#[cfg(test)]
mod tests {
    use super::{ReadConditions, Verdict, timestamp};
    use s3s::dto::{ETag, ETagCondition};

    #[test]
    fn the_etag_goes_before_the_time() {
        let etag = |s: &str| Some(ETagCondition::ETag(ETag::Strong(s.into())));
        let early = Some(timestamp(1_000_000));
        let judge = |conditions: ReadConditions| conditions.judge("a", 2_000_500);
        assert_eq!(judge(ReadConditions::default()), Verdict::Proceed);
        assert_eq!(judge(ReadConditions { if_match: etag("b"), ..Default::default() }), Verdict::Failed);
        let both = ReadConditions { if_match: etag("a"), if_unmodified_since: early.clone(), ..Default::default() };
        assert_eq!(judge(both), Verdict::Proceed);
        let late = ReadConditions { if_unmodified_since: early, ..Default::default() };
        assert_eq!(judge(late), Verdict::Failed);
        assert_eq!(judge(ReadConditions { if_none_match: etag("a"), ..Default::default() }), Verdict::NotModified);
        let changed = ReadConditions {
            if_none_match: etag("b"),
            if_modified_since: Some(timestamp(9_000_000)),
            ..Default::default()
        };
        assert_eq!(judge(changed), Verdict::Proceed);
        let same_second = ReadConditions { if_modified_since: Some(timestamp(2_000_000)), ..Default::default() };
        assert_eq!(judge(same_second), Verdict::NotModified);
    }
}
