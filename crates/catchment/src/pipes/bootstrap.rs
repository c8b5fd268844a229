//! The two environment variables that make a process a Pipes process: each is base64(zlib(JSON)).

use std::io::Write as _;

use catchment_model::{Code, Problem};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::Value;

/// Where the process finds its context.
pub(super) const CONTEXT: &str = "DAGSTER_PIPES_CONTEXT";
/// How the process sends its messages.
pub(super) const MESSAGES: &str = "DAGSTER_PIPES_MESSAGES";
/// What one environment variable may hold on Linux (`MAX_ARG_STRLEN`), its name included.
const MOST_BYTES: usize = 128 * 1024;

/// Encodes the params of a variable.
///
/// # Errors
/// `limit_exceeded` where they are too large for an environment variable.
pub(super) fn encode(name: &str, params: &Value) -> Result<String, Problem> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    let packed = zlib.write_all(params.to_string().as_bytes()).and_then(|()| zlib.finish()).map_err(|error| {
        Problem::new(Code::Bug, "Pipes params could not be compressed").place(name).cause(error.to_string())
    })?;
    let text = base64(&packed);
    if name.len() + text.len() + 2 > MOST_BYTES {
        return Err(Problem::new(Code::LimitExceeded, "the context is too large for an environment variable")
            .place(name)
            .cause(format!("it has {} bytes when it is encoded; {MOST_BYTES} are allowed", text.len()))
            .remedy("pass the context by file (the default), not inline"));
    }
    Ok(text)
}

/// Base64 with the standard alphabet and padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() { char::from(ALPHABET[six as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use catchment_model::Code;
    use serde_json::{Value, json};

    use super::{base64, encode};

    #[test]
    fn base64_follows_the_test_vectors_of_rfc_4648() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd, 0x3f]), "//79Pw==");
    }

    #[test]
    fn params_that_do_not_fit_a_variable_are_refused_with_the_remedy() {
        // Text that does not compress well: the bytes of a generator (Marsaglia's xorshift).
        let mut seed = 1_u32;
        let mut noise = || {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            char::from(b'0' + (seed % 64) as u8)
        };
        let text: String = (0..200_000).map(|_| noise()).collect();
        let problem = encode("DAGSTER_PIPES_CONTEXT", &json!({"data": {"extras": {"text": text}}})).unwrap_err();
        assert_eq!(problem.code, Code::LimitExceeded);
        assert!(problem.remedy.unwrap().contains("by file"), "{:?}", problem.cause);
        assert!(encode("DAGSTER_PIPES_CONTEXT", &Value::Null).is_ok());
    }
}
