//! Namespaces: a user without rights, no network, and a file system that holds little.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::ptr;

use super::{Policy, check};

/// What could be had.
pub(super) struct Spaces {
    pub(super) user: io::Result<()>,
    pub(super) network: io::Result<()>,
    pub(super) files: io::Result<()>,
}

/// Enters new namespaces. A process without rights may do so by way of a user namespace, where the system
/// lets it; a process with rights may where that is forbidden.
pub(super) fn enter(policy: &Policy) -> Spaces {
    // SAFETY: plain system calls without pointers.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let with_user = unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWIPC)
        .and_then(|()| map_user(uid, gid));
    match with_user {
        Ok(()) => Spaces { user: Ok(()), network: Ok(()), files: change_root(policy) },
        Err(error) => Spaces {
            user: Err(error),
            network: unshare(libc::CLONE_NEWNET),
            files: unshare(libc::CLONE_NEWNS).and_then(|()| change_root(policy)),
        },
    }
}

/// Gives up every capability, in whatever user namespace.
pub(super) fn drop_capabilities() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    /// `_LINUX_CAPABILITY_VERSION_3`: two sets of 32 bits each.
    const VERSION: u32 = 0x2008_0522;
    let mut header = Header { version: VERSION, pid: 0 };
    let nothing = [0_u32; 6];
    // SAFETY: the header and the two (effective, permitted, inheritable) triples live across the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, nothing.as_ptr()) })
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: a plain system call; the process has one thread.
    check(unsafe { libc::unshare(flags) }.into())
}

/// Keeps the numbers of user and group; inside they have no rights but over what was theirs.
fn map_user(uid: libc::uid_t, gid: libc::gid_t) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Makes a root of its own, in memory, into which only what the policy names is bound, at the same paths;
/// then leaves the old root for good.
fn change_root(policy: &Policy) -> io::Result<()> {
    let scratch = fs::canonicalize(&policy.scratch)?;
    let handle = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(&scratch)?;
    mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, None)?;
    // The new root hides the scratch folder, which is bound into it again by its handle.
    mount(
        Some(Path::new("tmpfs")),
        &scratch,
        Some(c"tmpfs"),
        libc::MS_NOSUID | libc::MS_NODEV,
        Some(c"mode=755,size=4m"),
    )?;
    let outcome = fill(&scratch, policy, &handle).and_then(|()| pivot(&scratch));
    if outcome.is_err() {
        // SAFETY: a plain system call on a path that lives across it; without the new root the old one stays.
        unsafe { libc::umount2(c_path(&scratch)?.as_ptr(), libc::MNT_DETACH) };
    }
    outcome
}

fn fill(root: &Path, policy: &Policy, scratch: &File) -> io::Result<()> {
    const SAFE: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;
    for path in Policy::system() {
        let target = inside(root, path);
        if path.is_symlink() {
            symlink(fs::read_link(path)?, &target)?;
        } else {
            bind(path, &target, path.is_dir(), SAFE)?;
        }
    }
    for input in &policy.inputs {
        let target = inside(root, &std::path::absolute(input)?);
        if !target.exists() {
            bind(&fs::canonicalize(input)?, &target, false, SAFE | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC)?;
        }
    }
    let handle = PathBuf::from(format!("/proc/self/fd/{}", scratch.as_raw_fd()));
    let keep = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    bind(&handle, &inside(root, root), true, keep)?;
    if policy.scratch != root {
        let other_name = inside(root, &std::path::absolute(&policy.scratch)?);
        if !other_name.exists() {
            bind(&handle, &other_name, true, keep)?;
        }
    }
    restrict(root, false, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)
}

fn pivot(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    // SAFETY: plain system calls with constant paths: the old root comes to lie over the new one and is
    // then taken off (pivot_root(2), "pivot_root(".", ".")").
    unsafe {
        check(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        check(libc::umount2(c".".as_ptr(), libc::MNT_DETACH).into())?;
    }
    std::env::set_current_dir(root)
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn bind(source: &Path, target: &Path, is_folder: bool, attributes: u64) -> io::Result<()> {
    if is_folder {
        fs::create_dir_all(target)?;
    } else {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(target)?;
    }
    mount(Some(source), target, None, libc::MS_BIND | libc::MS_REC, None)?;
    restrict(target, true, attributes)
}

/// Adds attributes to a mount, and to those in it if `all`.
fn restrict(target: &Path, all: bool, attributes: u64) -> io::Result<()> {
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let target = c_path(target)?;
    let flags = if all { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: path and struct live across the call; the size is the struct's.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            target.as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    })
}

fn mount(
    source: Option<&Path>,
    target: &Path,
    kind: Option<&std::ffi::CStr>,
    flags: libc::c_ulong,
    data: Option<&std::ffi::CStr>,
) -> io::Result<()> {
    let source = source.map(c_path).transpose()?;
    let target = c_path(target)?;
    // SAFETY: all strings live across the call; null stands for those that are not needed.
    check(
        unsafe {
            libc::mount(
                source.as_ref().map_or(ptr::null(), |source| source.as_ptr()),
                target.as_ptr(),
                kind.map_or(ptr::null(), std::ffi::CStr::as_ptr),
                flags,
                data.map_or(ptr::null(), |data| data.as_ptr().cast()),
            )
        }
        .into(),
    )
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}
