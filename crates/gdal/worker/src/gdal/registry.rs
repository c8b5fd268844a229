//! Setting libgdal up: its options, and the few drivers that are let in.

use std::ffi::CString;
use std::path::Path;

use super::messages;

unsafe extern "C" {
    fn RegisterOGRGeoJSON();
    fn RegisterOGRGeoJSONSeq();
    fn RegisterOGRTopoJSON();
    fn RegisterOGRESRIJSON();
    fn RegisterOGRShape();
    fn RegisterOGRGeoPackage();
    fn RegisterOGRFlatGeobuf();
    fn RegisterOGRGML();
    fn RegisterOGRLIBKML();
    fn RegisterOGRKML();
    fn RegisterOGRTAB();
    fn RegisterOGRDXF();
    fn RegisterOGRGPX();
    fn RegisterOGRCSV();
}

/// Registers the drivers of [`catchment_gdal::format::VECTOR_FORMATS`] and no other: not VRT, no database,
/// no service, and no plug-in (those are loaded only by `GDALAllRegister`, which is never called; that
/// also saves the time of registering two hundred drivers). `scratch` takes temporary files; `memory` is
/// the process's limit, in bytes.
pub(crate) fn initialize(scratch: &Path, memory: u64) {
    messages::listen();
    // One GeoJSON object is parsed into a tree some ten times its size.
    let largest_object = (memory >> 20) / 10;
    let options = [
        ("GDAL_DRIVER_PATH", "disable".to_owned()),
        ("CPL_TMPDIR", scratch.display().to_string()),
        ("GDAL_NUM_THREADS", "1".to_owned()),
        ("PROJ_NETWORK", "OFF".to_owned()),
        ("OGR_GEOJSON_MAX_OBJ_SIZE", largest_object.max(1).to_string()),
        ("SQLITE_LIST_ALL_TABLES", "NO".to_owned()),
        ("GML_ATTRIBUTES_TO_OGR_FIELDS", "NO".to_owned()),
        ("CPL_DEBUG", "OFF".to_owned()),
    ];
    // SAFETY: option strings live across each call; the registration functions take nothing and are called
    // once, from the only thread.
    unsafe {
        for (key, value) in options {
            if let (Ok(key), Ok(value)) = (CString::new(key), CString::new(value)) {
                gdal_sys::CPLSetConfigOption(key.as_ptr(), value.as_ptr());
            }
        }
        gdal_sys::OSRSetPROJEnableNetwork(0);
        RegisterOGRGeoJSON();
        RegisterOGRGeoJSONSeq();
        RegisterOGRTopoJSON();
        RegisterOGRESRIJSON();
        RegisterOGRShape();
        RegisterOGRGeoPackage();
        RegisterOGRFlatGeobuf();
        RegisterOGRGML();
        RegisterOGRLIBKML();
        RegisterOGRKML();
        RegisterOGRTAB();
        RegisterOGRDXF();
        RegisterOGRGPX();
        RegisterOGRCSV();
    }
}
