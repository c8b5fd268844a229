//! How a worker ended, and what that means to a reader of the error.

use std::fmt;
use std::time::Duration;

use catchment_model::problem::{Code, Problem};

use crate::protocol::Limits;

/// How the process ended and what it had used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Death {
    /// Its exit status, if it exited by itself.
    pub(crate) status: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// Processor time, user and system.
    pub(crate) cpu: Duration,
    /// Largest resident size, in bytes.
    pub(crate) peak_rss: u64,
}

/// Why the caller killed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The reader was dropped or told to stop.
    Canceled,
    /// It took too long.
    TooSlow,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signal, self.status) {
            (Some(signal), _) => write!(f, "signal {signal} ({})", signal_name(signal)),
            (None, Some(status)) => write!(f, "exit status {status}"),
            (None, None) => f.write_str("an unknown end"),
        }
    }
}

impl Death {
    /// Says why a stream that was cut off ended: `place` is the file, `words` the last lines that the
    /// worker wrote to its standard error.
    pub(crate) fn explain(
        &self,
        verdict: Option<Verdict>,
        limits: &Limits,
        rows: u64,
        place: &str,
        words: &[String],
    ) -> Problem {
        let problem = match verdict {
            Some(Verdict::Canceled) => Problem::new(Code::Canceled, "reading the file was stopped"),
            Some(Verdict::TooSlow) => Problem::new(
                Code::LimitExceeded,
                format!("GDAL took longer than {:?} to read the file and was stopped", limits.wait),
            )
            .remedy("raise the worker's limit of time, or split the file; if it is small, it is damaged"),
            None if self.ran_out_of_time(limits) => Problem::new(
                Code::LimitExceeded,
                format!("GDAL used more than {:?} of processor time to read the file", limits.cpu),
            )
            .remedy("raise the worker's limit of processor time, or split the file"),
            None if self.ran_out_of_memory(limits, words) => Problem::new(
                Code::LimitExceeded,
                format!("GDAL needed more than {} MiB of memory to read the file", limits.memory >> 20),
            )
            .remedy("raise the worker's limit of memory, or convert the file to a format that streams (FlatGeobuf, GeoPackage)"),
            None => Problem::new(Code::WorkerCrashed, "GDAL crashed while it read the file")
                .remedy("check the file with `ogrinfo -al -so`; convert it to another format; report it if the file is sound"),
        };
        let mut cause = match verdict {
            Some(_) => format!("after {rows} rows"),
            None => format!("the worker ended by {self} after {rows} rows"),
        };
        if let Some(last) = words.last() {
            cause.push_str("; its last words: ");
            cause.push_str(last);
        }
        problem.place(place).cause(cause)
    }

    fn ran_out_of_time(&self, limits: &Limits) -> bool {
        self.signal == Some(libc::SIGXCPU) || (self.signal == Some(libc::SIGKILL) && self.cpu >= limits.cpu)
    }

    fn ran_out_of_memory(&self, limits: &Limits, words: &[String]) -> bool {
        const SIGNS: [&str; 4] = ["memory allocation of", "bad_alloc", "out of memory", "cannot allocate"];
        let dead = self.signal.is_some() || self.status.is_some_and(|status| status != 0);
        let said =
            words.iter().map(|line| line.to_lowercase()).any(|line| SIGNS.iter().any(|sign| line.contains(sign)));
        dead && (said || self.peak_rss >= limits.memory / 10 * 9)
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        libc::SIGPIPE => "SIGPIPE",
        _ => "unnamed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_signal(signal: i32) -> Death {
        Death { signal: Some(signal), ..Death::default() }
    }

    fn explain(death: Death, words: &[&str]) -> Problem {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        death.explain(None, &Limits::default(), 7, "a.gpkg", &words)
    }

    #[test]
    fn a_segfault_is_a_crash_and_says_after_how_many_rows() {
        let problem = explain(by_signal(libc::SIGSEGV), &[]);
        assert_eq!(problem.code, Code::WorkerCrashed);
        assert_eq!(problem.cause.unwrap(), "the worker ended by signal 11 (SIGSEGV) after 7 rows");
        assert_eq!(problem.place.unwrap(), "a.gpkg");
    }

    #[test]
    fn an_abort_after_a_failed_allocation_is_the_memory_limit() {
        let problem = explain(by_signal(libc::SIGABRT), &["memory allocation of 4096 bytes failed"]);
        assert_eq!(problem.code, Code::LimitExceeded);
        assert!(problem.what.contains("memory"), "{}", problem.what);
    }

    #[test]
    fn an_end_by_processor_time_is_told_from_a_crash() {
        for death in [by_signal(libc::SIGXCPU), Death { cpu: Duration::from_secs(3600), ..by_signal(libc::SIGKILL) }] {
            let problem = explain(death, &[]);
            assert_eq!(problem.code, Code::LimitExceeded);
            assert!(problem.what.contains("processor time"), "{}", problem.what);
        }
    }
}
