//! Serves a folder as S3 for tests: `serve HOME [PORT]` prints the endpoint, the access key and the secret, each
//! on a line of its own, and goes on until it is killed or its standard input closes.

use std::net::SocketAddr;

use catchment_s3_server::{Config, Server};
use catchment_settings::{Environment, Home, S3Credentials};

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
    let (ended, end_of_input) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(ended);
    });
    server.serve(async { drop(end_of_input.await) }).await?;
    Ok(())
}
