//! Limits on what the process may use up (`setrlimit`).

use std::io;

use catchment_gdal::protocol::Limits;

use super::check;

pub(super) fn describe(limits: &Limits) -> String {
    format!(
        "memory {} MiB, processor time {} s, {} open files, files of {} MiB",
        limits.memory >> 20,
        limits.cpu.as_secs().max(1),
        limits.open_files,
        limits.scratch >> 20
    )
}

/// Memory is limited as RLIMIT_DATA: heap and private writable mappings, since Linux 4.7. The address space
/// is not, for it would count a hundred libraries and mapped input files.
pub(super) fn apply(limits: &Limits) -> io::Result<()> {
    let cpu = limits.cpu.as_secs().max(1);
    set(libc::RLIMIT_DATA, limits.memory, limits.memory)?;
    // The soft limit sends SIGXCPU, which names the reason; the hard one kills.
    set(libc::RLIMIT_CPU, cpu, cpu + 1)?;
    set(libc::RLIMIT_NOFILE, limits.open_files, limits.open_files)?;
    set(libc::RLIMIT_FSIZE, limits.scratch, limits.scratch)?;
    set(libc::RLIMIT_CORE, 0, 0)?;
    set(libc::RLIMIT_MEMLOCK, 0, 0)?;
    // A file that grows too large is an error of the write that does it, not a death.
    // SAFETY: ignoring a signal needs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    Ok(())
}

fn set(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<()> {
    let mut current = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structs live across the calls. A limit is only ever lowered.
    unsafe {
        check(libc::getrlimit(resource, &raw mut current).into())?;
        let wanted = libc::rlimit { rlim_cur: soft.min(current.rlim_max), rlim_max: hard.min(current.rlim_max) };
        check(libc::setrlimit(resource, &raw const wanted).into())
    }
}
