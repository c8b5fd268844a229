//! When a failed step is tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest wait before a retry: a day. Exponential waits would otherwise outgrow every clock.
pub const MAX_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How the wait grows with the attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// It does not: `d`.
    #[default]
    None,
    /// `n · d` before the n-th retry.
    Linear,
    /// `(2ⁿ − 1) · d` before the n-th retry.
    Exponential,
}

/// How chance changes the wait, so that many steps do not come back at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// Anything between nothing and the wait.
    Full,
    /// The wait, more or less up to `d`.
    PlusMinus,
}

/// How often, and after which wait, a failed step is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryPolicy {
    /// How many retries there may be after the first attempt.
    pub max_retries: u32,
    /// The wait `d`, in seconds.
    pub delay_s: f64,
    /// How the wait grows.
    pub backoff: Backoff,
    /// How chance changes it.
    pub jitter: Jitter,
}

impl Default for RetryPolicy {
    /// One retry, at once.
    fn default() -> Self {
        Self { max_retries: 1, delay_s: 0.0, backoff: Backoff::None, jitter: Jitter::None }
    }
}

impl RetryPolicy {
    /// The wait before retry `retry` (the first is 1), or None where it is not tried again. `random` is drawn from
    /// 0 to 1. The formulas are Dagster's; the wait is at least 0 and at most [`MAX_DELAY`].
    pub fn delay(&self, retry: u32, random: f64) -> Option<Duration> {
        if retry == 0 || retry > self.max_retries {
            return None;
        }
        let factor = match self.backoff {
            Backoff::None => 1.0,
            Backoff::Linear => f64::from(retry),
            Backoff::Exponential => 2f64.powi(retry.min(1_000).cast_signed()) - 1.0,
        };
        let wait = factor * self.delay_s;
        let random = random.clamp(0.0, 1.0);
        let wait = match self.jitter {
            Jitter::None => wait,
            Jitter::Full => random * wait,
            Jitter::PlusMinus => wait + (2.0 * random - 1.0) * self.delay_s,
        };
        // `max` also turns what is no number (0 · ∞) into 0.
        Some(Duration::from_secs_f64(wait.max(0.0).min(MAX_DELAY.as_secs_f64())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Backoff, Jitter, MAX_DELAY, RetryPolicy};

    fn policy(backoff: Backoff, jitter: Jitter) -> RetryPolicy {
        RetryPolicy { max_retries: 10, delay_s: 2.0, backoff, jitter }
    }

    fn seconds(policy: &RetryPolicy, retry: u32, random: f64) -> f64 {
        policy.delay(retry, random).expect("a retry is left").as_secs_f64()
    }

    #[test]
    fn by_default_a_step_is_retried_once_at_once() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(1, 0.5), Some(Duration::ZERO));
        assert_eq!(policy.delay(2, 0.5), None);
    }

    #[test]
    fn waits_grow_as_their_formula_says() {
        let waits = |backoff| (1..=4).map(|n| seconds(&policy(backoff, Jitter::None), n, 0.3)).collect::<Vec<_>>();
        assert_eq!(waits(Backoff::None), [2.0, 2.0, 2.0, 2.0]);
        assert_eq!(waits(Backoff::Linear), [2.0, 4.0, 6.0, 8.0]);
        assert_eq!(waits(Backoff::Exponential), [2.0, 6.0, 14.0, 30.0]);
    }

    #[test]
    fn chance_moves_the_wait_within_its_bounds() {
        assert_eq!(seconds(&policy(Backoff::Linear, Jitter::Full), 3, 0.25), 1.5);
        assert_eq!(seconds(&policy(Backoff::Linear, Jitter::PlusMinus), 3, 0.0), 4.0);
        assert_eq!(seconds(&policy(Backoff::Linear, Jitter::PlusMinus), 3, 1.0), 8.0);
    }

    proptest! {
        #[test]
        fn no_wait_is_negative_or_longer_than_a_day(
            retry in 1u32..5_000,
            delay in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), -10.0..1e12f64],
            random in -1.0..2.0f64,
            backoff in prop::sample::select(vec![Backoff::None, Backoff::Linear, Backoff::Exponential]),
            jitter in prop::sample::select(vec![Jitter::None, Jitter::Full, Jitter::PlusMinus]),
        ) {
            let policy = RetryPolicy { max_retries: u32::MAX, delay_s: delay, backoff, jitter };
            prop_assert!(policy.delay(retry, random).is_some_and(|wait| wait <= MAX_DELAY));
        }
    }
}
