//! Wake-ups between processes of one machine: hints that save time, never what correctness rests on.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Tells whoever listens at `socket` to look at the state now. Never blocks, never fails: nobody may listen.
pub fn wake(socket: &Path) {
    let sent = UnixDatagram::unbound().and_then(|s| {
        s.set_nonblocking(true)?;
        s.send_to(b"w", socket)
    });
    if let Err(error) = sent {
        tracing::trace!(%error, socket = %socket.display(), "nobody to wake");
    }
}

/// Receives the hints of other processes.
#[derive(Debug)]
pub struct Listener {
    socket: tokio::net::UnixDatagram,
}

impl Listener {
    /// Listens at `path`, in place of a socket that an earlier process left there.
    ///
    /// # Errors
    /// Where the socket cannot be made (its path may be longer than the 107 bytes that Linux allows).
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        Ok(Self { socket: tokio::net::UnixDatagram::bind(path)? })
    }

    /// Waits for the next hint and swallows those that have piled up behind it. Cancel-safe.
    pub async fn woken(&self) {
        let mut buffer = [0u8; 16];
        if self.socket.recv(&mut buffer).await.is_err() {
            std::future::pending::<()>().await;
        }
        while self.socket.try_recv(&mut buffer).is_ok() {}
    }
}
