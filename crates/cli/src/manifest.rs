//! `catchment manifest`: validate, submit, schema.

use std::io::Read as _;
use std::path::Path;

use catchment_model::manifest::{MAX_BYTES, Rules};
use catchment_model::{Code, Manifest, Problem};
use catchment_web::views::Validation;

use crate::Context;
use crate::args::ManifestCommand;

/// Carries a command under `catchment manifest` out; answers the exit code.
pub(crate) async fn carry_out(command: ManifestCommand, context: &Context) -> Result<u8, Problem> {
    match command {
        ManifestCommand::Schema => {
            let schema = serde_json::to_string_pretty(&catchment_model::schemas::manifest())
                .map_err(|e| Problem::new(Code::Bug, "the schema cannot be written").cause(e.to_string()))?;
            println!("{schema}");
            Ok(0)
        }
        ManifestCommand::Validate { file } => validate(&read(&file)?, context),
        ManifestCommand::Submit { file, no_wait } => {
            let bytes = read(&file)?;
            let manifest = parse(&bytes, context)?;
            crate::ingest::submit(manifest, bytes, no_wait, context).await
        }
    }
}

fn parse(bytes: &[u8], context: &Context) -> Result<Manifest, Problem> {
    Manifest::parse(bytes, &Rules { landing_bucket: context.environment.landing_bucket.clone() })
}

fn validate(bytes: &[u8], context: &Context) -> Result<u8, Problem> {
    let (found, code) = match parse(bytes, context) {
        Ok(manifest) => {
            let dataset_id = Some(manifest.dataset_id().to_string());
            (Validation { valid: true, batch_id: Some(manifest.batch_id), dataset_id, problem: None }, 0)
        }
        Err(problem) if context.global.json => {
            let code = problem.code.exit_code();
            (Validation { valid: false, batch_id: None, dataset_id: None, problem: Some(problem) }, code)
        }
        Err(problem) => return Err(problem),
    };
    context.show(&found, |found| {
        println!(
            "The manifest is valid: batch {} for the dataset {}.",
            found.batch_id.as_deref().unwrap_or_default(),
            found.dataset_id.as_deref().unwrap_or_default()
        );
    })?;
    Ok(code)
}

/// The bytes of a manifest, never more than one may have.
fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let unreadable = |e: std::io::Error| {
        let code = if e.kind() == std::io::ErrorKind::NotFound { Code::FileNotFound } else { Code::Io };
        Problem::new(code, "the manifest cannot be read")
            .place(path.display().to_string())
            .cause(e.to_string())
            .remedy("give the path of a JSON file, or - for standard input")
    };
    let mut bytes = Vec::new();
    let most = MAX_BYTES as u64 + 1;
    if path.as_os_str() == "-" {
        std::io::stdin().take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        std::fs::File::open(path).map_err(unreadable)?.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    Ok(bytes)
}
