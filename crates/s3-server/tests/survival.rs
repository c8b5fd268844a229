//! `kill -9` at every boundary of a write: an object is there whole or not at all, what was acknowledged is there,
//! and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test that finds what it does not expect fails")]

mod support;

use std::path::Path;
use std::time::Duration;

use catchment_model::problem::Code;
use catchment_s3_server::Server;
use catchment_settings::{Home, clock};
use http::{Method, StatusCode};
use support::{Client, LANDING, OwnProcess, config, files};

fn body(byte: u8) -> Vec<u8> {
    vec![byte; 2_500_000]
}

/// Waits until as many blobs are there as objects need.
async fn swept(home: &Path, wanted: usize) {
    let deadline = clock::monotonic() + Duration::from_secs(20);
    while files(&home.join("s3/blobs")).len() != wanted {
        assert!(clock::monotonic() < deadline, "{:?}", files(&home.join("s3/blobs")));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn upload(client: &Client, key: &str) -> (String, String) {
    let begun = client.send(Method::POST, LANDING, key, &[("uploads", "")], &[], b"").await.ok();
    let id = begun.elements("UploadId").remove(0);
    let part = client.send(Method::PUT, LANDING, key, &[("partNumber", "1"), ("uploadId", &id)], &[], &body(9)).await;
    (id, part.ok().header("etag").to_owned())
}

fn completion(etag: &str) -> Vec<u8> {
    let etag = etag.replace('"', "&quot;");
    format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    )
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_a_boundary_of_a_put_leaves_the_old_or_the_new_object() {
    for (point, after) in [("s3.blob_written", 1), ("s3.before_index_commit", 1), ("s3.after_index_commit", 2)] {
        let folder = tempfile::tempdir().unwrap();
        let first = OwnProcess::start(folder.path(), &format!("{point}=kill@2"));
        first.client.put(LANDING, "x", &body(1)).await.ok();
        let cut = first.client.try_send(Method::PUT, LANDING, "x", &[], &[], &body(2)).await;
        assert!(cut.is_err(), "{point}");
        drop(first);
        let second = OwnProcess::start(folder.path(), "");
        assert_eq!(second.client.get(LANDING, "x").await.ok().body, body(after), "{point}");
        assert_eq!(second.client.keys(LANDING).await, ["x"]);
        swept(folder.path(), 1).await;
        second.client.put(LANDING, "x", &body(3)).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_a_boundary_of_a_completion_leaves_the_upload_or_the_object() {
    for (point, done) in [("s3.before_index_commit=kill@2", false), ("s3.multipart_completed=kill", true)] {
        let folder = tempfile::tempdir().unwrap();
        let first = OwnProcess::start(folder.path(), point);
        let (id, etag) = upload(&first.client, "x").await;
        let end = [("uploadId", id.as_str())];
        let cut = first.client.try_send(Method::POST, LANDING, "x", &end, &[], &completion(&etag)).await;
        assert!(cut.is_err(), "{point}");
        drop(first);
        let second = OwnProcess::start(folder.path(), "");
        let status = if done { StatusCode::OK } else { StatusCode::NOT_FOUND };
        assert_eq!(second.client.get(LANDING, "x").await.status, status, "{point}");
        // The client tries again, whether the first completion counted or not.
        second.client.send(Method::POST, LANDING, "x", &end, &[], &completion(&etag)).await.ok();
        assert_eq!(second.client.get(LANDING, "x").await.ok().body, body(9), "{point}");
        let listed = second.client.send(Method::GET, LANDING, "", &[("uploads", "")], &[], b"").await.ok();
        assert!(listed.elements("UploadId").is_empty());
        swept(folder.path(), 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_kill_in_the_middle_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = OwnProcess::start(folder.path(), "");
    let client = server.client.clone();
    let writers = (0..8u8).map(|writer| {
        let client = client.clone();
        catchment_settings::task::spawn("writer", async move {
            let mut acknowledged = Vec::new();
            for i in 0..1000u32 {
                let key = format!("{writer}/{i}");
                match client.try_send(Method::PUT, LANDING, &key, &[], &[], key.as_bytes()).await {
                    Ok(answer) if answer.status == StatusCode::OK => acknowledged.push(key),
                    _ => break,
                }
            }
            acknowledged
        })
    });
    let writers: Vec<_> = writers.collect();
    let deadline = clock::monotonic() + Duration::from_secs(20);
    while files(&folder.path().join("s3/blobs")).len() < 60 {
        assert!(clock::monotonic() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    server.kill();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    let server = OwnProcess::start(folder.path(), "");
    let listed = server.client.keys(LANDING).await;
    for key in &acknowledged {
        assert_eq!(server.client.get(LANDING, key).await.ok().text(), *key);
    }
    for key in &listed {
        assert_eq!(server.client.get(LANDING, key).await.ok().text(), *key);
    }
    swept(folder.path(), listed.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_folder_is_refused_with_the_pid_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = OwnProcess::start(folder.path(), "");
    let home = Home::open(folder.path()).unwrap();
    let problem = Server::bind(config(&home)).await.unwrap_err();
    assert_eq!(problem.code, Code::AlreadyRunning);
    assert!(problem.to_string().contains(&first.child.id().to_string()), "{problem}");
    first.kill();
    Server::bind(config(&home)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_good_order_lets_an_upload_end() {
    let server = support::InProcess::start().await;
    server.admin.put(LANDING, "x", &body(5)).await.ok();
    let folder = server.stop().await;
    let server = support::InProcess::start_in(folder).await;
    assert_eq!(server.admin.get(LANDING, "x").await.ok().body, body(5));
}
