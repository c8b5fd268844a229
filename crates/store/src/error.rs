//! Why the object store did not do what was asked.

use catchment_model::{Code, Problem};
use http::StatusCode;

/// Why the object store did not do what was asked. `place` is `s3://<bucket>/<key>`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object or bucket.
    #[error("there is no object {place}")]
    NotFound {
        /// What was asked for.
        place: String,
    },
    /// The object is not in the state that was demanded: another entity tag, or there already.
    #[error("{place} was changed by somebody else")]
    PreconditionFailed {
        /// The object.
        place: String,
    },
    /// The key may not do this, or is not known.
    #[error("the object store refused access to {place}: {cause}")]
    Denied {
        /// The object.
        place: String,
        /// What the server said.
        cause: String,
    },
    /// The server is out of reach or overloaded; later it may work.
    #[error("the object store is out of reach at {place}: {cause}")]
    Unavailable {
        /// The object.
        place: String,
        /// The underlying error.
        cause: String,
    },
    /// The object is larger than the caller takes.
    #[error("{place} has {bytes} bytes; {limit} are the limit")]
    TooLarge {
        /// The object.
        place: String,
        /// Its size.
        bytes: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// A key that cannot be transferred: empty, or with segments that are empty, `.` or `..`.
    #[error("`{key}` cannot be used as a key: {cause}")]
    InvalidKey {
        /// The key.
        key: String,
        /// Why.
        cause: String,
    },
    /// A local file could not be read or written.
    #[error("{path} cannot be used: {cause}")]
    File {
        /// The file.
        path: String,
        /// The underlying error.
        cause: String,
    },
    /// The server said something that it should not.
    #[error("the object store failed at {place}: {cause}")]
    Failed {
        /// The object.
        place: String,
        /// What happened.
        cause: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn from_object_store(place: String, error: object_store::Error) -> Self {
        use object_store::Error as E;
        match error {
            E::NotFound { .. } => Self::NotFound { place },
            E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. } => {
                Self::PreconditionFailed { place }
            }
            E::PermissionDenied { source, .. } | E::Unauthenticated { source, .. } => {
                Self::Denied { place, cause: innermost(&*source) }
            }
            E::Generic { source, .. } if is_out_of_reach(&*source) => {
                Self::Unavailable { place, cause: innermost(&*source) }
            }
            E::Generic { source, .. } => Self::Failed { place, cause: innermost(&*source) },
            other => Self::Failed { place, cause: chain(&other) },
        }
    }

    pub(crate) fn from_status(place: String, status: StatusCode, body: &str) -> Self {
        let code = crate::xml::element(body, "Code").unwrap_or_default();
        let message = crate::xml::element(body, "Message").unwrap_or_default();
        let cause = format!("{status} {code} {message}").trim_end().to_owned();
        match status {
            StatusCode::NOT_FOUND => Self::NotFound { place },
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => Self::PreconditionFailed { place },
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Self::Denied { place, cause },
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Self::Unavailable { place, cause }
            }
            _ => Self::Failed { place, cause },
        }
    }

    pub(crate) fn file(path: &std::path::Path, error: &dyn std::error::Error) -> Self {
        Self::File { path: path.display().to_string(), cause: chain(error) }
    }
}

/// Whether a request of `object_store` did not get through, or met a server that could not answer now. The
/// status is only in its text.
fn is_out_of_reach(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut sources = std::iter::successors(Some(error), |error| error.source());
    sources.any(|error| {
        let text = error.to_string();
        error.is::<object_store::client::HttpError>()
            || text.contains("status code: 5")
            || text.contains("status code: 429")
    })
}

/// The cause beneath what `object_store` tells about its own tries.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut sources = std::iter::successors(Some(error), |error| error.source());
    match sources.find(|error| !error.to_string().starts_with("Error performing")) {
        Some(inner) => chain(inner),
        None => chain(error),
    }
}

/// An error with all its causes, without the repetitions that wrapping brings.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let what = error.to_string();
        match error {
            StoreError::NotFound { place } => Problem::new(Code::FileNotFound, "the object is not there").place(place),
            StoreError::PreconditionFailed { place } => {
                Problem::new(Code::Conflict, "the object was changed by somebody else").place(place)
            }
            StoreError::Denied { place, cause } => Problem::new(Code::Forbidden, "the object store refused access")
                .place(place)
                .cause(cause)
                .remedy("use a key whose role allows this: `catchment s3 key list` shows them"),
            StoreError::Unavailable { place, cause } => {
                Problem::new(Code::Unavailable, "the object store is out of reach")
                    .place(place)
                    .cause(cause)
                    .remedy("see that it runs (`catchment dev` or `catchment s3`) and try again")
            }
            StoreError::TooLarge { .. } => Problem::new(Code::LimitExceeded, what),
            StoreError::InvalidKey { .. } => Problem::new(Code::InvalidInput, what),
            StoreError::File { path, cause } => {
                Problem::new(Code::Io, "a file cannot be read or written").place(path).cause(cause)
            }
            StoreError::Failed { place, cause } => {
                Problem::new(Code::Io, "the object store failed").place(place).cause(cause)
            }
        }
    }
}

/// The result of a call to the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
