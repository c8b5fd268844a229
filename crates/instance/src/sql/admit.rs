//! Admission: the answer of a sensor or schedule becomes claims, runs, run keys, partitions and a cursor, in one
//! transaction (of very many requests, in several: see [`divided`]).
//!
//! A claim that is known and not finished keeps its outcome: the same object was seen again before it was moved
//! away. One that was accepted and finished is an upload of the same bytes under the same name, so a duplicate.
//! One that was refused and finished is handled afresh: a refusal uses nothing up.
//!
//! A schedule's run key stands for one scheduled time: the same key at another time is another run, and the same time
//! without a key is asked for once.

use std::collections::BTreeMap;

use catchment_core::definitions::ASSET_JOB;
use catchment_core::instigator::{InstigatorKind, Tick, TickStatus};
use catchment_core::sensor::{Claim, ClaimKey, ClaimOutcome, RunRequest, SensorResult};
use catchment_core::{NewEvent, NewRun, RunId, RunKey, tags};
use catchment_model::{Code, Problem};
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::rows::{self, to_json};
use super::{Sql, WriteTx, events, instigators, partitions, run_rows};
use crate::{Admitted, Result};

/// How many requests are written at once: others, such as runs that renew their leases, want to write as well.
const AT_ONCE: usize = 500;

/// Divides an answer with very many requests into what is written one after the other; the last part moves the cursor.
/// Where the daemon ends in between, the next tick finds by their names which requests were admitted: so only an answer
/// whose requests all have names is divided.
pub(super) fn divided(mut result: SensorResult) -> (Vec<SensorResult>, SensorResult) {
    let is_named = |request: &RunRequest| request.run_key.is_some() || request.claim.is_some();
    if result.run_requests.len() <= AT_ONCE || !result.run_requests.iter().all(is_named) {
        return (Vec::new(), result);
    }
    let mut parts = Vec::new();
    while result.run_requests.len() > AT_ONCE {
        let rest = result.run_requests.split_off(AT_ONCE);
        let run_requests = std::mem::replace(&mut result.run_requests, rest);
        let add_partitions = std::mem::take(&mut result.add_partitions);
        parts.push(SensorResult { run_requests, add_partitions, ..SensorResult::default() });
    }
    (parts, result)
}

/// Writes an answer; the tick that comes back is to be written by the caller.
pub(super) async fn admit(tx: &mut WriteTx, tick: Tick, result: SensorResult, now: Timestamp) -> Result<Admitted> {
    let mut admission = Admission { tx, now, tick, claims: Vec::new() };
    for added in &result.add_partitions {
        partitions::add(admission.tx, &added.definition, &added.keys).await?;
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
    for deleted in &result.delete_partitions {
        partitions::delete(admission.tx, &deleted.definition, &deleted.keys).await?;
    }
    if !result.asset_events.is_empty() {
        // Only a run that was reacted to is written to.
        let origins = &admission.tick.origin_run_ids;
        let owner = |run_id: RunId| if origins.contains(&run_id) { run_id } else { RunId::NONE };
        let reported = result.asset_events.into_iter().map(|event| NewEvent { run_id: owner(event.run_id), ..event });
        events::insert(admission.tx, &reported.collect::<Vec<_>>()).await?;
    }
    if let Some(cursor) = &result.cursor {
        instigators::write_cursor(admission.tx, &admission.tick.instigator, Some(cursor)).await?;
    }
    Ok(admission.end(result.skip_reason))
}

/// The claim of a row.
pub(super) fn claim(row: &AnyRow) -> Result<Claim> {
    Ok(Claim {
        claim: ClaimKey { key: row.try_get("key")?, etag: row.try_get("etag")? },
        outcome: rows::json(row, "outcome")?,
    })
}

struct Admission<'a> {
    tx: &'a mut WriteTx,
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
        let run_id = RunId::random();
        if let Some(key) = self.run_key(&request) {
            let claim_key = request.claim.as_ref().map(|claim| claim.key.as_str());
            if let Some(first) = run_rows::use_key(self.tx, &key, run_id, claim_key, self.now).await? {
                self.tick.duplicate_run_keys.push(request.run_key.clone().unwrap_or(key.key));
                if let Some(claim) = request.claim {
                    let problem =
                        duplicate(request.run_key.as_deref(), first.run_id, &claim, first.claim_key.as_deref());
                    self.reject(claim, problem).await?;
                }
                return Ok(());
            }
        }
        self.accept(run_id, request).await
    }

    /// What names the request for ever, if anything does.
    fn run_key(&self, request: &RunRequest) -> Option<RunKey> {
        let key = match (self.tick.scheduled_for, &request.run_key) {
            (Some(time), None) if self.tick.instigator.kind == InstigatorKind::Schedule => time.to_string(),
            (Some(time), Some(key)) if self.tick.instigator.kind == InstigatorKind::Schedule => {
                format!("{time} {key}")
            }
            (_, key) => key.clone()?,
        };
        Some(RunKey { scope: self.tick.instigator.to_string(), key })
    }

    /// The claim as it was handled before, unless it was refused and finished.
    async fn known(&mut self, key: &ClaimKey) -> Result<Option<Known>> {
        let mut sql = Sql::new("SELECT key, etag, outcome, finished FROM claims WHERE instigator = ");
        sql.bind(self.tick.instigator.to_string());
        sql.push(" AND key = ").bind(key.key.as_str()).push(" AND etag = ").bind(key.etag.as_str());
        let Some(row) = sql.optional(&mut **self.tx).await? else { return Ok(None) };
        let known = Known { claim: claim(&row)?, finished: row.try_get::<i64, _>("finished")? == 1 };
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

    async fn accept(&mut self, run_id: RunId, request: RunRequest) -> Result<()> {
        let location = &self.tick.instigator.location;
        let job_name = match request.job_name.as_str() {
            "" if !request.selection.is_everything() => ASSET_JOB,
            name => name,
        };
        let run = NewRun {
            run_id,
            job_name: job_name.to_owned(),
            location: location.clone(),
            run_config: request.run_config.clone(),
            tags: self.tags(&request),
            partition_key: request.partition_key.clone(),
            selection: request.selection.clone(),
            parent_run_id: None,
            root_run_id: None,
        };
        run_rows::insert(self.tx, run, self.now).await?;
        self.tick.run_ids.push(run_id);
        if let Some(key) = request.claim.clone() {
            let claim = Claim { claim: key, outcome: ClaimOutcome::Accepted { run_id, request: Box::new(request) } };
            self.write_claim(&claim).await?;
            self.claims.push(claim);
        }
        Ok(())
    }

    /// The request's tags with those that say where the run came from.
    fn tags(&self, request: &RunRequest) -> BTreeMap<String, String> {
        let mut all = request.tags.clone();
        let mut tag = |name: &str, value: Option<String>| all.extend(value.map(|value| (name.to_owned(), value)));
        let instigator = &self.tick.instigator;
        tag(tags::CODE_LOCATION, Some(instigator.location.clone()));
        match instigator.kind {
            InstigatorKind::Sensor => tag(tags::SENSOR_NAME, Some(instigator.name.clone())),
            InstigatorKind::Schedule => tag(tags::SCHEDULE_NAME, Some(instigator.name.clone())),
        }
        tag(tags::TICK, Some(self.tick.id.to_string()));
        tag(tags::SCHEDULED_EXECUTION_TIME, self.tick.scheduled_for.map(|time| time.to_string()));
        // A schedule names requests itself, too: it has put what user code gave among the tags.
        tag(tags::RUN_KEY, request.run_key.clone().filter(|_| instigator.kind == InstigatorKind::Sensor));
        tag(tags::PARTITION, request.partition_key.clone());
        all
    }

    async fn reject(&mut self, key: ClaimKey, problem: Problem) -> Result<()> {
        let claim = Claim { claim: key, outcome: ClaimOutcome::Rejected { problem } };
        self.write_claim(&claim).await?;
        self.tick.rejected.push(claim.clone());
        self.claims.push(claim);
        Ok(())
    }

    async fn write_claim(&mut self, claim: &Claim) -> Result<()> {
        let mut sql = Sql::new("INSERT INTO claims (instigator, key, etag, outcome, admitted_at) VALUES (");
        sql.bind(self.tick.instigator.to_string()).push(", ").bind(claim.claim.key.as_str());
        sql.push(", ").bind(claim.claim.etag.as_str()).push(", ").bind(to_json(&claim.outcome)?);
        sql.push(", ").bind(self.now.as_microsecond()).push(
            ") ON CONFLICT (instigator, key, etag) DO UPDATE \
             SET outcome = excluded.outcome, finished = 0, admitted_at = excluded.admitted_at",
        );
        sql.execute(&mut **self.tx).await?;
        Ok(())
    }

    fn end(self, skip_reason: Option<String>) -> Admitted {
        let Self { mut tick, claims, now, .. } = self;
        let reacted = !tick.origin_run_ids.is_empty() && skip_reason.is_none();
        let asked = reacted || !tick.run_ids.is_empty() || !tick.rejected.is_empty();
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
