//! ONNX Runtime's LSTM of 8-bit weights: the inputs are quantised all at once, the hidden values anew at each step.

use rten_onnx::onnx::NodeProto;

use super::recurrent::{Sizes, steps_of};
use super::weights::{Held, HeldCodes};
use super::{Delay, Finder, IntegerOperand, Refusal, Source, Zero, checked};
use crate::Result;
use crate::layers::Layer;

/// Inputs of the operator as it is measured: the codes of x, and their zero point.
const CODES: [usize; 2] = [12, 13];

impl<'a> Finder<'a> {
    pub(super) fn dynamic_lstm(&mut self, node: &'a NodeProto) -> Result<Result<(), Refusal>> {
        let constants = [1, 2, 8, 10].iter().all(|&index| self.is_constant(node, index));
        if !constants || [9, 11].iter().any(|&index| !self.left_out(node, index) && !self.is_constant(node, index)) {
            return Ok(Err("has weights that are no constants".into()));
        }
        let weights = [self.held(&node.input[1])?, self.held(&node.input[2])?];
        Ok(self.dynamic_lstm_of(node, &weights))
    }

    fn left_out(&self, node: &NodeProto, index: usize) -> bool {
        node.input.get(index).is_none_or(String::is_empty)
    }

    fn dynamic_lstm_of(&mut self, node: &'a NodeProto, [w, r]: &[Held; 2]) -> Result<(), Refusal> {
        let [codes, zero] = [self.input(node, CODES[0])?, self.input(node, CODES[1])?];
        let (&[steps, sequences, inputs], &[directions, _, columns]) = (self.dims(codes)?, w.dims.as_slice()) else {
            return Err("has operands of other ranks".into());
        };
        let hidden = columns / 4;
        let fits = w.dims == [directions, inputs, 4 * hidden] && r.dims == [directions, hidden, 4 * hidden];
        if !fits || hidden == 0 || !(1..=2).contains(&directions) {
            return Err(format!("has weights {:?} and {:?}", w.dims, r.dims));
        }
        let sizes = Sizes { steps, sequences, hidden, directions };
        for direction in 0..directions {
            let (of_inputs, of_hidden, reverse) = self.names(node, (direction, directions));
            let biased = !self.left_out(node, 3);
            let zero = || IntegerOperand { zero: Zero::Tensor(zero.to_owned()), codes: None };
            let (operand, source) = self.operand(codes, [&[2], &[], &[1, 0]], Some(zero()))?;
            let layer = self.layer(node, (w, 8), direction, biased)?;
            let (layer, shape) = checked(layer, source.view.shape())?;
            let row = self.push(&of_inputs, layer, vec![operand], shape.c, None);
            self.show(row, source);
            let source = self.hidden(node, (0, direction), &sizes, reverse)?;
            let source = Source { delay: source.delay.map(|delay| Delay { quantised: true, ..delay }), ..source };
            let layer = self.layer(node, (r, 10), direction, biased)?;
            self.product_of_steps(&of_hidden, layer, source)?;
        }
        Ok(())
    }

    /// The product of direction `direction` with `held`, `[D, K, 4·H]`, of which input `scale` has the scales and the one behind it
    /// the zero points: one a direction, or one a column.
    fn layer(
        &self,
        node: &NodeProto,
        (held, scale): (&Held, usize),
        direction: usize,
        biased: bool,
    ) -> Result<Layer, Refusal> {
        let [directions, inputs, columns] = [held.dims[0], held.dims[1], held.dims[2]];
        let signed = held.codes.as_ref().map(|codes| codes.signed).ok_or("has weights that are no codes")?;
        let own = |index: usize| -> Result<Vec<f32>, Refusal> {
            let values = self.held(&node.input[index]).map_err(|error| error.to_string())?.values;
            let each = values.len() / directions;
            let fits = [directions, directions * columns].contains(&values.len());
            if fits {
                Ok(values[direction * each..][..each].to_vec())
            } else {
                Err(format!("has {} scales", values.len()))
            }
        };
        let scales = own(scale)?;
        let zeros = if self.left_out(node, scale + 1) { vec![0.0] } else { own(scale + 1)? };
        if zeros.iter().any(|zero| *zero != zeros[0]) {
            return Err("has zero points that differ".into());
        }
        // The file's gates are i, o, f, c; ours i, f, g, o.
        let hidden = columns / 4;
        let order: Vec<usize> = [0, 2, 3, 1].iter().flat_map(|gate| gate * hidden..(gate + 1) * hidden).collect();
        let matrix = &held.values[direction * inputs * columns..][..inputs * columns];
        let row = |column: &usize| matrix.iter().skip(*column).step_by(columns).map(|code| code - zeros[0]);
        let values = order.iter().flat_map(row).collect();
        let scales = if scales.len() == 1 { scales } else { order.iter().map(|&column| scales[column]).collect() };
        let codes = Some(HeldCodes { scales, axis: 0, zero_point: zeros[0] as i32, signed });
        let held = Held { dims: vec![columns, inputs], values, codes };
        let integer = held.integer(&[0], if biased { columns } else { 0 }, false);
        Ok(steps_of(held.ordered(&[0, 1], vec![columns, inputs]), false, integer))
    }
}
