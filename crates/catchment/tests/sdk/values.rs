//! IO managers: where values are kept.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use catchment::io_manager::{FilesIoManager, MemoryIoManager, ObjectStoreIoManager, OutputContext};
use catchment::probe::Codec;
use catchment::{
    Code, Definitions, Input, IoManager, Metadata, MetadataValue, Problem, RunId, SharedValue, asset, materialize,
};

#[asset]
async fn rows() -> Result<Vec<u32>, Problem> {
    Ok(vec![1, 2, 3])
}

#[asset(io_manager = "shelf")]
async fn sum(rows: Input<Vec<u32>>) -> Result<u32, Problem> {
    Ok(rows.iter().sum())
}

/// Notes what it is given.
#[derive(Default)]
struct Shelf(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl IoManager for Shelf {
    async fn handle_output(&self, context: &OutputContext, value: &SharedValue) -> Result<Metadata, Problem> {
        let text = String::from_utf8(context.encode(value)?).unwrap();
        self.0.lock().unwrap().push(format!("{} = {text}", context.path().join("/")));
        Ok(Metadata::from_iter([("shelf".to_owned(), MetadataValue::Int(7))]))
    }

    async fn load_input(&self, context: &OutputContext) -> Result<SharedValue, Problem> {
        Err(Problem::new(Code::NotFound, format!("nothing of `{}`", context.name())))
    }
}

#[tokio::test]
async fn a_value_goes_to_the_io_manager_that_its_asset_names() {
    let noted = Arc::new(Mutex::new(Vec::new()));
    let definitions = Definitions::new("values").assets([rows(), sum()]).io_manager("shelf", Shelf(noted.clone()));
    assert_eq!(definitions.check(), []);
    let made = materialize(&definitions, ["rows", "sum"]).await.unwrap();
    assert!(made.success(), "{:?}", made.failures);
    assert_eq!(*noted.lock().unwrap(), ["sum = 6"]);
    assert_eq!(made.metadata("sum").unwrap()["shelf"], MetadataValue::Int(7));
    assert!(definitions.snapshot().resources[0].is_io_manager);
}

#[test]
fn an_io_manager_that_is_not_there_is_a_fault_of_the_definitions() {
    let found = Definitions::new("values").assets([rows(), sum()]).check();
    assert_eq!(found[0].what, "its IO manager `shelf` is not defined");
    assert!(found[0].remedy.as_deref().unwrap().contains(".io_manager(\"shelf\""));
}

fn context(asset: Option<&str>, partition: Option<&str>, codec: Option<Codec>) -> OutputContext {
    OutputContext {
        run_id: RunId::random(),
        step_key: "outer.step".into(),
        output: "result".into(),
        mapping_key: None,
        asset_key: asset.map(str::to_owned),
        partition: partition.map(str::to_owned),
        metadata: Metadata::new(),
        type_name: "alloc::vec::Vec<u32>",
        codec,
    }
}

/// What every IO manager that the SDK brings does.
async fn keeps_and_loads(manager: &dyn IoManager) {
    let value: SharedValue = Arc::new(vec![1_u32, 2]);
    let codec = Some(Codec::of::<Vec<u32>>());
    for context in [
        context(Some("town/roads"), None, codec),
        context(Some("town/roads"), Some("2026-01-31|bern"), codec),
        context(Some(".."), Some("../../x"), codec),
        context(None, None, codec),
    ] {
        let missing = manager.load_input(&context).await.err().unwrap();
        assert_eq!(missing.code, Code::NotFound);
        assert!(missing.remedy.is_some());
        manager.handle_output(&context, &value).await.unwrap();
        let loaded = manager.load_input(&context).await.unwrap();
        assert_eq!(*loaded.downcast::<Vec<u32>>().unwrap(), [1, 2]);
    }
}

#[tokio::test]
async fn values_are_kept_in_memory() {
    keeps_and_loads(&MemoryIoManager::default()).await;
}

#[tokio::test]
async fn values_are_kept_in_an_object_store() {
    let store = Arc::new(object_store::memory::InMemory::new());
    keeps_and_loads(&ObjectStoreIoManager::new(store.clone(), "values/of runs")).await;
    let context = context(Some("town/roads"), Some("a/b"), Some(Codec::of::<Vec<u32>>()));
    let value: SharedValue = Arc::new(vec![3_u32]);
    let metadata = ObjectStoreIoManager::new(store.clone(), "").handle_output(&context, &value).await.unwrap();
    assert_eq!(metadata["path"], MetadataValue::Path("town/roads/@a%2Fb.json".into()));
    let other = ObjectStoreIoManager::new(store, "elsewhere").load_input(&context).await.err().unwrap();
    assert_eq!(other.code, Code::NotFound);
}

#[tokio::test]
async fn values_are_kept_as_files_that_never_leave_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("storage");
    keeps_and_loads(&FilesIoManager::new(&inside)).await;
    let around: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(around, ["storage"]);
    assert!(inside.join("town/roads.json").is_file());
    assert!(inside.join("town/roads/@2026-01-31%7Cbern.json").is_file());
}

#[tokio::test]
async fn a_type_without_serde_is_refused_by_files_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let manager = FilesIoManager::new(folder.path());
    let value: SharedValue = Arc::new(1_u32);
    let refused = manager.handle_output(&context(Some("rows"), None, None), &value).await.err().unwrap();
    assert_eq!(refused.code, Code::InvalidConfig);
    assert!(refused.remedy.unwrap().contains("Serialize"));
}

mod paths {
    use std::path::{Path, PathBuf};

    use catchment::io_manager::{FilesIoManager, OutputContext};
    use catchment::probe::Codec;
    use catchment::{IoManager, SharedValue};
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ab/:|_@%~.-]{0,6}",
            ".{0,8}",
            (190_usize..420, "[ab/]").prop_map(|(times, end)| "x".repeat(times) + &end)
        ]
    }

    fn path(asset: &Option<String>, other: &str, partition: &Option<String>) -> (Vec<String>, OutputContext) {
        let mut context = super::context(asset.as_deref(), partition.as_deref(), None);
        context.run_id = "00000000-0000-4000-8000-000000000000".parse().unwrap();
        if asset.is_none() {
            (context.step_key, context.partition, context.mapping_key) = (other.to_owned(), None, partition.clone());
        }
        (context.path(), context)
    }

    proptest! {
        #[test]
        fn different_values_have_different_paths_of_plain_names(
            one in (proptest::option::of(name()), name(), proptest::option::of(name())),
            other in (proptest::option::of(name()), name(), proptest::option::of(name())),
        ) {
            let ((path_of_one, a), (path_of_other, b)) = (path(&one.0, &one.1, &one.2), path(&other.0, &other.1, &other.2));
            for part in path_of_one.iter().chain(&path_of_other) {
                prop_assert!(!part.is_empty() && part.len() < 250 && !part.contains(['/', '\0', '.']), "{part}");
            }
            let named = |c: &OutputContext| {
                let step = c.asset_key.is_none().then(|| c.step_key.clone());
                (c.asset_key.clone(), step, c.partition.clone(), c.mapping_key.clone())
            };
            prop_assert_eq!(named(&a) == named(&b), path_of_one == path_of_other, "{:?}", path_of_one);
        }
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    #[tokio::test]
    async fn values_whose_names_look_alike_do_not_take_each_others_place() {
        let folder = tempfile::tempdir().unwrap();
        let manager = FilesIoManager::new(folder.path());
        let long = "x".repeat(3000);
        let contexts: Vec<_> = [
            ("parcels", Some("a/b")),
            ("parcels", Some("a:b")),
            ("parcels", Some("a|b")),
            ("parcels", Some("a__b")),
            ("parcels", Some("bern")),
            ("parcels", Some(long.as_str())),
            ("parcels", None),
            ("parcels/bern", None),
            ("parcels.json/bern", None),
        ]
        .into_iter()
        .map(|(asset, partition)| super::context(Some(asset), partition, Some(Codec::of::<u32>())))
        .collect();
        for (number, context) in (0_u32..).zip(&contexts) {
            let value: SharedValue = std::sync::Arc::new(number);
            manager.handle_output(context, &value).await.unwrap();
        }
        for (number, context) in (0_u32..).zip(&contexts) {
            assert_eq!(*manager.load_input(context).await.unwrap().downcast::<u32>().unwrap(), number);
        }
        assert_eq!(files(folder.path()).len(), contexts.len(), "nothing half-written is left");
    }
}
