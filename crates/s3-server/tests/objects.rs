//! Objects through the wire: what is put is what is got, whatever its key, and bad uploads leave nothing.

#![allow(clippy::unwrap_used, reason = "a test that finds what it does not expect fails")]

mod support;

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use futures::future::join_all;
use http::{Method, StatusCode};
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload, path::Path};
use support::{InProcess, LAKE, LANDING, files};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_keys_are_kept_apart_and_never_leave_the_folder() {
    let server = InProcess::start().await;
    let long = format!("{}ü", "k".repeat(1022));
    let keys = [
        "../../etc/passwd",
        "../index.db",
        "/absolute",
        "a//b",
        "a/b",
        "a/./b",
        "a/",
        "a",
        "with space",
        "with+plus",
        "%2F",
        "%252F",
        "Am\u{e9}lie",
        "Ame\u{301}lie",
        "quote\"'<&>;?#[]@!$*,=:\\|",
        "tab\tand\u{7f}",
        "\u{1F5FA}/\u{10FFFF}",
        "CON",
        &long,
    ];
    for key in keys {
        server.admin.put(LANDING, key, key.as_bytes()).await.ok();
    }
    for key in keys {
        assert_eq!(server.admin.get(LANDING, key).await.ok().body, key.as_bytes(), "{key}");
    }
    let mut sorted: Vec<&str> = keys.to_vec();
    sorted.sort_unstable();
    assert_eq!(server.admin.keys(LANDING).await, sorted);
    let blobs = server.home.s3_dir().join("blobs");
    for file in files(server.folder.path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let ours = if file.starts_with(&blobs) {
            name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit())
        } else {
            ["credentials.json", "credentials.lock", "s3.lock", "index.db", "index.db-wal", "index.db-shm"]
                .contains(&name)
        };
        assert!(ours, "{}", file.display());
    }
    for key in keys {
        assert_eq!(server.admin.delete(LANDING, key).await.status, StatusCode::NO_CONTENT, "{key}");
    }
    assert!(server.admin.keys(LANDING).await.is_empty());
    let too_long = server.admin.put(LANDING, &"k".repeat(1025), b"").await;
    assert_eq!((too_long.status, too_long.code().as_str()), (StatusCode::BAD_REQUEST, "KeyTooLongError"));
}

#[tokio::test(flavor = "multi_thread")]
async fn object_store_puts_gets_lists_copies_and_deletes() {
    let server = InProcess::start().await;
    let store = server.admin.object_store(LAKE);
    let path = Path::from("parcels/v1/data.parquet");
    let body: Vec<u8> = (0..12_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut upload = store.put_multipart(&path).await.unwrap();
    for part in body.chunks(5 << 20) {
        upload.put_part(PutPayload::from(part.to_vec())).await.unwrap();
    }
    upload.complete().await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), body);
    assert_eq!(store.get_range(&path, 5_242_870..5_242_890).await.unwrap(), body[5_242_870..5_242_890]);
    let copy = Path::from("parcels/v2/data.parquet");
    store.copy(&path, &copy).await.unwrap();
    store.delete(&path).await.unwrap();
    assert!(matches!(store.head(&path).await, Err(object_store::Error::NotFound { .. })));
    assert_eq!(store.get(&copy).await.unwrap().bytes().await.unwrap(), body);
    let listed = store.list_with_delimiter(Some(&Path::from("parcels"))).await.unwrap();
    assert_eq!(listed.common_prefixes, [Path::from("parcels/v2")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_puts_that_want_to_be_first_one_is() {
    let server = InProcess::start().await;
    let bodies: Vec<String> = (0..20).map(|i| format!("writer {i}")).collect();
    let puts = bodies
        .iter()
        .map(|body| server.admin.send(Method::PUT, LANDING, "once", &[], &[("if-none-match", "*")], body.as_bytes()));
    let answers = join_all(puts).await;
    let winners: Vec<usize> = (0..20).filter(|i| answers[*i].status == StatusCode::OK).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(answers.iter().filter(|a| a.status == StatusCode::PRECONDITION_FAILED).count(), 19);
    assert_eq!(server.admin.get(LANDING, "once").await.ok().text(), bodies[winners[0]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_the_key_is_answered_and_cannot_be_claimed() {
    let server = InProcess::start().await;
    let alice = server.client("alice", catchment_s3_server::keys::Role::Uploader);
    let claim = [("x-amz-meta-catchment-principal", "root"), ("x-amz-meta-other", "kept")];
    alice.send(Method::PUT, LANDING, "x", &[], &claim, b"1").await.ok();
    let got = server.admin.get(LANDING, "x").await.ok();
    assert_eq!(got.header("x-amz-meta-catchment-principal"), "alice");
    assert_eq!(got.header("x-amz-meta-other"), "kept");
    let source = [("x-amz-copy-source", "landing-zone/x")];
    server.admin.send(Method::PUT, LANDING, "y", &[], &source, b"").await.ok();
    let copied = server.admin.send(Method::HEAD, LANDING, "y", &[], &[], b"").await;
    assert_eq!(copied.header("x-amz-meta-catchment-principal"), "admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_manifest_wakes_the_daemon_and_nothing_else_does() {
    let server = InProcess::start().await;
    let socket = UnixDatagram::bind(server.home.daemon_socket()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let woken = || socket.recv(&mut [0; 8]).is_ok();
    server.admin.put(LANDING, "batch/manifests/x.json", b"{}").await.ok();
    server.admin.put(LAKE, "manifests/x.json", b"{}").await.ok();
    assert!(!woken());
    server.admin.put(LANDING, "manifests/x.json", b"{}").await.ok();
    assert!(woken());
    let source = [("x-amz-copy-source", "landing-zone/manifests/x.json")];
    server.admin.send(Method::PUT, LANDING, "manifests/y.json", &[], &source, b"").await.ok();
    assert!(woken());
    let begun = server.admin.send(Method::POST, LANDING, "manifests/z.json", &[("uploads", "")], &[], b"").await.ok();
    let id = begun.elements("UploadId").remove(0);
    let part = [("partNumber", "1"), ("uploadId", id.as_str())];
    let etag = server.admin.send(Method::PUT, LANDING, "manifests/z.json", &part, &[], b"{}").await.ok();
    assert!(!woken());
    let complete = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        etag.header("etag").replace('"', "&quot;")
    );
    let end = [("uploadId", id.as_str())];
    server.admin.send(Method::POST, LANDING, "manifests/z.json", &end, &[], complete.as_bytes()).await.ok();
    assert!(woken());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_or_lies_leaves_nothing() {
    let server = InProcess::start().await;
    server.admin.put(LANDING, "x", b"old").await.ok();
    let blobs = server.home.s3_dir().join("blobs");
    let before = files(&blobs);

    let md5 = [("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")];
    let wrong = server.admin.send(Method::PUT, LANDING, "x", &[], &md5, b"new").await;
    assert_eq!(wrong.code(), "BadDigest");
    let crc = [("x-amz-checksum-crc32c", "AAAAAA==")];
    assert_eq!(server.admin.send(Method::PUT, LANDING, "x", &[], &crc, b"new").await.code(), "BadDigest");
    let sha = [("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")];
    let wrong = server.admin.send(Method::PUT, LANDING, "x", &[], &sha, b"new").await;
    assert_eq!(wrong.code(), "XAmzContentSHA256Mismatch");

    // Four megabytes of eight, then the connection ends.
    let request = server.admin.request(Method::PUT, LANDING, "x", &[], &[]).body(()).unwrap();
    let mut head = format!("PUT {} HTTP/1.1\r\ncontent-length: 8000000\r\n", request.uri());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let mut stream = tokio::net::TcpStream::connect(server.admin.address).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.write_all(&vec![1; 4_000_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));

    assert_eq!(server.admin.get(LANDING, "x").await.ok().body, "old");
    let deadline = catchment_settings::clock::monotonic() + Duration::from_secs(10);
    while files(&blobs) != before {
        assert!(catchment_settings::clock::monotonic() < deadline, "{:?}", files(&blobs));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_keeps_what_it_began_to_read() {
    let server = InProcess::start().await;
    let body = vec![7u8; 6_000_000];
    server.admin.put(LANDING, "x", &body).await.ok();
    let store = server.admin.object_store(LANDING);
    let reading = store.get(&Path::from("x")).await.unwrap();
    server.admin.put(LANDING, "x", b"new").await.ok();
    server.admin.delete(LANDING, "x").await.ok();
    assert_eq!(reading.bytes().await.unwrap(), body);
    let blobs = server.home.s3_dir().join("blobs");
    let deadline = catchment_settings::clock::monotonic() + Duration::from_secs(10);
    while !files(&blobs).is_empty() {
        assert!(catchment_settings::clock::monotonic() < deadline, "{:?}", files(&blobs));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_no_100_was_sent_is_not_used_again() {
    let server = InProcess::start().await;
    let put = |key: &'static str, more: Vec<(&'static str, &'static str)>, body: &'static [u8]| {
        let client = server.admin.clone();
        let headers = [vec![("expect", "100-continue")], more].concat();
        async move { client.send(Method::PUT, LANDING, key, &[], &headers, body).await }
    };
    assert_eq!(put("empty", vec![], b"").await.ok().header("connection"), "close");
    assert_eq!(put("full", vec![], b"x").await.ok().header("connection"), "");
    let refused = put("full", vec![("if-none-match", "*")], b"x").await;
    assert_eq!((refused.status, refused.header("connection")), (StatusCode::PRECONDITION_FAILED, "close"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_signature_and_all_else_does() {
    let server = InProcess::start().await;
    let url = |path: &str| format!("http://{}{path}", server.admin.address);
    assert_eq!(reqwest::get(url("/healthz")).await.unwrap().status(), 200);
    for path in ["/", "/landing-zone", "/landing-zone/x"] {
        let answer = reqwest::get(url(path)).await.unwrap();
        assert_eq!(answer.status(), 403, "{path}");
        assert!(answer.text().await.unwrap().contains("AccessDenied"));
    }
    let refused = server.admin.send(Method::PUT, "healthz", "", &[], &[], b"").await;
    assert_eq!(refused.code(), "InvalidBucketName");
    assert_eq!(server.admin.send(Method::DELETE, LAKE, "", &[], &[], b"").await.code(), "AccessDenied");
}
