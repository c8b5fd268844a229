//! Claims about the GDAL worker: it is there, it runs, it is confined.

use std::path::{Path, PathBuf};
use std::time::Duration;

use catchment_model::{Code, Problem};
use serde::Deserialize;
use tokio::process::Command;

use super::Check;

/// How long the worker may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// What `catchment-gdal sandbox --json` says.
#[derive(Deserialize)]
struct Sandbox {
    layers: Vec<Layer>,
    #[serde(default)]
    files_confined: bool,
    #[serde(default)]
    network_confined: bool,
}

#[derive(Deserialize)]
struct Layer {
    name: String,
    in_force: bool,
    detail: String,
}

pub(super) async fn checks() -> Vec<Check> {
    const THERE: &str = "the GDAL worker is there";
    const CONFINED: &str = "the GDAL worker is confined";
    let Some(program) = find() else {
        let problem = Problem::new(Code::FileNotFound, "catchment-gdal is not there")
            .place("beside this program, and in PATH")
            .remedy("build it (cargo build --release --workspace) or install it beside `catchment`");
        return vec![Check::failed(THERE, problem), Check::skipped(CONFINED, "there is no worker")];
    };
    let version = match ask(&program, &["--version"]).await {
        Ok(text) => Check::passed(THERE, format!("{} ({})", text.trim(), program.display())),
        Err(problem) => {
            return vec![Check::failed(THERE, problem), Check::skipped(CONFINED, "the worker does not run")];
        }
    };
    let mut checks = vec![version];
    match ask(&program, &["sandbox", "--json"]).await {
        Ok(text) => match serde_json::from_str::<Sandbox>(&text) {
            Ok(sandbox) => checks.push(confined(CONFINED, sandbox)),
            Err(e) => checks.push(Check::failed(
                CONFINED,
                Problem::new(Code::Bug, "the worker's report on its sandbox is not understood").cause(e.to_string()),
            )),
        },
        Err(problem) => checks.push(Check::failed(CONFINED, problem)),
    }
    checks
}

fn confined(claim: &'static str, sandbox: Sandbox) -> Check {
    let list = |wanted: bool| {
        let layers = sandbox.layers.iter().filter(|layer| layer.in_force == wanted);
        layers
            .map(|layer| if wanted { layer.name.clone() } else { format!("{}: {}", layer.name, layer.detail) })
            .collect::<Vec<_>>()
    };
    let (there, missing) = (list(true), list(false));
    let detail = format!("in force: {}", there.join(", "));
    if missing.is_empty() && sandbox.files_confined && sandbox.network_confined {
        return Check::passed(claim, detail);
    }
    let mut what = Vec::new();
    if !sandbox.files_confined {
        what.push("FILES ARE NOT CONFINED: a hostile file that takes GDAL over can read what you can read");
    }
    if !sandbox.network_confined {
        what.push("THE NETWORK IS NOT CONFINED: a hostile file that takes GDAL over can send what it reads");
    }
    if what.is_empty() {
        what.push("confined, but not by every layer");
    }
    let problem = Problem::new(Code::Unsupported, what.join("; "))
        .place(detail)
        .cause(missing.join("\n"))
        .remedy("use a kernel with Landlock (5.13 or newer) and a container profile that allows landlock, seccomp and user namespaces");
    Check::warning(claim, problem)
}

/// The worker: beside this program, else in PATH.
fn find() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("catchment-gdal"));
    let in_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).map(|folder| folder.join("catchment-gdal")).collect::<Vec<_>>());
    beside.into_iter().chain(in_path.into_iter().flatten()).find(|path| path.is_file())
}

async fn ask(program: &Path, arguments: &[&str]) -> Result<String, Problem> {
    let wrong = |cause: String| {
        Problem::new(Code::WorkerCrashed, "the GDAL worker does not answer")
            .place(format!("{} {}", program.display(), arguments.join(" ")))
            .cause(cause)
            .remedy("run that command yourself; a missing library is named by `ldd`")
    };
    let output = Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = match tokio::time::timeout(ANSWERS_WITHIN, output).await {
        Ok(output) => output.map_err(|e| wrong(e.to_string()))?,
        Err(_) => return Err(wrong(format!("no answer within {} s", ANSWERS_WITHIN.as_secs()))),
    };
    if !output.status.success() {
        return Err(wrong(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
