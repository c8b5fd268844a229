//! Metadata as Pipes sends it, `{"raw_value": …, "type": …}`, into typed values.

use catchment_core::metadata::{ColumnDep, ColumnLineage, Metadata, MetadataValue, Table, TableColumn, TableSchema};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::message::asset_key;

/// A value on its way.
#[derive(Debug, Deserialize)]
struct Sent {
    raw_value: Value,
    #[serde(rename = "type")]
    kind: String,
}

/// Converts all of a report's metadata.
///
/// # Errors
/// A sentence that names the entry that is wrong.
pub(super) fn convert(sent: Map<String, Value>) -> Result<Metadata, String> {
    let one = |(name, value): (String, Value)| match serde_json::from_value::<Sent>(value)
        .map_err(|error| error.to_string())
        .and_then(|sent| typed(sent.raw_value, &sent.kind))
    {
        Ok(value) => Ok((name, value)),
        Err(why) => Err(format!("metadata `{name}`: {why}")),
    };
    sent.into_iter().map(one).collect()
}

fn typed(raw: Value, kind: &str) -> Result<MetadataValue, String> {
    Ok(match kind {
        "__infer__" => MetadataValue::infer(raw),
        "text" => MetadataValue::Text(text(raw)?),
        "url" => MetadataValue::Url(text(raw)?),
        "path" => MetadataValue::Path(text(raw)?),
        "notebook" => MetadataValue::Notebook(text(raw)?),
        "md" => MetadataValue::Md(text(raw)?),
        "dagster_run" => MetadataValue::DagsterRun(text(raw)?),
        "asset" => MetadataValue::Asset(text(raw)?),
        "json" => MetadataValue::Json(raw),
        "int" => MetadataValue::Int(raw.as_i64().ok_or_else(|| wrong("a whole number of 64 bits", &raw))?),
        "float" => MetadataValue::Float(raw.as_f64().ok_or_else(|| wrong("a number", &raw))?),
        "bool" => MetadataValue::Bool(raw.as_bool().ok_or_else(|| wrong("true or false", &raw))?),
        "null" => MetadataValue::Null,
        "timestamp" => MetadataValue::Timestamp(time(&raw)?),
        "table" => MetadataValue::Table(table(raw)?),
        "table_schema" => MetadataValue::TableSchema(schema(read::<SentSchema>(raw)?.columns)),
        "table_column_lineage" => MetadataValue::TableColumnLineage(lineage(raw)?),
        other => return Err(format!("`{other}` is no metadata type of Pipes")),
    })
}

fn text(raw: Value) -> Result<String, String> {
    match raw {
        Value::String(text) => Ok(text),
        other => Err(wrong("a text", &other)),
    }
}

/// Seconds since 1970, with their fraction.
fn time(raw: &Value) -> Result<Timestamp, String> {
    let seconds = raw.as_f64().ok_or_else(|| wrong("seconds since 1970", raw))?;
    // Beyond some 285 years from 1970 an f64 holds no single microseconds; the cast saturates.
    Timestamp::from_microsecond((seconds * 1e6).round() as i64).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct SentTable {
    records: Vec<Map<String, Value>>,
    schema: Vec<SentColumn>,
}

#[derive(Deserialize)]
struct SentSchema {
    columns: Vec<SentColumn>,
}

#[derive(Deserialize)]
struct SentColumn {
    name: String,
    #[serde(rename = "type", default = "any_type")]
    type_name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    constraints: Option<SentConstraints>,
}

/// What Dagster takes a column's type for where none is said.
fn any_type() -> String {
    "string".to_owned()
}

#[derive(Deserialize)]
struct SentConstraints {
    #[serde(default)]
    nullable: Option<bool>,
}

fn table(raw: Value) -> Result<Table, String> {
    let sent: SentTable = read(raw)?;
    Ok(Table { records: sent.records, schema: schema(sent.schema) })
}

fn schema(columns: Vec<SentColumn>) -> TableSchema {
    let column = |sent: SentColumn| TableColumn {
        name: sent.name,
        type_name: sent.type_name,
        description: sent.description,
        nullable: sent.constraints.and_then(|constraints| constraints.nullable).unwrap_or(true),
    };
    TableSchema { columns: columns.into_iter().map(column).collect() }
}

#[derive(Deserialize)]
struct SentLineage {
    deps_by_column: std::collections::BTreeMap<String, Vec<SentDep>>,
}

#[derive(Deserialize)]
struct SentDep {
    asset_key: SentKey,
    column_name: String,
}

/// Dagster takes a key as text or as the list of its parts.
#[derive(Deserialize)]
#[serde(untagged)]
enum SentKey {
    Text(String),
    Parts(Vec<String>),
}

fn lineage(raw: Value) -> Result<ColumnLineage, String> {
    let sent: SentLineage = read(raw)?;
    let mut lineage = ColumnLineage::default();
    for (column, deps) in sent.deps_by_column {
        let dep = |dep: SentDep| {
            let asset_key = match dep.asset_key {
                SentKey::Text(text) => asset_key(&text)?,
                SentKey::Parts(parts) => parts.join("/"),
            };
            Ok(ColumnDep { asset_key, column_name: dep.column_name })
        };
        lineage.deps_by_column.insert(column, deps.into_iter().map(dep).collect::<Result<_, String>>()?);
    }
    Ok(lineage)
}

fn read<T: serde::de::DeserializeOwned>(raw: Value) -> Result<T, String> {
    serde_json::from_value(raw).map_err(|error| error.to_string())
}

fn wrong(expected: &str, found: &Value) -> String {
    let mut found = found.to_string();
    if let Some((cut, _)) = found.char_indices().nth(60) {
        found.truncate(cut);
        found.push('…');
    }
    format!("{expected} was expected, not {found}")
}

#[cfg(test)]
mod tests {
    use catchment_core::metadata::MetadataValue;
    use serde_json::{Value, json};

    use super::convert;

    fn one(kind: &str, raw: Value) -> Result<MetadataValue, String> {
        let Value::Object(sent) = json!({"it": {"raw_value": raw, "type": kind}}) else { unreachable!() };
        convert(sent).map(|metadata| metadata["it"].clone())
    }

    #[test]
    fn every_type_becomes_its_own() {
        let columns =
            json!([{"name": "id", "type": "int", "constraints": {"nullable": false, "unique": true, "other": null}}]);
        let schema = json!({"columns": [{"name": "id", "type": "int", "nullable": false}]});
        for (kind, raw, expected) in [
            ("__infer__", json!("a"), json!({"type": "text", "value": "a"})),
            ("__infer__", json!(3), json!({"type": "int", "value": 3})),
            ("__infer__", json!(3.5), json!({"type": "float", "value": 3.5})),
            ("__infer__", json!(true), json!({"type": "bool", "value": true})),
            ("__infer__", json!([1]), json!({"type": "json", "value": [1]})),
            ("__infer__", json!(null), json!({"type": "null"})),
            ("text", json!("a"), json!({"type": "text", "value": "a"})),
            ("url", json!("https://a"), json!({"type": "url", "value": "https://a"})),
            ("path", json!("/a"), json!({"type": "path", "value": "/a"})),
            ("notebook", json!("/a.ipynb"), json!({"type": "notebook", "value": "/a.ipynb"})),
            ("json", json!({"a": 1}), json!({"type": "json", "value": {"a": 1}})),
            ("md", json!("*a*"), json!({"type": "md", "value": "*a*"})),
            ("float", json!(3), json!({"type": "float", "value": 3.0})),
            ("int", json!(3), json!({"type": "int", "value": 3})),
            ("bool", json!(false), json!({"type": "bool", "value": false})),
            ("dagster_run", json!("r"), json!({"type": "dagster_run", "value": "r"})),
            ("asset", json!("a/b"), json!({"type": "asset", "value": "a/b"})),
            ("null", json!(null), json!({"type": "null"})),
            ("timestamp", json!(1.5), json!({"type": "timestamp", "value": "1970-01-01T00:00:01.5Z"})),
            ("table_schema", json!({"columns": columns}), json!({"type": "table_schema", "value": schema})),
            (
                "table",
                json!({"records": [{"id": 1}], "schema": columns}),
                json!({"type": "table", "value": {"records": [{"id": 1}], "schema": schema}}),
            ),
            (
                "table_column_lineage",
                json!({"deps_by_column": {"id": [{"asset_key": "a/b", "column_name": "c"}, {"asset_key": ["x", "y"], "column_name": "z"}]}}),
                json!({"type": "table_column_lineage", "value": {"deps_by_column": {"id": [
                    {"asset_key": "a/b", "column_name": "c"}, {"asset_key": "x/y", "column_name": "z"}]}}}),
            ),
        ] {
            assert_eq!(json!(one(kind, raw).unwrap()), expected, "{kind}");
        }
    }

    #[test]
    fn a_value_that_is_not_of_its_type_is_refused_by_name() {
        for (kind, raw) in
            [("int", json!("3")), ("text", json!(3)), ("timestamp", json!("now")), ("geometry", json!("x"))]
        {
            let why = one(kind, raw).unwrap_err();
            assert!(why.starts_with("metadata `it`: "), "{why}");
        }
        let Value::Object(bare) = json!({"it": 5}) else { unreachable!() };
        assert!(convert(bare).unwrap_err().contains("metadata `it`"));
    }
}
