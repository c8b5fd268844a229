//! Bodies in `aws-chunked` encoding: signed chunk by chunk or not at all, with a checksum behind them.

#![allow(clippy::unwrap_used, reason = "a test that finds what it does not expect fails")]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use s3s::crypto::{Checksum as _, Crc32c};
use sha2::{Digest as _, Sha256};
use support::{Answer, Client, InProcess, LANDING, hmac};

const CHUNK: usize = 64 << 10;

fn body() -> Vec<u8> {
    (0..200_000u32).map(|i| (i % 253) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Puts `body` in chunks; `checksum` is what the trailer claims, and `forged` changes a byte of a signed chunk.
async fn put(client: &Client, key: &str, body: &[u8], signed: bool, checksum: &str, forged: bool) -> Answer {
    let payload =
        if signed { "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" } else { "STREAMING-UNSIGNED-PAYLOAD-TRAILER" };
    let length = body.len().to_string();
    let headers = [
        ("x-amz-content-sha256", payload),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", length.as_str()),
        ("x-amz-trailer", "x-amz-checksum-crc32c"),
    ];
    let with = client.sign(Method::PUT, LANDING, key, &[], &headers);
    let mut previous = with.signature.clone();
    let mut sign = |kind: &str, rest: String| {
        let text = format!("{kind}\n{}\n{}\n{previous}\n{rest}", with.time, with.scope);
        previous = hex::encode(hmac(&with.key, text.as_bytes()));
        previous.clone()
    };
    let mut sent = Vec::new();
    for chunk in body.chunks(CHUNK).chain([&[][..]]) {
        sent.extend(format!("{:x}", chunk.len()).into_bytes());
        if signed {
            let hashes = format!("{}\n{}", sha256(b""), sha256(chunk));
            sent.extend(format!(";chunk-signature={}", sign("AWS4-HMAC-SHA256-PAYLOAD", hashes)).into_bytes());
        }
        sent.extend(b"\r\n");
        let at = sent.len();
        sent.extend(chunk);
        if forged && !chunk.is_empty() {
            sent[at] ^= 1;
        }
        if !chunk.is_empty() {
            sent.extend(b"\r\n");
        }
    }
    let trailer = format!("x-amz-checksum-crc32c:{checksum}");
    sent.extend(format!("{trailer}\r\n").into_bytes());
    if signed {
        let hash = sha256(format!("{trailer}\n").as_bytes());
        let signature = sign("AWS4-HMAC-SHA256-TRAILER", hash);
        sent.extend(format!("x-amz-trailer-signature:{signature}\r\n").into_bytes());
    }
    sent.extend(b"\r\n");
    let request = with.request.header("content-length", sent.len()).body(Full::new(Bytes::from(sent))).unwrap();
    client.transmit(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_put_together_and_their_trailer_is_checked_and_kept() {
    let server = InProcess::start().await;
    let checksum = STANDARD.encode(Crc32c::checksum(&body()));
    for signed in [true, false] {
        let answer = put(&server.admin, "x", &body(), signed, &checksum, false).await.ok();
        assert_eq!(answer.header("x-amz-checksum-crc32c"), checksum);
        let mode = [("x-amz-checksum-mode", "ENABLED")];
        let got = server.admin.send(Method::GET, LANDING, "x", &[], &mode, b"").await.ok();
        assert_eq!(got.body, body());
        assert_eq!(got.header("x-amz-checksum-crc32c"), checksum);
        assert_eq!(got.header("content-encoding"), "");
        server.admin.delete(LANDING, "x").await;

        let wrong = put(&server.admin, "x", &body(), signed, "AAAAAA==", false).await;
        assert_eq!(wrong.code(), "BadDigest", "signed: {signed}");
        let forged = put(&server.admin, "x", &body(), signed, &checksum, true).await;
        assert_eq!(forged.code(), if signed { "SignatureDoesNotMatch" } else { "BadDigest" });
        assert!(server.admin.keys(LANDING).await.is_empty());
    }
}
