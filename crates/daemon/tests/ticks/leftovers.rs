//! What deleted runs have left in the home.

use catchment_core::{RunId, tags};
use catchment_daemon::leftovers::Leftovers;

use crate::stage::{LOCATION, Stage, sensors};

#[tokio::test]
async fn what_a_deleted_run_has_left_goes_and_nothing_else() {
    let stage = Stage::new(sensors([])).await;
    let kept = stage.ended(LOCATION, "job", true).await.run_id;
    let deleted = stage.ended(LOCATION, "job", true).await.run_id;
    let root = stage.ended(LOCATION, "job", false).await.run_id;
    let again = stage.queued("job", &[(tags::ROOT_RUN_ID, &root.to_string())]).await;
    assert!(!again.status.is_final());
    let (logs, values) = (stage.home.run_log_root(), stage.home.storage_root());
    // Of a run that this state never knew, another may hold the record.
    let stranger = RunId::random().to_string();
    for folder in [kept.to_string(), deleted.to_string(), root.to_string(), "an_asset".into(), stranger.clone()] {
        std::fs::create_dir_all(logs.join(&folder)).unwrap();
        std::fs::create_dir_all(values.join(&folder).join("step")).unwrap();
    }
    let file = values.join(RunId::random().to_string());
    std::fs::write(&file, "a file").unwrap();
    for run in [deleted, root] {
        stage.instance.delete_run(run).await.unwrap();
    }
    Leftovers::new(stage.restarted(), stage.home.clone()).step().await.unwrap();
    let there = |root: &std::path::Path| {
        let names = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let [kept, root] = [kept, root].map(|id| id.to_string());
    let file = file.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(there(&logs), [kept.clone(), "an_asset".into(), stranger.clone()].into());
    // The values of a run that another runs again are still needed.
    assert_eq!(there(&values), [kept, root, "an_asset".into(), stranger, file].into());
}
