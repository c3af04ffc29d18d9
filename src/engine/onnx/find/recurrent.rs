//! Recurrences: the product of the inputs and that of the hidden values, a row each, in either direction.

use rten_onnx::onnx::NodeProto;

use super::super::attributes::Attributes;
use super::super::view::View;
use super::weights::Held;
use super::{Delay, Finder, Refusal, Role, Source, Zero, checked};
use crate::Result;
use crate::graph::Node;
use crate::kernels::Activation;
use crate::layers::{Cell, IntegerWeights, Layer, Linear, Lstm, Param, Recurrent, Shape};
use crate::weights::onnx::operator as kind;

/// Numbers of a recurrence.
pub(super) struct Sizes {
    pub steps: usize,
    pub sequences: usize,
    pub hidden: usize,
    pub directions: usize,
}

/// Rows `gates` (blocks of `hidden` rows) of direction `direction` of `held`, `[D, gates · H, columns]`.
fn rows(held: &Held, direction: usize, hidden: usize, gates: &[usize]) -> Param {
    let columns = held.dims[2];
    let matrix = &held.values[direction * held.dims[1] * columns..][..held.dims[1] * columns];
    let block = hidden * columns;
    let data = gates.iter().flat_map(|&gate| &matrix[gate * block..][..block]).copied().collect();
    Param { shape: vec![gates.len() * hidden, columns], data }
}

fn steps(weight: Param, bias: bool) -> Layer {
    steps_of(weight, bias, None)
}

/// A linear layer over the steps of sequences, of floats or of integers.
pub(super) fn steps_of(weight: Param, bias: bool, integer: Option<IntegerWeights>) -> Layer {
    let bias = bias.then(|| Param { shape: vec![weight.shape[0]], data: Default::default() });
    let (out_features, in_features) = (weight.shape[0], weight.shape[1]);
    Layer::Linear(Linear {
        weight,
        bias,
        in_features,
        out_features,
        tied: false,
        steps: true,
        activation: Activation::Identity,
        integer,
        channels_last: None,
        low_bits: None,
    })
}

/// What a step of direction `direction` makes of its gates, if it is what a layer of ours does: a cell, or (`None`) an LSTM's.
fn cell(node: &NodeProto, direction: usize) -> Option<Option<Cell>> {
    match kind(node).as_str() {
        "LSTM" => Some(None),
        "GRU" => Some(Some(Cell::Gru)),
        _ => match node.texts("activations").get(direction).map_or("Tanh", String::as_str) {
            "Tanh" => Some(Some(Cell::Tanh)),
            "Relu" => Some(Some(Cell::Relu)),
            _ => None,
        },
    }
}

impl<'a> Finder<'a> {
    pub(super) fn recurrence(&mut self, node: &'a NodeProto) -> Result<Result<(), Refusal>> {
        if !self.is_constant(node, 1) || !self.is_constant(node, 2) {
            return Ok(Err("has weights that are no constants".into()));
        }
        let (inputs, hidden) = (self.held(&node.input[1])?.dequantised(), self.held(&node.input[2])?.dequantised());
        Ok(self.recurrence_of(node, &inputs, &hidden))
    }

    fn recurrence_of(&mut self, node: &'a NodeProto, w: &Held, r: &Held) -> Result<(), Refusal> {
        let op = kind(node);
        let gates = match op.as_str() {
            "LSTM" => 4,
            "GRU" => 3,
            _ => 1,
        };
        let x = self.input(node, 0)?;
        let (&[steps, sequences, inputs], &[directions, rows, _], &[_, _, hidden]) =
            (self.dims(x)?, w.dims.as_slice(), r.dims.as_slice())
        else {
            return Err("has operands of other ranks".into());
        };
        let fits =
            rows == gates * hidden && w.dims == [directions, rows, inputs] && r.dims == [directions, rows, hidden];
        if !fits || hidden == 0 || !(1..=2).contains(&directions) {
            return Err(format!("has weights {:?} and {:?}", w.dims, r.dims));
        }
        let sizes = Sizes { steps, sequences, hidden, directions };
        for direction in 0..directions {
            self.direction(node, direction, &sizes, (w, r))?;
        }
        Ok(())
    }

    fn direction(
        &mut self,
        node: &'a NodeProto,
        direction: usize,
        sizes: &Sizes,
        (w, r): (&Held, &Held),
    ) -> Result<(), Refusal> {
        let Sizes { sequences, hidden, directions, .. } = *sizes;
        let (of_inputs, of_hidden, reverse) = self.names(node, (direction, directions));
        let biased = node.input.get(3).is_some_and(|bias| !bias.is_empty());
        // Several sequences one after the other.
        let (operand, source) = self.operand(self.input(node, 0)?, [&[2], &[], &[1, 0]], None)?;
        let hidden_source = self.hidden(node, (0, direction), sizes, reverse)?;
        let op = kind(node);
        let before_reset = node.int("linear_before_reset").unwrap_or(0) != 0;
        // Blocks of the file in the order of our gates: of i, o, f, c those of i, f, g, o; of z, r, h those of r, z, n.
        let order: &[usize] = match op.as_str() {
            "LSTM" => &[0, 2, 3, 1],
            "GRU" => &[1, 0, 2],
            _ => &[0],
        };
        let (layer, shape) = checked(steps(rows(w, direction, hidden, order), biased), source.view.shape())?;
        let product = self.push(&of_inputs, layer, vec![operand], shape.c, None);
        self.show(product, source);
        if op == "GRU" && !before_reset {
            let weight = rows(r, direction, hidden, &order[..2]);
            self.product_of_steps(&of_hidden, steps(weight, biased), hidden_source)?;
            // Its candidate reads the hidden values times the reset gate, of the same step.
            let reset = Source { delay: None, ..self.hidden(node, (2, direction), sizes, reverse)? };
            let weight = rows(r, direction, hidden, &order[2..]);
            let of_candidate = of_hidden.replace(".weight_hh", ".weight_hh_candidate");
            return self.product_of_steps(&of_candidate, steps(weight, biased), reset);
        }
        let weight = rows(r, direction, hidden, order);
        // Several sequences at a time have no one order of steps.
        let Some(cell) = cell(node, direction).filter(|_| sequences == 1) else {
            return self.product_of_steps(&of_hidden, steps(weight, biased), hidden_source);
        };
        let bias = biased.then(|| Param { shape: vec![order.len() * hidden], data: Default::default() });
        let layer = match cell {
            Some(cell) => Layer::Recurrent(Recurrent { cell, weight, bias, reverse, rounding: None }),
            None => Layer::Lstm(Lstm {
                weight,
                bias,
                projection: None,
                reverse,
                clip: None,
                integer: None,
                rounding: [None; 2],
            }),
        };
        let (layer, shape) = checked(layer, shape)?;
        let row = self.push(&of_hidden, layer, vec![product], hidden, None);
        self.show(row, hidden_source);
        self.show_sequence(row, node, (direction, sizes), shape);
        Ok(())
    }

    /// The rows of one of so many directions of `node`: of its inputs, and of its hidden values; and whether it goes from the last
    /// step to the first.
    pub(super) fn names(&self, node: &NodeProto, (direction, directions): (usize, usize)) -> (String, String, bool) {
        let reverse = direction == 1 || node.text("direction") == Some("reverse");
        let ending = if directions == 2 && reverse { "_reverse" } else { "" };
        let name = |what: &str| format!("{}.weight_{what}{ending}", self.row(node));
        (name("ih"), name("hh"), reverse)
    }

    /// Where the hidden values of direction `direction` are that output `output` holds, `[T, D, B, H]`.
    pub(super) fn hidden(
        &self,
        node: &'a NodeProto,
        (output, direction): (usize, usize),
        sizes: &Sizes,
        reverse: bool,
    ) -> Result<Source, Refusal> {
        let Sizes { steps, sequences, hidden, directions } = *sizes;
        let dims = [steps, directions, sequences, hidden];
        // A sequence after the other; the step is the last axis, so that the value of the step before is beside.
        let view = View::fixed(&dims, [&[3], &[], &[2, 0]], &[(1, direction)]);
        let initial = node.input.get(5).filter(|name| !name.is_empty());
        let initial = initial.map(|name| (name.clone(), direction * sequences * hidden));
        let delay = Some(Delay { reverse, steps, initial, quantised: false });
        Ok(Source { tensor: node.output[output].clone(), view, zero: Zero::None, delay })
    }

    /// A product that is a row of its own, of an operand that is in no tensor as it is read.
    pub(super) fn product_of_steps(&mut self, name: &str, layer: Layer, source: Source) -> Result<(), Refusal> {
        let shape = source.view.shape();
        let (layer, given) = checked(layer, shape)?;
        let dynamic = source.delay.as_ref().is_some_and(|delay| delay.quantised);
        let operand = self.operand_node(name, [&[], &[], &[]], shape, (None, dynamic));
        let row = self.push(name, layer, vec![operand], given.c, None);
        self.show(row, source);
        Ok(())
    }

    /// The hidden values of one direction as the output of `row`.
    fn show_sequence(&mut self, row: Node, node: &NodeProto, (direction, sizes): (usize, &Sizes), shape: Shape) {
        let dims = [sizes.steps, sizes.directions, sizes.sequences, sizes.hidden];
        let view = View::fixed(&dims, [&[3], &[], &[0]], &[(1, direction)]);
        if view.shape() == shape {
            let source = Source { tensor: node.output[0].clone(), view, zero: Zero::None, delay: None };
            self.shown.push(super::Shown { node: row, role: Role::Output, source });
        }
    }
}
