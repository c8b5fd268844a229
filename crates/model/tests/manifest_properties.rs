//! Whatever is put under `manifests/`, reading it ends with a manifest or with a problem.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use catchment_model::manifest::{FileEntry, FileType, ManifestMetadata, Rules, TagValue};
use catchment_model::{Code, Manifest, S3Path};
use proptest::prelude::*;
use serde_json::{Value, json};

fn rules() -> Rules {
    Rules { landing_bucket: "landing-zone".into() }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("batch_id".to_owned()),
        Just("files".to_owned()),
        Just("path".to_owned()),
        Just("metadata".to_owned()),
        Just("tags".to_owned()),
        Just("join_config".to_owned()),
        ".{0,8}",
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

fn scalar() -> impl Strategy<Value = TagValue> {
    prop_oneof![
        any::<bool>().prop_map(TagValue::Bool),
        any::<i64>().prop_map(TagValue::Integer),
        (-1_000_000i32..1_000_000).prop_map(|n| TagValue::Number(f64::from(n) / 4.0 + 0.125)),
        ".{0,20}".prop_map(TagValue::Text),
    ]
}

fn file(i: usize) -> impl Strategy<Value = FileEntry> {
    ("[a-zäß ]{1,12}", prop::bool::ANY, prop::option::of("[a-z]{1,8}"), prop::option::of(1u32..99999)).prop_map(
        move |(name, raster, layer, code)| FileEntry {
            path: S3Path::new("landing-zone", &format!("in{i}/{name}x")).unwrap(),
            kind: if raster { FileType::Raster } else { FileType::Vector },
            format: "GPKG".into(),
            crs: code.map(|code| format!("EPSG:{code}")),
            layer,
        },
    )
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let files = (1usize..5).prop_flat_map(|n| (0..n).map(file).collect::<Vec<_>>());
    let tags = prop::collection::vec(("[a-z]{1,8}", scalar()), 0..5);
    let words = prop::option::of(prop::collection::vec(".{0,10}", 0..4));
    ("[!-~]{1,40}", "\\PC{0,10}u", "[a-z_]{1,20}x", files, tags, words, prop::option::of(".{0,40}")).prop_map(
        |(batch_id, uploader, intent, files, tags, keywords, title)| Manifest {
            batch_id,
            uploader,
            intent,
            files,
            metadata: ManifestMetadata {
                title,
                keywords,
                tags: Some(tags.into_iter().collect()),
                ..ManifestMetadata::default()
            },
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(problem) = Manifest::parse(&bytes, &rules()) {
            prop_assert_eq!(problem.code, Code::InvalidManifest);
        }
    }

    #[test]
    fn no_json_makes_it_panic(value in any_json()) {
        let wrapped = json!({"batch_id": "a", "uploader": "b", "intent": "c", "files": value, "metadata": value});
        for text in [value.to_string(), wrapped.to_string()] {
            if let Err(problem) = Manifest::parse(text.as_bytes(), &rules()) {
                prop_assert_eq!(problem.code, Code::InvalidManifest);
            }
        }
    }

    #[test]
    fn a_valid_manifest_comes_back_as_it_was(manifest in manifest()) {
        let text = serde_json::to_vec(&manifest).unwrap();
        let read = Manifest::parse(&text, &rules());
        prop_assert_eq!(read.as_ref().map_err(ToString::to_string), Ok(&manifest));
        prop_assert_eq!(serde_json::from_slice::<Manifest>(&text).unwrap(), manifest);
    }
}
