//! Landlock: which files may be read and written, and no TCP, by the kernel's own word.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

use super::Policy;

/// The newest rules asked for; older kernels enforce what they know of them.
const RULES: ABI = ABI::V6;

/// Restricts the process. Says what is in force, or why nothing is.
pub(super) fn restrict(policy: &Policy) -> Result<String, String> {
    let status = rules(policy).map_err(|error| error.to_string())?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok("files, TCP and signals".to_owned()),
        RulesetStatus::PartiallyEnforced => Ok(format!("in part, as this kernel knows it: {:?}", status.landlock)),
        RulesetStatus::NotEnforced => Err(match status.landlock {
            LandlockStatus::NotEnabled => "the kernel has it, but was started without it (`lsm=landlock,…`)".to_owned(),
            LandlockStatus::NotImplemented => "this kernel is built without it".to_owned(),
            LandlockStatus::Available { .. } => "the kernel did not enforce it".to_owned(),
        }),
    }
}

fn rules(policy: &Policy) -> Result<landlock::RestrictionStatus, landlock::RulesetError> {
    let read = AccessFs::from_read(RULES) & !AccessFs::Execute;
    let write = AccessFs::from_all(RULES) & !AccessFs::Execute;
    // The names in the input's folder may be listed, for GDAL looks for what lies beside a file; what lies
    // there may not be opened.
    let folders = policy.inputs.iter().filter_map(|input| input.parent());
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?
        .add_rules(path_beneath_rules(Policy::system(), read | AccessFs::Execute))?
        .add_rules(path_beneath_rules(&policy.inputs, read))?
        .add_rules(path_beneath_rules(folders, AccessFs::ReadDir))?
        .add_rules(path_beneath_rules([&policy.scratch], write))?
        .restrict_self()
}
