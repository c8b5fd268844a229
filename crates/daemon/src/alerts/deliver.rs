//! Carries alerts from the outbox to their channels.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use catchment_instance::Alert;
use catchment_model::{Code, Problem};
use catchment_settings::config::{Channel, Webhook};
use futures::StreamExt as _;
use futures::stream;
use reqwest::redirect::Policy;
use tokio::sync::watch;

use crate::context::Context;
use crate::monitor::later;
use crate::reconcile::Reconcile;

/// How many alerts are read at once.
const PAGE: u32 = 100;
/// How many are under way at once: a channel that does not answer delays no other.
const AT_ONCE: usize = 16;
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a channel may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The wait after a first failed try; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// After so many tries an alert is given up: some ten hours after the first.
const TRIES: u32 = 20;

/// The channels that did not answer in a step: what else is for them waits for its next try, and holds up no other.
type Silent = Mutex<BTreeSet<String>>;

/// Delivers alerts.
pub struct Deliverer {
    context: Context,
    client: reqwest::Client,
}

impl Deliverer {
    /// A deliverer to the channels of the context's settings.
    ///
    /// # Errors
    /// `io` where the machine's TLS certificates cannot be read.
    pub fn new(context: Context) -> Result<Self, Problem> {
        // A redirect would turn the POST into a GET of another place: it counts as a refusal.
        let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build().map_err(|error| {
            Problem::new(Code::Io, "no client for webhooks can be made")
                .cause(error.to_string())
                .remedy("see that the machine's certificates (package `ca-certificates`) can be read")
        })?;
        Ok(Self { context, client })
    }

    /// Tries every alert whose time has come; answers when to look again.
    ///
    /// # Errors
    /// Those of the state: what was delivered, and could not be noted so, is delivered again.
    pub async fn step(&mut self) -> Result<Duration, Problem> {
        let due = self.context.instance.due_alerts(self.context.now(), PAGE).await?;
        let is_full = due.len() >= PAGE as usize;
        let silent = Silent::default();
        let told = stream::iter(due).map(|alert| self.handle(alert, &silent));
        let noted: Vec<_> = told.buffer_unordered(AT_ONCE).collect().await;
        noted.into_iter().collect::<Result<(), Problem>>()?;
        Ok(if is_full { Duration::ZERO } else { INTERVAL })
    }

    async fn handle(&self, alert: Alert, silent: &Silent) -> Result<(), Problem> {
        let instance = &self.context.instance;
        let told = match self.context.config.alerts.channels.get(&alert.alert.channel) {
            Some(Channel::Log) => {
                tracing::warn!(rule = alert.alert.rule, event = %alert.alert.event, "alert");
                Ok(())
            }
            Some(Channel::Webhook(hook)) => self.post(hook, &alert, silent).await,
            None => {
                let what = format!("the channel {} is not in catchment.yaml any more", alert.alert.channel);
                tracing::error!(alert = alert.alert.key, "an alert is given up: {what}");
                return Ok(instance.alert_failed(alert.id, &what, None).await?);
            }
        };
        match told {
            Ok(()) => Ok(instance.alert_delivered(alert.id).await?),
            Err(why) if alert.attempts + 1 >= TRIES => {
                tracing::error!(alert = alert.alert.key, why, "an alert is given up after {TRIES} tries");
                Ok(instance.alert_failed(alert.id, &why, None).await?)
            }
            Err(why) => {
                tracing::warn!(alert = alert.alert.key, why, "an alert was not delivered; it is tried again");
                let next = later(self.context.now(), wait(alert.attempts));
                Ok(instance.alert_failed(alert.id, &why, Some(next)).await?)
            }
        }
    }

    /// The address may hold a secret: it is in no error.
    async fn post(&self, hook: &Webhook, alert: &Alert, silent: &Silent) -> Result<(), String> {
        let channel = &alert.alert.channel;
        if silent.lock().unwrap_or_else(PoisonError::into_inner).contains(channel) {
            return Err("the channel did not answer an alert before this one".to_owned());
        }
        let mut request = self.client.post(hook.url.reveal());
        for (name, value) in &hook.headers {
            request = request.header(name, value.reveal());
        }
        let body = alert.alert.event.to_string();
        let answer = request
            .header(reqwest::header::CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .body(body)
            .send()
            .await
            .map_err(|error| {
                if error.is_timeout() {
                    silent.lock().unwrap_or_else(PoisonError::into_inner).insert(channel.clone());
                }
                why(error.without_url())
            })?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status())) }
    }
}

/// An error with its causes.
fn why(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// The wait after so many earlier tries.
fn wait(tries: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << tries.min(16)).min(LONGEST_WAIT)
}

#[async_trait]
impl Reconcile for Deliverer {
    fn name(&self) -> &str {
        "alert delivery"
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        None
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        Deliverer::step(self).await
    }
}
