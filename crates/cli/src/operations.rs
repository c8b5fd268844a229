//! `catchment pool`, `alert`, `instance`: what an operator looks after.

use catchment_model::Problem;
use catchment_web::views::{AlertList, DaemonList, InstanceView, PoolList};
use serde::Serialize;
use serde_json::json;

use crate::args::{AlertCommand, InstanceCommand, PoolCommand};
use crate::dataset::segment;
use crate::{Context, humane};

/// Carries a command under `catchment pool` out.
pub(crate) async fn pool(command: PoolCommand, context: &Context) -> Result<(), Problem> {
    let api = context.api()?;
    let list: PoolList = match command {
        PoolCommand::List => api.get("/pools", &[]).await?,
        PoolCommand::Set { name, limit } => {
            api.post(&format!("/pools/{}", segment(&name)), &json!({"limit": limit})).await?
        }
    };
    context.show(&list, |list| {
        if list.pools.is_empty() {
            println!("No pools. Set a limit: catchment pool set NAME LIMIT");
            return;
        }
        let mut table = humane::table(&["pool", "limit", "held", "waiting"]);
        for pool in &list.pools {
            table.add_row([
                pool.name.clone(),
                humane::or_dash(pool.limit),
                pool.held.to_string(),
                pool.waiting.to_string(),
            ]);
        }
        println!("{table}");
    })
}

/// Carries a command under `catchment alert` out.
pub(crate) async fn alert(command: AlertCommand, context: &Context) -> Result<(), Problem> {
    let AlertCommand::List { limit } = command;
    let list: AlertList = context.api()?.get("/alerts", &[("limit", limit.to_string())]).await?;
    context.show(&list, |list| {
        if list.alerts.is_empty() {
            println!("No alerts. Rules and channels are set in catchment.yaml, section `alerts`.");
            return;
        }
        let mut table = humane::table(&["alert", "rule", "channel", "status", "tries", "made", "last error"]);
        for alert in &list.alerts {
            table.add_row([
                alert.id.to_string(),
                alert.rule.clone(),
                alert.channel.clone(),
                alert.status.clone(),
                alert.attempts.to_string(),
                humane::time(alert.created_at),
                humane::or_dash(alert.last_error.clone()),
            ]);
        }
        println!("{table}");
    })
}

/// An installation with its daemons.
#[derive(Serialize)]
struct Info {
    #[serde(flatten)]
    instance: InstanceView,
    #[serde(flatten)]
    daemons: DaemonList,
}

/// Carries a command under `catchment instance` out.
pub(crate) async fn instance(command: InstanceCommand, context: &Context) -> Result<(), Problem> {
    let InstanceCommand::Info = command;
    let api = context.api()?;
    let info = Info { instance: api.get("/instance", &[]).await?, daemons: api.get("/daemons", &[]).await? };
    context.show(&info, |Info { instance, daemons }| {
        let leader = match (&daemons.leader, daemons.leading) {
            (Some(leader), true) => leader.clone(),
            (Some(leader), false) => format!("none; the last was {leader}"),
            (None, _) => "none yet".into(),
        };
        humane::facts(&[
            ("version", instance.version.clone()),
            ("home", instance.home.clone()),
            ("S3", humane::or_dash(instance.s3_url.clone())),
            ("leading daemon", leader),
            ("epoch", humane::or_dash(daemons.epoch)),
        ]);
        println!();
        let mut table = humane::table(&["concern", "well", "last sign of life", "lag", "problem"]);
        for daemon in &daemons.daemons {
            table.add_row([
                daemon.daemon.clone(),
                if daemon.healthy { "yes".into() } else { "no".into() },
                humane::time(daemon.at),
                daemon.lag.to_string(),
                humane::or_dash(daemon.problem.as_ref().map(ToString::to_string)),
            ]);
        }
        println!("{table}");
    })
}
