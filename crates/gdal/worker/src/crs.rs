//! Which coordinate reference system the file is in: its own word, or the manifest's where it has none.

use catchment_gdal::protocol::CrsSource;
use catchment_model::problem::{Code, Problem};
use catchment_model::space::Crs;

use crate::gdal::SpatialRef;

/// A CRS that is settled.
pub(crate) struct Settled {
    pub(crate) crs: Crs,
    pub(crate) source: CrsSource,
    pub(crate) is_geographic: bool,
}

/// Settles it. Neither, a contradiction, or a CRS that PROJ does not know are errors.
pub(crate) fn settle(of_file: Option<SpatialRef>, declared: Option<&str>) -> Result<Settled, Problem> {
    let of_file = of_file.filter(says_something);
    let declared = declared.map(|text| parse(text).map(|parsed| (text, parsed))).transpose()?;
    match (of_file, declared) {
        (None, None) => Err(Problem::new(
            Code::CrsMissing,
            "the file states no coordinate reference system, and the manifest gives none",
        )
        .remedy(
            "add `crs` (such as \"EPSG:2056\") to the file's entry in the manifest, or a .prj file beside a Shapefile",
        )),
        (None, Some((_, declared))) => describe(&declared, authority_of(&declared), CrsSource::Declared),
        (Some(file), None) => {
            let authority = authority_of(&file);
            describe(&file, authority, CrsSource::File)
        }
        (Some(file), Some((text, declared))) => {
            if !agree(&file, &declared) {
                return Err(Problem::new(
                    Code::CrsConflict,
                    format!("the file says that it is in {}, the manifest says {}", label(&file), label(&declared)),
                )
                .cause(format!("the manifest's `crs` is {text:?}"))
                .remedy("correct `crs` in the manifest or leave it out; if the file is wrong, mend the file (`ogr2ogr -a_srs`)"));
            }
            // Both are the same, so the code that the manifest states is the file's.
            let authority = authority_of(&file).or_else(|| authority_of(&declared));
            describe(&file, authority, CrsSource::File)
        }
    }
}

fn parse(text: &str) -> Result<SpatialRef, Problem> {
    SpatialRef::parse(text).ok_or_else(|| {
        let said = crate::gdal::take_messages().failures;
        let problem = Problem::new(
            Code::CrsInvalid,
            format!("the manifest's `crs`, {text:?}, is not a known coordinate reference system"),
        )
        .remedy("use an EPSG code such as \"EPSG:2056\", WKT, or a PROJ string");
        match said.first() {
            Some(said) => problem.cause(said),
            None => problem,
        }
    })
}

/// Formats have their ways to say "none": GeoPackage's srs_id -1 and 0, MapInfo's and DXF's local systems.
fn says_something(srs: &SpatialRef) -> bool {
    let name = srs.name();
    let is_none = name.starts_with("Undefined ") || name.eq_ignore_ascii_case("unknown") || srs.is_local();
    !is_none
}

/// The same system, or one that the file's is certainly known under (an ESRI name for an EPSG code, say).
fn agree(file: &SpatialRef, declared: &SpatialRef) -> bool {
    file.is_same(declared) || file.matches().iter().any(|(candidate, _)| candidate.is_same(declared))
}

/// Authority and code where they are certain: stated by the CRS itself, or by the one registered system
/// that it equals. EPSG is preferred where several are equal.
fn authority_of(srs: &SpatialRef) -> Option<String> {
    srs.stated_authority().or_else(|| {
        let equal: Vec<String> = srs
            .matches()
            .iter()
            .filter(|(candidate, confidence)| *confidence == 100 || candidate.is_same(srs))
            .filter_map(|(candidate, _)| candidate.stated_authority())
            .collect();
        equal.iter().find(|code| code.starts_with("EPSG:")).or(equal.first()).cloned()
    })
}

fn label(srs: &SpatialRef) -> String {
    match authority_of(srs) {
        Some(code) => format!("{code} ({})", srs.name()),
        None => srs.name(),
    }
}

fn describe(srs: &SpatialRef, authority: Option<String>, source: CrsSource) -> Result<Settled, Problem> {
    let unknown = || {
        Problem::new(Code::CrsInvalid, format!("the coordinate reference system {} cannot be described", srs.name()))
            .cause(crate::gdal::take_messages().failures.join("; "))
            .remedy("state a registered one in the manifest's `crs`, such as \"EPSG:2056\"")
    };
    let projjson = srs.projjson().ok_or_else(unknown)?;
    Ok(Settled {
        crs: Crs {
            name: srs.name(),
            authority,
            wkt: srs.wkt2().ok_or_else(unknown)?,
            projjson: serde_json::from_str(&projjson).map_err(|_| unknown())?,
        },
        source,
        is_geographic: srs.is_geographic(),
    })
}
