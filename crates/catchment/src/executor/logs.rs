//! What user code traces inside a step becomes a line of that step's log.
//!
//! The span of a step carries its run and key; [`StepLogs`] keeps them with the span and gives each event in it
//! (or in a span below it) to the run's journal.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use catchment_core::{Level, RunId};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::journal::Journal;

const TARGET: &str = "catchment::step";

static JOURNALS: Mutex<Option<HashMap<RunId, Journal>>> = Mutex::new(None);

/// Sends what the run's steps trace to this journal, until it is dropped.
pub(crate) struct Registered(RunId);

impl Registered {
    pub(crate) fn new(run_id: RunId, journal: Journal) -> Self {
        with_journals(|journals| journals.insert(run_id, journal));
        Self(run_id)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        with_journals(|journals| journals.remove(&self.0));
    }
}

fn with_journals<R>(change: impl FnOnce(&mut HashMap<RunId, Journal>) -> R) -> R {
    change(JOURNALS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// The span that a step runs in.
pub(crate) fn span(run_id: RunId, step: &str) -> Span {
    tracing::info_span!(target: TARGET, "step", %run_id, step)
}

struct Place {
    journal: Journal,
    step: String,
}

/// A layer of `tracing` that turns events inside a step into lines of its log.
#[derive(Debug, Default, Clone, Copy)]
pub struct StepLogs;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for StepLogs {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() != TARGET {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let text = |name: &str| fields.values.get(name).and_then(Value::as_str).map(str::to_owned);
        let run_id = text("run_id").and_then(|id| RunId::from_str(&id).ok());
        let journal = run_id.and_then(|run_id| with_journals(|journals| journals.get(&run_id).cloned()));
        if let (Some(span), Some(journal), Some(step)) = (context.span(id), journal, text("step")) {
            span.extensions_mut().insert(Place { journal, step });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            let Some(place) = extensions.get::<Place>() else { continue };
            let mut fields = Fields::default();
            event.record(&mut fields);
            let mut message = std::mem::take(&mut fields.message);
            for (name, value) in &fields.values {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                write!(message, " {name}={value}").ok();
            }
            let data = if fields.values.is_empty() { Value::Null } else { Value::Object(fields.values) };
            place.journal.log(Some(&place.step), level(*event.metadata().level()), message, data);
            return;
        }
    }
}

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warning,
        tracing::Level::INFO => Level::Info,
        _ => Level::Debug,
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    values: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.values.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.put(field, value.into()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.put(field, format!("{value:?}").into()),
        }
    }
}
