//! Claims about the GDAL worker: it is there, it runs, it is confined.

use std::path::{Path, PathBuf};
use std::time::Duration;

use catchment_model::{Code, Problem};
use serde::Deserialize;
use tokio::process::Command;

use super::Check;

/// How long the worker may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// What `catchment-gdal sandbox --json --probe` says.
#[derive(Deserialize)]
struct Sandbox {
    layers: Vec<Layer>,
    #[serde(default)]
    files_confined: bool,
    #[serde(default)]
    network_confined: bool,
    #[serde(default)]
    attempts: Vec<Attempt>,
}

/// What the worker tried from within.
#[derive(Deserialize)]
struct Attempt {
    what: String,
    should_be_refused: bool,
    refused: bool,
    answer: String,
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
    // Its exit code says whether the sandbox holds, and so does the report, in more words.
    match output(&program, &["sandbox", "--json", "--probe"]).await {
        Ok(Answer { text, .. }) => match serde_json::from_str::<Sandbox>(&text) {
            Ok(sandbox) => checks.push(confined(CONFINED, sandbox)),
            Err(e) => checks.push(Check::failed(
                CONFINED,
                Problem::new(Code::Bug, "the worker's report on its sandbox is not understood")
                    .cause(e.to_string())
                    .remedy("see that worker and `catchment` are of the same version"),
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
    let (there, mut missing) = (list(true), list(false));
    let broken = sandbox.attempts.iter().filter(|a| a.refused != a.should_be_refused);
    let broken: Vec<String> = broken.map(|a| format!("tried from within: {}: {}", a.what, a.answer)).collect();
    let detail = format!("in force: {}", there.join(", "));
    if missing.is_empty() && broken.is_empty() && sandbox.files_confined && sandbox.network_confined {
        return Check::passed(claim, detail);
    }
    let holds = broken.is_empty();
    missing.extend(broken);
    let mut what = Vec::new();
    if !sandbox.files_confined {
        what.push("FILES ARE NOT CONFINED: a hostile file that takes GDAL over can read what you can read");
    }
    if !sandbox.network_confined {
        what.push("THE NETWORK IS NOT CONFINED: a hostile file that takes GDAL over can send what it reads");
    }
    if !holds {
        what.push("THE SANDBOX DOES NOT HOLD what it promises");
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

/// What a program answered.
struct Answer {
    text: String,
    failure: Option<String>,
}

/// What a program that ends well prints.
async fn ask(program: &Path, arguments: &[&str]) -> Result<String, Problem> {
    let answer = output(program, arguments).await?;
    match answer.failure {
        None => Ok(answer.text),
        Some(failure) => Err(no_answer(program, arguments, failure)),
    }
}

async fn output(program: &Path, arguments: &[&str]) -> Result<Answer, Problem> {
    let wrong = |cause: String| no_answer(program, arguments, cause);
    let output = Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = match tokio::time::timeout(ANSWERS_WITHIN, output).await {
        Ok(output) => output.map_err(|e| wrong(e.to_string()))?,
        Err(_) => return Err(wrong(format!("no answer within {} s", ANSWERS_WITHIN.as_secs()))),
    };
    let failure = (!output.status.success())
        .then(|| format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    Ok(Answer { text: String::from_utf8_lossy(&output.stdout).into_owned(), failure })
}

fn no_answer(program: &Path, arguments: &[&str], cause: String) -> Problem {
    Problem::new(Code::WorkerCrashed, "the GDAL worker does not answer")
        .place(format!("{} {}", program.display(), arguments.join(" ")))
        .cause(cause)
        .remedy("run that command yourself; a missing library is named by `ldd`")
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::{Sandbox, confined};

    fn sandbox(json: serde_json::Value) -> Sandbox {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_sandbox_passes_only_with_every_layer_and_when_it_holds() {
        let layer = |in_force| serde_json::json!({"name": "landlock", "in_force": in_force, "detail": "files"});
        let attempt = |refused| serde_json::json!({"what": "read /etc/passwd", "should_be_refused": true, "refused": refused, "answer": "x"});
        for (layers, files, held, outcome) in [
            (true, true, true, Outcome::Passed),
            (false, true, true, Outcome::Warning),
            (true, false, true, Outcome::Warning),
            (true, true, false, Outcome::Warning),
        ] {
            let found = sandbox(serde_json::json!({
                "layers": [layer(layers)], "files_confined": files, "network_confined": true, "attempts": [attempt(held)],
            }));
            assert_eq!(confined("confined", found).outcome, outcome);
        }
    }
}
