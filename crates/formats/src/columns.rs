//! The columns of a dataset in the words of the ledger.

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use catchment_model::documents::{ColumnSchema, ColumnSchemas, TypeName};

/// The type of an Arrow type. Dictionaries are what they encode.
pub fn type_name(data_type: &DataType) -> TypeName {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => TypeName::String,
        DataType::Boolean => TypeName::Boolean,
        t if t.is_integer() => TypeName::Integer,
        t if t.is_floating() => TypeName::Float,
        t if t.is_decimal() => TypeName::Decimal,
        DataType::Timestamp(..) => TypeName::Timestamp,
        DataType::Date32 | DataType::Date64 => TypeName::Date,
        DataType::Time32(_) | DataType::Time64(_) => TypeName::Time,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            TypeName::Binary
        }
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => TypeName::Array,
        DataType::Struct(_) => TypeName::Struct,
        DataType::Map(..) => TypeName::Map,
        DataType::Dictionary(_, value) => type_name(value),
        _ => TypeName::Unknown,
    }
}

/// The columns of `schema`, in order; the one named `geometry` is WKB.
pub fn column_schema(schema: &Schema, geometry: Option<&str>) -> ColumnSchemas {
    let named = |field: &Field| (field.name().clone(), column(field, geometry == Some(field.name().as_str())));
    schema.fields().iter().map(|field| named(field)).collect()
}

fn column(field: &Field, geometry: bool) -> ColumnSchema {
    let (type_name, logical_type) = if geometry {
        (TypeName::Geometry, "wkb".to_owned())
    } else {
        (type_name(field.data_type()), logical(field.data_type()))
    };
    ColumnSchema { title: None, description: None, type_name, logical_type, nullable: field.is_nullable() }
}

fn logical(data_type: &DataType) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => "utf8".to_owned(),
        DataType::LargeBinary | DataType::BinaryView => "binary".to_owned(),
        DataType::Timestamp(u, None) => format!("timestamp({})", unit(u)),
        DataType::Timestamp(u, Some(zone)) => format!("timestamp({}, {zone})", unit(u)),
        DataType::Time32(u) | DataType::Time64(u) => format!("time({})", unit(u)),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => {
            format!("decimal({p}, {s})")
        }
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => {
            format!("list({})", logical(f.data_type()))
        }
        DataType::Struct(fields) => {
            let inner: Vec<_> = fields.iter().map(|f| format!("{}: {}", f.name(), logical(f.data_type()))).collect();
            format!("struct({})", inner.join(", "))
        }
        DataType::Dictionary(_, value) => logical(value),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

    use catchment_model::documents::TypeName;

    use super::{column_schema, type_name};

    #[test]
    fn arrow_types_have_their_names_in_the_ledger() {
        let schema = Schema::new(vec![
            Field::new("geom", DataType::Binary, true),
            Field::new("name", DataType::LargeUtf8, true),
            Field::new("n", DataType::Int64, false),
            Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
            Field::new("price", DataType::Decimal128(10, 2), true),
            Field::new("tags", DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), true),
        ]);
        let columns = column_schema(&schema, Some("geom"));
        let names: Vec<_> = columns.values().map(|c| (c.type_name, c.logical_type.as_str())).collect();
        assert_eq!(
            names,
            [
                (TypeName::Geometry, "wkb"),
                (TypeName::String, "utf8"),
                (TypeName::Integer, "int64"),
                (TypeName::Timestamp, "timestamp(ms, UTC)"),
                (TypeName::Decimal, "decimal(10, 2)"),
                (TypeName::Array, "list(utf8)"),
            ]
        );
        assert!(columns[0].nullable && !columns[2].nullable);
        assert_eq!(type_name(&DataType::Null), TypeName::Unknown);
    }
}
