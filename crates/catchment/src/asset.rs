//! The definition of assets.

use std::sync::Arc;

use catchment_core::automation::AutomationCondition;
use catchment_core::backfill::BackfillPolicy;
use catchment_core::definitions::{AssetSpec, CheckSpec};
use catchment_core::freshness::FreshnessPolicy;
use catchment_core::mapping::PartitionMapping;
use catchment_core::metadata::MetadataValue;
use catchment_model::Problem;

use crate::check::CheckResult;
use crate::extract::Need;
use crate::op::{OpDefinition, step_settings};
use crate::output::{OutputPort, Staged};
use crate::partitions::PartitionsDefinition;

/// A setting, or what was wrong with it: definitions take both, and `check` reports the latter.
pub trait Tried<T> {
    /// Which of them.
    ///
    /// # Errors
    /// What was wrong with it.
    fn tried(self) -> Result<T, Problem>;
}

impl<T> Tried<T> for T {
    fn tried(self) -> Result<T, Problem> {
        Ok(self)
    }
}

impl<T> Tried<T> for Result<T, Problem> {
    fn tried(self) -> Result<T, Problem> {
        self
    }
}

pub(crate) type StagedCheck = Arc<dyn Fn(&Staged) -> CheckResult + Send + Sync>;

/// An asset, or several that one function makes: an op, and what each of its outputs is. `#[asset]` and
/// `#[multi_asset]` write this for a function.
#[derive(Clone)]
pub struct AssetDefinition {
    /// The function. Its name is the key of the step.
    pub(crate) op: OpDefinition,
    /// An asset for each output, in their order.
    pub(crate) specs: Vec<AssetSpec>,
    /// Checks that the step itself evaluates.
    pub(crate) checks: Vec<CheckSpec>,
    /// Checks of what is staged, evaluated before the commit.
    pub(crate) staged_checks: Vec<StagedCheck>,
    /// Whether it looks at assets that are made elsewhere, instead of making them.
    pub(crate) observes: bool,
    /// Whether a run may make some of its assets without the others.
    pub(crate) can_subset: bool,
    /// What its assets are divided by.
    pub(crate) partitions: Option<PartitionsDefinition>,
    /// What was wrong with what it was given.
    pub(crate) problems: Vec<Problem>,
}

step_settings!(AssetDefinition, op);

impl AssetDefinition {
    /// The asset that an op makes; its key is the op's name. What the op takes by [`Input`](crate::Input) is upstream.
    pub fn of(op: OpDefinition) -> Self {
        let key = op.name.clone();
        Self::several(op, [key.as_str()])
    }

    /// The assets that an op makes: a key for each output.
    pub fn several<const N: usize>(op: OpDefinition, keys: [&str; N]) -> Self {
        let mut deps: Vec<String> = Vec::new();
        for need in &op.needs {
            if let Need::Input { name, .. } = need
                && !deps.contains(name)
            {
                deps.push(name.clone());
            }
        }
        let spec = |key: &str| AssetSpec {
            key: key.to_owned(),
            group: "default".to_owned(),
            deps: deps.clone(),
            step: op.name.clone(),
            ..AssetSpec::default()
        };
        let specs = keys.map(spec).to_vec();
        let (checks, staged_checks) = (Vec::new(), Vec::new());
        let (partitions, problems) = (None, Vec::new());
        Self { op, specs, checks, staged_checks, observes: false, can_subset: false, partitions, problems }
    }

    /// The key of the (first) asset.
    pub fn key(&self) -> &str {
        self.specs.first().map_or(&self.op.name, |spec| &spec.key)
    }

    /// The group that it is shown in.
    pub fn group(self, group: &str) -> Self {
        self.each(|spec| group.clone_into(&mut spec.group))
    }

    /// Assets that it needs without taking their value.
    pub fn deps<const N: usize>(self, deps: [&str; N]) -> Self {
        self.each(|spec| {
            for dep in deps {
                if !spec.deps.iter().any(|known| known == dep) {
                    spec.deps.push(dep.to_owned());
                }
            }
        })
    }

    /// The partitions definition.
    pub fn partitions(mut self, partitions: &PartitionsDefinition) -> Self {
        self.partitions = Some(partitions.clone());
        self.each(|spec| spec.partitions = Some(partitions.name().to_owned()))
    }

    /// How its partitions follow from those of an upstream asset.
    pub fn mapping(self, upstream: &str, mapping: PartitionMapping) -> Self {
        self.each(|spec| drop(spec.mappings.insert(upstream.to_owned(), mapping.clone())))
    }

    /// Users and teams (`team:x`).
    pub fn owners<const N: usize>(self, owners: [&str; N]) -> Self {
        self.each(|spec| spec.owners = owners.map(str::to_owned).to_vec())
    }

    /// What is known of it before it is made.
    pub fn metadata(self, name: &str, value: impl Into<MetadataValue>) -> Self {
        let value = value.into();
        self.each(|spec| drop(spec.metadata.insert(name.to_owned(), value.clone())))
    }

    /// The IO manager that keeps its value, by the name of a resource.
    pub fn io_manager(mut self, name: &str) -> Self {
        self.op = self.op.io_manager(name);
        self
    }

    /// How its partitions are put into the runs of a backfill.
    pub fn backfill_policy(self, policy: BackfillPolicy) -> Self {
        self.each(|spec| spec.backfill_policy = Some(policy))
    }

    /// When it is made by itself. What is wrong with the condition is found by `check`.
    pub fn automation(mut self, condition: impl Tried<AutomationCondition>) -> Self {
        let condition = condition.tried().map_err(|problem| self.problems.push(problem)).ok();
        self.each(|spec| spec.automation.clone_from(&condition))
    }

    /// How old it may get. What is wrong with the policy is found by `check`.
    pub fn freshness(mut self, policy: impl Tried<FreshnessPolicy>) -> Self {
        let policy = policy.tried().map_err(|problem| self.problems.push(problem)).ok();
        self.each(|spec| spec.freshness.clone_from(&policy))
    }

    /// Adds a check of what the asset staged; it is evaluated before the commit.
    pub fn check(mut self, check: impl Fn(&Staged) -> CheckResult + Send + Sync + 'static) -> Self {
        self.staged_checks.push(Arc::new(check));
        self
    }

    /// Declares a check that its own function reports ([`report_check`](crate::AssetContext::report_check)), so that
    /// it is known before the first run.
    pub fn reports_check(self, name: &str) -> Self {
        self.declares_check(name, false)
    }

    /// The same for a check whose failure with severity ERROR keeps the asset from being committed.
    pub fn reports_blocking_check(self, name: &str) -> Self {
        self.declares_check(name, true)
    }

    fn declares_check(mut self, name: &str, blocking: bool) -> Self {
        let spec = CheckSpec {
            asset_key: self.key().to_owned(),
            name: name.to_owned(),
            blocking,
            step: self.op.name.clone(),
            ..CheckSpec::default()
        };
        self.checks.push(spec);
        self
    }

    /// Lets a run make some of its assets without the others: the function asks
    /// [`is_selected`](crate::AssetContext::is_selected) and leaves the rest out ([`Optional`](crate::Optional)).
    pub fn can_subset(mut self) -> Self {
        self.can_subset = true;
        self
    }

    /// Says that the function looks at an asset that is made elsewhere: it returns an [`Observation`](crate::Observation).
    pub fn observes(mut self) -> Self {
        self.observes = true;
        self
    }

    /// Changes what is said of one of its assets.
    pub fn spec(mut self, key: &str, change: impl FnOnce(&mut AssetSpec)) -> Self {
        if let Some(spec) = self.specs.iter_mut().find(|spec| spec.key == key) {
            change(spec);
        }
        self
    }

    fn each(mut self, mut change: impl FnMut(&mut AssetSpec)) -> Self {
        self.specs.iter_mut().for_each(&mut change);
        self
    }

    /// Each asset with the output that gives it.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = (&AssetSpec, &OutputPort)> {
        self.specs.iter().zip(&self.op.outputs)
    }
}
