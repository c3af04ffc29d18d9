//! What can be told of a run while it goes on, from counts that are there already.

use std::cell::Cell;

use super::feed::Monitor;
use super::inputs::Context;
use crate::graph::Graph;
use crate::metrics::{self, Compute, Interval, Options, Subject, Which, ratio_name};
use crate::tally::{InputCounts, Padding, Spread};

/// The headline of the inputs so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Share of MACs that have a zero, padding counted as one.
    pub ineffectual: f64,
    /// Half the width of its 95 % interval; none of a single input.
    pub half: Option<f64>,
    /// The potential of skipping them all.
    pub potential: f64,
}

impl Figures {
    /// Of the network whose inputs `spread` has; none before the first, and of networks of which it is not known.
    pub(super) fn of(spread: &Spread) -> Option<Self> {
        let network = spread.scopes.len() - 1;
        let ratio = |name: &str| {
            let name = ratio_name(metrics::find(name)?, Some(Padding::With), false);
            spread.get(network, &name).filter(|moments| moments.d > 0)
        };
        let (effectual, potential) = (ratio("macs.effectual")?, ratio("potential.W+A")?);
        let half = Interval::of(effectual, spread.inputs).map(|Interval { low, high, .. }| (high - low) / 2.0);
        let of = |n: u128, d: u128| n as f64 / d as f64;
        Some(Self { ineffectual: 1.0 - of(effectual.n, effectual.d), half, potential: of(potential.n, potential.d) })
    }
}

/// What the inputs that ran together last say of one layer.
#[derive(Clone, Copy, Debug)]
pub struct LayerFigures<'a> {
    /// Its name.
    pub layer: &'a str,
    /// The name of the node that computes it.
    pub node: &'a str,
    /// Share of its activations that are zero.
    pub zeros: Option<f64>,
    /// Their mean width in bits, where it is counted.
    pub width: Option<f64>,
}

/// The figures of inputs that ran together, of which `counts` has `[input][layer]`.
pub(super) fn of_layers<'a>(
    counts: &[Vec<InputCounts>],
    graph: &'a Graph,
    Context { calibration, .. }: Context<'a>,
) -> Vec<LayerFigures<'a>> {
    let options = Options { encoder: calibration.settings().encoder, min_one: false };
    let of = |(i, layer): (usize, &'a super::layers::MeasuredLayer)| {
        let mut sum = InputCounts::default();
        counts.iter().for_each(|input| sum += &input[i]);
        let subject = Subject::input(&sum, None, &layer.codings, options, calibration.has_terms());
        let activations = subject.operand(Which::Activations);
        let number = |name: &str| match metrics::find(name)?.compute {
            Compute::Operand(compute) => compute(activations.as_ref()?)?.number(),
            _ => None,
        };
        let node = &graph.def(layer.node).name;
        LayerFigures { layer: &layer.name, node, zeros: number("zeros"), width: number("width") }
    };
    calibration.layers.iter().enumerate().map(of).collect()
}

/// A monitor that also stops when the stopping rule is met.
pub(super) struct UntilEnough<'a> {
    pub monitor: &'a dyn Monitor,
    pub enough: &'a Cell<bool>,
}

impl Monitor for UntilEnough<'_> {
    fn behind(&self) -> Option<&dyn Monitor> {
        Some(self.monitor)
    }

    fn stop(&self) -> bool {
        self.enough.get() || self.monitor.stop()
    }
}
