//! Which code locations there are: what the workspace file lists, else the one binary that is named or lies beside
//! this program.

use std::path::{Path, PathBuf};

use catchment_model::{Code, Problem};
use catchment_settings::Home;
use catchment_settings::config::Workspace;

use crate::args::WorkspaceArgs;

/// The platform's own code location, and its binary.
const PLATFORM: (&str, &str) = ("etl_pipelines", "catchment-etl");

/// The code locations of an installation.
///
/// # Errors
/// Where the workspace file is wrong, or it is named and not there.
pub(crate) fn load(args: &WorkspaceArgs, home: &Home) -> Result<Workspace, Problem> {
    if let Some(path) = &args.location {
        return Ok(Workspace::of_binary(&name_of(path), absolute(path)?));
    }
    match Workspace::load(home, args.workspace.as_deref())? {
        Some(workspace) => Ok(workspace),
        None => {
            let own = std::env::current_exe()
                .map_err(|e| Problem::new(Code::Io, "the path of this program is unknown").cause(e.to_string()))?;
            Ok(Workspace::of_binary(PLATFORM.0, own.with_file_name(PLATFORM.1)))
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(path).map_err(|e| {
        Problem::new(Code::InvalidConfig, "the binary of the code location has no absolute path").cause(e.to_string())
    })
}

/// The name of a location by its binary: the file's, without `catchment-`.
fn name_of(path: &Path) -> String {
    let file = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match file.as_str() {
        name if name == PLATFORM.1 => PLATFORM.0.to_owned(),
        name => name.strip_prefix("catchment-").unwrap_or(name).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_location_is_named_by_its_binary() {
        assert_eq!(name_of("target/release/catchment-etl".as_ref()), "etl_pipelines");
        assert_eq!(name_of("target/release/catchment-hello".as_ref()), "hello");
        assert_eq!(name_of("bin/forecast".as_ref()), "forecast");
    }
}
