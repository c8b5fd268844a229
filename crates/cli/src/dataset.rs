//! `catchment dataset`: list, show, versions, download.

mod download;

use catchment_model::{Asset, Problem};
use catchment_web::views::{DatasetList, DatasetView, VersionList};

use crate::args::DatasetCommand;
use crate::{Context, humane};

/// Carries a command under `catchment dataset` out.
pub(crate) async fn carry_out(command: DatasetCommand, context: &Context) -> Result<(), Problem> {
    let api = context.api()?;
    match command {
        DatasetCommand::List => {
            let mut all = DatasetList { datasets: Vec::new(), next: None };
            loop {
                let mut query = vec![("limit", "500".to_owned())];
                query.extend(all.next.take().map(|after| ("after", after)));
                let page: DatasetList = api.get("/datasets", &query).await?;
                all.datasets.extend(page.datasets);
                all.next = page.next;
                if all.next.is_none() {
                    break;
                }
            }
            context.show(&all, print_list)
        }
        DatasetCommand::Show { id } => {
            let shown: DatasetView = api.get(&format!("/datasets/{}", segment(&id)), &[]).await?;
            context.show(&shown, print_dataset)
        }
        DatasetCommand::Versions { id } => {
            let list: VersionList = api.get(&format!("/datasets/{}/versions", segment(&id)), &[]).await?;
            context.show(&list, print_versions)
        }
        DatasetCommand::Download { id, version, output, force } => {
            let wanted = download::Wanted { dataset: &id, version, output, force };
            let done = download::download(&api, wanted, context.global.json).await?;
            context.show(&done, |done| {
                println!(
                    "{}  version {} of {}, {}, {}",
                    done.path.display(),
                    done.version,
                    done.dataset_id,
                    humane::bytes(done.bytes),
                    done.content_hash
                );
            })
        }
    }
}

/// A text as one segment of an address: what is not unreserved (RFC 3986, 2.3) is escaped. `.` and `..` are no segments
/// even when escaped (the URL Standard, 4.5, resolves `%2E%2E` too): they are escaped twice, which nothing is named.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::new();
    if matches!(text, "." | "..") {
        return text.replace('.', "%252E");
    }
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn print_list(list: &DatasetList) {
    if list.datasets.is_empty() {
        println!("No datasets yet. Put a file in: catchment ingest FILE");
        return;
    }
    let mut table = humane::table(&["dataset", "version", "rows", "type", "CRS", "bytes", "since", "title"]);
    for dataset in &list.datasets {
        let latest = dataset.latest.as_ref();
        table.add_row([
            dataset.dataset_id.clone(),
            humane::or_dash(latest.map(|a| a.version)),
            humane::or_dash(latest.and_then(|a| a.metadata.feature_count).map(humane::count)),
            humane::or_dash(latest.and_then(|a| a.metadata.geometry_type.clone())),
            humane::or_dash(latest.and_then(|a| a.crs.clone())),
            humane::or_dash(latest.map(|a| humane::bytes(a.bytes))),
            humane::or_dash(latest.map(|a| humane::time(a.created_at))),
            humane::or_dash(dataset.title.clone()),
        ]);
    }
    println!("{table}");
}

fn print_dataset(dataset: &DatasetView) {
    let Some(asset) = &dataset.latest else {
        println!("{} has no version any more that can be read", dataset.dataset_id);
        return;
    };
    print_asset(asset, dataset.version_count);
    if !asset.metadata.column_schema.is_empty() {
        let mut table = humane::table(&["column", "type", "exactly", "may be null"]);
        for (name, column) in &asset.metadata.column_schema {
            let general = serde_json::to_value(column.type_name).unwrap_or_default();
            table.add_row([
                name.as_str(),
                general.as_str().unwrap_or_default(),
                &column.logical_type,
                if column.nullable { "yes" } else { "no" },
            ]);
        }
        println!("\n{table}");
    }
    for check in &asset.metadata.checks {
        let found = check.description.as_deref().unwrap_or_default();
        println!("{} {}  {found}", if check.passed { "passed" } else { "FAILED" }, check.name);
    }
    for warning in &asset.metadata.warnings {
        println!("warning: {warning}");
    }
}

fn print_asset(asset: &Asset, versions: u64) {
    let provenance = &asset.provenance;
    let sources = provenance.sources.iter().map(|s| {
        let layer = s.layer.as_ref().map(|l| format!(", layer {l}")).unwrap_or_default();
        format!("{} ({}{layer}, {})", s.s3_key, s.driver, humane::bytes(s.bytes))
    });
    let operation = provenance.crs_operation.as_ref().map(|op| match op.accuracy_m {
        Some(metres) => format!("{} (to {metres} m)", op.name),
        None => op.name.clone(),
    });
    humane::facts(&[
        ("dataset", asset.dataset_id.to_string()),
        ("title", humane::or_dash(asset.metadata.title.clone())),
        ("version", format!("{} ({versions} in all)", asset.version)),
        ("rows", humane::or_dash(asset.metadata.feature_count.map(humane::count))),
        ("geometry", humane::or_dash(asset.metadata.geometry_type.clone())),
        ("CRS", humane::or_dash(asset.crs.clone())),
        ("extent", humane::or_dash(asset.bounds.as_ref().map(humane::bounds))),
        ("format", asset.format.as_str().into()),
        ("bytes", humane::bytes(asset.bytes)),
        ("hash", asset.content_hash.to_string()),
        ("object", asset.s3_key.clone()),
        ("since", humane::time(asset.created_at)),
        ("batch", humane::or_dash(provenance.batch_id.clone())),
        ("run", asset.dagster_run_id.clone()),
        ("made from", sources.collect::<Vec<_>>().join("\n")),
        ("recipe", humane::or_dash(provenance.recipe.as_ref().map(|r| r.intent.clone()))),
        ("moved by", humane::or_dash(operation)),
    ]);
}

fn print_versions(list: &VersionList) {
    let mut table = humane::table(&["version", "rows", "CRS", "bytes", "since", "batch", "hash"]);
    for asset in &list.versions {
        let since = humane::time(asset.created_at);
        table.add_row([
            asset.version.to_string(),
            humane::or_dash(asset.metadata.feature_count.map(humane::count)),
            humane::or_dash(asset.crs.clone()),
            humane::bytes(asset.bytes),
            asset.deleted_at.map_or(since, |at| format!("given up {}", humane::time(at))),
            humane::or_dash(asset.provenance.batch_id.clone()),
            asset.content_hash.hex()[..12].to_owned(),
        ]);
    }
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_name_stays_one_segment_of_an_address() {
        assert_eq!(segment("parcels_v1.2-x"), "parcels_v1.2-x");
        assert_eq!(segment("a/b?c ü"), "a%2Fb%3Fc%20%C3%BC");
        assert_eq!(segment(".."), "%252E%252E");
        let address = reqwest::Url::parse(&format!("http://h/keys/{}", segment(".."))).unwrap();
        assert_eq!(address.path(), "/keys/%252E%252E");
    }
}
