//! The GeoParquet 1.1.0 writer (<https://geoparquet.org/releases/v1.1.0/>).
//!
//! A file has one geometry column of ISO WKB, a covering column of bounding boxes that readers prune row
//! groups and pages by, zstd throughout, and the `geo` metadata, written last, when types and bounds are known.
//! Coordinates are x, y (longitude, latitude) whatever axis order the CRS declares, as the standard demands.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catchment_model::documents::ColumnSchemas;
use catchment_model::{Code, Problem};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::columns::column_schema;
use crate::hashing::HashingFile;

mod covering;
mod metadata;

use covering::{Covering, CoveringBuilder};
use metadata::GeometryFacts;

/// Rows of a row group: the unit that a spatial filter skips. 48 vectors of 1,024; measurements on published
/// catalogues put the best range at 10,000 to 50,000.
const ROW_GROUP_ROWS: usize = 49_152;
/// Encoded bytes after which a row group ends early, so that memory is bounded whatever a geometry weighs.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// Rows of a page, the finer unit of pruning for readers that use the page index.
const PAGE_ROWS: usize = 8_192;

/// What a writer needs to know of its geometry.
#[derive(Debug, Clone)]
pub struct GeoOptions {
    /// The name of the geometry column, of type binary.
    pub geometry: String,
    /// The CRS as PROJJSON; `None` is written as "unknown" (`"crs": null`), never as a default.
    pub crs: Option<serde_json::Value>,
    /// The level of zstd, 1 to 22.
    pub zstd_level: i32,
}

impl GeoOptions {
    /// A geometry column `geom` in the given CRS, at zstd's own default level.
    pub fn new(crs: Option<serde_json::Value>) -> Self {
        Self { geometry: "geom".to_owned(), crs, zstd_level: 3 }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Where the file is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes, 64 hex digits.
    pub sha256: String,
    /// Its rows.
    pub rows: u64,
    /// Its row groups.
    pub row_groups: usize,
    /// `[xmin, ymin, xmax, ymax]` in the file's CRS, order x, y; `None` where no row has a position.
    pub bounds: Option<[f64; 4]>,
    /// The types that occur, sorted, as GeoParquet spells them: `MultiPolygon`, `Point Z`.
    pub geometry_types: Vec<String>,
    /// Rows without a geometry.
    pub null_geometries: u64,
    /// Rows with an empty geometry.
    pub empty_geometries: u64,
    /// The columns of the dataset: all but the covering, which is derived.
    pub column_schema: ColumnSchemas,
    /// The name of the covering column.
    pub covering: String,
}

/// Writes one file. Dropped without [`GeoParquetWriter::finish`], it leaves a file that is no Parquet.
pub struct GeoParquetWriter {
    writer: ArrowWriter<HashingFile>,
    path: PathBuf,
    options: GeoOptions,
    input: SchemaRef,
    geometry_index: usize,
    schema: SchemaRef,
    covering: Covering,
    facts: GeometryFacts,
    rows: u64,
}

impl GeoParquetWriter {
    /// Creates the file, which must not be there yet. `schema` is that of the batches to come.
    pub fn create(path: &Path, schema: &SchemaRef, options: GeoOptions) -> Result<Self, Problem> {
        let geometry_index = schema.index_of(&options.geometry).map_err(|_| {
            Problem::new(Code::Bug, format!("the stream has no geometry column {}", options.geometry))
                .place(path.display().to_string())
        })?;
        if !matches!(
            schema.field(geometry_index).data_type(),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView
        ) {
            return Err(Problem::new(Code::Bug, format!("the geometry column {} is not binary", options.geometry))
                .place(path.display().to_string())
                .cause(schema.field(geometry_index).data_type().to_string()));
        }
        let covering = Covering::named_apart_from(schema);
        let written = written_schema(schema, geometry_index, &covering);
        let properties = properties(&written, &options, &covering)?;
        let file = File::create_new(path).map_err(|error| {
            Problem::new(Code::Io, "cannot create the output file")
                .place(path.display().to_string())
                .cause(error.to_string())
        })?;
        let writer = ArrowWriter::try_new_with_options(
            HashingFile::new(file),
            written.clone(),
            ArrowWriterOptions::new().with_properties(properties),
        )
        .map_err(|error| failed(path, &error))?;
        Ok(Self {
            writer,
            path: path.to_owned(),
            options,
            input: schema.clone(),
            geometry_index,
            schema: written,
            covering,
            facts: GeometryFacts::default(),
            rows: 0,
        })
    }

    /// Writes a batch. Geometries must be ISO WKB with finite coordinates and without measures, which
    /// GeoParquet 1.1 has no type for.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Problem> {
        let geometry = self.geometry(batch)?;
        let covering = self.scan(&geometry)?;
        let mut columns = batch.columns().to_vec();
        columns[self.geometry_index] = Arc::new(geometry);
        columns.push(covering);
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| {
            Problem::new(Code::Bug, "a batch does not fit the schema of its stream")
                .place(self.path.display().to_string())
                .cause(error.to_string())
        })?;
        self.writer.write(&batch).map_err(|error| failed(&self.path, &error))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Writes the metadata, syncs the file to disk, and says what is in it.
    pub fn finish(mut self) -> Result<Written, Problem> {
        let geo = self.facts.geo(&self.options, &self.covering);
        self.writer.append_key_value_metadata(KeyValue::new("geo".to_owned(), geo.to_string()));
        self.writer.flush().map_err(|error| failed(&self.path, &error))?;
        let row_groups = self.writer.flushed_row_groups().len();
        let file = self.writer.into_inner().map_err(|error| failed(&self.path, &error))?;
        let (bytes, sha256) = file.finish().map_err(|error| {
            Problem::new(Code::Io, "cannot sync the output file")
                .place(self.path.display().to_string())
                .cause(error.to_string())
        })?;
        Ok(Written {
            bytes,
            sha256,
            rows: self.rows,
            row_groups,
            bounds: self.facts.bounds(),
            geometry_types: self.facts.types(),
            null_geometries: self.facts.nulls,
            empty_geometries: self.facts.empties,
            column_schema: column_schema(&self.input, Some(&self.options.geometry)),
            covering: self.covering.name,
            path: self.path,
        })
    }

    fn geometry(&self, batch: &RecordBatch) -> Result<BinaryArray, Problem> {
        let column = batch.column(self.geometry_index);
        let binary = if column.data_type() == &DataType::Binary {
            column.clone()
        } else {
            cast(column, &DataType::Binary).map_err(|error| {
                Problem::new(Code::LimitExceeded, "a batch of geometries is too large")
                    .place(self.path.display().to_string())
                    .cause(error.to_string())
            })?
        };
        Ok(binary.as_binary::<i32>().clone())
    }

    fn scan(&mut self, geometry: &BinaryArray) -> Result<ArrayRef, Problem> {
        let mut builder = CoveringBuilder::with_capacity(geometry.len());
        for (index, wkb) in geometry.iter().enumerate() {
            let bounds = self.facts.see(wkb).map_err(|problem| {
                problem.place(format!("row {} of {}", self.rows + index as u64 + 1, self.path.display()))
            })?;
            builder.push(bounds);
        }
        Ok(builder.finish())
    }
}

fn failed(path: &Path, error: &parquet::errors::ParquetError) -> Problem {
    Problem::new(Code::Io, "cannot write the output file")
        .place(path.display().to_string())
        .cause(error.to_string())
        .remedy("look for a full disk, then run it again")
}

/// The schema of the file: geometry as plain binary, the covering last, and no metadata of where the data came from.
fn written_schema(schema: &Schema, geometry: usize, covering: &Covering) -> SchemaRef {
    let mut fields: Vec<_> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let data_type = if index == geometry { DataType::Binary } else { field.data_type().clone() };
            Field::new(field.name(), data_type, index == geometry || field.is_nullable())
        })
        .collect();
    fields.push(covering.field());
    Arc::new(Schema::new(fields))
}

fn properties(schema: &Schema, options: &GeoOptions, covering: &Covering) -> Result<WriterProperties, Problem> {
    let level = ZstdLevel::try_new(options.zstd_level).map_err(|error| {
        Problem::new(Code::InvalidConfig, "the level of zstd is out of range").cause(error.to_string())
    })?;
    let geometry = ColumnPath::from(options.geometry.as_str());
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(format!("catchment {}", env!("CARGO_PKG_VERSION")))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_dictionary_enabled(geometry.clone(), false)
        .set_column_statistics_enabled(geometry, EnabledStatistics::None);
    for part in covering.parts() {
        builder = builder
            .set_column_dictionary_enabled(part.clone(), false)
            .set_column_encoding(part, Encoding::BYTE_STREAM_SPLIT);
    }
    for field in schema.fields() {
        if matches!(field.data_type(), DataType::Int32 | DataType::Int64) {
            // Used where the dictionary grows too large: identifiers that count up shrink to almost nothing.
            builder =
                builder.set_column_encoding(ColumnPath::from(field.name().as_str()), Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(builder.build())
}
