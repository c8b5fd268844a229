//! A version described after ISO 19115-1:2014, with quality after ISO 19157-1:2023. There is no standard JSON
//! encoding: the names are those of the standards' classes and properties, in lower camel case. What is not
//! known is left out, not made up.

use catchment_model::documents::{AssetKind, Source};
use catchment_model::{Asset, Crs};
use serde_json::{Map, Value, json};

/// The document (MD_Metadata). `place` is the address of the data object.
pub fn document(asset: &Asset, crs: Option<&Crs>, place: &str) -> Value {
    let mut all = json!({
        "metadataIdentifier": { "code": asset.id, "codeSpace": "catchment" },
        "metadataStandard": [{ "title": "ISO 19115-1", "edition": "2014" }],
        "defaultLocale": { "characterEncoding": "utf8" },
        "metadataScope": [{ "resourceScope": "dataset" }],
        "dateInfo": [{ "date": asset.updated_at, "dateType": "revision" }],
    });
    let metadata = &asset.metadata;
    if let Some(party) = metadata.attribution.as_deref().or(metadata.source.as_deref()).filter(|t| !t.is_empty()) {
        all["contact"] = json!([{ "role": "pointOfContact", "party": [{ "name": party }] }]);
    }
    if let Some(system) = reference_system(asset, crs) {
        all["referenceSystemInfo"] = json!([system]);
    }
    all["identificationInfo"] = json!([identification(asset)]);
    all["contentInfo"] = json!([content(asset)]);
    all["distributionInfo"] = json!([{
        "distributionFormat": [{ "formatSpecificationCitation": { "title": format_title(asset) } }],
        "transferOptions": [{
            "transferSizeInBytes": asset.bytes,
            "onLine": [{ "linkage": place, "protocol": "S3", "function": "download" }],
        }],
    }]);
    all["dataQualityInfo"] = json!([{ "scope": { "level": "dataset" }, "report": quality(asset) }]);
    all["resourceLineage"] = json!([lineage(asset)]);
    without_unknown(&mut all);
    all
}

/// Removes members that are null, however deep.
fn without_unknown(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_unknown);
        }
        Value::Array(items) => items.iter_mut().for_each(without_unknown),
        _ => {}
    }
}

fn identification(asset: &Asset) -> Value {
    let metadata = &asset.metadata;
    let title = metadata.title.as_deref().filter(|t| !t.is_empty()).unwrap_or(asset.dataset_id.as_str());
    let mut all = json!({
        "citation": {
            "title": title,
            "edition": asset.version.to_string(),
            "identifier": [{ "code": asset.dataset_id, "version": asset.version.to_string() }],
            "date": [{ "date": asset.created_at, "dateType": "creation" }],
        },
        "status": [if asset.deleted_at.is_some() { "obsolete" } else { "completed" }],
        "spatialRepresentationType": [match asset.kind {
            AssetKind::Spatial | AssetKind::Joined => "vector",
            AssetKind::Raster => "grid",
            AssetKind::Tabular => "textTable",
        }],
    });
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            all[name] = value;
        }
    };
    let text = |value: &Option<String>| value.as_deref().filter(|t| !t.is_empty()).map(str::to_owned);
    put("abstract", text(&metadata.description).map(Value::from));
    put("credit", text(&metadata.attribution).map(|t| json!([t])));
    put(
        "descriptiveKeywords",
        (!metadata.keywords.is_empty()).then(|| json!([{ "keyword": metadata.keywords, "type": "theme" }])),
    );
    put(
        "resourceConstraints",
        text(&metadata.license).map(|t| json!([{ "useConstraints": ["license"], "reference": [{ "title": t }] }])),
    );
    put(
        "associatedResource",
        text(&metadata.project).map(|t| json!([{ "associationType": "largerWorkCitation", "name": { "title": t } }])),
    );
    put(
        "extent",
        asset.bounds.map(|b| {
            json!([{ "geographicElement": [{
            "westBoundLongitude": b.minx,
            "eastBoundLongitude": b.maxx,
            "southBoundLatitude": b.miny,
            "northBoundLatitude": b.maxy,
        }] }])
        }),
    );
    all
}

fn reference_system(asset: &Asset, crs: Option<&Crs>) -> Option<Value> {
    let text = asset.crs.as_deref()?;
    Some(match text.split_once(':') {
        Some((authority, code)) if !text.contains('[') => {
            let mut identifier = json!({ "code": code, "codeSpace": authority });
            if let Some(crs) = crs {
                identifier["description"] = json!(crs.name);
            }
            json!({ "referenceSystemIdentifier": identifier })
        }
        _ => json!({ "referenceSystemIdentifier": { "code": text, "description": crs.map(|crs| &crs.name) } }),
    })
}

/// MD_FeatureCatalogue, with the columns as ISO 19110 names them.
fn content(asset: &Asset) -> Value {
    let metadata = &asset.metadata;
    let columns: Vec<Value> = metadata
        .column_schema
        .iter()
        .map(|(name, column)| {
            json!({
                "memberName": name,
                "definition": column.description.as_ref().or(column.title.as_ref()),
                "valueType": column.type_name,
                "cardinality": if column.nullable { "0..1" } else { "1" },
            })
        })
        .collect();
    let mut feature_type = json!({ "typeName": asset.dataset_id, "carrierOfCharacteristics": columns });
    if let Some(count) = metadata.feature_count {
        feature_type["featureInstanceCount"] = json!(count);
    }
    if let Some(geometry) = &metadata.geometry_type {
        feature_type["geometryType"] = json!(geometry);
    }
    json!({ "includedWithDataset": true, "featureTypes": [feature_type] })
}

fn format_title(asset: &Asset) -> &'static str {
    use catchment_model::documents::AssetFormat;
    match asset.format {
        AssetFormat::Geoparquet => "GeoParquet 1.1",
        AssetFormat::Parquet => "Apache Parquet",
        AssetFormat::Cog => "Cloud Optimized GeoTIFF (OGC 21-026)",
    }
}

fn quality(asset: &Asset) -> Vec<Value> {
    let mut all: Vec<Value> = asset
        .metadata
        .checks
        .iter()
        .map(|check| {
            json!({
                "measure": { "nameOfMeasure": check.name },
                "result": [{ "pass": check.passed, "explanation": check.description }],
            })
        })
        .collect();
    all.extend(
        asset
            .metadata
            .counts
            .iter()
            .map(|(name, count)| json!({ "measure": { "nameOfMeasure": name }, "result": [{ "value": count }] })),
    );
    if let Some(operation) = &asset.provenance.crs_operation {
        all.push(json!({
            "measure": { "nameOfMeasure": "accuracy of the coordinate operation", "description": operation.name },
            "result": [{ "value": operation.accuracy_m, "valueUnit": "m" }],
        }));
    }
    all.extend(
        asset
            .metadata
            .warnings
            .iter()
            .map(|warning| json!({ "measure": { "nameOfMeasure": "warning" }, "result": [{ "statement": warning }] })),
    );
    all
}

fn lineage(asset: &Asset) -> Value {
    let provenance = &asset.provenance;
    let mut step = Map::new();
    if let Some(recipe) = &provenance.recipe {
        step.insert("description".into(), json!(format!("recipe {}", recipe.intent)));
        step.insert(
            "reference".into(),
            json!([{ "title": recipe.intent, "identifier": [{ "code": recipe.fingerprint }] }]),
        );
    }
    if let Some(engine) = &provenance.engine {
        step.insert(
            "processingInformation".into(),
            json!({
                "softwareReference": [{ "title": engine.name, "edition": engine.version }],
            }),
        );
    }
    step.insert("stepDateTime".into(), json!(asset.created_at));
    step.insert("identifier".into(), json!({ "code": asset.dagster_run_id, "codeSpace": "run" }));
    json!({
        "scope": { "level": "dataset" },
        "source": provenance.sources.iter().map(source).collect::<Vec<_>>(),
        "processStep": [step],
        "identifier": provenance.batch_id,
    })
}

fn source(source: &Source) -> Value {
    json!({
        "sourceCitation": {
            "title": source.s3_key,
            "identifier": [{ "code": source.content_hash, "codeSpace": "sha256" }],
        },
        "sourceReferenceSystem": source.crs,
        "sourceExtent": { "bytes": source.bytes, "features": source.feature_count, "layer": source.layer },
        "format": source.driver,
    })
}
