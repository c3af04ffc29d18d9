//! The recurrence: two layers of ours, the product of the inputs of all steps and that of the hidden values.

use super::{Lowering, Value};
use crate::kernels::Activation;
use crate::layers::{Layer, Linear, Lstm, Param, Shape};
use crate::weights::tflite::Operator;
use crate::{Error, Result};

/// Number of a fused hyperbolic tangent in TFLite's schema.
const TANH: i8 = 4;

impl Lowering<'_> {
    pub(super) fn lstm(&mut self, operator: &Operator) -> Result<Value> {
        let x = self.read(operator, 0)?;
        let options = operator.options;
        // Peepholes, projections, layer norms.
        let more = [9, 10, 11, 16, 17, 20, 21, 22, 23].iter().any(|&i| matches!(operator.inputs.get(i), Some(Some(_))));
        if more || options.time_major || options.activation != TANH {
            return Err(self.refuse(operator, "with more than four gates of inputs and hidden values"));
        }
        if self.graph.def(x.node).codes.is_some() {
            return Err(self.refuse(operator, "of integers"));
        }
        let hidden = self.constant(operator, 5)?.shape.first().copied().unwrap_or(0);
        let Shape { c: features, h: rows, w: steps } = x.shape;
        if rows != 1 || hidden == 0 {
            return Err(self.refuse(operator, &format!("of {hidden} hidden values over {}", x.shape)));
        }
        // Gates of both are in the order i, f, g, o.
        let input = self.gates(operator, 1, &[hidden, features])?;
        let recurrent = self.gates(operator, 5, &[hidden, hidden])?;
        let bias = self.gates(operator, 12, &[hidden])?;
        let name = self.output(operator)?.1.name.clone();
        let linear = Linear {
            weight: input,
            bias: Some(bias),
            in_features: features,
            out_features: 4 * hidden,
            tied: false,
            steps: true,
            activation: Activation::Identity,
            integer: None,
        };
        let gates = Shape::new(4 * hidden, 1, steps);
        let product = self.push(&format!("{name}.input"), Layer::Linear(linear), &[x], gates, None);
        let clip = (options.cell_clip > 0.0).then_some(options.cell_clip);
        let lstm = Lstm { weight: recurrent, bias: None, projection: None, reverse: false, clip };
        let shape = Shape::new(hidden, 1, steps);
        Ok(self.push(&format!("{name}.hidden"), Layer::Lstm(lstm), &[product], shape, None))
    }

    /// Four constants from input `first` on, each of `shape`, as one parameter.
    fn gates(&self, operator: &Operator, first: usize, shape: &[usize]) -> Result<Param> {
        let mut data = Vec::new();
        for index in first..first + 4 {
            let tensor = self.constant(operator, index)?;
            if tensor.shape != shape {
                let detail = format!("is {:?}, {} needs {shape:?}", tensor.shape, operator.name);
                return Err(Error::malformed(format!("{}: {}", self.file.source, tensor.name), detail));
            }
            data.extend(self.weights(tensor)?);
        }
        let mut shape = shape.to_vec();
        shape[0] *= 4;
        Ok(Param { shape, data: data.into() })
    }
}
