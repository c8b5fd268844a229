//! How JSON and Arrow share one pipe.
//!
//! The worker's output is a sequence of frames: four bytes that name its kind, four that are zero, the
//! payload's length as eight little-endian bytes, the payload. The order is one `HEAD`, any number of
//! `ARRW`, one `TAIL`; a `FAIL` may stand in the place of any of them and is the last. `TAIL` or `FAIL`
//! end the stream: a pipe that ends without one was cut off.
//!
//! Each `ARRW` payload is one message of the Arrow IPC streaming format; together they are a complete
//! stream (schema, record batches, end-of-stream marker). Because a message is a frame, its reader can
//! take it into one aligned buffer and use the columns from there without a copy.

use std::io::{self, Write};

use serde::Serialize;

/// Bytes before a payload.
pub const PREFIX: usize = 16;

/// The largest payload that is not Arrow.
pub const MAX_JSON: u64 = 16 << 20;

/// The largest Arrow message: one feature of this size is already beyond reason.
pub const MAX_ARROW: u64 = 2 << 30;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A [`VectorHeader`](crate::VectorHeader) as JSON.
    Header,
    /// One message of an Arrow IPC stream.
    Arrow,
    /// A [`Trailer`](crate::Trailer) as JSON.
    Trailer,
    /// A [`Problem`](catchment_model::problem::Problem) as JSON.
    Failure,
}

impl Kind {
    const fn tag(self) -> [u8; 4] {
        match self {
            Self::Header => *b"HEAD",
            Self::Arrow => *b"ARRW",
            Self::Trailer => *b"TAIL",
            Self::Failure => *b"FAIL",
        }
    }

    /// The largest payload of this kind.
    pub const fn max(self) -> u64 {
        match self {
            Self::Arrow => MAX_ARROW,
            _ => MAX_JSON,
        }
    }
}

/// Writes one frame.
pub fn write(out: &mut impl Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let mut prefix = [0; PREFIX];
    prefix[..4].copy_from_slice(&kind.tag());
    prefix[8..].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    out.write_all(&prefix)?;
    out.write_all(payload)
}

/// Writes one frame of JSON.
pub fn write_json(out: &mut impl Write, kind: Kind, value: &impl Serialize) -> io::Result<()> {
    write(out, kind, &serde_json::to_vec(value)?)
}

/// Reads what stands before a payload: its kind and its length. The error says what is wrong with it.
pub fn parse_prefix(prefix: &[u8; PREFIX]) -> Result<(Kind, u64), String> {
    let tag = &prefix[..4];
    let kind = [Kind::Header, Kind::Arrow, Kind::Trailer, Kind::Failure]
        .into_iter()
        .find(|kind| kind.tag() == tag)
        .ok_or_else(|| format!("no frame begins with the bytes {:?}", String::from_utf8_lossy(tag)))?;
    if prefix[4..8] != [0; 4] {
        return Err("the reserved bytes of a frame are not zero".to_owned());
    }
    let mut length = [0; 8];
    length.copy_from_slice(&prefix[8..]);
    let length = u64::from_le_bytes(length);
    if length > kind.max() {
        return Err(format!("a frame of {length} bytes is larger than the {} that are allowed", kind.max()));
    }
    Ok((kind, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_was_written_is_read_back() {
        let mut pipe = Vec::new();
        write(&mut pipe, Kind::Arrow, b"12345").unwrap();
        let prefix: [u8; PREFIX] = pipe[..PREFIX].try_into().unwrap();
        assert_eq!(parse_prefix(&prefix), Ok((Kind::Arrow, 5)));
        assert_eq!(&pipe[PREFIX..], b"12345");
    }

    #[test]
    fn bytes_that_are_no_frame_are_refused() {
        assert!(parse_prefix(b"hello world 1234").unwrap_err().contains("hell"));
        assert!(parse_prefix(b"HEAD\x01\0\0\0\0\0\0\0\0\0\0\0").unwrap_err().contains("reserved"));
        assert!(parse_prefix(b"TAIL\0\0\0\0\xff\xff\xff\xff\xff\0\0\0").unwrap_err().contains("larger"));
    }
}
