//! What a request may ask for that this server does not do: refused, never dropped in silence.

use http::HeaderMap;
use s3s::{S3Result, s3_error};

/// Headers of features that are not here, with the value (if any) that asks for nothing.
const UNSUPPORTED: [(&str, &str); 9] = [
    ("x-amz-tagging", ""),
    ("x-amz-server-side-encryption", ""),
    ("x-amz-server-side-encryption-customer-algorithm", ""),
    ("x-amz-copy-source-server-side-encryption-customer-algorithm", ""),
    ("x-amz-object-lock-mode", ""),
    ("x-amz-object-lock-legal-hold", "OFF"),
    ("x-amz-object-lock-retain-until-date", ""),
    ("x-amz-website-redirect-location", ""),
    ("x-amz-write-offset-bytes", ""),
];

/// Refuses tags, encryption, locks, public ACLs and storage classes that the server would not honour.
pub(super) fn unsupported(headers: &HeaderMap) -> S3Result {
    let value = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    for (name, nothing) in UNSUPPORTED {
        if value(name).is_some_and(|v| v != nothing) {
            return Err(s3_error!(NotImplemented, "this server does not do what the header {name} asks for"));
        }
    }
    if let Some(acl) =
        value("x-amz-acl").filter(|v| !matches!(*v, "private" | "bucket-owner-full-control" | "bucket-owner-read"))
    {
        return Err(s3_error!(
            AccessControlListNotSupported,
            "the ACL {acl} is not supported: access goes by keys and roles"
        ));
    }
    if let Some(class) = value("x-amz-storage-class").filter(|v| !matches!(*v, "STANDARD" | "REDUCED_REDUNDANCY")) {
        return Err(s3_error!(InvalidStorageClass, "there is no storage class {class} here: use STANDARD"));
    }
    Ok(())
}

/// Versions are not kept: only the null version can be named.
pub(super) fn version(id: Option<&str>) -> S3Result {
    match id {
        None | Some("" | "null") => Ok(()),
        Some(id) => Err(s3_error!(NoSuchVersion, "there is no version {id}: this server keeps no versions")),
    }
}
