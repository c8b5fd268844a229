//! Wake-ups between processes of one machine: hints that save time, never what correctness rests on.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// What may be worth a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// A run was made or has changed, or its events were written.
    Runs,
    /// Anything: something outside, a sensor's status, a definition.
    Anything,
}

/// Tells whoever listens at `socket` to look at everything now. Never blocks, never fails: nobody may listen.
pub fn wake(socket: &Path) {
    send(socket, b"w");
}

/// The same, where only a run has changed: what looks outside need not.
pub fn wake_for_runs(socket: &Path) {
    send(socket, b"r");
}

fn send(socket: &Path, what: &[u8]) {
    let sent = UnixDatagram::unbound().and_then(|s| {
        s.set_nonblocking(true)?;
        s.send_to(what, socket)
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
    pub async fn woken(&self) -> Hint {
        let mut buffer = [0u8; 16];
        if self.socket.recv(&mut buffer).await.is_err() {
            std::future::pending::<()>().await;
        }
        let mut hint = hint(&buffer);
        while self.socket.try_recv(&mut buffer).is_ok() {
            hint = hint.max(self::hint(&buffer));
        }
        hint
    }
}

fn hint(message: &[u8]) -> Hint {
    if message.starts_with(b"r") { Hint::Runs } else { Hint::Anything }
}

#[cfg(test)]
mod tests {
    use super::{Hint, Listener, wake, wake_for_runs};

    #[tokio::test]
    async fn hints_that_have_piled_up_are_one_and_the_widest_counts() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("wake");
        let listener = Listener::bind(&socket).unwrap();
        wake_for_runs(&socket);
        assert_eq!(listener.woken().await, Hint::Runs);
        wake_for_runs(&socket);
        wake(&socket);
        wake_for_runs(&socket);
        assert_eq!(listener.woken().await, Hint::Anything);
    }
}
