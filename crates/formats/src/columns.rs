//! The columns of a dataset in the words of the ledger.

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

/// The closed list of types that the ledger and the catalogue speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number with a binary fraction.
    Float,
    /// True or false.
    Boolean,
    /// A date and time, with or without a zone.
    Timestamp,
    /// A day.
    Date,
    /// A time of day.
    Time,
    /// A number with a decimal fraction.
    Decimal,
    /// Bytes.
    Binary,
    /// Several values of one type.
    Array,
    /// Several named values.
    Struct,
    /// Keys and values.
    Map,
    /// A geometry as WKB.
    Geometry,
    /// Anything else.
    Unknown,
}

impl ColumnType {
    /// The name as the ledger stores it: `STRING`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "STRING",
            Self::Integer => "INTEGER",
            Self::Float => "FLOAT",
            Self::Boolean => "BOOLEAN",
            Self::Timestamp => "TIMESTAMP",
            Self::Date => "DATE",
            Self::Time => "TIME",
            Self::Decimal => "DECIMAL",
            Self::Binary => "BINARY",
            Self::Array => "ARRAY",
            Self::Struct => "STRUCT",
            Self::Map => "MAP",
            Self::Geometry => "GEOMETRY",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The type of an Arrow type. Dictionaries are what they encode.
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::String,
            DataType::Boolean => Self::Boolean,
            t if t.is_integer() => Self::Integer,
            t if t.is_floating() => Self::Float,
            t if t.is_decimal() => Self::Decimal,
            DataType::Timestamp(..) => Self::Timestamp,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Binary
            }
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_) => Self::Array,
            DataType::Struct(_) => Self::Struct,
            DataType::Map(..) => Self::Map,
            DataType::Dictionary(_, value) => Self::of(value),
            _ => Self::Unknown,
        }
    }
}

/// One column as the ledger describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSchema {
    /// Its name in the file.
    pub name: String,
    /// Its type.
    pub type_name: ColumnType,
    /// What the type alone does not say, in lower case: `int32`, `utf8`, `timestamp(ms, UTC)`, `wkb`.
    pub logical_type: String,
    /// Whether it may hold nulls.
    pub nullable: bool,
}

/// The columns of `schema`; the one named `geometry` is WKB.
pub fn column_schema(schema: &Schema, geometry: Option<&str>) -> Vec<ColumnSchema> {
    schema.fields().iter().map(|field| column(field, geometry == Some(field.name().as_str()))).collect()
}

fn column(field: &Field, geometry: bool) -> ColumnSchema {
    let (type_name, logical_type) = if geometry {
        (ColumnType::Geometry, "wkb".to_owned())
    } else {
        (ColumnType::of(field.data_type()), logical(field.data_type()))
    };
    ColumnSchema { name: field.name().clone(), type_name, logical_type, nullable: field.is_nullable() }
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

    use super::{ColumnType, column_schema};

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
        let names: Vec<_> = columns.iter().map(|c| (c.type_name.as_str(), c.logical_type.as_str())).collect();
        assert_eq!(
            names,
            [
                ("GEOMETRY", "wkb"),
                ("STRING", "utf8"),
                ("INTEGER", "int64"),
                ("TIMESTAMP", "timestamp(ms, UTC)"),
                ("DECIMAL", "decimal(10, 2)"),
                ("ARRAY", "list(utf8)"),
            ]
        );
        assert!(columns[0].nullable && !columns[2].nullable);
        assert_eq!(ColumnType::of(&DataType::Null), ColumnType::Unknown);
    }
}
