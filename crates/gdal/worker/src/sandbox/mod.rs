//! What the process gives up before it looks at the file. It can get none of it back.
//!
//! From the outside in: limits on what it may use up ([`limits`]); namespaces in which there is no network
//! and of the file system only what it needs ([`namespaces`]); no capabilities; Landlock, which says the
//! same of files and TCP where the kernel has it ([`files`]); a list of the system calls that remain
//! ([`syscalls`]). Each layer holds if the others fail; each that cannot be had on this machine is
//! reported, never passed over in silence.

mod files;
mod limits;
mod namespaces;
mod syscalls;

use std::io;
use std::path::{Path, PathBuf};

use catchment_gdal::protocol::{Limits, SandboxLayer, SandboxReport};

/// What the process may do from now on.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// The files that it may read.
    pub(crate) inputs: Vec<PathBuf>,
    /// The one folder that it may write to.
    pub(crate) scratch: PathBuf,
    /// What it may use up.
    pub(crate) limits: Limits,
}

/// What every process needs to read: libraries, GDAL's and PROJ's data, character sets.
const SYSTEM: [&str; 8] =
    ["/usr", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom"];

impl Policy {
    fn system() -> impl Iterator<Item = &'static Path> {
        SYSTEM.iter().map(Path::new).filter(|path| path.symlink_metadata().is_ok())
    }
}

/// Locks the process in. It must have one thread only. What could not be had is in the report.
pub(crate) fn enter(policy: &Policy) -> SandboxReport {
    let mut layers = Vec::new();
    layers.push(layer("no_new_privileges", "no program can give it more rights", set(libc::PR_SET_NO_NEW_PRIVS, 1)));
    let spaces = namespaces::enter(policy);
    let has_no_network = spaces.network.is_ok();
    let sees_few_files = spaces.files.is_ok();
    layers.push(layer("user_namespace", "a user without rights on the machine", spaces.user));
    layers.push(layer("network_namespace", "no network interface exists", spaces.network));
    layers.push(layer(
        "mount_namespace",
        "a file system of its input, its scratch folder and system libraries",
        spaces.files,
    ));
    layers.push(layer("capabilities", "all given up", namespaces::drop_capabilities()));
    layers.push(layer("limits", &limits::describe(&policy.limits), limits::apply(&policy.limits)));
    let landlock = files::restrict(policy);
    let has_landlock = landlock.is_ok();
    layers.push(match landlock {
        Ok(detail) => SandboxLayer { name: "landlock".to_owned(), in_force: true, detail },
        Err(why) => SandboxLayer { name: "landlock".to_owned(), in_force: false, detail: why },
    });
    // Asked for last of these: a change of rights would clear it.
    let orphaned = set(libc::PR_SET_PDEATHSIG, libc::SIGKILL.cast_unsigned().into());
    layers.push(layer("parent_death", "it dies with the process that started it", orphaned));
    layers.push(layer(
        "not_dumpable",
        "no other process looks into it, no core is written",
        set(libc::PR_SET_DUMPABLE, 0),
    ));
    let syscalls = syscalls::restrict();
    let has_no_sockets = syscalls.is_ok();
    layers.push(layer("seccomp", "system calls that reading a file does not need are refused", syscalls));
    SandboxReport {
        layers,
        files_confined: sees_few_files || has_landlock,
        network_confined: has_no_network || has_no_sockets,
    }
}

fn layer(name: &str, detail: &str, outcome: io::Result<()>) -> SandboxLayer {
    SandboxLayer {
        name: name.to_owned(),
        in_force: outcome.is_ok(),
        detail: outcome.map_or_else(|error| error.to_string(), |()| detail.to_owned()),
    }
}

fn set(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: these options of prctl take one number.
    check(unsafe { libc::prctl(option, value, 0, 0, 0) }.into())
}

/// The error of a system call that answered with less than zero.
fn check(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
