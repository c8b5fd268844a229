//! Which step starts next. Pure: time is passed in, and somebody else runs the steps.
//!
//! A *node* is a step of the plan; an *instance* is a step that runs. A node that is mapped over a dynamic one has an
//! instance for each mapping key, made when the dynamic one has ended; any other node has one.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::time::Instant;

use super::limits::{Limits, Used};
pub(crate) use super::node::{Edge, LeftOut, Node, Runs, Share};

/// An instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(usize);

/// An instance that will not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// The instance.
    pub(crate) id: Id,
    /// The instance upstream that did not give what this one needs.
    pub(crate) because_of: Id,
    /// Whether something failed; else an output was left out on purpose.
    pub(crate) failed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting,
    /// It could start.
    Ready,
    /// It could start from this time on.
    Later(Instant),
    Running,
    /// It ended well, without these outputs.
    Done(LeftOut),
    Failed,
    Skipped {
        failed: bool,
    },
}

#[derive(Debug)]
struct Instance {
    node: usize,
    mapping_key: Option<String>,
    state: State,
}

/// The instances of a node: they follow each other, in the order of their mapping keys.
#[derive(Debug)]
struct Expanded {
    ids: Range<usize>,
    by_key: HashMap<String, Id>,
    /// How many are not final.
    open: usize,
}

/// How an edge stands.
enum Met {
    NotYet,
    Yes,
    Never { because_of: Id, failed: bool },
}

/// The steps of a run and how each of them stands.
#[derive(Debug)]
pub(crate) struct Schedule {
    nodes: Vec<Node>,
    /// The nodes that wait for a node.
    downstream: Vec<Vec<usize>>,
    instances: Vec<Instance>,
    /// The instances of each node, once they are known.
    expanded: Vec<Option<Expanded>>,
    ready: BTreeSet<(Reverse<i64>, Id)>,
    later: BTreeSet<(Instant, Id)>,
    /// What will not run because an earlier run left out what it needs.
    skipped_at_first: Vec<Skipped>,
    used: Used,
}

impl Schedule {
    /// Nothing has run in this run. Nodes are in topological order.
    pub(crate) fn new(nodes: Vec<Node>, limits: Limits) -> Self {
        let mut downstream = vec![Vec::new(); nodes.len()];
        for (at, node) in nodes.iter().enumerate() {
            let before: BTreeSet<usize> = node.after.iter().map(|edge| edge.node).chain(node.mapped_over).collect();
            before.into_iter().for_each(|up| downstream[up].push(at));
        }
        let mut schedule = Self {
            downstream,
            instances: Vec::new(),
            expanded: nodes.iter().map(|_| None).collect(),
            nodes,
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            skipped_at_first: Vec::new(),
            used: Used::new(limits),
        };
        for at in 0..schedule.nodes.len() {
            match (schedule.nodes[at].runs.clone(), schedule.nodes[at].mapped_over) {
                (Runs::Whole, Some(_)) => {}
                (Runs::Whole, None) => schedule.expand(at, [(None, Share::Runs)]),
                (Runs::Given(left_out), _) => schedule.expand(at, [(None, Share::Given(left_out))]),
                (Runs::Keys(keys), _) => schedule.expand(at, keys.into_iter().map(|(key, share)| (Some(key), share))),
            }
        }
        for id in (0..schedule.instances.len()).map(Id) {
            if let Some((because_of, failed)) = schedule.look(id) {
                let mut skipped = vec![Skipped { id, because_of, failed }];
                skipped.append(&mut schedule.close(id, State::Skipped { failed }));
                schedule.skipped_at_first.append(&mut skipped);
            }
        }
        schedule
    }

    /// What will not run, whatever happens, because an earlier run left out what it needs.
    pub(crate) fn skipped_at_first(&self) -> &[Skipped] {
        &self.skipped_at_first
    }

    /// The node of an instance.
    pub(crate) fn node(&self, id: Id) -> usize {
        self.instances[id.0].node
    }

    /// The mapping key of an instance.
    pub(crate) fn mapping_key(&self, id: Id) -> Option<&str> {
        self.instances[id.0].mapping_key.as_deref()
    }

    /// The instances of a node, in the order of their mapping keys, as far as they are known.
    pub(crate) fn instances(&self, node: usize) -> impl Iterator<Item = Id> + use<> {
        self.expanded[node].as_ref().map_or(0..0, |known| known.ids.clone()).map(Id)
    }

    /// The instance of a node with this mapping key.
    pub(crate) fn instance(&self, node: usize, mapping_key: Option<&str>) -> Option<Id> {
        let known = self.expanded[node].as_ref()?;
        match mapping_key {
            Some(key) if !known.by_key.is_empty() => known.by_key.get(key).copied(),
            _ => known.ids.clone().next().map(Id),
        }
    }

    /// Whether an instance ended well, here or in an earlier run.
    pub(crate) fn is_done(&self, id: Id) -> bool {
        matches!(self.instances[id.0].state, State::Done(_))
    }

    /// Whether an instance ended well and gave this output, here or in an earlier run.
    pub(crate) fn has_given(&self, id: Id, output: usize) -> bool {
        matches!(&self.instances[id.0].state, State::Done(left_out) if !left_out.contains(&output))
    }

    /// Whether an instance ended, or never starts.
    pub(crate) fn is_final(&self, id: Id) -> bool {
        matches!(self.instances[id.0].state, State::Done(_) | State::Failed | State::Skipped { .. })
    }

    /// Takes the instance that is to start now, if there is one: the highest priority first, and among equals in the
    /// order of the plan.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Id> {
        while let Some((at, id)) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.later.remove(&(at, id));
            self.make_ready(id);
        }
        if self.used.is_full() {
            return None;
        }
        let allowed = |(_, id): &(_, Id)| self.used.allows(&self.nodes[self.node(*id)].tags);
        let entry = self.ready.iter().copied().find(allowed)?;
        self.ready.remove(&entry);
        self.instances[entry.1.0].state = State::Running;
        self.used.take(&self.nodes[self.instances[entry.1.0].node].tags);
        Some(entry.1)
    }

    /// When something can start that only waits for time to pass.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Whether nothing will run any more.
    pub(crate) fn is_over(&self) -> bool {
        self.used.is_empty() && self.ready.is_empty() && self.later.is_empty()
    }

    /// A running instance ended well. `left_out` are the outputs that it did not give, `mapping_keys` those of a
    /// dynamic one. Answers what will not run for it.
    pub(crate) fn succeeded(&mut self, id: Id, left_out: LeftOut, mapping_keys: &[String]) -> Vec<Skipped> {
        self.release(id);
        let mapped = self.unexpanded(self.node(id));
        for at in &mapped {
            self.expand(*at, mapping_keys.iter().cloned().map(|key| (Some(key), Share::Runs)));
        }
        let skipped = self.close(id, State::Done(left_out));
        if mapping_keys.is_empty() {
            // The end of an instance is what makes others look whether they can start. A step without instances has no
            // end, so whoever collects it looks now.
            let collecting: BTreeSet<usize> = mapped.iter().flat_map(|at| self.downstream[*at].clone()).collect();
            for id in collecting.into_iter().flat_map(|at| self.instances(at)).collect::<Vec<_>>() {
                self.look(id);
            }
        }
        skipped
    }

    /// The nodes that wait for the mapping keys of a dynamic one.
    fn unexpanded(&self, dynamic: usize) -> Vec<usize> {
        let waits = |at: &usize| self.nodes[*at].mapped_over == Some(dynamic) && self.expanded[*at].is_none();
        self.downstream[dynamic].iter().copied().filter(waits).collect()
    }

    /// A running instance failed for good. Answers what will not run for it.
    pub(crate) fn failed(&mut self, id: Id) -> Vec<Skipped> {
        self.release(id);
        self.close(id, State::Failed)
    }

    /// A running instance gives its place up and starts again later.
    pub(crate) fn again_at(&mut self, id: Id, at: Instant) {
        self.release(id);
        self.instances[id.0].state = State::Later(at);
        self.later.insert((at, id));
    }

    /// An instance that was to start later may start now.
    pub(crate) fn hurry(&mut self, id: Id) {
        if let State::Later(at) = self.instances[id.0].state {
            self.later.remove(&(at, id));
            self.make_ready(id);
        }
    }

    fn release(&mut self, id: Id) {
        self.used.give_back(&self.nodes[self.instances[id.0].node].tags);
    }

    fn make_ready(&mut self, id: Id) {
        self.instances[id.0].state = State::Ready;
        self.ready.insert((Reverse(self.nodes[self.node(id)].priority), id));
    }

    /// Makes the instances of a node; those that do not run are done.
    fn expand(&mut self, node: usize, keys: impl IntoIterator<Item = (Option<String>, Share)>) {
        let first = self.instances.len();
        let (mut by_key, mut open) = (HashMap::new(), 0);
        for (mapping_key, share) in keys {
            if let Some(key) = &mapping_key {
                by_key.insert(key.clone(), Id(self.instances.len()));
            }
            let state = match share {
                Share::Runs => State::Waiting,
                Share::Given(left_out) => State::Done(left_out),
            };
            open += usize::from(state == State::Waiting);
            self.instances.push(Instance { node, mapping_key, state });
        }
        self.expanded[node] = Some(Expanded { ids: first..self.instances.len(), by_key, open });
    }

    /// Ends an instance and answers all that this keeps from running.
    fn close(&mut self, id: Id, state: State) -> Vec<Skipped> {
        let mut skipped = Vec::new();
        self.end(id, state);
        let mut ended = vec![id];
        while let Some(id) = ended.pop() {
            let node = self.node(id);
            for at in self.unexpanded(node) {
                // The dynamic step gave no keys: what is mapped over it is skipped as a whole.
                self.expand(at, [(None, Share::Runs)]);
            }
            for at in self.downstream[node].clone() {
                for waiting in self.concerned(id, at) {
                    if let Some((because_of, failed)) = self.look(waiting) {
                        skipped.push(Skipped { id: waiting, because_of, failed });
                        self.end(waiting, State::Skipped { failed });
                        ended.push(waiting);
                    }
                }
            }
        }
        skipped
    }

    fn end(&mut self, id: Id, state: State) {
        let instance = &mut self.instances[id.0];
        instance.state = state;
        if let Some(known) = &mut self.expanded[instance.node] {
            known.open = known.open.saturating_sub(1);
        }
    }

    /// The instances of a node downstream that may start, or be skipped, because an instance ended.
    fn concerned(&self, ended: Id, node: usize) -> Vec<Id> {
        let up = self.node(ended);
        let (up_over, over) = (self.nodes[up].mapped_over, self.nodes[node].mapped_over);
        if up_over.is_some() && up_over == over {
            // Both are mapped over the same: each branch goes its own way.
            return self.instance(node, self.mapping_key(ended)).into_iter().collect();
        }
        let collects = up_over.is_some();
        let others_are_open = self.expanded[up].as_ref().is_some_and(|known| known.open > 0);
        if collects && others_are_open && self.is_done(ended) {
            // What collects waits for the last of them. One that failed concerns it at once.
            return Vec::new();
        }
        self.instances(node).collect()
    }

    /// Looks whether an instance that waits can start; answers why not where it never can.
    fn look(&mut self, id: Id) -> Option<(Id, bool)> {
        if self.instances[id.0].state != State::Waiting {
            return None;
        }
        let mut met = true;
        for edge in &self.nodes[self.node(id)].after {
            match self.met(id, *edge) {
                Met::Yes => {}
                Met::NotYet => met = false,
                Met::Never { because_of, failed } => return Some((because_of, failed)),
            }
        }
        if met {
            self.make_ready(id);
        }
        None
    }

    fn met(&self, id: Id, edge: Edge) -> Met {
        let (over, up_over) = (self.nodes[self.node(id)].mapped_over, self.nodes[edge.node].mapped_over);
        if self.expanded[edge.node].is_none() {
            return Met::NotYet;
        }
        if up_over.is_some() && up_over != over {
            return self.collected(edge);
        }
        let up = self.instance(edge.node, up_over.and(self.mapping_key(id)));
        up.map_or(Met::Yes, |up| self.gave(up, edge.output))
    }

    fn gave(&self, id: Id, output: Option<usize>) -> Met {
        match &self.instances[id.0].state {
            State::Done(left_out) if output.is_some_and(|output| left_out.contains(&output)) => {
                Met::Never { because_of: id, failed: false }
            }
            State::Done(_) => Met::Yes,
            State::Failed => Met::Never { because_of: id, failed: true },
            State::Skipped { failed } => Met::Never { because_of: id, failed: *failed },
            _ => Met::NotYet,
        }
    }

    /// An edge that takes all instances of a node: those that left their output out do not count, unless all did.
    fn collected(&self, edge: Edge) -> Met {
        let (mut given, mut open, mut left_out, mut any) = (false, false, None, false);
        for id in self.instances(edge.node) {
            any = true;
            match self.gave(id, edge.output) {
                Met::Never { failed: true, because_of } => return Met::Never { because_of, failed: true },
                Met::Never { because_of, .. } => left_out = Some(because_of),
                Met::Yes => given = true,
                Met::NotYet => open = true,
            }
        }
        match left_out {
            _ if open => Met::NotYet,
            Some(because_of) if any && !given => Met::Never { because_of, failed: false },
            _ => Met::Yes,
        }
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
