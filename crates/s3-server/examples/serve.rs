//! Serves a folder as S3 for tests: `serve HOME [PORT]` prints the endpoint, the access key and the secret, each
//! on a line of its own, and goes on until it is killed or its standard input closes.

use std::net::SocketAddr;

use catchment_s3_server::{Config, Server};
use catchment_settings::{Environment, Home, S3Credentials};
use tokio::io::AsyncReadExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let home = Home::open(arguments.next().ok_or("the first argument is the home folder")?)?;
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let environment = Environment::from_lookup(|_| None)?;
    let admin = S3Credentials::load_or_create(&home, &environment)?;
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    let server = Server::bind(Config::for_home(&home, &environment, admin.clone(), listen)).await?;
    println!("http://{}\n{}\n{}", server.local_addr(), admin.access_key, admin.secret_key.reveal());
    let end_of_input = async {
        let mut rest = Vec::new();
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    };
    server.serve(end_of_input).await?;
    Ok(())
}
