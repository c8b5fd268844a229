//! Listing agrees with a simple model, whatever the keys, prefix, delimiter and page size.

#![allow(clippy::unwrap_used, reason = "a test that finds what it does not expect fails")]

mod support;

use std::collections::BTreeSet;

use http::Method;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{Client, InProcess, decode};

/// What S3 says a listing is: keys with the prefix, in bytewise order; those with the delimiter behind it as one.
fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: &str) -> Vec<(bool, String)> {
    let mut listed: Vec<(bool, String)> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let at = if delimiter.is_empty() { None } else { key[prefix.len()..].find(delimiter) };
        let entry = match at {
            Some(at) => (true, key[..prefix.len() + at + delimiter.len()].to_owned()),
            None => (false, key.clone()),
        };
        if listed.last() != Some(&entry) {
            listed.push(entry);
        }
    }
    listed
}

/// All pages of a listing by the server, in either version.
async fn paged(
    client: &Client,
    bucket: &str,
    prefix: &str,
    delimiter: &str,
    size: usize,
    v2: bool,
) -> Vec<(bool, String)> {
    let size_text = size.to_string();
    let mut next = String::new();
    let mut listed = Vec::new();
    loop {
        let mut query = vec![("encoding-type", "url"), ("max-keys", &size_text)];
        query.extend([("prefix", prefix), ("delimiter", delimiter)].into_iter().filter(|(_, v)| !v.is_empty()));
        let marker = if v2 { "continuation-token" } else { "marker" };
        query.extend(v2.then_some(("list-type", "2")));
        query.extend((!next.is_empty()).then_some((marker, next.as_str())));
        let answer = client.send(Method::GET, bucket, "", &query, &[], b"").await.ok();
        let keys = answer.elements("Key").into_iter().map(|k| (false, decode(&k)));
        let prefixes = answer
            .elements("CommonPrefixes")
            .into_iter()
            .map(|p| (true, decode(p.trim_start_matches("<Prefix>").trim_end_matches("</Prefix>"))));
        let mut page: Vec<(bool, String)> = keys.chain(prefixes).collect();
        page.sort_by(|a, b| a.1.cmp(&b.1));
        let truncated = answer.elements("IsTruncated") == ["true"];
        assert!(page.len() <= size && (page.len() == size || !truncated));
        listed.extend(page);
        if !truncated {
            return listed;
        }
        next = decode(&answer.elements(if v2 { "NextContinuationToken" } else { "NextMarker" }).remove(0));
    }
}

#[test]
fn pages_put_together_are_what_the_model_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(InProcess::start());
    let key = "[ab/\u{e9}+ ]{1,6}";
    let strategy = (
        proptest::collection::btree_set(key, 0..40),
        "[ab/]{0,2}",
        prop_oneof![Just(""), Just("/"), Just("b"), Just("a/")],
        1usize..8,
    );
    let mut round = 0;
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let rounds = std::cell::RefCell::new(&mut round);
    runner
        .run(&strategy, |(keys, prefix, delimiter, size)| {
            let bucket = {
                let mut round = rounds.borrow_mut();
                **round += 1;
                format!("round-{}", **round)
            };
            runtime.block_on(async {
                let client = &server.admin;
                client.send(Method::PUT, &bucket, "", &[], &[], b"").await.ok();
                futures::future::join_all(keys.iter().map(|key| client.put(&bucket, key, b""))).await;
                let expected = model(&keys, &prefix, delimiter);
                for v2 in [true, false] {
                    let found = paged(client, &bucket, &prefix, delimiter, size, v2).await;
                    prop_assert_eq!(&found, &expected);
                }
                Ok(())
            })
        })
        .unwrap();
}

#[test]
fn a_listing_jumps_over_what_a_prefix_stands_for() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = InProcess::start().await;
        for folder in ["a", "b"] {
            for i in 0..300 {
                server.admin.put("landing-zone", &format!("{folder}/{i:04}"), b"").await.ok();
            }
        }
        server.admin.put("landing-zone", "z", b"").await.ok();
        let answer = server.admin.list("landing-zone", &[("delimiter", "/"), ("max-keys", "2")]).await.ok();
        assert_eq!(answer.elements("CommonPrefixes"), ["<Prefix>a/</Prefix>", "<Prefix>b/</Prefix>"]);
        assert_eq!(answer.elements("IsTruncated"), ["true"]);
        assert_eq!(server.admin.list("landing-zone", &[("max-keys", "0")]).await.ok().elements("KeyCount"), ["0"]);
    });
}
