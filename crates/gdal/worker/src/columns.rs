//! GDAL's columns as Catchment's: the geometry is `geom`, names are unique, text is UTF-8.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, LargeBinaryArray, LargeStringArray, ListArray, RecordBatch, StringArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catchment_gdal::GEOMETRY_COLUMN;
use catchment_gdal::protocol::FieldMapping;
use catchment_model::problem::{Code, Problem};

/// Which column of GDAL's becomes which of ours.
pub(crate) struct Plan {
    /// Our schema: the attributes in their order, then `geom`.
    pub(crate) schema: SchemaRef,
    /// The attributes' names before and after.
    pub(crate) fields: Vec<FieldMapping>,
    /// The columns of GDAL's batches in our order, the geometry last.
    order: Vec<usize>,
}

impl Plan {
    /// Makes the plan. `geometry` is the name of the geometry field, empty where the format gives none.
    /// `None` where GDAL's batches have no such column.
    pub(crate) fn new(theirs: &Schema, geometry: &str) -> Option<Self> {
        let is_geometry =
            |field: &Field| field.metadata().get("ARROW:extension:name").is_some_and(|name| name == "ogc.wkb");
        let at = theirs
            .fields()
            .iter()
            .position(|field| is_geometry(field) && (geometry.is_empty() || field.name() == geometry))
            .or_else(|| theirs.fields().iter().position(|field| is_geometry(field)))?;
        // Names are compared without regard to case: SQL does not tell `GEOM` from `geom`.
        let mut taken = HashSet::from([GEOMETRY_COLUMN.to_owned()]);
        let mut columns = Vec::new();
        let mut fields = Vec::new();
        let mut order = Vec::new();
        for (index, field) in theirs.fields().iter().enumerate() {
            if is_geometry(field) {
                continue;
            }
            let column = free_name(field.name(), index, &mut taken);
            fields.push(FieldMapping {
                source: field.name().clone(),
                column: column.clone(),
                data_type: field.data_type().to_string(),
            });
            columns.push(Field::new(column, field.data_type().clone(), true));
            order.push(index);
        }
        columns.push(Field::new(GEOMETRY_COLUMN, DataType::Binary, true));
        order.push(at);
        Some(Self { schema: Schema::new(columns).into(), fields, order })
    }

    /// Puts a batch of GDAL's into our order. The geometry stays as it is.
    pub(crate) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, Problem> {
        let mut columns: Vec<ArrayRef> = self.order.iter().map(|&index| batch.column(index).clone()).collect();
        if let Some(geometry) = columns.last_mut()
            && let Some(large) = geometry.as_any().downcast_ref::<LargeBinaryArray>()
        {
            *geometry = Arc::new(large.iter().collect::<BinaryArray>());
        }
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| {
            Problem::new(Code::Bug, "GDAL's columns do not fit the schema that it gave").cause(error.to_string())
        })
    }

    /// Refuses text that is not UTF-8, which nothing after this could hold. `first_row` is the number of
    /// the batch's first row, from 0.
    pub(crate) fn check_text(&self, batch: &RecordBatch, first_row: u64) -> Result<(), Problem> {
        for (column, mapping) in batch.columns().iter().zip(&self.fields) {
            if let Some(row) = first_bad_text(column.as_ref()) {
                return Err(Problem::new(
                    Code::FileCorrupt,
                    format!("the field `{}` holds text that is not in the encoding that the file claims", mapping.source),
                )
                .place(format!("feature {} (counted from 1)", first_row + row as u64 + 1))
                .cause("its bytes are not UTF-8, and the file names no other encoding")
                .remedy("state the encoding (for a Shapefile in a .cpg file, such as ISO-8859-1), or convert the file to UTF-8"));
            }
        }
        Ok(())
    }
}

fn free_name(name: &str, index: usize, taken: &mut HashSet<String>) -> String {
    let base = if name.is_empty() { format!("field_{}", index + 1) } else { name.to_owned() };
    let mut free = base.clone();
    let mut suffix = 1;
    while !taken.insert(free.to_lowercase()) {
        free = format!("{base}_{suffix}");
        suffix += 1;
    }
    free
}

fn first_bad_text(column: &dyn Array) -> Option<usize> {
    if let Some(text) = column.as_any().downcast_ref::<StringArray>() {
        return first_bad_value(text.values(), text.offsets(), |row| text.is_valid(row));
    }
    if let Some(text) = column.as_any().downcast_ref::<LargeStringArray>() {
        return first_bad_value(text.values(), text.offsets(), |row| text.is_valid(row));
    }
    let list = column.as_any().downcast_ref::<ListArray>()?;
    let bad = first_bad_text(list.values().as_ref())?;
    Some(list.offsets().partition_point(|&offset| offset as usize <= bad).saturating_sub(1))
}

/// One look at all values together is fast; only where that fails is the row sought.
fn first_bad_value<O: arrow::array::OffsetSizeTrait>(
    values: &Buffer,
    offsets: &OffsetBuffer<O>,
    is_valid: impl Fn(usize) -> bool,
) -> Option<usize> {
    let offsets: &ScalarBuffer<O> = offsets.inner();
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return None };
    let all = values.get(first.as_usize()..last.as_usize())?;
    let whole = std::str::from_utf8(all).is_ok_and(|text| {
        all.is_ascii() || offsets.iter().all(|offset| text.is_char_boundary(offset.as_usize() - first.as_usize()))
    });
    if whole {
        return None;
    }
    offsets.windows(2).enumerate().find_map(|(row, ends)| {
        let value = values.get(ends[0].as_usize()..ends[1].as_usize())?;
        (is_valid(row) && std::str::from_utf8(value).is_err()).then_some(row)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wkb_field(name: &str) -> Field {
        let metadata = [("ARROW:extension:name".to_owned(), "ogc.wkb".to_owned())];
        Field::new(name, DataType::Binary, true).with_metadata(metadata.into())
    }

    #[test]
    fn an_attribute_that_is_called_geom_is_renamed_and_mapped() {
        let theirs = Schema::new(vec![
            Field::new("id", DataType::Int32, true),
            Field::new("GEOM", DataType::Utf8, true),
            wkb_field("wkb_geometry"),
            Field::new("", DataType::Utf8, true),
            Field::new("Id", DataType::Utf8, true),
        ]);
        let plan = Plan::new(&theirs, "").unwrap();
        let names: Vec<_> = plan.schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "GEOM_1", "field_4", "Id_1", "geom"]);
        assert_eq!(plan.fields[1].source, "GEOM");
        assert_eq!(plan.order, [0, 1, 3, 4, 2]);
    }

    #[test]
    fn a_schema_without_a_geometry_has_no_plan() {
        assert!(Plan::new(&Schema::new(vec![Field::new("id", DataType::Int32, true)]), "").is_none());
    }

    #[test]
    fn text_that_is_not_utf8_is_found_with_its_row() {
        let bytes = BinaryArray::from_opt_vec(vec![Some(b"good".as_slice()), None, Some(b"b\xffd"), Some(b"x")]);
        let (offsets, values, nulls) = bytes.into_parts();
        // SAFETY: this is the very thing under test: text as GDAL may hand it over.
        let text = unsafe { StringArray::new_unchecked(offsets, values, nulls) };
        assert_eq!(first_bad_text(&text), Some(2));
        assert_eq!(first_bad_text(&StringArray::from(vec!["é", "ü"])), None);
    }
}
