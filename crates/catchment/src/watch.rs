//! Folders that sensors watch: the code server hears of each change from the kernel (inotify(7)) and wakes the daemon, so
//! that a file is seen at once and not at the sensor's next interval.
//!
//! A hint saves time and is nothing to rely on: a folder that is not there yet is looked for again, one on a file system
//! that other machines write to tells nothing of their changes, and the sensor's interval holds all the same.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::{task, wake};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use crate::resource::Resources;

/// Between two looks for a folder that cannot be watched.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long further changes are gathered after one that was told.
const GATHER: Duration = Duration::from_millis(10);
/// A file that came, was written, was renamed or went; and the end of the folder itself.
const CHANGES: u32 = libc::IN_CREATE
    | libc::IN_CLOSE_WRITE
    | libc::IN_MOVED_TO
    | libc::IN_MOVED_FROM
    | libc::IN_DELETE
    | libc::IN_DELETE_SELF
    | libc::IN_MOVE_SELF
    | libc::IN_ONLYDIR;

/// Watches folders until it is dropped.
#[derive(Debug)]
pub(crate) struct Watches(Vec<JoinHandle<()>>);

impl Watches {
    /// Wakes the daemon when something changes in one of the folders that these resources say.
    pub(crate) fn start(folders: impl IntoIterator<Item = String>, resources: &Resources) -> Self {
        let watch = |folder| task::spawn("watch", watch(folder, resources.clone()));
        Self(folders.into_iter().map(watch).collect())
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn watch(resource: String, resources: Resources) {
    let socket = resources.surroundings().home.daemon_socket();
    let mut said = false;
    loop {
        let opened = resources.get::<PathBuf>(&resource).await;
        match opened.and_then(|folder| Changes::of(&folder).map_err(|error| cannot_be_watched(&folder, &error))) {
            Ok(mut changes) => {
                said = false;
                // What came before the watch began is seen by this look.
                wake::wake(&socket);
                while let Ok(true) = changes.next().await {
                    wake::wake(&socket);
                    tokio::time::sleep(GATHER).await;
                }
            }
            Err(problem) if !said => {
                said = true;
                tracing::warn!(%problem, "its sensors see changes at their intervals only, until it can be watched");
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn cannot_be_watched(folder: &Path, error: &io::Error) -> Problem {
    Problem::new(Code::Io, "a folder cannot be watched")
        .place(folder.display().to_string())
        .cause(error.to_string())
        .remedy("see that it is there, is a folder and may be read; it is tried again")
}

/// What the kernel tells of a folder.
struct Changes {
    inotify: AsyncFd<OwnedFd>,
}

impl Changes {
    fn of(folder: &Path) -> io::Result<Self> {
        let path = CString::new(folder.as_os_str().as_bytes())?;
        // SAFETY: the call takes no memory; its answer is checked.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the path ends with a NUL and outlives the call.
        if unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), CHANGES) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is owned by what is registered, and stays open as long as that lives.
        Ok(Self { inotify: unsafe { AsyncFd::register(fd)? } })
    }

    /// Waits for changes and swallows those that have piled up; answers whether the folder is still watched.
    async fn next(&mut self) -> io::Result<bool> {
        let mut ready = self.inotify.readable().await?;
        let mut buffer = [0_u8; 4096];
        let mut watched = true;
        loop {
            // SAFETY: the buffer is ours and as long as is said.
            let read = unsafe { libc::read(self.inotify.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            let Ok(read) = usize::try_from(read) else { break };
            watched &= !ended(buffer.get(..read).unwrap_or_default());
        }
        let error = io::Error::last_os_error();
        ready.clear_ready();
        if error.kind() == io::ErrorKind::WouldBlock { Ok(watched) } else { Err(error) }
    }
}

/// Whether one of the events says that the folder is not watched any more, or is not at its path. An event is four
/// numbers (watch, what, cookie, length of the name) and a name.
fn ended(mut events: &[u8]) -> bool {
    const HEAD: usize = 16;
    let number = |at: usize, events: &[u8]| Some(u32::from_ne_bytes(events.get(at..at + 4)?.try_into().ok()?));
    while let (Some(what), Some(length)) = (number(4, events), number(12, events)) {
        if what & (libc::IN_IGNORED | libc::IN_MOVE_SELF) != 0 {
            return true;
        }
        let whole = HEAD.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        events = events.get(whole..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use catchment_settings::wake::Listener;
    use catchment_settings::{Environment, Home};

    use super::{Changes, Watches};
    use crate::resource::{ResourceDefinition, Resources, Surroundings};

    async fn in_time<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), what).await.expect("nothing happened in time")
    }

    #[tokio::test]
    async fn a_file_that_comes_wakes_the_daemon() {
        let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let home = Home::open(home.path()).unwrap();
        let listener = Listener::bind(&home.daemon_socket()).unwrap();
        let path = Arc::new(folder.path().to_owned());
        let inbox = ResourceDefinition::new("inbox", move |_| std::future::ready(Ok(path.clone())));
        let surroundings = Surroundings { environment: Environment::from_lookup(|_| None).unwrap(), home };
        let _watches = Watches::start(["inbox".to_owned()], &Resources::new([inbox], surroundings));
        in_time(listener.woken()).await;
        for name in ["a", "b"] {
            std::fs::write(folder.path().join(name), "").unwrap();
            in_time(listener.woken()).await;
        }
    }

    #[tokio::test]
    async fn a_folder_that_goes_is_not_watched_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut changes = Changes::of(folder.path()).unwrap();
        std::fs::write(folder.path().join("a"), "").unwrap();
        assert!(in_time(changes.next()).await.unwrap());
        folder.close().unwrap();
        while in_time(changes.next()).await.unwrap() {}
        assert!(Changes::of(std::path::Path::new("/not/there")).is_err());
    }
}
