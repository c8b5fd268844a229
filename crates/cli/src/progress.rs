//! How long work shows itself: a bar on a terminal, plain lines elsewhere, nothing with `--json`. Always on
//! standard error, so that standard output holds results alone.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows how far some work is.
pub(crate) enum Progress {
    /// Nothing is shown.
    Silent,
    /// A line for each stage.
    Lines(String),
    /// A bar.
    Bar(ProgressBar),
}

impl Progress {
    /// Progress of the work `name`.
    pub(crate) fn new(name: &str, json: bool) -> Self {
        if json {
            return Self::Silent;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines(name.to_owned());
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(80));
        Self::Bar(bar)
    }

    /// A new stage of which no length is known.
    pub(crate) fn stage(&mut self, text: &str) {
        match self {
            Self::Silent => {}
            Self::Lines(name) => eprintln!("{name}: {text}"),
            Self::Bar(bar) => {
                bar.unset_length();
                bar.set_position(0);
                bar.set_style(style("{spinner} {prefix}  {msg}  {elapsed}"));
                bar.set_message(text.to_owned());
            }
        }
    }

    /// A new stage of `total` bytes.
    pub(crate) fn bytes(&mut self, text: &str, total: u64) {
        match self {
            Self::Silent => {}
            Self::Lines(name) => eprintln!("{name}: {text} ({})", crate::humane::bytes(total)),
            Self::Bar(bar) => {
                bar.set_style(style("{spinner} {prefix}  {msg}  {wide_bar} {bytes}/{total_bytes} {eta}"));
                bar.set_length(total);
                bar.set_position(0);
                bar.set_message(text.to_owned());
            }
        }
    }

    /// A stage that counts: shown on a terminal alone.
    pub(crate) fn count(&mut self, text: &str, done: u64, total: Option<u64>) {
        let Self::Bar(bar) = self else { return };
        match total {
            Some(total) => {
                bar.set_style(style("{spinner} {prefix}  {msg}  {wide_bar} {pos}/{len}"));
                bar.set_length(total);
            }
            None => bar.set_style(style("{spinner} {prefix}  {msg}  {pos}")),
        }
        bar.set_message(text.to_owned());
        bar.set_position(done);
    }

    /// How many bytes of the stage are done.
    pub(crate) fn at(&self, done: u64) {
        if let Self::Bar(bar) = self {
            bar.set_position(done);
        }
    }

    /// Takes the bar away.
    pub(crate) fn done(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
