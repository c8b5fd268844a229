//! The column of bounding boxes (GeoParquet 1.1, "bbox covering encoding").

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Builder, NullBufferBuilder, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::schema::types::ColumnPath;

const PARTS: [&str; 4] = ["xmin", "ymin", "xmax", "ymax"];

/// The covering's name in the file.
pub(super) struct Covering {
    pub(super) name: String,
}

impl Covering {
    /// `bbox`, or `geom_bbox`, `geom_bbox_2`… where the data has a column of that name.
    pub(super) fn named_apart_from(schema: &Schema) -> Self {
        let taken = |name: &str| schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(name));
        let name = ["bbox".to_owned(), "geom_bbox".to_owned()]
            .into_iter()
            .chain((2..).map(|n| format!("geom_bbox_{n}")))
            .find(|name| !taken(name))
            .unwrap_or_default();
        Self { name }
    }

    pub(super) fn field(&self) -> Field {
        Field::new(&self.name, DataType::Struct(fields()), true)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = ColumnPath> + '_ {
        PARTS.iter().map(|part| ColumnPath::new(vec![self.name.clone(), (*part).to_owned()]))
    }
}

fn fields() -> Fields {
    PARTS.iter().map(|part| Field::new(*part, DataType::Float32, false)).collect()
}

/// Builds the column. Numbers are of single precision, rounded outwards: a box may be larger than its geometry
/// by 1e-7 of the coordinate, never smaller.
pub(super) struct CoveringBuilder {
    parts: [Float32Builder; 4],
    validity: NullBufferBuilder,
}

impl CoveringBuilder {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            parts: std::array::from_fn(|_| Float32Builder::with_capacity(rows)),
            validity: NullBufferBuilder::new(rows),
        }
    }

    /// A null box stands for a geometry without positions.
    pub(super) fn push(&mut self, bounds: Option<[f64; 4]>) {
        self.validity.append(bounds.is_some());
        let [xmin, ymin, xmax, ymax] = bounds.unwrap_or_default();
        self.parts[0].append_value(down(xmin));
        self.parts[1].append_value(down(ymin));
        self.parts[2].append_value(up(xmax));
        self.parts[3].append_value(up(ymax));
    }

    pub(super) fn finish(mut self) -> ArrayRef {
        let columns = self.parts.iter_mut().map(|part| Arc::new(part.finish()) as ArrayRef).collect();
        Arc::new(StructArray::new(fields(), columns, self.validity.finish()))
    }
}

fn down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

fn up(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value { near.next_up() } else { near }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Covering, down, up};
    use arrow::datatypes::{DataType, Field, Schema};

    proptest! {
        #[test]
        fn a_box_never_shrinks_and_grows_by_no_more_than_a_step(value in -1e9..1e9f64) {
            prop_assert!(f64::from(down(value)) <= value && value <= f64::from(up(value)));
            prop_assert!(up(value) <= down(value).next_up());
        }
    }

    #[test]
    fn the_covering_steps_aside_for_a_column_of_its_name() {
        let schema =
            Schema::new(vec![Field::new("BBOX", DataType::Utf8, true), Field::new("geom_bbox", DataType::Utf8, true)]);
        assert_eq!(Covering::named_apart_from(&schema).name, "geom_bbox_2");
    }
}
