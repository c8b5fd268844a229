//! Reading an object: its segments as one stream, in pieces of bounded size.

use std::fs::File;
use std::io;
use std::ops;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream};
use tokio::task::spawn_blocking;

use crate::blobs::{BlobStore, Lease};
use crate::index::Segment;

/// How much is read at a time.
const PIECE: u64 = 512 << 10;

/// The segments that hold `range` of an object, cut to it.
pub(crate) fn cut(segments: &[Segment], range: &ops::Range<u64>) -> Vec<Segment> {
    let mut offset = 0;
    let mut cut = Vec::new();
    for segment in segments {
        let start = range.start.clamp(offset, offset + segment.length) - offset;
        let end = range.end.clamp(offset, offset + segment.length) - offset;
        if start < end {
            cut.push(Segment { blob: segment.blob.clone(), start: segment.start + start, length: end - start });
        }
        offset += segment.length;
    }
    cut
}

struct Reader {
    store: Arc<BlobStore>,
    _lease: Lease,
    segments: std::vec::IntoIter<Segment>,
    current: Option<(Arc<File>, Segment)>,
}

impl Reader {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let (file, segment) = match self.current.take() {
            Some((file, segment)) => (Some(file), segment),
            None => match self.segments.next() {
                Some(segment) => (None, segment),
                None => return Ok(None),
            },
        };
        let store = self.store.clone();
        let (bytes, file, segment) = spawn_blocking(move || read_piece(&store, file, segment)).await??;
        if segment.length > 0 {
            self.current = Some((file, segment));
        }
        Ok(Some(bytes))
    }
}

fn read_piece(
    store: &BlobStore,
    file: Option<Arc<File>>,
    mut segment: Segment,
) -> io::Result<(Bytes, Arc<File>, Segment)> {
    let file = match file {
        Some(file) => file,
        None => Arc::new(store.open_blob(&segment.blob)?),
    };
    let count = segment.length.min(PIECE);
    let mut buffer = vec![0; usize::try_from(count).map_err(io::Error::other)?];
    file.read_exact_at(&mut buffer, segment.start)?;
    segment.start += count;
    segment.length -= count;
    Ok((buffer.into(), file, segment))
}

/// The bytes of these segments, which `lease` keeps.
pub(crate) fn stream(
    store: Arc<BlobStore>,
    lease: Lease,
    segments: Vec<Segment>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static {
    let reader = Reader { store, _lease: lease, segments: segments.into_iter(), current: None };
    stream::try_unfold(reader, |mut reader| async move {
        let piece = reader.next().await.inspect_err(|error| {
            tracing::error!(%error, "a blob that the index names cannot be read whole");
        })?;
        Ok(piece.map(|piece| (piece, reader)))
    })
}

#[cfg(test)]
mod tests {
    use super::{Segment, cut};

    #[test]
    fn a_range_is_cut_out_of_the_segments_that_hold_it() {
        let segment = |blob: &str, start, length| Segment { blob: blob.into(), start, length };
        let all = [segment("a", 0, 10), segment("b", 5, 10), segment("c", 0, 10)];
        assert_eq!(cut(&all, &(0..30)), all);
        assert_eq!(cut(&all, &(9..21)), [segment("a", 9, 1), segment("b", 5, 10), segment("c", 0, 1)]);
        assert_eq!(cut(&all, &(12..14)), [segment("b", 7, 2)]);
        assert!(cut(&all, &(5..5)).is_empty());
    }
}
