//! Claims about the services: reachable, well, of the same version, of the same time.

use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::{Home, clock};
use catchment_web::views::{Health, InstanceView};

use super::Check;
use crate::Context;

/// How far the clocks of this machine and of the server may be apart: S3 signatures fail at 15 minutes.
const SKEW: Duration = Duration::from_secs(5);

const REACHED: &str = "the web server answers";
const SAME: &str = "the web server has this version";
const CLOCKS: &str = "the clocks agree";

pub(super) async fn checks(context: &Context, home: &Home) -> Vec<Check> {
    let reached = match context.api() {
        Err(problem) => Err(problem),
        Ok(api) => {
            let asked = clock::now();
            api.get::<InstanceView>("/instance", &[]).await.map(|found| (api, found, asked))
        }
    };
    let (api, instance, asked) = match reached {
        Ok(found) => found,
        Err(problem) => {
            return vec![
                Check::failed(REACHED, problem),
                Check::skipped(SAME, "it is out of reach"),
                Check::skipped(CLOCKS, "it is out of reach"),
            ];
        }
    };
    let mut checks = vec![Check::passed(REACHED, api.base().to_owned()), version(&instance), skew(&instance, asked)];
    if instance.home != home.root().display().to_string() {
        checks.push(Check::warning(
            "the web server serves this home",
            Problem::new(Code::Conflict, format!("it serves {}", instance.home))
                .remedy("choose the same CATCHMENT_HOME, or another server with --url"),
        ));
    }
    match api.get::<Health>("/health", &[]).await {
        Err(problem) => checks.push(Check::failed("the parts are well", problem)),
        Ok(health) => checks.extend(health.parts.into_iter().map(|part| {
            let claim = match part.name.as_str() {
                "state" => "the orchestrator's state answers",
                "ledger" => "the ledger answers",
                "s3" => "the S3 server takes connections",
                "daemon" => "the daemon lives",
                _ => "the code location takes connections",
            };
            match part.problem {
                None => Check::passed(claim, part.detail),
                Some(problem) => Check::failed(claim, problem),
            }
        })),
    }
    checks
}

fn version(instance: &InstanceView) -> Check {
    let own = env!("CARGO_PKG_VERSION");
    if instance.version == own {
        return Check::passed(SAME, own);
    }
    Check::warning(
        SAME,
        Problem::new(Code::Conflict, format!("the server has {}, this program {own}", instance.version))
            .remedy("update the older one"),
    )
}

/// The server's time lies between asking and its answer, where the clocks agree.
fn skew(instance: &InstanceView, asked: jiff::Timestamp) -> Check {
    let answered = clock::now();
    let away = if instance.now < asked {
        asked.duration_since(instance.now)
    } else if instance.now > answered {
        instance.now.duration_since(answered)
    } else {
        jiff::SignedDuration::ZERO
    };
    let text = format!("{:.3} s apart", away.as_secs_f64());
    if away.unsigned_abs() <= SKEW {
        Check::passed(CLOCKS, text)
    } else {
        Check::failed(
            CLOCKS,
            Problem::new(Code::Conflict, text).remedy("set both clocks by NTP: signed requests to S3 fail otherwise"),
        )
    }
}
