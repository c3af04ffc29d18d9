//! TFLite operators with weights; for 8-bit integers, with their requantisation.

use std::sync::Arc;

use super::Lowering;
use crate::kernels::conv::Wrapped;
use crate::kernels::integer::Codes;
use crate::kernels::{Activation, Halo, Requantize, Rounding};
use crate::layers::{Conv, IntegerWeights, Layer, Linear, Padding, Param, Shape};
use crate::models::imported::Value;
use crate::weights::tflite::{Element, Operator, TfliteTensor};
use crate::{Error, Result};

impl Lowering<'_> {
    /// The values of a constant of 32-bit integers.
    pub(super) fn integers(&self, tensor: &TfliteTensor) -> Result<Vec<i32>> {
        if tensor.element != Element::I32 {
            return Err(self.wrong(tensor, format!("is {:?}, must be I32", tensor.element)));
        }
        Ok(tensor.data.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect())
    }

    /// Weights `tensor`, read by `operator`: integers minus their zero point if `integer`, else floats.
    pub(super) fn weights(&self, operator: &Operator, tensor: &TfliteTensor, integer: bool) -> Result<Vec<f32>> {
        if !integer {
            return self.floats(operator, tensor);
        }
        if tensor.zero_points.iter().any(|zero_point| *zero_point != tensor.zero_points[0]) {
            return Err(self.wrong(tensor, "its channels have zero points of their own"));
        }
        let zero = tensor.zero_points.first().map_or(0, |&zero_point| zero_point as i32);
        match tensor.element {
            Element::U8 => Ok(tensor.data.iter().map(|&code| (i32::from(code) - zero) as f32).collect()),
            Element::I8 => Ok(tensor.data.iter().map(|&code| (i32::from(code as i8) - zero) as f32).collect()),
            other => {
                Err(self.refuse(operator, &format!("of 8-bit integers with weights of {other:?} ({})", tensor.name)))
            }
        }
    }

    /// The bias in the scale of the sums, for integer inputs with parameters `x`.
    fn bias_of_sums(&self, operator: &Operator, x: Codes, y: Codes) -> Result<Vec<i32>> {
        let (weights, bias) = (self.constant(operator, 1)?, self.constant(operator, 2)?);
        // The interpreter checks this for a single scale only.
        if let (&[of_weights], &[of_bias]) = (weights.scales.as_slice(), bias.scales.as_slice())
            && ((f64::from(x.scale * of_weights) - f64::from(of_bias)) / f64::from(y.scale)).abs() > 0.02
        {
            return Err(self.wrong(bias, format!("its scale is {of_bias}, that of its sums {}", x.scale * of_weights)));
        }
        if bias.zero_points.iter().any(|&zero_point| zero_point != 0) {
            return Err(self.wrong(bias, "a bias has zero point 0"));
        }
        self.integers(bias)
    }

    /// Checks that the interpreter supports weights with these scales for integer inputs `x`.
    fn check_scales(&self, operator: &Operator, x: Codes) -> Result<()> {
        let tensor = self.constant(operator, 1)?;
        let axis = if operator.name == "DEPTHWISE_CONV_2D" { 3 } else { 0 };
        let several = tensor.scales.len() > 1;
        if several && tensor.axis != axis {
            return Err(self.wrong(tensor, format!("has scales along dimension {}, filters are {axis}", tensor.axis)));
        }
        if x.signed != (tensor.element == Element::I8) {
            let detail = format!("of signed and unsigned integers ({})", tensor.name);
            return Err(self.refuse(operator, &detail));
        }
        // Its kernels for signed integers support no zero point of filters, except for matrices with one scale.
        let symmetric = x.signed && (several || operator.name != "FULLY_CONNECTED");
        if symmetric && tensor.zero_points.iter().any(|&zero_point| zero_point != 0) {
            return Err(self.wrong(tensor, "signed filters have zero point 0"));
        }
        Ok(())
    }

    /// The requantisation of the sums of `filters` filters with integer inputs `x`.
    pub(super) fn requantize(&self, operator: &Operator, x: Codes, filters: usize) -> Result<IntegerWeights> {
        let tensor = self.constant(operator, 1)?;
        let (_, output) = self.output(operator)?;
        let y = self.codes(output)?;
        let bias = match operator.inputs.get(2) {
            Some(Some(_)) => self.bias_of_sums(operator, x, y)?,
            _ => vec![0; filters],
        };
        self.check_scales(operator, x)?;
        if bias.len() != filters || ![1, filters].contains(&tensor.scales.len()) {
            let detail = format!("{filters} filters, {} scales and {} biases", tensor.scales.len(), bias.len());
            return Err(self.wrong(tensor, detail));
        }
        let each = tensor.scales.len() > 1 || operator.name != "FULLY_CONNECTED";
        let multiplier = |filter: usize| {
            let scale = tensor.scales[if tensor.scales.len() == 1 { 0 } else { filter }];
            // As in TFLite: with one scale for all filters, the product of two scales is rounded to f32.
            let product = match each && x.signed {
                true => f64::from(x.scale) * f64::from(scale),
                false => f64::from(x.scale * scale),
            };
            product / f64::from(y.scale)
        };
        let (low, high) = self.bounds(operator, y)?;
        let multipliers: Vec<f64> = (0..filters).map(multiplier).collect();
        let zero_point = tensor.zero_points.first().map_or(0, |&zero_point| zero_point as i32);
        // TFLite has other kernels for signed matrices, even among its reference kernels.
        let rounding = match self.rounding {
            Rounding::Fixed31 if operator.name == "FULLY_CONNECTED" && x.signed => Rounding::Fixed31Once,
            rounding => rounding,
        };
        let (offset, input, wrapped) = (Vec::new(), x.bounds(), Wrapped::default());
        let requantize = Requantize { bias, offset, multipliers, rounding, input, low, high, wrapped };
        Ok(IntegerWeights {
            scales: tensor.scales.clone(),
            zero_point,
            signed: tensor.element == Element::I8,
            requantize: Arc::new(requantize),
        })
    }

    pub(super) fn conv(&mut self, operator: &Operator) -> Result<Value> {
        let x = self.laid(operator, 0)?;
        let tensor = self.constant(operator, 1)?;
        let depthwise = operator.name == "DEPTHWISE_CONV_2D";
        let &[k, r, s, c] = tensor.shape.as_slice() else {
            return Err(self.wrong(tensor, format!("filters of shape {:?}", tensor.shape)));
        };
        let (filters, inner, groups) = if depthwise { (c, 1, x.shape.c) } else { (k, c, x.shape.c / c.max(1)) };
        if depthwise && k != 1
            || inner * groups != x.shape.c
            || groups == 0
            || filters == 0
            || !filters.is_multiple_of(groups)
        {
            return Err(self.wrong(tensor, format!("filters {:?} over {}", tensor.shape, x.shape)));
        }
        if depthwise && operator.options.multiplier * groups != filters {
            let multiplier = operator.options.multiplier;
            return Err(self.wrong(tensor, format!("{filters} filters, {multiplier} for each of {groups} channels")));
        }
        let integer = self.draft.codes(x);
        let stored = self.weights(operator, tensor, integer.is_some())?;
        // From [K, R, S, C] or [1, R, S, K] to [K, C, R, S].
        let at =
            |k: usize, c: usize, tap: usize| if depthwise { tap * filters + k } else { (k * r * s + tap) * inner + c };
        let places = (0..filters).flat_map(|k| (0..inner).flat_map(move |c| (0..r * s).map(move |tap| (k, c, tap))));
        let data: Vec<f32> = places.map(|(k, c, tap)| stored[at(k, c, tap)]).collect();
        let options = operator.options;
        let same = options.same;
        if same && x.pad != Halo::default() || [options.stride, options.dilation].iter().any(|(a, b)| a * b == 0) {
            return Err(self.refuse(operator, "padded twice, or with a step of 0"));
        }
        let mut conv = Conv {
            kernel: (r, s),
            stride: options.stride,
            dilation: options.dilation,
            padding: if same { Padding::Same } else { Padding::Explicit(x.pad) },
            groups,
            in_channels: x.shape.c,
            ..Conv::new(filters, 1)
        };
        match integer {
            Some(codes) => conv.integer = Some(self.requantize(operator, codes, filters)?),
            None => {
                conv.activation = self.activation(operator)?;
                conv.bias_values = self.bias(operator, filters)?;
            }
        }
        conv.weight = Param { shape: vec![filters, inner, r, s], data: data.into() };
        let (name, codes) = self.made(operator, integer)?;
        let layer = Layer::Conv(conv);
        let shape = layer.output(&[x.shape]).map_err(|detail| Error::shape(&name, detail))?;
        Ok(self.push(&name, layer, &[x], shape, codes))
    }

    /// Float bias.
    pub(super) fn bias(&self, operator: &Operator, filters: usize) -> Result<Option<Param>> {
        let Some(Some(_)) = operator.inputs.get(2) else { return Ok(None) };
        let tensor = self.constant(operator, 2)?;
        let data = self.floats(operator, tensor)?;
        if data.len() != filters {
            return Err(self.wrong(tensor, format!("{} biases for {filters} filters", data.len())));
        }
        Ok(Some(Param { shape: vec![filters], data: data.into() }))
    }

    /// Name of a layer with weights, and the quantisation parameters of its output.
    pub(super) fn made(&self, operator: &Operator, integer: Option<Codes>) -> Result<(String, Option<Codes>)> {
        let (_, output) = self.output(operator)?;
        let codes = integer.map(|_| self.codes(output)).transpose()?;
        Ok((self.constant(operator, 1)?.name.clone(), codes))
    }

    pub(super) fn linear(&mut self, operator: &Operator) -> Result<Value> {
        let x = self.read_all(operator, 0)?;
        let tensor = self.constant(operator, 1)?;
        let Shape { c, h, w } = x.shape;
        let &[filters, features] = tensor.shape.as_slice() else {
            return Err(self.wrong(tensor, format!("weights of shape {:?}", tensor.shape)));
        };
        if features != x.shape.elements() || filters == 0 {
            return Err(self.wrong(tensor, format!("weights {:?} over {}", tensor.shape, x.shape)));
        }
        let last = self.file.tensors[self.tensor_index(operator, 0)?].shape.last().copied();
        if operator.options.keep_dims && last.is_some_and(|last| last != features) {
            return Err(self.refuse(operator, &format!("that keeps extents, of {features} features in {last:?}")));
        }
        let integer = self.draft.codes(x);
        let stored = self.weights(operator, tensor, integer.is_some())?;
        // From the order row, column, channel to channel, row, column.
        let places = (0..filters).flat_map(|k| (0..c).flat_map(move |c| (0..h * w).map(move |pixel| (k, c, pixel))));
        let data: Vec<f32> = places.map(|(k, channel, pixel)| stored[(k * h * w + pixel) * c + channel]).collect();
        let mut linear = Linear {
            weight: Param { shape: vec![filters, features], data: Default::default() },
            bias: None,
            in_features: features,
            out_features: filters,
            tied: false,
            steps: false,
            activation: Activation::Identity,
            integer: integer.map(|codes| self.requantize(operator, codes, filters)).transpose()?,
            channels_last: (c > 1 && h * w > 1).then_some(c),
            low_bits: None,
        };
        if integer.is_none() {
            (linear.activation, linear.bias) = (self.activation(operator)?, self.bias(operator, filters)?);
        }
        linear.weight.data = data.into();
        let (name, codes) = self.made(operator, integer)?;
        Ok(self.push(&name, Layer::Linear(linear), &[x], Shape::new(filters, 1, 1), codes))
    }
}
