//! One vector file: what it is, which layer, in which CRS; refused with a reason where any is in doubt.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use catchment_gdal::format::VectorFormat;
use catchment_gdal::frame::{self, Kind};
use catchment_gdal::protocol::{ReadVector, Request, SandboxReport, Trailer, VERSION, VectorHeader};
use catchment_model::problem::{Code, Problem};

use crate::columns::Plan;
use crate::gdal::{self, Dataset, Layer};
use crate::geometry::{kind_name, plain_kind, split_code};
use crate::mapped::Mapped;
use crate::source::{self, Nature};
use crate::stream::Sender;
use crate::{archive, crs, geojson};

/// Reads the file and sends its header and batches; the account of them is what comes back.
pub(crate) fn read_vector(
    read: &ReadVector,
    request: &Request,
    sandbox: SandboxReport,
    out: &mut impl Write,
    started: Instant,
) -> Result<Trailer, Problem> {
    let place = read.path.display().to_string();
    let declared = VectorFormat::find(&read.format).ok_or_else(|| {
        Problem::new(Code::FormatNotAllowed, format!("the format `{}` is not accepted for vector files", read.format))
            .place(&place)
            .remedy(format!("use one of {}", VectorFormat::known_names()))
    })?;
    let mut path = read.path.clone();
    let mut archive_member = None;
    let mut nature = source::nature_of(&path)?;
    if nature == Nature::Zip {
        let unpacked = archive::unpack(&path, declared, read.layer.as_deref(), &request.scratch, &request.limits)?;
        path = unpacked.path;
        archive_member = Some(unpacked.member);
        nature = source::nature_of(&path)?;
    }
    let place = match &archive_member {
        Some(member) => format!("{place}, member {member}"),
        None => place,
    };
    refuse_by_nature(nature, declared).map_err(|problem| problem.place(&place))?;
    gdal::initialize(&request.scratch, request.limits.memory);
    let driver = identify(&path, declared).map_err(|problem| problem.place(&place))?;
    let tally = match driver.as_str() {
        "GeoJSON" => Some(geojson::check(&path, false)?),
        "GeoJSONSeq" => Some(geojson::check(&path, true)?),
        _ => None,
    };
    let dataset = open(&path, &driver).map_err(|problem| problem.place(&place))?;
    let at_open = gdal::take_messages();
    let layers = dataset.layers();
    let names: Vec<String> = layers.iter().map(Layer::name).collect();
    // Several datasets in one archive were told apart by `layer` already.
    let wanted = read.layer.as_deref().filter(|_| archive_member.is_none() || names.len() > 1);
    let layer = choose(&layers, &names, wanted).map_err(|problem| problem.place(&place))?;
    let settled = crs::settle(layer.spatial_ref(), read.crs.as_deref()).map_err(|problem| problem.place(&place))?;
    let feature_count = tally.as_ref().map(|tally| tally.features).or_else(|| layer.cheap_count());
    let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let rows_per_batch = rows_per_batch(bytes, feature_count, request);
    let mut arrow = layer.arrow_stream(rows_per_batch).map_err(|error| unreadable(&error).place(&place))?;
    let geometry_field = layer.geometry_fields().into_iter().next().unwrap_or_default();
    let plan = Plan::new(arrow.schema(), &geometry_field).ok_or_else(|| no_geometry(&layer.name()).place(&place))?;
    let (kind, has_z, has_m, _) = split_code(layer.geometry_type());
    if driver == "GML" {
        refuse_false_schema(&path, kind).map_err(|problem| problem.place(&place))?;
    }
    let header = VectorHeader {
        version: VERSION,
        gdal_version: gdal::version(),
        driver,
        archive_member,
        layer: layer.name(),
        layers: names,
        geometry_type: kind_name(plain_kind(kind)).to_owned(),
        has_z,
        has_m,
        crs: settled.crs,
        crs_source: settled.source,
        is_geographic: settled.is_geographic,
        feature_count,
        extent: layer.cheap_extent(),
        fields: plan.fields.clone(),
        encoding: layer.metadata_item(c"SOURCE_ENCODING", c"SHAPEFILE"),
        sandbox,
        startup_ms: started.elapsed().as_secs_f64() * 1e3,
    };
    frame::write_json(out, Kind::Header, &header)
        .map_err(|error| Problem::new(Code::Io, "the caller's pipe is closed").cause(error.to_string()))?;
    let mut sender = Sender::begin(out, &plan, &request.limits)?;
    for message in at_open.failures.into_iter().chain(at_open.warnings) {
        sender.warn(message);
    }
    sender.send_all(&mut arrow).map_err(|problem| with_file(problem, &place))?;
    check_counts(&mut sender, &header, tally.as_ref()).map_err(|problem| problem.place(&place))?;
    sender.finish()
}

/// Puts the file before the place in it.
fn with_file(problem: Problem, file: &str) -> Problem {
    match problem.place.clone() {
        Some(place) => problem.place(format!("{file}, {place}")),
        None => problem.place(file),
    }
}

fn refuse_by_nature(nature: Nature, declared: &VectorFormat) -> Result<(), Problem> {
    match nature {
        Nature::Refused(what) => Err(Problem::new(Code::FormatNotAllowed, format!("the file is {what}"))
            .remedy("upload the data themselves; virtual files and services are never followed")),
        Nature::Other(what) => Err(mismatch(declared, what)),
        Nature::Zip => {
            Err(Problem::new(Code::ArchiveRefused, "the archive holds an archive").remedy("pack the dataset once"))
        }
        Nature::Unknown => Ok(()),
    }
}

fn mismatch(declared: &VectorFormat, real: &str) -> Problem {
    Problem::new(
        Code::FormatMismatch,
        format!("the manifest says that the file is {}, but it is {real}", declared.name),
    )
    .remedy("correct the file's `format` in the manifest, or upload the right file")
}

/// GDAL 3.6 believes a GML schema that says Polygon, and makes one polygon of a multi-part geometry.
fn refuse_false_schema(path: &Path, kind: u32) -> Result<(), Problem> {
    let holds_parts = matches!(kind, 1..=3)
        && Mapped::open(path)
            .map_err(|error| Problem::new(Code::Io, "the file cannot be read").cause(error.to_string()))?
            .contains(b"<gml:Multi");
    if holds_parts {
        let what = format!("the GML file's schema says {}, but the file holds multi-part geometries", kind_name(kind));
        return Err(Problem::new(Code::FileCorrupt, what)
            .cause("GDAL would merge the parts of each into one")
            .remedy("correct the schema (.xsd), or upload the file in another format, such as GeoPackage"));
    }
    Ok(())
}

/// The driver that recognises the file; it must be the declared format's.
fn identify(path: &Path, declared: &VectorFormat) -> Result<String, Problem> {
    match gdal::identify(path)? {
        Some(driver) if declared.is_read_by(&driver) => Ok(driver),
        Some(driver) => Err(mismatch(declared, &driver)),
        None => Err(mismatch(declared, "nothing that is recognised")
            .cause(format!("none of the accepted formats fits: {}", VectorFormat::known_names()))),
    }
}

fn open(path: &Path, driver: &str) -> Result<Dataset, Problem> {
    let options: &[&str] = match driver {
        "CSV" => &[
            "GEOM_POSSIBLE_NAMES=geom,geometry,the_geom,wkt,wkb",
            "X_POSSIBLE_NAMES=x,lon,lng,long,longitude,easting",
            "Y_POSSIBLE_NAMES=y,lat,latitude,northing",
            "KEEP_GEOM_COLUMNS=YES",
        ],
        "GML" => &["DOWNLOAD_SCHEMA=NO"],
        _ => &[],
    };
    match Dataset::open(path, driver, options)? {
        Some(dataset) => Ok(dataset),
        None => Err(unreadable("")),
    }
}

fn unreadable(why: &str) -> Problem {
    let said = gdal::take_messages();
    let cause = if said.failures.is_empty() { why.to_owned() } else { said.failures.join("; ") };
    if said.out_of_memory {
        return Problem::new(Code::LimitExceeded, "GDAL needed more memory than it may use to open the file")
            .cause(cause)
            .remedy("raise the worker's limit of memory, or convert the file to a format that streams (FlatGeobuf, GeoPackage)");
    }
    Problem::new(Code::FileCorrupt, "the file is damaged or cut off: GDAL cannot open it")
        .cause(if cause.is_empty() { "GDAL gives no reason".to_owned() } else { cause })
        .remedy("upload it again, whole; `ogrinfo -al -so` shows what GDAL finds")
}

fn no_geometry(layer: &str) -> Problem {
    Problem::new(Code::FormatMismatch, format!("the layer `{layer}` has no geometry"))
        .remedy("choose a layer with geometry by the file's `layer`, or announce the file as `tabular`")
}

fn choose<'a, 'd>(layers: &'a [Layer<'d>], names: &[String], wanted: Option<&str>) -> Result<&'a Layer<'d>, Problem> {
    let list = || names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match (layers, wanted) {
        ([], _) => Err(Problem::new(Code::FileCorrupt, "the file has no layers").remedy("check it with `ogrinfo`")),
        (_, Some(wanted)) => {
            names.iter().position(|name| name == wanted).map(|index| &layers[index]).ok_or_else(|| {
                Problem::new(Code::LayerAmbiguous, format!("the file has no layer `{wanted}`"))
                    .cause(format!("its layers are {}", list()))
                    .remedy("correct the file's `layer` in the manifest")
            })
        }
        ([one], None) => Ok(one),
        (several, None) => Err(Problem::new(Code::LayerAmbiguous, format!("the file has {} layers", several.len()))
            .cause(format!("its layers are {}", list()))
            .remedy("name one as the file's `layer` in the manifest")),
    }
}

/// So many rows that a batch of GDAL's, which it makes whole in memory, is about as large as one of ours.
fn rows_per_batch(bytes: u64, features: Option<u64>, request: &Request) -> u64 {
    let per_feature = bytes / features.unwrap_or(0).max(1);
    let limits = &request.limits;
    match features {
        Some(_) => (limits.batch_bytes * 2 / per_feature.max(1)).clamp(16, limits.batch_rows),
        None => limits.batch_rows.min(4096),
    }
}

/// A file that gave fewer features than it promises was cut off, or GDAL left some out in silence.
fn check_counts<W: Write>(
    sender: &mut Sender<'_, W>,
    header: &VectorHeader,
    tally: Option<&geojson::Tally>,
) -> Result<(), Problem> {
    let rows = sender.rows();
    if let Some(promised) = header.feature_count
        && rows != promised
    {
        let what = format!("the file promises {promised} features, and {rows} came");
        if rows > promised && tally.is_none() {
            sender.warn(what);
        } else {
            return Err(Problem::new(Code::FileCorrupt, what)
                .remedy("upload it again, whole; `ogrinfo -al` shows what GDAL finds"));
        }
    }
    if let Some(tally) = tally
        && sender.null_geometries() > tally.null_geometries
    {
        let count = sender.null_geometries() - tally.null_geometries;
        sender.warn(format!("{count} geometries without coordinates were read as no geometry"));
    }
    Ok(())
}
