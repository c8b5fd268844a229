//! Graphs: ops wired together, output to input. `#[graph]` and `#[job]` write one for a function.
//!
//! A function that wires ops gets a [`Graph`] and calls `op::node(g, …)` for each of them with what its inputs take:
//! a [`Wire`] has the type of the value that flows through it, so what does not fit does not compile.
//!
//! ```
//! use catchment::{DynamicOutput, Graph, Input, Inputs, Problem, job, op};
//!
//! #[op]
//! async fn numbers() -> Result<Vec<DynamicOutput<u32>>, Problem> {
//!     Ok((1..=3).map(|n| DynamicOutput::new(format!("n{n}"), n)).collect())
//! }
//!
//! #[op]
//! async fn square(n: Input<u32>) -> Result<u32, Problem> {
//!     Ok(*n * *n)
//! }
//!
//! #[op]
//! async fn sum(squares: Inputs<u32>) -> Result<u32, Problem> {
//!     Ok(squares.iter().sum())
//! }
//!
//! /// The sum of the squares, each of which is a step of its own.
//! #[job]
//! fn sum_of_squares(g: &mut Graph) {
//!     let n = numbers::node(g);
//!     let squares = square::node(g, n.each());
//!     sum::node(g, squares.collect());
//! }
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let definitions = catchment::Definitions::new("hello").job(sum_of_squares());
//! let made = catchment::execute_job(&definitions, "sum_of_squares").await.unwrap();
//! assert_eq!(made.output("sum").as_deref(), Some(&14_u32));
//! # });
//! ```

use std::collections::BTreeMap;
use std::marker::PhantomData;

use catchment_core::retry::RetryPolicy;

use crate::hook::HookDefinition;
use crate::op::{OpDefinition, RESULT};

/// Ops and graphs wired together.
#[derive(Clone, Default)]
pub struct GraphDefinition {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) nodes: Vec<Node>,
    /// Its outputs by name, and what inside it gives them.
    pub(crate) outputs: Vec<(String, Origin)>,
}

/// An op or graph inside a graph.
#[derive(Clone)]
pub(crate) struct Node {
    /// Its name there, unique in the graph.
    pub(crate) alias: String,
    pub(crate) of: NodeOf,
    /// What its inputs take; one that is missing takes its value from run config.
    pub(crate) bindings: BTreeMap<String, Binding>,
    /// Nodes that it waits for without taking a value.
    pub(crate) after: Vec<String>,
    pub(crate) settings: NodeSettings,
}

#[derive(Clone)]
pub(crate) enum NodeOf {
    Op(Box<OpDefinition>),
    Graph(Box<GraphDefinition>),
}

/// What is said of a node on top of what its definition says.
#[derive(Clone, Default)]
pub(crate) struct NodeSettings {
    pub(crate) alias: Option<String>,
    pub(crate) after: Vec<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) hooks: Vec<HookDefinition>,
}

/// Where a value comes from, inside a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An output of another node.
    Output { node: String, output: String },
    /// An input of the graph.
    Input(String),
    /// Run config.
    Config,
}

/// What an input takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binding {
    /// One value (one for each mapping key, where its maker fans out or runs once for each key itself).
    One(Origin),
    /// All values of a maker that runs once for each mapping key.
    Collected(Origin),
    /// Several makers, in this order.
    Many(Vec<Origin>),
}

/// What a value of type `T` flows through, from the output of a node.
#[derive(Debug)]
pub struct Wire<T> {
    origin: Origin,
    value: PhantomData<fn() -> T>,
}

/// What the values of an output that fans out flow through.
#[derive(Debug)]
pub struct DynamicWire<T> {
    origin: Origin,
    value: PhantomData<fn() -> T>,
}

/// What an argument `Inputs<T>` takes: several wires, or one that was collected.
#[derive(Debug)]
pub struct Wires<T> {
    binding: Binding,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Wire<T> {
    fn clone(&self) -> Self {
        Self { origin: self.origin.clone(), value: PhantomData }
    }
}

impl<T> Clone for DynamicWire<T> {
    fn clone(&self) -> Self {
        Self { origin: self.origin.clone(), value: PhantomData }
    }
}

impl<T> Wire<T> {
    /// All values of a node that runs once for each mapping key, in the order of the keys' making.
    pub fn collect(&self) -> Wires<T> {
        Wires { binding: Binding::Collected(self.origin.clone()), value: PhantomData }
    }
}

impl<T> Wire<T> {
    /// What takes its value from run config: `ops.<node>.inputs.<name>.value`.
    pub fn from_config() -> Self {
        Self { origin: Origin::Config, value: PhantomData }
    }
}

impl<T> DynamicWire<T> {
    /// Each value: the node that takes it, and what is downstream of that, runs once for each.
    pub fn each(&self) -> Wire<T> {
        Wire { origin: self.origin.clone(), value: PhantomData }
    }

    /// All values at once.
    pub fn collect(&self) -> Wires<T> {
        self.each().collect()
    }
}

impl<T, const N: usize> From<[Wire<T>; N]> for Wires<T> {
    fn from(wires: [Wire<T>; N]) -> Self {
        wires.into_iter().collect()
    }
}

impl<T> FromIterator<Wire<T>> for Wires<T> {
    fn from_iter<I: IntoIterator<Item = Wire<T>>>(wires: I) -> Self {
        Self { binding: Binding::Many(wires.into_iter().map(|wire| wire.origin).collect()), value: PhantomData }
    }
}

/// What may be wired to an input; the attributes find it by the argument's type.
#[derive(Debug, Clone)]
pub struct Bound(pub(crate) Binding);

impl<T> From<Wire<T>> for Bound {
    fn from(wire: Wire<T>) -> Self {
        Self(Binding::One(wire.origin))
    }
}

impl<T> From<Wires<T>> for Bound {
    fn from(wires: Wires<T>) -> Self {
        Self(wires.binding)
    }
}

/// A graph in the making.
#[derive(Default)]
pub struct Graph {
    definition: GraphDefinition,
    next: NodeSettings,
}

impl Graph {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        let definition = GraphDefinition { name: name.to_owned(), ..GraphDefinition::default() };
        Self { definition, next: NodeSettings::default() }
    }

    /// Names the next node; without, it has its definition's name, with `_2` behind it where that is taken.
    pub fn alias(&mut self, alias: &str) -> &mut Self {
        self.next.alias = Some(alias.to_owned());
        self
    }

    /// Lets the next node wait for this one, without taking a value of it.
    pub fn after<T>(&mut self, wire: &Wire<T>) -> &mut Self {
        if let Origin::Output { node, .. } = &wire.origin {
            self.next.after.push(node.clone());
        }
        self
    }

    /// Gives the next node a tag.
    pub fn tag(&mut self, key: &str, value: &str) -> &mut Self {
        self.next.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Gives the next node another retry policy than its definition's.
    pub fn retry(&mut self, policy: RetryPolicy) -> &mut Self {
        self.next.retry = Some(policy);
        self
    }

    /// Gives the next node a hook.
    pub fn hook(&mut self, hook: HookDefinition) -> &mut Self {
        self.next.hooks.push(hook);
        self
    }

    /// An input of the graph itself.
    fn input<T: 'static>(&self, name: &str) -> Wire<T> {
        Wire { origin: Origin::Input(name.to_owned()), value: PhantomData }
    }

    /// Adds an op. `op::node(g, …)` calls this with wires of the right types.
    pub fn op(&mut self, op: OpDefinition, bindings: Vec<(&str, Bound)>) -> Added {
        let name = op.name.clone();
        self.add(NodeOf::Op(Box::new(op)), &name, bindings)
    }

    /// Adds a graph. `graph::node(g, …)` calls this.
    pub fn graph(&mut self, graph: GraphDefinition, bindings: Vec<(&str, Bound)>) -> Added {
        let name = graph.name.clone();
        self.add(NodeOf::Graph(Box::new(graph)), &name, bindings)
    }

    /// The graph, giving these outputs.
    pub fn finish(mut self, description: &str, outputs: impl GraphOutputs) -> GraphDefinition {
        description.clone_into(&mut self.definition.description);
        let inner = |(name, bound): (String, Bound)| match bound.0 {
            Binding::One(origin) => Some((name, origin)),
            Binding::Collected(_) | Binding::Many(_) => None,
        };
        self.definition.outputs = outputs.origins().into_iter().filter_map(inner).collect();
        self.definition
    }

    fn add(&mut self, of: NodeOf, name: &str, bindings: Vec<(&str, Bound)>) -> Added {
        let settings = std::mem::take(&mut self.next);
        let taken = |alias: &str| self.definition.nodes.iter().any(|node| node.alias == alias);
        let alias = match &settings.alias {
            Some(alias) => alias.clone(),
            None if !taken(name) => name.to_owned(),
            None => (2..).map(|n| format!("{name}_{n}")).find(|alias| !taken(alias)).unwrap_or_default(),
        };
        let bindings = bindings.into_iter().map(|(input, bound)| (input.to_owned(), bound.0)).collect();
        let after = settings.after.clone();
        self.definition.nodes.push(Node { alias: alias.clone(), of, bindings, after, settings });
        Added { node: alias }
    }
}

/// A node that was added.
#[derive(Debug)]
pub struct Added {
    node: String,
}

impl Added {
    /// What one of its outputs flows through.
    pub fn wire<T>(&self, output: &str) -> Wire<T> {
        Wire { origin: self.origin(output), value: PhantomData }
    }

    /// What an output that fans out flows through.
    pub fn dynamic<T>(&self, output: &str) -> DynamicWire<T> {
        DynamicWire { origin: self.origin(output), value: PhantomData }
    }

    fn origin(&self, output: &str) -> Origin {
        Origin::Output { node: self.node.clone(), output: output.to_owned() }
    }
}

/// What a function that wires a graph may take: a [`Wire`].
#[diagnostic::on_unimplemented(message = "a graph takes `Wire<T>`, not `{Self}`", label = "not what a graph takes")]
pub trait GraphInput: Sized {
    /// The input of that name.
    fn of(graph: &mut Graph, name: &str) -> Self;
}

impl<T: 'static> GraphInput for Wire<T> {
    fn of(graph: &mut Graph, name: &str) -> Self {
        graph.input(name)
    }
}

/// What a function that wires a graph may return: nothing, a [`Wire`], or several.
#[diagnostic::on_unimplemented(
    message = "a graph returns nothing, a `Wire<T>` or a tuple of them, not `{Self}`",
    label = "not what a graph returns"
)]
pub trait GraphOutputs: Sized {
    /// Where they come from, by name.
    fn origins(self) -> Vec<(String, Bound)>;
    /// The same, as seen from the graph around it.
    fn of(added: &Added) -> Self;
}

impl GraphOutputs for () {
    fn origins(self) -> Vec<(String, Bound)> {
        Vec::new()
    }

    fn of(_: &Added) -> Self {}
}

impl<T> GraphOutputs for Wire<T> {
    fn origins(self) -> Vec<(String, Bound)> {
        vec![(RESULT.to_owned(), self.into())]
    }

    fn of(added: &Added) -> Self {
        added.wire(RESULT)
    }
}

macro_rules! several {
    ($($name:ident $at:tt),*) => {
        impl<$($name),*> GraphOutputs for ($(Wire<$name>,)*) {
            fn origins(self) -> Vec<(String, Bound)> {
                vec![$((format!("{RESULT}_{}", $at), self.$at.into())),*]
            }

            fn of(added: &Added) -> Self {
                ($(added.wire(&format!("{RESULT}_{}", $at)),)*)
            }
        }
    };
}

several!(A 0, B 1);
several!(A 0, B 1, C 2);
several!(A 0, B 1, C 2, D 3);
