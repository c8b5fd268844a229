//! Values as objects in a store such as S3.

use std::sync::Arc;

use async_trait::async_trait;
use catchment_core::metadata::{Metadata, MetadataValue};
use catchment_model::{Code, Problem};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};

use super::{IoManager, OutputContext, not_kept};
use crate::output::SharedValue;

/// Keeps values as JSON objects below a prefix of an object store, so that runs on other hosts find them. Keys are
/// named as the files of [`FilesIoManager`](super::FilesIoManager) are.
#[derive(Debug, Clone)]
pub struct ObjectStoreIoManager {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl ObjectStoreIoManager {
    /// Below this prefix (which may be empty) of the store.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { store, prefix: Path::from(prefix) }
    }

    fn path(&self, context: &OutputContext) -> Result<Path, Problem> {
        let (prefix, name) = (&self.prefix, context.path().join("/"));
        // Parsed, not made: what is percent-encoded in a name is not encoded again.
        Path::parse(format!("{prefix}/{name}.json")).map_err(|error| {
            Problem::new(Code::Bug, format!("the value of `{}` has no key", context.name())).cause(error.to_string())
        })
    }

    fn failed(&self, doing: &str, context: &OutputContext, path: &Path, error: &Error) -> Problem {
        Problem::new(Code::Unavailable, format!("the value of `{}` cannot be {doing}", context.name()))
            .place(path.to_string())
            .cause(error.to_string())
            .remedy("see that the object store is there, and that its credentials allow it")
    }
}

#[async_trait]
impl IoManager for ObjectStoreIoManager {
    async fn handle_output(&self, context: &OutputContext, value: &SharedValue) -> Result<Metadata, Problem> {
        let bytes = context.encode(value)?;
        let path = self.path(context)?;
        let put = self.store.put(&path, bytes.into()).await;
        put.map_err(|error| self.failed("kept", context, &path, &error))?;
        Ok(Metadata::from_iter([("path".to_owned(), MetadataValue::Path(path.to_string()))]))
    }

    async fn load_input(&self, context: &OutputContext) -> Result<SharedValue, Problem> {
        let path = self.path(context)?;
        let got = async { self.store.get(&path).await?.bytes().await }.await;
        match got {
            Ok(bytes) => context.decode(&bytes),
            Err(Error::NotFound { .. }) => Err(not_kept(context, path.as_ref())),
            Err(error) => Err(self.failed("read", context, &path, &error)),
        }
    }

    fn needs_codec(&self) -> bool {
        true
    }
}
