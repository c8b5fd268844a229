//! `catchment-etl`: the code location `etl_pipelines`.

use std::process::ExitCode;

fn main() -> ExitCode {
    catchment::serve(catchment_etl::definitions::definitions)
}
