//! Telling somebody when layers ran, and for how long: what a trace is made of.

use std::ops::Range;
use std::time::Instant;

use super::plan::Plan;
use crate::graph::{Graph, Node, NodeDef};
use crate::layers::Shape;

/// Layers that ran as one: a single one, but for those whose values between stay in the caches.
pub struct Ran<'a> {
    /// The layers in running order, each with the extents of one input's output, as far as it was computed here.
    pub layers: Vec<(&'a NodeDef, Shape)>,
    /// The kernel that computed them.
    pub kernel: &'static str,
    /// Inputs that ran together.
    pub inputs: usize,
    /// Of an input that runs in bands, the rows of the last layer's whole output that are this band's.
    pub rows: Option<Range<usize>>,
    /// When they began.
    pub start: Instant,
    /// When they ended, with what watches them.
    pub end: Instant,
}

impl<'a> Ran<'a> {
    /// The layers that end at `last`, which began at `start` and end now.
    pub(super) fn now(
        graph: &'a Graph,
        plan: &Plan,
        (last, kernel): (Node, &'static str),
        inputs: usize,
        start: Instant,
    ) -> Self {
        let end = Instant::now();
        let layers = plan.groups.ending_at(last).into_iter().map(|node| (graph.def(node), plan.shapes[node.index()]));
        Self { layers: layers.collect(), kernel, inputs, rows: None, start, end }
    }
}

/// Who is told.
pub trait Clock: Send + Sync {
    /// A run of `inputs` inputs begins, or of a band of one that has the rows from `row` on; whether its layers are to be told of.
    fn begins(&self, inputs: usize, row: usize) -> bool;

    /// Layers ran, one after the other.
    fn ran(&self, ran: &Ran<'_>);

    /// The run that began last has ended.
    fn ended(&self);
}
