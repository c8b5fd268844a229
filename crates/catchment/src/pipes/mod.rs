//! Dagster Pipes: any program, in any language, as (part of) an asset or op.
//!
//! The program is told what it is part of, and says what it did, by the protocol of `dagster-pipes` (version 0.1), which
//! works in it unmodified. Two environment variables say where the context is and where messages go ([`bootstrap`]);
//! everything else is a choice of the launching code: a [`ContextInjector`] ([`inject`]) and a [`MessageReader`]
//! ([`reader`]). [`PipesSubprocess`] launches on this machine; a launcher for another place uses the same two traits.
//!
//! A program that speaks no Pipes, and whose exit status is all that is asked of it, is run by [`command`].
//!
//! [`pump`] sees a process to its end: its streams go line by line ([`lines`]) into the step's log ([`capture`]), its
//! messages ([`message`]) are handled ([`handler`]), and what it reported becomes events ([`report`]) when it ended well.
//! Whatever it writes, memory is bounded: lines are cut, reports are limited, and it waits for the log.

mod bootstrap;
mod capture;
mod command;
mod handler;
mod inject;
mod lines;
mod message;
mod metadata;
mod process;
mod pump;
mod reader;
mod report;
mod result;
mod subprocess;
mod told;

pub use inject::{
    ContextInjector, InlineContext, PipesContextData, PipesDataProvenance, PipesPartitionKeyRange, PipesTimeWindow,
    TempFileContext,
};
pub use message::Stream;
pub use reader::{
    FolderMessages, MessageReader, MessageSource, MessagesFrom, OpenedReader, StdioMessages, TempFileMessages,
};
pub use result::{PipesCheck, PipesMaterialization, PipesResult};
pub use subprocess::PipesSubprocess;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a helper of tests may fail the test")]
mod tests;
