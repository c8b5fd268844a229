//! `catchment backfill` and `catchment partition`.

use catchment_model::Problem;
use catchment_web::views::{BackfillList, BackfillView, ChangedKeys, PartitionKeys, PartitionsList};
use serde_json::json;

use crate::args::{BackfillCommand, PartitionCommand};
use crate::dataset::segment;
use crate::definitions::{config, tags};
use crate::{Context, humane};

/// Carries a command under `catchment backfill` out.
pub(crate) async fn backfill(command: BackfillCommand, context: &Context) -> Result<(), Problem> {
    let api = context.api()?;
    let view: BackfillView = match command {
        BackfillCommand::List { status, limit } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(status.map(|status| ("status", status)));
            let list: BackfillList = api.get("/backfills", &query).await?;
            return context.show(&list, print);
        }
        BackfillCommand::Show { id } => api.get(&format!("/backfills/{}", segment(&id)), &[]).await?,
        BackfillCommand::Create(args) => {
            let body = json!({
                "job": args.job, "selection": args.selection, "location": args.place.location,
                "partitions": args.partitions, "from": args.from, "to": args.to, "only": args.only,
                "partitions_per_run": args.partitions_per_run, "title": args.title,
                "run_config": config(args.config.as_deref())?, "tags": tags(&args.tags)?,
            });
            api.post("/backfills", &body).await?
        }
        BackfillCommand::Pause { id } => api.post(&format!("/backfills/{}/pause", segment(&id)), &json!({})).await?,
        BackfillCommand::Resume { id } => api.post(&format!("/backfills/{}/resume", segment(&id)), &json!({})).await?,
        BackfillCommand::Cancel { id } => api.post(&format!("/backfills/{}/cancel", segment(&id)), &json!({})).await?,
    };
    context.show(&view, |view| {
        humane::facts(&[
            ("backfill", view.id.clone()),
            ("status", view.status.clone()),
            ("fills", target(view)),
            ("partitions", view.partitions.to_string()),
            ("progress", counts(view)),
            ("asked for", humane::time(view.created_at)),
            ("ended", humane::or_dash(view.ended_at.map(humane::time))),
            ("problem", humane::or_dash(view.problem.as_ref().map(ToString::to_string))),
        ]);
    })
}

fn target(view: &BackfillView) -> String {
    view.job.as_ref().map_or_else(|| view.assets.join(", "), |job| format!("job {job}"))
}

fn counts(view: &BackfillView) -> String {
    let some = view.counts.iter().filter(|(what, n)| **n > 0 && *what != "total");
    let text = some.map(|(what, n)| format!("{n} {what}")).collect::<Vec<_>>().join(", ");
    if text.is_empty() { "not planned yet".into() } else { text }
}

fn print(list: &BackfillList) {
    if list.backfills.is_empty() {
        println!("No backfills. Make one: catchment backfill create SELECTION");
        return;
    }
    let mut table = humane::table(&["backfill", "status", "fills", "partitions", "progress", "asked for"]);
    for view in &list.backfills {
        table.add_row([
            view.id.clone(),
            view.status.clone(),
            target(view),
            view.partitions.to_string(),
            counts(view),
            humane::time(view.created_at),
        ]);
    }
    println!("{table}");
}

/// Carries a command under `catchment partition` out.
pub(crate) async fn partition(command: PartitionCommand, context: &Context) -> Result<(), Problem> {
    let api = context.api()?;
    match command {
        PartitionCommand::List { name: None, .. } => {
            let list: PartitionsList = api.get("/partitions", &[]).await?;
            context.show(&list, |list| {
                let mut table = humane::table(&["partitions", "kind", "keys", "location"]);
                for one in &list.partitions {
                    table.add_row([one.name.clone(), one.kind.clone(), one.count.to_string(), one.location.clone()]);
                }
                println!("{table}");
            })
        }
        PartitionCommand::List { name: Some(name), asset, place } => {
            let mut query = place.query();
            query.extend(asset.map(|asset| ("asset", asset)));
            let keys: PartitionKeys = api.get(&format!("/partitions/{}", segment(&name)), &query).await?;
            context.show(&keys, |keys| {
                for key in &keys.keys {
                    println!("{}{}", key.key, key.status.as_ref().map(|s| format!("  {s}")).unwrap_or_default());
                }
                if let Some(next) = &keys.next {
                    println!("There are more, after {next}: use --json with the API's `after`");
                }
            })
        }
        PartitionCommand::Add { name, keys, place } => {
            let body = json!({"keys": keys, "location": place.location});
            let changed: ChangedKeys = api.post(&format!("/partitions/{}", segment(&name)), &body).await?;
            context.show(&changed, |changed| println!("{} of {} keys are new", changed.changed.len(), keys.len()))
        }
        PartitionCommand::Delete { name, keys, place } => {
            let body = json!({"keys": keys, "location": place.location});
            let changed: ChangedKeys = api.delete_with(&format!("/partitions/{}", segment(&name)), &body).await?;
            context.show(&changed, |changed| println!("{} of {} keys are gone", changed.changed.len(), keys.len()))
        }
    }
}
