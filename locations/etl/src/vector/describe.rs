//! What the ledger keeps of a vector output: its description and where it comes from.

use std::collections::BTreeMap;

use catchment::Staged;
use catchment_model::documents::{
    AssetFormat, AssetKind, AssetMetadata, ContentHash, CrsOperation, EngineInfo, Provenance, RecipeRef, Source,
};
use catchment_model::{Bounds, Manifest};

use super::Produced;

/// The finished file in scratch with all that is known of it.
pub(super) fn staged(manifest: &Manifest, produced: &Produced) -> Staged {
    let written = &produced.written;
    Staged {
        path: written.path.clone(),
        sha256: written.sha256.clone(),
        bytes: written.bytes,
        kind: AssetKind::Spatial,
        format: AssetFormat::Geoparquet,
        crs: Some(produced.crs.clone()),
        bounds: written.bounds.map(|[minx, miny, maxx, maxy]| Bounds { minx, miny, maxx, maxy }),
        metadata: metadata(manifest, produced),
        provenance: provenance(manifest, produced),
    }
}

fn metadata(manifest: &Manifest, produced: &Produced) -> AssetMetadata {
    let given = &manifest.metadata;
    let written = &produced.written;
    let renamed = produced.header.fields.iter().filter(|f| f.source != f.column);
    AssetMetadata {
        title: given.title.clone().filter(|t| !t.is_empty()),
        description: given.description.clone().filter(|t| !t.is_empty()),
        project: given.project.clone().filter(|t| !t.is_empty()),
        keywords: given.keywords.clone().unwrap_or_default(),
        source: given.source.clone().filter(|t| !t.is_empty()),
        license: given.license.clone().filter(|t| !t.is_empty()),
        attribution: given.attribution.clone().filter(|t| !t.is_empty()),
        tags: given.tags.clone().unwrap_or_default(),
        header_mapping: renamed.map(|f| (f.source.clone(), f.column.clone())).collect(),
        column_schema: written.column_schema.clone(),
        geometry_type: Some(geometry_type(&written.geometry_types)),
        geometry_column: Some("geom".to_owned()),
        feature_count: Some(written.rows),
        counts: counts(produced),
        checks: Vec::new(),
        warnings: warnings(produced),
    }
}

/// One type in upper case, `GEOMETRY` where several occur, without the mark of a third dimension.
fn geometry_type(seen: &[String]) -> String {
    let mut plain: Vec<&str> = seen.iter().map(|t| t.trim_end_matches(" Z")).collect();
    plain.dedup();
    match plain.as_slice() {
        [one] => one.to_uppercase(),
        _ => "GEOMETRY".to_owned(),
    }
}

fn counts(produced: &Produced) -> BTreeMap<String, u64> {
    let Produced { report, written, summary, .. } = produced;
    [
        ("rows_in", report.rows_in),
        ("rows_out", report.rows_out),
        ("repaired", report.repaired),
        ("snapped_coordinates", report.snapped),
        ("null_geometries", written.null_geometries),
        ("empty_geometries", written.empty_geometries),
        ("linearized_geometries", summary.trailer.linearized_geometries),
        ("reader_warnings", summary.trailer.warning_count),
        ("row_groups", u64::try_from(written.row_groups).unwrap_or(u64::MAX)),
    ]
    .into_iter()
    .map(|(name, count)| (name.to_owned(), count))
    .collect()
}

fn warnings(produced: &Produced) -> Vec<String> {
    let mut warnings = produced.summary.trailer.warnings.clone();
    if produced.report.snapped > 0 {
        warnings.push(format!(
            "{} coordinates overshot longitude 180° or latitude 90° by less than 0.1 mm and were moved onto it",
            produced.report.snapped
        ));
    }
    if let Some(better) = produced.report.crs_operation.as_ref().and_then(|o| o.better.clone()) {
        warnings.push(better);
    }
    warnings
}

fn provenance(manifest: &Manifest, produced: &Produced) -> Provenance {
    let Produced { source, header, summary, recipe, engine, report, .. } = produced;
    Provenance {
        batch_id: Some(manifest.batch_id.clone()),
        sources: ContentHash::from_hex(&source.sha256)
            .map(|content_hash| Source {
                s3_key: source.key.clone(),
                etag: source.etag.clone(),
                content_hash,
                bytes: source.bytes,
                driver: header.driver.clone(),
                layer: Some(header.layer.clone()),
                crs: Some(header.crs.label().to_owned()),
                feature_count: Some(summary.trailer.rows),
            })
            .into_iter()
            .collect(),
        recipe: Some(RecipeRef { intent: recipe.intent.clone(), fingerprint: recipe.fingerprint() }),
        engine: Some(EngineInfo { name: engine.0.clone(), version: engine.1.clone() }),
        crs_operation: report
            .crs_operation
            .as_ref()
            .map(|o| CrsOperation { name: o.name.clone(), accuracy_m: o.accuracy_m }),
    }
}

#[cfg(test)]
mod tests {
    use super::geometry_type;

    #[test]
    fn a_geometry_type_is_one_or_mixed() {
        assert_eq!(geometry_type(&["MultiPolygon".into(), "MultiPolygon Z".into()]), "MULTIPOLYGON");
        assert_eq!(geometry_type(&["Point".into(), "Polygon".into()]), "GEOMETRY");
        assert_eq!(geometry_type(&[]), "GEOMETRY");
    }
}
