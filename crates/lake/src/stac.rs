//! A version as a STAC 1.1 item, with the extensions projection 2.0, table 1.2 and file 2.1.

use catchment_model::documents::{AssetKind, CheckRecord};
use catchment_model::{Asset, Bounds, Crs};
use serde_json::{Map, Value, json};

use crate::layout;

const PROJECTION: &str = "https://stac-extensions.github.io/projection/v2.0.0/schema.json";
const TABLE: &str = "https://stac-extensions.github.io/table/v1.2.0/schema.json";
const FILE: &str = "https://stac-extensions.github.io/file/v2.1.0/schema.json";

/// The item. Its assets' addresses are relative to it. `crs` is asked for where the document of the asset has
/// no authority's code.
pub fn item(asset: &Asset, crs: Option<&Crs>) -> Value {
    let mut item = json!({
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": extensions(asset),
        "id": format!("{}-v{}", asset.dataset_id, asset.version),
        "geometry": asset.bounds.map(polygon),
    });
    if let Some(b) = asset.bounds {
        item["bbox"] = json!([b.minx, b.miny, b.maxx, b.maxy]);
    }
    item["properties"] = Value::Object(properties(asset, crs));
    item["links"] = json!([]);
    item["assets"] = json!({
        "data": {
            "href": format!("./{}", asset.format.file_name()),
            "type": asset.format.media_type(),
            "title": "Data",
            "roles": ["data"],
            "file:size": asset.bytes,
            // A multihash: 0x12 is SHA-256, 0x20 its length.
            "file:checksum": format!("1220{}", asset.content_hash.hex()),
        },
        "metadata": {
            "href": format!("./{}", layout::METADATA),
            "type": "application/json",
            "title": "Metadata after ISO 19115-1",
            "roles": ["metadata"],
        },
    });
    item
}

fn extensions(asset: &Asset) -> Vec<&'static str> {
    let mut all = vec![FILE];
    if asset.crs.is_some() {
        all.push(PROJECTION);
    }
    if asset.kind != AssetKind::Raster {
        all.push(TABLE);
    }
    all
}

fn properties(asset: &Asset, crs: Option<&Crs>) -> Map<String, Value> {
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| {
        let empty = value.is_null() || value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            all.insert(name.to_owned(), value);
        }
    };
    let metadata = &asset.metadata;
    put("datetime", json!(asset.created_at));
    put("created", json!(asset.created_at));
    put("updated", json!(asset.updated_at));
    put("title", json!(metadata.title));
    put("description", json!(metadata.description));
    put("keywords", json!(metadata.keywords));
    put("license", json!(metadata.license.as_deref().map(license)));
    put("attribution", json!(metadata.attribution));
    put("version", json!(asset.version.to_string()));
    put("catchment:dataset_id", json!(asset.dataset_id));
    put("catchment:run_id", json!(asset.dagster_run_id));
    put("catchment:document_id", json!(asset.id));
    let failed: Vec<_> =
        metadata.checks.iter().filter(|check| !check.passed).map(|check: &CheckRecord| &check.name).collect();
    put("catchment:failed_checks", json!(failed));
    if let Some(code) = &asset.crs {
        if code.len() < 64 && code.contains(':') && !code.contains('[') {
            put("proj:code", json!(code));
        } else {
            put("proj:code", json!(null));
            put("proj:wkt2", json!(crs.map_or(code.as_str(), |crs| crs.wkt.as_str())));
        }
        if let Some(crs) = crs.filter(|crs| crs.authority.is_none() && crs.projjson.is_object()) {
            put("proj:projjson", crs.projjson.clone());
        }
    }
    if asset.kind != AssetKind::Raster {
        put("table:primary_geometry", json!(metadata.geometry_column));
        put("table:row_count", json!(metadata.feature_count));
        let columns = metadata.column_schema.iter().map(|(name, column)| {
            let mut one = json!({ "name": name, "type": column.logical_type });
            if let Some(text) = column.description.as_ref().or(column.title.as_ref()).filter(|text| !text.is_empty()) {
                one["description"] = json!(text);
            }
            one
        });
        put("table:columns", Value::Array(columns.collect()));
    }
    all
}

/// STAC takes an SPDX identifier or the word `other`.
fn license(text: &str) -> &str {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'+' | b'_');
    match text.trim() {
        text if !text.is_empty() && text.bytes().all(plain) => text,
        _ => "other",
    }
}

/// The bounds as a polygon, counterclockwise (RFC 7946, section 3.1.6).
fn polygon(b: Bounds) -> Value {
    json!({
        "type": "Polygon",
        "coordinates": [[[b.minx, b.miny], [b.maxx, b.miny], [b.maxx, b.maxy], [b.minx, b.maxy], [b.minx, b.miny]]],
    })
}
