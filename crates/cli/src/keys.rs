//! `catchment s3 key`: the named keys of the embedded S3 server.

use catchment_model::Problem;
use catchment_web::views::{KeyList, KeyView, NewKey};

use crate::args::KeyCommand;
use crate::dataset::segment;
use crate::{Context, humane};

/// Carries a command under `catchment s3 key` out.
pub(crate) async fn carry_out(command: KeyCommand, context: &Context) -> Result<(), Problem> {
    let api = context.api()?;
    match command {
        KeyCommand::Add { name, role } => {
            let new = NewKey { name, role: role.as_str().into() };
            let key: KeyView = api.post("/s3/keys", &new).await?;
            context.show(&key, |key| {
                humane::facts(&[
                    ("name", key.name.clone()),
                    ("role", key.role.clone()),
                    ("access key", key.access_key.clone()),
                    ("secret key", humane::or_dash(key.secret_key.clone())),
                ]);
                println!("\nThe secret is not shown again: hand it over now.");
            })
        }
        KeyCommand::List => {
            let list: KeyList = api.get("/s3/keys", &[]).await?;
            context.show(&list, |list| {
                if list.keys.is_empty() {
                    println!("No keys. Make one: catchment s3 key add NAME --role uploader");
                    return;
                }
                let mut table = humane::table(&["name", "role", "access key", "made", "revoked"]);
                for key in &list.keys {
                    table.add_row([
                        key.name.clone(),
                        key.role.clone(),
                        key.access_key.clone(),
                        humane::time(key.created_at),
                        humane::or_dash(key.revoked_at.map(humane::time)),
                    ]);
                }
                println!("{table}");
            })
        }
        KeyCommand::Revoke { name } => {
            let key: KeyView = api.delete(&format!("/s3/keys/{}", segment(&name))).await?;
            context.show(&key, |key| println!("the key of {} opens nothing any more", key.name))
        }
    }
}
