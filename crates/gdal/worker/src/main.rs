//! `catchment-gdal`: reads one file through libgdal, locked into a sandbox, and sends it as Arrow batches.
//!
//! The only program of Catchment that links libgdal. What is here:
//! - [`serve`]: the request on standard input, the frames on standard output;
//! - [`sandbox`]: what this process gives up before it looks at the file; [`probe`] shows that it holds;
//! - [`source`], [`archive`], [`geojson`], [`mapped`]: what is checked of the file before or beside GDAL;
//! - [`gdal`]: thin safe wrappers of the parts of libgdal that are used, and its error messages;
//! - [`dataset`], [`crs`]: format, layer and coordinate reference system, refused where in doubt;
//! - [`columns`], [`geometry`], [`stream`]: GDAL's Arrow stream as the batches that Catchment promises.
//!
//! Not here: transforming coordinates, repairing geometry, writing anything but scratch files.

mod archive;
mod columns;
mod crs;
mod dataset;
mod gdal;
mod geojson;
mod geometry;
mod mapped;
mod probe;
mod sandbox;
mod serve;
mod source;
mod stream;

use catchment_settings::clock;

fn main() -> std::process::ExitCode {
    let started = clock::monotonic();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["read-vector"] => serve::serve(started),
        ["sandbox", rest @ ..] => probe::run(rest),
        ["--version"] => {
            println!("catchment-gdal {} (GDAL {})", env!("CARGO_PKG_VERSION"), gdal::version());
            std::process::ExitCode::SUCCESS
        }
        _ => {
            eprintln!(
                "usage: catchment-gdal read-vector < request.json\n       \
                 catchment-gdal sandbox [--json] [--probe [--read FILE] [--write FILE] [--connect HOST:PORT]]\n       \
                 catchment-gdal --version"
            );
            std::process::ExitCode::from(2)
        }
    }
}
