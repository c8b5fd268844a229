//! Digests of what is stored: MD5 for the ETag, and the checksums that clients ask for.
//!
//! Values are base64 texts of big-endian digests, as in the headers `x-amz-checksum-*`. A multipart object has
//! either the checksum of its parts' checksums (`COMPOSITE`, with `-<parts>` behind it) or that of its bytes
//! (`FULL_OBJECT`, for CRCs, combined from those of the parts).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, checksum_combine};
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

/// The algorithms of `x-amz-checksum-algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64nvme, Self::Sha1, Self::Sha256];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub(crate) fn parse(name: &str) -> S3Result<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            s3_error!(
                InvalidRequest,
                "the checksum algorithm {name} is not one of CRC32, CRC32C, CRC64NVME, SHA1, SHA256"
            )
        })
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc32 => Crc32::checksum(bytes).to_vec(),
            Self::Crc32c => Crc32c::checksum(bytes).to_vec(),
            Self::Crc64nvme => Crc64Nvme::checksum(bytes).to_vec(),
            Self::Sha1 => Sha1::checksum(bytes).to_vec(),
            Self::Sha256 => Sha256::checksum(bytes).to_vec(),
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// The checksums of an object or part, each in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Checksums {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc32: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc32c: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc64nvme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// Whether they are checksums of the parts' checksums.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) composite: bool,
}

impl Checksums {
    pub(crate) fn get(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Crc32 => self.crc32.as_deref(),
            Algorithm::Crc32c => self.crc32c.as_deref(),
            Algorithm::Crc64nvme => self.crc64nvme.as_deref(),
            Algorithm::Sha1 => self.sha1.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
        }
    }

    pub(crate) fn set(&mut self, algorithm: Algorithm, value: Option<String>) {
        *match algorithm {
            Algorithm::Crc32 => &mut self.crc32,
            Algorithm::Crc32c => &mut self.crc32c,
            Algorithm::Crc64nvme => &mut self.crc64nvme,
            Algorithm::Sha1 => &mut self.sha1,
            Algorithm::Sha256 => &mut self.sha256,
        } = value;
    }

    pub(crate) fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        Algorithm::ALL.into_iter().filter(|a| self.get(*a).is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.algorithms().next().is_none()
    }

    /// Takes over those that came behind the body.
    pub(crate) fn merge_trailers(&mut self, trailers: &HeaderMap) {
        for algorithm in Algorithm::ALL {
            if let Some(value) = trailers.get(algorithm.header()).and_then(|v| v.to_str().ok()) {
                self.set(algorithm, Some(value.trim().to_owned()));
            }
        }
    }

    /// Compares what a client claims with what was computed.
    pub(crate) fn verify(&self, computed: &Self) -> S3Result {
        for algorithm in self.algorithms() {
            let (claimed, found) = (self.get(algorithm), computed.get(algorithm));
            if found.is_some() && claimed != found {
                return Err(s3_error!(
                    BadDigest,
                    "the {} of the body is {}, not {}: it was changed or cut off on its way",
                    algorithm.name(),
                    found.unwrap_or_default(),
                    claimed.unwrap_or_default()
                ));
            }
        }
        Ok(())
    }
}

/// Which algorithms a request's body needs: those whose values it states, names as trailers, or asks for.
pub(crate) fn wanted(claimed: &Checksums, asked: Option<&str>, headers: &HeaderMap) -> S3Result<Vec<Algorithm>> {
    let mut wanted: Vec<Algorithm> = claimed.algorithms().collect();
    for trailer in headers.get_all("x-amz-trailer").iter().filter_map(|v| v.to_str().ok()) {
        let named = |a: &Algorithm| trailer.split(',').any(|t| t.trim().eq_ignore_ascii_case(a.header()));
        wanted.extend(Algorithm::ALL.into_iter().filter(named));
    }
    if let Some(name) = asked {
        wanted.push(Algorithm::parse(name)?);
    }
    wanted.dedup();
    Ok(wanted)
}

/// A hasher for these algorithms.
pub(crate) fn hasher(algorithms: &[Algorithm]) -> ChecksumHasher {
    let has = |a| algorithms.contains(&a);
    ChecksumHasher {
        crc32: has(Algorithm::Crc32).then(Crc32::new),
        crc32c: has(Algorithm::Crc32c).then(Crc32c::new),
        crc64nvme: has(Algorithm::Crc64nvme).then(Crc64Nvme::new),
        sha1: has(Algorithm::Sha1).then(Sha1::new),
        sha256: has(Algorithm::Sha256).then(Sha256::new),
    }
}

/// What a hasher has found.
pub(crate) fn finish(hasher: ChecksumHasher) -> Checksums {
    let found = hasher.finalize();
    Checksums {
        crc32: found.checksum_crc32,
        crc32c: found.checksum_crc32c,
        crc64nvme: found.checksum_crc64nvme,
        sha1: found.checksum_sha1,
        sha256: found.checksum_sha256,
        composite: false,
    }
}

/// The checksum of a multipart object from those of its parts (value and size in bytes, in order); `None` where
/// a part has none of this algorithm.
pub(crate) fn of_parts(algorithm: Algorithm, composite: bool, parts: &[(&Checksums, u64)]) -> Option<Checksums> {
    let digests: Vec<(Vec<u8>, u64)> = parts
        .iter()
        .map(|(sums, size)| Some((STANDARD.decode(sums.get(algorithm)?).ok()?, *size)))
        .collect::<Option<_>>()?;
    let mut result = Checksums { composite, ..Checksums::default() };
    if composite {
        let joined: Vec<u8> = digests.iter().flat_map(|(d, _)| d.iter().copied()).collect();
        let value = format!("{}-{}", STANDARD.encode(algorithm.digest(&joined)), digests.len());
        result.set(algorithm, Some(value));
    } else {
        let crc = algorithm.crc()?;
        let width = digests.first()?.0.len();
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |n, b| (n << 8) | u64::from(*b));
        let whole = digests
            .iter()
            .map(|(digest, size)| (number(digest), *size))
            .reduce(|(a, la), (b, lb)| (checksum_combine(crc, a, b, lb), la + lb))?
            .0;
        result.set(algorithm, Some(STANDARD.encode(&whole.to_be_bytes()[8 - width..])));
    }
    Some(result)
}

/// Reads the header `Content-MD5`.
pub(crate) fn parse_md5(header: &str) -> S3Result<[u8; 16]> {
    STANDARD
        .decode(header.trim())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| s3_error!(InvalidDigest, "Content-MD5 is not the base64 of 16 bytes"))
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Checksums, finish, hasher, of_parts};

    fn sums(bytes: &[u8]) -> Checksums {
        let mut h = hasher(&Algorithm::ALL);
        h.update(bytes);
        finish(h)
    }

    #[test]
    fn crcs_of_parts_combine_to_that_of_the_whole() {
        let whole: Vec<u8> = (0..100_000u32).map(|i| (i * 7 % 251) as u8).collect();
        let pieces: Vec<&[u8]> = vec![&whole[..33_000], &whole[33_000..33_001], &whole[33_001..]];
        let parts: Vec<(Checksums, u64)> = pieces.iter().map(|p| (sums(p), p.len() as u64)).collect();
        let parts: Vec<(&Checksums, u64)> = parts.iter().map(|(s, n)| (s, *n)).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64nvme] {
            let combined = of_parts(algorithm, false, &parts).unwrap();
            assert_eq!(combined.get(algorithm), sums(&whole).get(algorithm), "{}", algorithm.name());
        }
        assert!(of_parts(Algorithm::Sha256, false, &parts).is_none());
        assert!(of_parts(Algorithm::Sha256, true, &parts).unwrap().sha256.unwrap().ends_with("-3"));
    }

    #[test]
    fn a_wrong_claim_is_a_bad_digest() {
        let claim = Checksums { crc32: Some("AAAAAA==".into()), ..Checksums::default() };
        assert!(claim.verify(&sums(b"hello")).is_err());
        assert!(sums(b"hello").verify(&sums(b"hello")).is_ok());
    }
}
