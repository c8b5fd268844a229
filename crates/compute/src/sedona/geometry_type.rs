//! The geometry column as SedonaDB knows it: binary, tagged as the Arrow extension type `geoarrow.wkb` whose
//! metadata holds the CRS as PROJJSON (<https://geoarrow.org/extension-types.html>).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catchment_model::{Code, Crs, Problem};
use datafusion::error::DataFusionError;
use serde_json::{Value, json};

use crate::proj;
use crate::sql::GEOMETRY;

const NAME: &str = "ARROW:extension:name";
const METADATA: &str = "ARROW:extension:metadata";

/// A geometry column in a CRS.
pub(super) fn field(name: &str, crs: &Crs) -> Field {
    Field::new(name, DataType::Binary, true).with_metadata(
        [(NAME.to_owned(), "geoarrow.wkb".to_owned()), (METADATA.to_owned(), json!({"crs": crs.projjson}).to_string())]
            .into(),
    )
}

/// The metadata of a column: the same text is the same CRS.
pub(super) fn crs_text(field: &Field) -> Option<&str> {
    let metadata = field.metadata();
    (metadata.get(NAME).map(String::as_str) == Some("geoarrow.wkb"))
        .then(|| metadata.get(METADATA).map(String::as_str))
        .flatten()
}

/// The CRS that a column is tagged with. A recipe's SQL may have lost it.
pub(super) fn crs_of(field: &Field) -> Result<Crs, Problem> {
    let lost = || {
        Problem::new(Code::RecipeInvalid, "the recipe's SQL loses the CRS of the geometry")
            .place(field.name().clone())
            .remedy("wrap the expression in ST_SetCRS, or avoid CASE over geometries")
    };
    let metadata: Value = crs_text(field).and_then(|text| serde_json::from_str(text).ok()).ok_or_else(lost)?;
    match &metadata["crs"] {
        Value::String(text) if !text.is_empty() => proj::resolve(text),
        Value::Object(_) => proj::resolve(&metadata["crs"].to_string()),
        _ => Err(lost()),
    }
}

/// The schema without tags, the geometry as plain binary: what leaves the engine.
pub(super) fn plain(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let data_type = if field.name() == GEOMETRY { DataType::Binary } else { field.data_type().clone() };
        Field::new(field.name(), data_type, field.is_nullable())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A batch in the [`plain`] schema.
pub(super) fn as_plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| match field.name() == GEOMETRY {
            true => Ok(Arc::new(binary(column)?) as ArrayRef),
            false => Ok(column.clone()),
        })
        .collect::<Result<_, DataFusionError>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

/// A column of WKB, whichever of Arrow's binary types it has.
pub(super) fn binary(column: &ArrayRef) -> Result<BinaryArray, DataFusionError> {
    match column.data_type() {
        DataType::Binary => Ok(column.as_binary::<i32>().clone()),
        _ => Ok(cast(column, &DataType::Binary)?.as_binary::<i32>().clone()),
    }
}
