//! The landing zone: files and manifests go in by S3, as any client's do.

use std::path::Path;

use catchment_model::{Code, Problem, S3Path};
use catchment_settings::{Home, S3Credentials, Secret};
use catchment_store::{Attributes, PutMode, Store, StoreConfig};
use catchment_web::views::InstanceView;

use crate::Context;
use crate::client::Api;

/// The landing bucket, with the key that writes it.
pub(super) struct Landing {
    store: Store,
}

impl Landing {
    /// Finds server and key: `endpoints.json` of the home, else the web server says where; `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`, else the home's own key.
    pub(super) async fn open(api: &Api, context: &Context) -> Result<Self, Problem> {
        let environment = &context.environment;
        let home = Home::at(&environment.home)
            .map_err(|e| Problem::new(Code::Io, "the home folder has no path").cause(e.to_string()))?;
        // Where another server was named, its S3 server is meant too, not the one of this home.
        let elsewhere = context.global.url.is_some() || std::env::var_os("CATCHMENT_URL").is_some();
        let own = home.endpoints().ok().and_then(|endpoints| endpoints.s3).filter(|_| !elsewhere);
        let (endpoint, bucket) = match own {
            Some(endpoint) => (Some(endpoint), environment.landing_bucket.clone()),
            None => {
                let instance: InstanceView = api.get("/instance", &[]).await?;
                (instance.s3_url, instance.landing_bucket)
            }
        };
        let endpoint = endpoint.ok_or_else(|| {
            Problem::new(Code::Unavailable, "the address of the S3 server is not known")
                .place(api.base())
                .remedy("start everything with `catchment dev`")
        })?;
        let credentials = credentials(context, &home)?;
        Ok(Self {
            store: Store::new(StoreConfig {
                endpoint,
                access_key: credentials.access_key,
                secret_key: credentials.secret_key,
                bucket,
            }),
        })
    }

    /// Uploads a file to `<batch_id>/<name>`; answers where it is.
    pub(super) async fn upload(
        &self,
        batch_id: &str,
        name: &str,
        path: &Path,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<S3Path, Problem> {
        let key = format!("{batch_id}/{name}");
        let place = S3Path::new(self.store.bucket(), &key).map_err(|e| {
            Problem::new(Code::InvalidInput, "the batch and the file do not make a key of an object")
                .cause(e.to_string())
                .remedy("choose another --batch-id, or another name for the file")
        })?;
        self.store.put_file(&key, path, &Attributes::of_type("application/octet-stream"), progress).await?;
        Ok(place)
    }

    /// Puts a manifest to `manifests/<batch_id>.json`; answers key and entity tag.
    pub(super) async fn announce(&self, batch_id: &str, manifest: Vec<u8>) -> Result<(String, String), Problem> {
        let name: String = batch_id.chars().map(|c| if c == '/' || c.is_control() { '_' } else { c }).collect();
        let key = format!("manifests/{name}.json");
        let stored =
            self.store.put_bytes(&key, manifest, &Attributes::of_type("application/json"), PutMode::Overwrite).await?;
        Ok((key, stored.etag))
    }
}

fn credentials(context: &Context, home: &Home) -> Result<S3Credentials, Problem> {
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    if let (Some(access_key), Some(secret)) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
        return Ok(S3Credentials { access_key, secret_key: Secret::new(secret) });
    }
    if context.environment.s3_root.is_none() && !home.credentials_file().is_file() {
        return Err(Problem::new(Code::InvalidConfig, "there is no key for the S3 server")
            .place(home.credentials_file().display().to_string())
            .remedy("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that `catchment s3 key add` made"));
    }
    S3Credentials::load_or_create(home, &context.environment)
}
