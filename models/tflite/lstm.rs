//! The recurrence as two of our layers: the product of the inputs over all steps, and that of the hidden values.

use std::sync::Arc;

use super::Lowering;
use crate::kernels::integer_lstm::IntegerLstm;
use crate::kernels::{Activation, Codes, Requantize, Rounding};
use crate::layers::{IntegerWeights, Layer, Linear, Lstm, Param, Shape};
use crate::models::imported::Value;
use crate::weights::tflite::{Element, Operator};
use crate::{Error, Result};

/// Number of a fused hyperbolic tangent in TFLite's schema.
const TANH: i8 = 4;

impl Lowering<'_> {
    pub(super) fn lstm(&mut self, operator: &Operator) -> Result<Value> {
        let x = self.read(operator, 0)?;
        let options = operator.options;
        // Peepholes, projections, layer norms.
        let present = |i: usize| matches!(operator.inputs.get(i), Some(Some(_)));
        let more = [9, 10, 11, 16, 17, 20, 21, 22, 23].into_iter().any(present);
        // With coupled input and forget gates the input gate is omitted.
        let fewer = ![1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 15].into_iter().all(present);
        if more || fewer || options.time_major || options.activation != TANH {
            return Err(self.refuse(operator, "with other than four gates of inputs and hidden values"));
        }
        let hidden = self.constant(operator, 5)?.shape.first().copied().unwrap_or(0);
        let Shape { c: features, h: rows, w: steps } = x.shape;
        if rows != 1 || hidden == 0 {
            return Err(self.refuse(operator, &format!("of {hidden} hidden values over {}", x.shape)));
        }
        // States must start at zero.
        for index in [18, 19] {
            let state = &self.file.tensors[self.tensor_index(operator, index)?];
            if !(state.variable && state.data.is_empty()) {
                return Err(self.refuse(operator, &format!("that starts from {}", state.name)));
            }
        }
        let is_integer = self.draft.codes(x).is_some();
        // Both have gates in the order i, f, g, o.
        let input = self.gates(operator, 1, &[hidden, features], is_integer)?;
        let recurrent = self.gates(operator, 5, &[hidden, hidden], is_integer)?;
        let (_, output) = self.output(operator)?;
        let (name, codes) = (output.name.clone(), self.codes_if_any(output)?);
        let (bias, products, integer) = match (self.draft.codes(x), codes) {
            (None, None) => (Some(self.gates(operator, 12, &[hidden], false)?), None, None),
            (Some(from), Some(to)) => {
                let (products, recurrence) = self.integers_of(operator, (from, to), hidden)?;
                (None, Some(products), Some(recurrence))
            }
            _ => return Err(self.refuse(operator, "from floats to integers or back")),
        };
        let linear = Linear {
            weight: input,
            bias,
            in_features: features,
            out_features: 4 * hidden,
            tied: false,
            steps: true,
            activation: Activation::Identity,
            integer: products,
            channels_last: None,
            low_bits: None,
        };
        let gates = Shape::new(4 * hidden, 1, steps);
        let product = self.push(&format!("{name}.input"), Layer::Linear(linear), &[x], gates, None);
        let clip = (options.cell_clip > 0.0).then_some(options.cell_clip);
        let lstm = Lstm {
            weight: recurrent,
            bias: None,
            projection: None,
            reverse: false,
            clip,
            integer,
            rounding: [None; 2],
        };
        let shape = Shape::new(hidden, 1, steps);
        Ok(self.push(&format!("{name}.hidden"), Layer::Lstm(lstm), &[product], shape, codes))
    }

    /// The requantisation of both products. Gates have 16 bits, 3 of them integer.
    fn integers_of(
        &self,
        operator: &Operator,
        (from, to): (Codes, Codes),
        hidden: usize,
    ) -> Result<(IntegerWeights, (IntegerLstm, IntegerWeights))> {
        let unit = 2f64.powi(-12);
        let mut scales = [[0.0; 4]; 2];
        let mut bias = Vec::new();
        for gate in 0..4 {
            for (scales, first) in scales.iter_mut().zip([1, 5]) {
                let tensor = self.constant(operator, first + gate)?;
                let (&[scale], &[0]) = (tensor.scales.as_slice(), tensor.zero_points.as_slice()) else {
                    return Err(self.wrong(tensor, "has not one scale, and zero point 0"));
                };
                scales[gate] = scale;
            }
            bias.extend(self.integers(self.constant(operator, 12 + gate)?)?);
        }
        let cell = self.tensor_index(operator, 19).map(|index| &self.file.tensors[index])?;
        if cell.element != Element::I16
            || cell.scales != [unit as f32]
            || to.zero_point != 0
            || bias.len() != 4 * hidden
        {
            return Err(self.wrong(cell, "cells are of 16 bits, 12 of them after the point; outputs have zero point 0"));
        }
        let multiplier = |scale: f32, codes: Codes| f64::from(codes.scale) * f64::from(scale) / unit;
        let rows = |scales: [f32; 4]| scales.into_iter().flat_map(|scale| std::iter::repeat_n(scale, hidden));
        let [input, recurrent] = scales;
        let requantize = Requantize {
            bias,
            offset: Vec::new(),
            multipliers: rows(input).map(|scale| multiplier(scale, from)).collect(),
            rounding: Rounding::Fixed31,
            input: from.bounds(),
            low: i16::MIN.into(),
            high: i16::MAX.into(),
            wrapped: Default::default(),
        };
        let weights = |scales: [f32; 4], requantize: Requantize| IntegerWeights {
            scales: rows(scales).collect(),
            zero_point: 0,
            signed: true,
            requantize: Arc::new(requantize),
        };
        let none = Requantize {
            bias: vec![],
            offset: vec![],
            multipliers: vec![],
            rounding: Rounding::Fixed31,
            input: to.bounds(),
            low: 0,
            high: 0,
            wrapped: Default::default(),
        };
        let clip = f64::from(operator.options.cell_clip) / unit;
        let lstm = IntegerLstm {
            gates: recurrent.map(|scale| multiplier(scale, to)),
            hidden: 2f64.powi(-30) / f64::from(to.scale),
            clip: if clip > 0.0 { clip.min(f64::from(i16::MAX)) as i16 } else { i16::MAX },
        };
        Ok((weights(input, requantize), (lstm, weights(recurrent, none))))
    }

    /// Four constants from input `first` on, each of `shape`, as one parameter.
    fn gates(&self, operator: &Operator, first: usize, shape: &[usize], integer: bool) -> Result<Param> {
        let mut data = Vec::new();
        for index in first..first + 4 {
            let tensor = self.constant(operator, index)?;
            if tensor.shape != shape {
                let detail = format!("is {:?}, {} needs {shape:?}", tensor.shape, operator.name);
                return Err(Error::malformed(format!("{}: {}", self.file.source, tensor.name), detail));
            }
            data.extend(self.weights(operator, tensor, integer)?);
        }
        let mut shape = shape.to_vec();
        shape[0] *= 4;
        Ok(Param { shape, data: data.into() })
    }
}
