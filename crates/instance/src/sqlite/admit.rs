//! Admission: a sensor's answer becomes claims, runs, run keys, partitions and a cursor, in one transaction.
//!
//! A claim that is known and not finished keeps its outcome: the same object was seen again before it was moved
//! away. One that was accepted and finished is an upload of the same bytes under the same name, so a duplicate.
//! One that was refused and finished is handled afresh: a refusal uses nothing up.

use catchment_core::run::NewRun;
use catchment_core::sensor::{Claim, ClaimKey, ClaimOutcome, RunRequest, SensorResult};
use catchment_core::{RunId, tags};
use catchment_model::{Code, Problem};
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::rows::{self, to_json};
use super::{runs, small};
use crate::{Admitted, InstanceError, Result, Tick, TickStatus};

pub(super) async fn admit(
    db: &mut SqliteConnection,
    tick: Tick,
    location: &str,
    result: SensorResult,
    now: Timestamp,
) -> Result<Admitted> {
    let mut admission = Admission { db, location, now, tick, claims: Vec::new() };
    for added in &result.add_partitions {
        small::add_partitions(admission.db, &added.definition, &added.keys).await?;
    }
    for request in result.run_requests {
        admission.request(request).await?;
    }
    for rejection in result.rejections {
        match admission.known(&rejection.claim).await? {
            Some(old) => admission.known_claim(old, None),
            None => admission.reject(rejection.claim, rejection.problem).await?,
        }
    }
    if let Some(cursor) = &result.cursor {
        sqlx::query(
            "INSERT INTO sensors (name, cursor) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor",
        )
        .bind(&admission.tick.sensor)
        .bind(cursor)
        .execute(&mut *admission.db)
        .await?;
    }
    Ok(admission.end(result.skip_reason))
}

struct Admission<'a> {
    db: &'a mut SqliteConnection,
    location: &'a str,
    now: Timestamp,
    tick: Tick,
    claims: Vec<Claim>,
}

/// A claim that was handled before and is not handled afresh.
struct Known {
    claim: Claim,
    finished: bool,
}

impl Admission<'_> {
    async fn request(&mut self, request: RunRequest) -> Result<()> {
        if let Some(key) = &request.claim
            && let Some(old) = self.known(key).await?
        {
            self.known_claim(old, request.run_key.as_deref());
            return Ok(());
        }
        if let Some(run_key) = &request.run_key
            && let Some((run_id, first)) = self.used(run_key).await?
        {
            self.tick.duplicate_run_keys.push(run_key.clone());
            if let Some(key) = request.claim.clone() {
                let problem = duplicate(Some(run_key), run_id, &key, first.as_deref());
                self.reject(key, problem).await?;
            }
            return Ok(());
        }
        self.accept(request).await
    }

    /// The claim as it was handled before, unless it was refused and finished.
    async fn known(&mut self, key: &ClaimKey) -> Result<Option<Known>> {
        let row =
            sqlx::query("SELECT key, etag, outcome, finished FROM claims WHERE sensor = ? AND key = ? AND etag = ?")
                .bind(&self.tick.sensor)
                .bind(&key.key)
                .bind(&key.etag)
                .fetch_optional(&mut *self.db)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let known = Known { claim: rows::claim(&row)?, finished: row.try_get("finished")? };
        let afresh = known.finished && matches!(known.claim.outcome, ClaimOutcome::Rejected { .. });
        Ok((!afresh).then_some(known))
    }

    /// A duplicate of a finished claim is not written down: until it is moved away, each tick finds it again.
    fn known_claim(&mut self, old: Known, run_key: Option<&str>) {
        let Claim { claim: key, outcome } = old.claim;
        let outcome = match outcome {
            ClaimOutcome::Accepted { run_id, request } if old.finished => {
                let run_key = run_key.or(request.run_key.as_deref());
                self.tick.duplicate_run_keys.extend(run_key.map(str::to_owned));
                ClaimOutcome::Rejected { problem: duplicate(run_key, run_id, &key, Some(&key.key)) }
            }
            outcome => outcome,
        };
        let claim = Claim { claim: key, outcome };
        if old.finished {
            self.tick.rejected.push(claim.clone());
        }
        self.claims.push(claim);
    }

    /// The run that used a run key before, and the key of the object that it was used for.
    async fn used(&mut self, run_key: &str) -> Result<Option<(RunId, Option<String>)>> {
        let row = sqlx::query("SELECT run_id, claim_key FROM run_keys WHERE sensor = ? AND run_key = ?")
            .bind(&self.tick.sensor)
            .bind(run_key)
            .fetch_optional(&mut *self.db)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let run_id = row.try_get::<&str, _>("run_id")?;
        let run_id = run_id.parse().map_err(|e| InstanceError::Corrupt(format!("the run id `{run_id}`: {e}")))?;
        Ok(Some((run_id, row.try_get("claim_key")?)))
    }

    async fn accept(&mut self, request: RunRequest) -> Result<()> {
        let run_id = RunId::random();
        let mut run_tags = request.tags.clone();
        let mut tag = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                run_tags.insert(name.to_owned(), value.to_owned());
            }
        };
        tag(tags::CODE_LOCATION, Some(self.location));
        tag(tags::SENSOR_NAME, Some(&self.tick.sensor));
        tag(tags::TICK, Some(&self.tick.id.to_string()));
        tag(tags::RUN_KEY, request.run_key.as_deref());
        tag(tags::PARTITION, request.partition_key.as_deref());
        let run = NewRun {
            run_id,
            job_name: request.job_name.clone(),
            location: self.location.to_owned(),
            run_config: request.run_config.clone(),
            tags: run_tags,
            partition_key: request.partition_key.clone(),
        };
        runs::insert(self.db, run, self.now).await?;
        if let Some(run_key) = &request.run_key {
            sqlx::query("INSERT INTO run_keys (sensor, run_key, run_id, claim_key, used_at) VALUES (?, ?, ?, ?, ?)")
                .bind(&self.tick.sensor)
                .bind(run_key)
                .bind(run_id.to_string())
                .bind(request.claim.as_ref().map(|c| &c.key))
                .bind(self.now.as_microsecond())
                .execute(&mut *self.db)
                .await?;
        }
        self.tick.run_ids.push(run_id);
        if let Some(key) = request.claim.clone() {
            let claim = Claim { claim: key, outcome: ClaimOutcome::Accepted { run_id, request: Box::new(request) } };
            self.write_claim(&claim).await?;
            self.claims.push(claim);
        }
        Ok(())
    }

    async fn reject(&mut self, key: ClaimKey, problem: Problem) -> Result<()> {
        let claim = Claim { claim: key, outcome: ClaimOutcome::Rejected { problem } };
        self.write_claim(&claim).await?;
        self.tick.rejected.push(claim.clone());
        self.claims.push(claim);
        Ok(())
    }

    async fn write_claim(&mut self, claim: &Claim) -> Result<()> {
        sqlx::query(
            "INSERT INTO claims (sensor, key, etag, outcome, admitted_at) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (sensor, key, etag) DO UPDATE \
             SET outcome = excluded.outcome, finished = 0, admitted_at = excluded.admitted_at",
        )
        .bind(&self.tick.sensor)
        .bind(&claim.claim.key)
        .bind(&claim.claim.etag)
        .bind(to_json(&claim.outcome)?)
        .bind(self.now.as_microsecond())
        .execute(&mut *self.db)
        .await?;
        Ok(())
    }

    fn end(self, skip_reason: Option<String>) -> Admitted {
        let Self { mut tick, claims, now, .. } = self;
        let asked = !tick.run_ids.is_empty() || !tick.rejected.is_empty();
        tick.status = if asked { TickStatus::Success } else { TickStatus::Skipped };
        tick.skip_reason = if asked { None } else { skip_reason.or_else(|| Some("nothing new".to_owned())) };
        tick.ended_at = Some(now);
        Admitted { tick, claims }
    }
}

fn duplicate(run_key: Option<&str>, run_id: RunId, key: &ClaimKey, first: Option<&str>) -> Problem {
    let what = match run_key {
        Some(run_key) => format!("the batch `{run_key}` was handed in before: it has the run {run_id}"),
        None => format!("this object was handed in before: it has the run {run_id}"),
    };
    let problem = Problem::new(Code::DuplicateBatch, what)
        .place(&key.key)
        .remedy("re-execute that run to try it again; give a new batch_id to new data");
    match first {
        Some(first) => problem.cause(format!("it was first announced by {first}")),
        None => problem,
    }
}
