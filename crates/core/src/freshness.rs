//! Whether an asset is as new as it should be.

use std::time::Duration;

use catchment_model::{Code, Problem};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cron::CronSchedule;

/// The shortest window.
const MINUTE: u64 = 60;

/// How new an asset should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FreshnessPolicy {
    /// It should be materialised again and again, without longer pauses than this.
    TimeWindow {
        /// It fails when it is as old as this, in seconds: at least 60.
        fail_window_s: u64,
        /// It warns when it is as old as this, in seconds: at least 60, less than `fail_window_s`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warn_window_s: Option<u64>,
    },
    /// It should be materialised before each deadline.
    Cron {
        /// The deadlines.
        deadline: CronSchedule,
        /// How long before a deadline a materialisation counts for it, in seconds: at least 60, at most the
        /// shortest time between two deadlines.
        lower_bound_s: u64,
    },
}

/// What [`FreshnessPolicy::state`] finds. The texts are Dagster's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FreshnessState {
    /// New enough.
    Pass,
    /// Soon too old.
    Warn,
    /// Too old.
    Fail,
    /// It was never materialised, or no deadline has passed.
    Unknown,
    /// It has no policy.
    NotApplicable,
}

impl FreshnessPolicy {
    /// A window, in whole seconds.
    ///
    /// # Errors
    /// `invalid_config` as [`FreshnessPolicy::validate`].
    pub fn time_window(fail: Duration, warn: Option<Duration>) -> Result<Self, Problem> {
        let policy = Self::TimeWindow { fail_window_s: fail.as_secs(), warn_window_s: warn.map(|warn| warn.as_secs()) };
        policy.validate()?;
        Ok(policy)
    }

    /// A deadline.
    ///
    /// # Errors
    /// `invalid_config` as [`FreshnessPolicy::validate`], and for a wrong expression or time zone.
    pub fn cron(deadline: &str, lower_bound: Duration, timezone: &str) -> Result<Self, Problem> {
        let deadline = CronSchedule::parse(&[deadline], timezone)?;
        let policy = Self::Cron { deadline, lower_bound_s: lower_bound.as_secs() };
        policy.validate()?;
        Ok(policy)
    }

    /// Checks what serde lets through: the lengths of windows.
    ///
    /// # Errors
    /// `invalid_config` that names the window and its bounds.
    pub fn validate(&self) -> Result<(), Problem> {
        let check = |name: &str, value: u64, most: Option<u64>, why: &str| {
            if value < MINUTE {
                Err(wrong(name, value, "it is shorter than a minute"))
            } else if most.is_some_and(|most| value > most) {
                Err(wrong(name, value, why))
            } else {
                Ok(())
            }
        };
        match self {
            Self::TimeWindow { fail_window_s, warn_window_s } => {
                check("fail_window", *fail_window_s, None, "")?;
                match warn_window_s {
                    Some(warn) => {
                        check("warn_window", *warn, Some(fail_window_s - 1), "it is not shorter than fail_window")
                    }
                    None => Ok(()),
                }
            }
            Self::Cron { deadline, lower_bound_s } => {
                let most = deadline.smallest_gap().as_secs();
                let why = format!("it is longer than the shortest time between two deadlines, {most} s");
                check("lower_bound_delta", *lower_bound_s, Some(most), &why)
            }
        }
    }

    /// How an asset stands that was last materialised then.
    pub fn state(&self, last_materialized: Option<Timestamp>, now: Timestamp) -> FreshnessState {
        let Some(last) = last_materialized else { return FreshnessState::Unknown };
        match self {
            Self::TimeWindow { fail_window_s, warn_window_s } => {
                let age = u64::try_from(now.duration_since(last).as_secs()).unwrap_or(0);
                if age >= *fail_window_s {
                    FreshnessState::Fail
                } else if warn_window_s.is_some_and(|warn| age >= warn) {
                    FreshnessState::Warn
                } else {
                    FreshnessState::Pass
                }
            }
            Self::Cron { deadline, lower_bound_s } => {
                let Some(passed) = deadline.last_at_or_before(now) else { return FreshnessState::Unknown };
                let bound = SignedDuration::from_secs(i64::try_from(*lower_bound_s).unwrap_or(i64::MAX));
                let earliest = passed.saturating_sub(bound).unwrap_or(Timestamp::MIN);
                if last >= earliest { FreshnessState::Pass } else { FreshnessState::Fail }
            }
        }
    }
}

fn wrong(name: &str, value: u64, why: &str) -> Problem {
    Problem::new(Code::InvalidConfig, format!("{name} cannot be {value} s"))
        .cause(why)
        .remedy("change the freshness policy's windows")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::{FreshnessPolicy, FreshnessState};

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    const fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }

    #[test]
    fn a_window_warns_and_then_fails() {
        let policy = FreshnessPolicy::time_window(minutes(60), Some(minutes(30))).expect("a policy");
        let state = |now| policy.state(Some(at("2026-01-01T00:00:00Z")), at(now));
        assert_eq!(state("2026-01-01T00:29:59Z"), FreshnessState::Pass);
        assert_eq!(state("2026-01-01T00:30:00Z"), FreshnessState::Warn);
        assert_eq!(state("2026-01-01T00:59:59Z"), FreshnessState::Warn);
        assert_eq!(state("2026-01-01T01:00:00Z"), FreshnessState::Fail);
        assert_eq!(policy.state(None, at("2026-01-01T00:00:00Z")), FreshnessState::Unknown);
    }

    #[test]
    fn a_deadline_looks_at_the_window_before_the_last_one_that_passed() {
        let policy = FreshnessPolicy::cron("0 9 * * *", minutes(60), "Europe/Zurich").expect("a policy");
        let state = |last, now| policy.state(Some(at(last)), at(now));
        // 08:30 local is within the hour before 09:00 local; 07:30 is not.
        assert_eq!(state("2026-01-02T07:30:00Z", "2026-01-02T08:00:00Z"), FreshnessState::Pass);
        assert_eq!(state("2026-01-02T06:30:00Z", "2026-01-02T08:00:00Z"), FreshnessState::Fail);
        // A minute before the deadline it is still yesterday's that counts.
        assert_eq!(state("2026-01-01T07:30:00Z", "2026-01-02T07:59:00Z"), FreshnessState::Pass);
        // A late materialisation mends it.
        assert_eq!(state("2026-01-02T10:00:00Z", "2026-01-02T11:00:00Z"), FreshnessState::Pass);
    }

    #[test]
    fn windows_that_make_no_sense_are_refused() {
        let cause =
            |policy: Result<FreshnessPolicy, catchment_model::Problem>| policy.expect_err("refused").to_string();
        let seconds = Duration::from_secs(59);
        assert!(cause(FreshnessPolicy::time_window(seconds, None)).contains("shorter than a minute"));
        assert!(cause(FreshnessPolicy::time_window(minutes(5), Some(minutes(5)))).contains("not shorter than"));
        assert!(cause(FreshnessPolicy::cron("0 * * * *", minutes(61), "UTC")).contains("3600 s"));
        assert!(FreshnessPolicy::cron("0 * * * *", minutes(60), "UTC").is_ok());
        assert!(FreshnessPolicy::cron("@daily", minutes(24 * 60), "Europe/Zurich").is_ok());
        assert!(cause(FreshnessPolicy::cron("0 9 * *", minutes(5), "UTC")).contains("has 4 fields"));
    }

    #[test]
    fn a_policy_is_the_same_after_a_journey_as_json() {
        let policy = FreshnessPolicy::cron("0 9 * * *", minutes(60), "Europe/Zurich").expect("a policy");
        let json = serde_json::to_value(&policy).expect("JSON");
        assert_eq!(json["kind"], "cron");
        assert_eq!(json["deadline"]["timezone"], "Europe/Zurich");
        assert_eq!(serde_json::from_value::<FreshnessPolicy>(json).expect("a policy"), policy);
    }

    proptest! {
        #[test]
        fn without_a_materialisation_time_only_makes_it_worse(
            fail in 60u64..100_000, warn in prop::option::of(60u64..100_000), ages in (0i64..200_000, 0i64..200_000),
        ) {
            let policy = FreshnessPolicy::TimeWindow { fail_window_s: fail, warn_window_s: warn.filter(|w| *w < fail) };
            let last = at("2026-01-01T00:00:00Z");
            let rank = |age| match policy.state(Some(last), last + jiff::SignedDuration::from_secs(age)) {
                FreshnessState::Pass => 0,
                FreshnessState::Warn => 1,
                _ => 2,
            };
            prop_assert!(rank(ages.0.min(ages.1)) <= rank(ages.0.max(ages.1)));
        }
    }
}
