//! What each role may and may not do, and that a change of the keys counts at once.

#![allow(clippy::unwrap_used, reason = "a test that finds what it does not expect fails")]

mod support;

use catchment_s3_server::keys::{self, Role};
use http::{Method, StatusCode};
use support::{Client, InProcess, LAKE, LANDING};

async fn allowed(client: &Client, method: Method, bucket: &str, key: &str, query: &[(&str, &str)]) -> bool {
    let answer = client.send(method.clone(), bucket, key, query, &[], b"").await;
    let denied = answer.status == StatusCode::FORBIDDEN;
    assert!(
        denied || answer.status.as_u16() < 500 || answer.status == StatusCode::NOT_IMPLEMENTED,
        "{}",
        answer.text()
    );
    if denied && method != Method::HEAD {
        assert_eq!(answer.code(), "AccessDenied");
    }
    !denied
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_has_its_rights_and_no_more() {
    let server = InProcess::start().await;
    server.admin.send(Method::PUT, "other", "", &[], &[], b"").await.ok();
    for bucket in [LANDING, LAKE, "other"] {
        server.admin.put(bucket, "x", b"1").await.ok();
    }
    let uploader = server.client("up", Role::Uploader);
    let reader = server.client("read", Role::Reader);
    // Bucket, then whether the uploader reads, writes; the reader reads, writes.
    for (bucket, rights) in [
        (LANDING, [true, true, false, false]),
        (LAKE, [true, false, true, false]),
        ("other", [false, false, false, false]),
    ] {
        for (client, reads, writes) in [(&uploader, rights[0], rights[1]), (&reader, rights[2], rights[3])] {
            for (method, key, query) in [
                (Method::GET, "x", vec![]),
                (Method::HEAD, "x", vec![]),
                (Method::GET, "", vec![("list-type", "2")]),
                (Method::GET, "", vec![]),
                (Method::HEAD, "", vec![]),
                (Method::GET, "", vec![("location", "")]),
            ] {
                assert_eq!(
                    allowed(client, method.clone(), bucket, key, &query).await,
                    reads,
                    "{method} {bucket}/{key} {query:?}"
                );
            }
            for (method, key, query) in [
                (Method::PUT, "new", vec![]),
                (Method::DELETE, "new", vec![]),
                (Method::POST, "new", vec![("uploads", "")]),
                (Method::GET, "", vec![("uploads", "")]),
                (Method::PUT, "new", vec![("partNumber", "1"), ("uploadId", "u")]),
                (Method::DELETE, "new", vec![("uploadId", "u")]),
            ] {
                assert_eq!(
                    allowed(client, method.clone(), bucket, key, &query).await,
                    writes,
                    "{method} {bucket}/{key} {query:?}"
                );
            }
            for (method, query) in
                [(Method::PUT, vec![]), (Method::DELETE, vec![]), (Method::GET, vec![("policy", "")])]
            {
                assert!(!allowed(client, method.clone(), bucket, "", &query).await, "{method} {bucket} {query:?}");
            }
            for source in [LANDING, LAKE, "other"] {
                let header = format!("{source}/x");
                let copy = client.send(Method::PUT, bucket, "copy", &[], &[("x-amz-copy-source", &header)], b"").await;
                let may_read =
                    if client.credentials == uploader.credentials { source != "other" } else { source == LAKE };
                assert_eq!(copy.status == StatusCode::OK, writes && may_read, "{header} to {bucket}: {}", copy.text());
            }
        }
    }
    let seen = |answer: support::Answer| answer.ok().elements("Name");
    assert_eq!(seen(uploader.send(Method::GET, "", "", &[], &[], b"").await), [LAKE, LANDING]);
    assert_eq!(seen(reader.send(Method::GET, "", "", &[], &[], b"").await), [LAKE]);
    assert_eq!(seen(server.admin.send(Method::GET, "", "", &[], &[], b"").await), [LAKE, LANDING, "other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_opens_nothing_from_the_next_request_on() {
    let server = InProcess::start().await;
    let client = server.client("bob", Role::Uploader);
    client.put(LANDING, "x", b"1").await.ok();
    keys::revoke(&server.keys_file(), "bob").unwrap();
    let refused = client.put(LANDING, "x", b"2").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "InvalidAccessKeyId"));
    let again = server.client("bob", Role::Reader);
    assert_eq!(again.put(LANDING, "x", b"3").await.code(), "AccessDenied");
    std::fs::write(server.keys_file(), b"{ not json").unwrap();
    assert_eq!(again.list(LAKE, &[]).await.code(), "InvalidAccessKeyId");
    server.admin.get(LANDING, "x").await.ok();
}
