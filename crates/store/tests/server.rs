//! The client against the embedded server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use catchment_s3_server::{Config, Server};
use catchment_settings::{S3Credentials, Secret, clock, task};
use catchment_store::{Attributes, PutMode, Store, StoreConfig, StoreError};
use futures::{StreamExt as _, TryStreamExt as _};

/// A server of its own with the client of its admin; it ends with the test's runtime.
async fn server() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let admin = S3Credentials { access_key: "CKTEST".into(), secret_key: Secret::new("secret") };
    let server = Server::bind(Config {
        root: folder.path().join("s3"),
        lock_file: folder.path().join("s3.lock"),
        wake_socket: folder.path().join("wake.sock"),
        listen: "127.0.0.1:0".parse().unwrap(),
        admin: admin.clone(),
        landing_bucket: "landing-zone".into(),
        lake_bucket: "data-lake".into(),
    })
    .await
    .unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    task::spawn("s3", async move { server.serve(std::future::pending()).await });
    let store = Store::new(StoreConfig {
        endpoint,
        access_key: admin.access_key,
        secret_key: admin.secret_key,
        bucket: "landing-zone".into(),
    });
    (folder, store)
}

fn plain() -> Attributes {
    Attributes::of_type("text/plain").with("colour", "blue")
}

#[tokio::test]
async fn bytes_come_back_with_what_was_kept_with_them() {
    let (_folder, store) = server().await;
    let key = "a b/ü+%20~{x}.txt";
    let stored = store.put_bytes(key, "hello", &plain(), PutMode::Create).await.unwrap();
    let (bytes, info) = store.get_bytes(key, 100).await.unwrap();
    assert_eq!((&bytes[..], info.size, &info.etag), (&b"hello"[..], 5, &stored.etag));
    assert_eq!((info.content_type.as_deref(), info.metadata["colour"].as_str()), (Some("text/plain"), "blue"));
    assert_eq!(store.head(key).await.unwrap(), info);
    assert!((clock::now().duration_since(info.last_modified).as_secs()).abs() < 60);
    let again = store.put_bytes(key, "other", &plain(), PutMode::Create).await;
    assert!(matches!(again, Err(StoreError::PreconditionFailed { .. })), "{again:?}");
    assert!(matches!(store.get_bytes(key, 4).await, Err(StoreError::TooLarge { bytes: 5, .. })));
    assert!(matches!(store.head("nothing").await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.head("a//b").await, Err(StoreError::InvalidKey { .. })));
}

#[tokio::test]
async fn files_small_and_large_go_and_come_with_their_hash() {
    let (folder, store) = server().await;
    for size in [0, 1000, (16 << 20) + 1, 40 << 20] {
        let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
        let bytes: Vec<u8> = (0..size).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::write(&source, &bytes).unwrap();
        let seen = std::sync::atomic::AtomicU64::new(0);
        let progress = |n| seen.store(n, std::sync::atomic::Ordering::Relaxed);
        let stored = store.put_file("big", &source, &plain(), progress).await.unwrap();
        assert_eq!(seen.into_inner(), u64::from(size));
        let fetched = store.get_to_file("big", &copy, Some(&stored.etag), |_| {}).await.unwrap();
        assert_eq!((fetched.bytes, &fetched.sha256, &fetched.etag), (stored.bytes, &stored.sha256, &stored.etag));
        assert_eq!(store.hash("big", |_| {}).await.unwrap(), fetched);
        assert!(std::fs::read(&copy).unwrap() == bytes);
        assert_eq!(store.head("big").await.unwrap().metadata["colour"], "blue");
        let other = store.get_to_file("big", &copy, Some("0123"), |_| {}).await;
        assert!(matches!(other, Err(StoreError::PreconditionFailed { .. })), "{other:?}");
    }
}

#[tokio::test]
async fn a_listing_has_every_key_in_order_whatever_it_holds() {
    let (_folder, store) = server().await;
    let mut keys: Vec<_> = (0..1105).map(|i| format!("list/{i:04}")).collect();
    keys.push("list/a & <b> \"c\" ü".into());
    let nothing = Attributes::default();
    let puts = keys.iter().map(|key| store.put_bytes(key, "x", &nothing, PutMode::Overwrite));
    futures::stream::iter(puts).buffer_unordered(16).try_collect::<Vec<_>>().await.unwrap();
    // A key that `object_store` would not list.
    let seed = store.put_bytes("seed", "x", &Attributes::default(), PutMode::Overwrite).await.unwrap();
    keys.push("list//odd".into());
    store.copy_if_match("seed", "list//odd", &seed.etag).await.unwrap();
    let listed: Vec<_> = store.list("list/").map_ok(|object| object.key).try_collect().await.unwrap();
    keys.sort_unstable();
    assert_eq!(listed, keys);
    let after: Vec<_> = store.list_after("list/", Some("list/1103")).map_ok(|o| o.key).try_collect().await.unwrap();
    let last = keys.iter().position(|key| key == "list/1103").unwrap();
    assert_eq!(after, keys[last + 1..]);
    let one: Vec<_> = store.list("list/0007").try_collect().await.unwrap();
    assert_eq!((one.len(), one[0].size), (1, 1));
    assert_eq!(one[0].etag, store.head("list/0007").await.unwrap().etag);
}

#[tokio::test]
async fn an_object_is_moved_only_if_it_is_still_the_same() {
    let (_folder, store) = server().await;
    let (from, to) = ("manifests/a ü+&.json", "archive/manifests/a ü+&.json");
    let old = store.put_bytes(from, "one", &plain(), PutMode::Overwrite).await.unwrap();
    let new = store.put_bytes(from, "two", &plain(), PutMode::Overwrite).await.unwrap();
    for refused in [store.copy_if_match(from, to, &old.etag).await, store.delete_if_match(from, &old.etag).await] {
        assert!(matches!(refused, Err(StoreError::PreconditionFailed { .. })), "{refused:?}");
    }
    store.copy_if_match(from, to, &new.etag).await.unwrap();
    store.delete_if_match(from, &new.etag).await.unwrap();
    store.delete_if_match(from, &new.etag).await.unwrap();
    assert!(matches!(store.head(from).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.copy_if_match(from, to, &new.etag).await, Err(StoreError::NotFound { .. })));
    let (bytes, info) = store.get_bytes(to, 10).await.unwrap();
    assert_eq!((&bytes[..], info.metadata["colour"].as_str()), (&b"two"[..], "blue"));
    store.delete(to).await.unwrap();
    store.delete(to).await.unwrap();
}

#[tokio::test]
async fn what_is_kept_with_an_object_can_be_replaced_alone() {
    let (_folder, store) = server().await;
    let stored = store.put_bytes("k", "same", &plain(), PutMode::Overwrite).await.unwrap();
    store.replace_attributes("k", &stored.etag, &Attributes::of_type("text/x").with("colour", "red")).await.unwrap();
    let (bytes, info) = store.get_bytes("k", 10).await.unwrap();
    assert_eq!(
        (&bytes[..], info.content_type.as_deref(), info.metadata["colour"].as_str()),
        (&b"same"[..], Some("text/x"), "red")
    );
}

#[tokio::test]
async fn a_presigned_address_needs_no_key_and_ends() {
    let (_folder, store) = server().await;
    store.put_bytes("a ü", "shared", &plain(), PutMode::Overwrite).await.unwrap();
    let url = store.presign_get("a ü", Duration::from_secs(60), clock::now()).unwrap();
    assert_eq!(reqwest::get(url).await.unwrap().text().await.unwrap(), "shared");
    let past = clock::now() - jiff::SignedDuration::from_hours(1);
    let old = store.presign_get("a ü", Duration::from_secs(60), past).unwrap();
    assert_eq!(reqwest::get(old).await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_wrong_key_is_denied_and_a_missing_server_is_unavailable() {
    let (_folder, store) = server().await;
    let endpoint = store.presign_get("x", Duration::from_secs(1), clock::now()).unwrap();
    let endpoint = endpoint.split("/landing-zone").next().unwrap().to_owned();
    let config = |endpoint: String| StoreConfig {
        endpoint,
        access_key: "CKTEST".into(),
        secret_key: Secret::new("wrong"),
        bucket: "landing-zone".into(),
    };
    let stranger = Store::new(config(endpoint));
    assert!(matches!(stranger.head("x").await, Err(StoreError::Denied { .. })), "{:?}", stranger.head("x").await);
    assert!(matches!(stranger.list("").try_next().await, Err(StoreError::Denied { .. })));
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = Store::new(config(format!("http://127.0.0.1:{port}")));
    for error in [nobody.head("x").await.unwrap_err(), nobody.list("").try_next().await.unwrap_err()] {
        assert!(error.is_retryable(), "{error}");
    }
}
