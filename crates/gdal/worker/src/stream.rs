//! From GDAL's Arrow stream to frames: geometries are looked at, text is checked, batches are cut to size.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray, BinaryBuilder, RecordBatch};
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use catchment_gdal::frame::{self, Kind};
use catchment_gdal::protocol::{Limits, Trailer};
use catchment_model::problem::{Code, Problem};

use crate::columns::Plan;
use crate::gdal::{ArrowStream, take_messages};
use crate::geometry::{self, kind_name};

/// Warnings that the trailer repeats word by word.
const KEPT_WARNINGS: usize = 20;

/// Sends batches and keeps account of them.
pub(crate) struct Sender<'a, W> {
    out: &'a mut W,
    writer: StreamWriter<Vec<u8>>,
    plan: &'a Plan,
    batch_bytes: usize,
    trailer: Trailer,
    kinds: BTreeMap<u32, u64>,
}

impl<'a, W: Write> Sender<'a, W> {
    /// Sends the schema.
    pub(crate) fn begin(out: &'a mut W, plan: &'a Plan, limits: &Limits) -> Result<Self, Problem> {
        // 64 bytes is the alignment that the Arrow format recommends; the reader uses buffers in place.
        let writer = IpcWriteOptions::try_new(64, false, MetadataVersion::V5)
            .and_then(|options| StreamWriter::try_new_with_options(Vec::new(), &plan.schema, options))
            .map_err(|error| Problem::new(Code::Bug, "the Arrow stream cannot be begun").cause(error.to_string()))?;
        let batch_bytes = usize::try_from(limits.batch_bytes).unwrap_or(usize::MAX);
        let mut this = Self { out, writer, plan, batch_bytes, trailer: Trailer::default(), kinds: BTreeMap::new() };
        this.pass_on()?;
        Ok(this)
    }

    /// Notes a warning.
    pub(crate) fn warn(&mut self, warning: String) {
        self.trailer.warning_count += 1;
        if self.trailer.warnings.len() < KEPT_WARNINGS {
            self.trailer.warnings.push(warning);
        }
    }

    /// Sends every batch of the stream.
    pub(crate) fn send_all(&mut self, stream: &mut ArrowStream<'_>) -> Result<(), Problem> {
        loop {
            let next = stream.next();
            self.heed_messages()?;
            let Some(batch) = next.map_err(|error| self.broken(&error))? else { return Ok(()) };
            // GDAL 3.6 gives empty batches for ever where a FlatGeobuf has no features; nothing is filtered
            // here, so no batch is empty but the one after the last.
            if batch.num_rows() == 0 {
                return Ok(());
            }
            let batch = self.plan.apply(&batch)?;
            self.plan.check_text(&batch, self.trailer.rows)?;
            let batch = self.look_at_geometries(batch)?;
            self.send(&batch)?;
        }
    }

    /// Ends the Arrow stream and gives the account.
    pub(crate) fn finish(mut self) -> Result<Trailer, Problem> {
        self.writer
            .finish()
            .map_err(|error| Problem::new(Code::Bug, "the Arrow stream cannot be ended").cause(error.to_string()))?;
        self.pass_on()?;
        if self.trailer.linearized_geometries > 0 {
            let count = self.trailer.linearized_geometries;
            self.warn(format!(
                "{count} geometries have curves or surfaces, which GeoParquet does not know; curves were replaced by \
                 lines with a step of at most 4 degrees of arc, surfaces by multipolygons"
            ));
        }
        self.trailer.geometry_types =
            self.kinds.iter().map(|(&kind, &count)| (kind_name(kind).to_owned(), count)).collect();
        self.trailer.peak_rss = peak_rss();
        Ok(self.trailer)
    }

    /// Rows that were sent so far.
    pub(crate) fn rows(&self) -> u64 {
        self.trailer.rows
    }

    /// Rows without a geometry so far.
    pub(crate) fn null_geometries(&self) -> u64 {
        self.trailer.null_geometries
    }

    /// Failures that GDAL murmured end the read; warnings are noted.
    fn heed_messages(&mut self) -> Result<(), Problem> {
        let said = take_messages();
        let unheard = said.warning_count - said.warnings.len() as u64;
        for warning in said.warnings {
            self.warn(warning);
        }
        self.trailer.warning_count += unheard;
        if said.out_of_memory {
            return Err(Problem::new(Code::LimitExceeded, "GDAL needed more memory than it may use to read the file")
                .cause(said.failures.join("; "))
                .remedy("raise the worker's limit of memory, or convert the file to a format that streams (FlatGeobuf, GeoPackage)"));
        }
        match said.failures.first() {
            Some(failure) => Err(self.broken(failure)),
            None => Ok(()),
        }
    }

    fn broken(&self, why: &str) -> Problem {
        Problem::new(Code::FileCorrupt, "the file is damaged or cut off: GDAL cannot read on")
            .place(format!("after feature {}", self.trailer.rows))
            .cause(why)
            .remedy("upload it again, whole; `ogrinfo -al` shows where it breaks")
    }

    fn look_at_geometries(&mut self, batch: RecordBatch) -> Result<RecordBatch, Problem> {
        let Some(column) = batch.columns().last().and_then(|column| column.as_any().downcast_ref::<BinaryArray>())
        else {
            return Err(Problem::new(Code::Bug, "GDAL's geometry column is not Binary"));
        };
        let mut to_rewrite = Vec::new();
        for (row, wkb) in column.iter().enumerate() {
            let Some(wkb) = wkb else {
                self.trailer.null_geometries += 1;
                continue;
            };
            let look = geometry::look(wkb).ok_or_else(|| self.bad_geometry(row))?;
            self.trailer.empty_geometries += u64::from(look.is_empty);
            self.trailer.has_z |= look.has_z;
            self.trailer.has_m |= look.has_m;
            *self.kinds.entry(geometry::plain_kind(look.kind)).or_default() += 1;
            self.trailer.linearized_geometries += u64::from(look.is_exotic);
            if look.is_exotic || look.is_old_style {
                to_rewrite.push(row);
            }
        }
        if to_rewrite.is_empty() {
            return Ok(batch);
        }
        let rewritten = self.rewrite(column, &to_rewrite)?;
        let mut columns = batch.columns().to_vec();
        columns.pop();
        columns.push(Arc::new(rewritten));
        RecordBatch::try_new(batch.schema(), columns)
            .map_err(|error| Problem::new(Code::Bug, "rewritten geometries do not fit").cause(error.to_string()))
    }

    fn rewrite(&self, column: &BinaryArray, rows: &[usize]) -> Result<BinaryArray, Problem> {
        let mut builder = BinaryBuilder::with_capacity(column.len(), column.value_data().len());
        let mut rows = rows.iter().peekable();
        for (row, wkb) in column.iter().enumerate() {
            if rows.next_if_eq(&&row).is_some() {
                let plain = wkb.and_then(geometry::rewrite).ok_or_else(|| self.bad_geometry(row))?;
                builder.append_value(plain);
            } else {
                builder.append_option(wkb);
            }
        }
        Ok(builder.finish())
    }

    fn bad_geometry(&self, row: usize) -> Problem {
        Problem::new(Code::FileCorrupt, "the file has a geometry whose bytes make no sense")
            .place(format!("feature {} (counted from 1)", self.trailer.rows + row as u64 + 1))
            .cause("it is not well-known binary (OGC 06-103r4, clause 8.2)")
            .remedy("mend or remove that feature")
    }

    /// Sends a batch, in halves where it is too large.
    fn send(&mut self, batch: &RecordBatch) -> Result<(), Problem> {
        let rows = batch.num_rows();
        if rows > 1 && size_of(batch) > self.batch_bytes {
            self.send(&batch.slice(0, rows / 2))?;
            return self.send(&batch.slice(rows / 2, rows - rows / 2));
        }
        if rows == 0 {
            return Ok(());
        }
        self.writer
            .write(batch)
            .map_err(|error| Problem::new(Code::Bug, "a batch cannot be written").cause(error.to_string()))?;
        self.pass_on()?;
        self.trailer.rows += rows as u64;
        self.trailer.batches += 1;
        Ok(())
    }

    /// Puts what the Arrow writer wrote into a frame. A caller that is gone ends the process.
    fn pass_on(&mut self) -> Result<(), Problem> {
        let message = self.writer.get_mut();
        let sent = frame::write(self.out, Kind::Arrow, message);
        message.clear();
        sent.map_err(|error| Problem::new(Code::Io, "the caller's pipe is closed").cause(error.to_string()))
    }
}

fn size_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().filter_map(|column| column.to_data().get_slice_memory_size().ok()).sum()
}

fn peak_rss() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the value is valid when zeroed and lives across the call.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024
}
