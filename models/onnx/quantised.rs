//! Quantised ONNX operators: QuantizeLinear and DequantizeLinear around float operators (QDQ), and QLinear operators.
//!
//! A float operator between the two becomes one integer layer. An operator with only one of them is computed in floats.

use super::weighted::{Bias, Filters};
use super::{Lowering, Tensor, Value};
use crate::Result;
use crate::kernels::conv::Wrapped;
use crate::kernels::{Codes, Integer, Requantize};
use crate::layers::{IntegerWeights, Layer};
use crate::weights::onnx::{OnnxNode, OnnxTensor, Values};

/// A quantised constant: integers with scales and zero point.
#[derive(Clone)]
pub(super) struct QuantisedConstant<'a> {
    pub tensor: &'a OnnxTensor,
    /// Scales: one, or one per index along `axis`.
    pub scales: &'a [f32],
    pub zero_point: i32,
    pub axis: usize,
}

impl QuantisedConstant<'_> {
    /// The integers minus their zero point.
    pub fn differences(&self) -> Vec<f32> {
        let zero = self.zero_point;
        match &self.tensor.values {
            Values::Bytes { signed: true, bytes } => {
                bytes.iter().map(|&code| (i32::from(code as i8) - zero) as f32).collect()
            }
            Values::Bytes { bytes, .. } => bytes.iter().map(|&code| (i32::from(code) - zero) as f32).collect(),
            Values::Integers(values) => values.iter().map(|&value| (value - i64::from(zero)) as f32).collect(),
            Values::Floats(values) => values.clone(),
        }
    }

    /// The dequantised values.
    pub fn dequantised(&self) -> Vec<f32> {
        let inner: usize = self.tensor.shape.iter().skip(self.axis.saturating_add(1)).product();
        let scale = |i: usize| self.scales[i / inner.max(1) % self.scales.len()];
        self.differences().into_iter().enumerate().map(|(i, value)| value * scale(i)).collect()
    }
}

/// The quantised output of an operator.
pub(super) struct Target<'a> {
    /// Name of the quantised tensor.
    pub output: &'a str,
    pub codes: Codes,
    /// Bounds of `q - zero_point`, cut by an activation.
    pub bounds: (i32, i32),
    /// Nodes that are fused into the operator.
    nodes: Vec<usize>,
}

impl<'a> Lowering<'a> {
    /// Scale and zero point of one value, at inputs `scale` and the one after it.
    pub(super) fn codes_at(&self, node: &'a OnnxNode, scale: usize) -> Result<Codes> {
        let value = self.scalar(node, scale)?.ok_or_else(|| self.wrong(node, "has no scale"))?;
        let (signed, zero_point) = match self.input_of(node, scale + 1)? {
            None => (false, 0),
            Some(Tensor::Constant(OnnxTensor { values: Values::Bytes { signed, bytes }, .. })) if bytes.len() == 1 => {
                (*signed, if *signed { i32::from(bytes[0] as i8) } else { i32::from(bytes[0]) })
            }
            Some(_) => return Err(self.refuse(node, "whose zero point is not one constant 8-bit integer")),
        };
        if !(value.is_finite() && value > 0.0) {
            return Err(self.wrong(node, format!("its scale is {value}")));
        }
        Ok(Codes { scale: value, zero_point, signed })
    }

    /// A constant with the scales and zero points at inputs `scale` and the one after it; if there are several, along `axis`.
    fn quantised_constant(
        &self,
        node: &'a OnnxNode,
        tensor: &'a OnnxTensor,
        scale: usize,
        axis: i64,
    ) -> Result<QuantisedConstant<'a>> {
        let Some(Tensor::Constant(OnnxTensor { values: Values::Floats(scales), .. })) = self.input_of(node, scale)?
        else {
            return Err(self.refuse(node, "whose scales are no constant floats"));
        };
        let zero_points = match self.input_of(node, scale + 1)? {
            None => vec![0],
            Some(Tensor::Constant(tensor)) => {
                let none = QuantisedConstant { tensor, scales: &[1.0], zero_point: 0, axis: 0 };
                none.differences().iter().map(|&value| value as i32).collect()
            }
            Some(_) => return Err(self.refuse(node, "whose zero points are no constants")),
        };
        let zero_point = zero_points.first().copied().unwrap_or(0);
        if zero_points.iter().any(|&other| other != zero_point) {
            return Err(self.refuse(node, "whose channels have zero points of their own"));
        }
        let axis = if axis < 0 { axis + tensor.shape.len() as i64 } else { axis };
        let axis = usize::try_from(axis).unwrap_or(usize::MAX);
        if scales.len() != 1 && tensor.shape.get(axis) != Some(&scales.len()) {
            return Err(self.wrong(node, format!("{} scales for a tensor {:?}", scales.len(), tensor.shape)));
        }
        if scales.iter().any(|scale| !(scale.is_finite() && *scale >= 0.0)) {
            return Err(self.wrong(node, "a scale is negative or not finite"));
        }
        Ok(QuantisedConstant { tensor, scales, zero_point, axis })
    }

    fn check_blocks(&self, node: &OnnxNode) -> Result<()> {
        match node.int("block_size").unwrap_or(0) {
            0 => Ok(()),
            size => Err(self.refuse(node, format!("with scales of blocks of {size}"))),
        }
    }

    pub(super) fn dequantize(&self, node: &'a OnnxNode) -> Result<Tensor<'a>> {
        self.check_blocks(node)?;
        match self.required(node, 0)? {
            Tensor::Constant(tensor) => {
                Ok(Tensor::Quantised(self.quantised_constant(node, tensor, 1, node.int("axis").unwrap_or(1))?))
            }
            Tensor::Value(value) if self.draft.codes(*value) == Some(self.codes_at(node, 1)?) => {
                Ok(Tensor::Value(*value))
            }
            _ => Err(self.refuse(node, "of what was not quantised with its scale")),
        }
    }

    pub(super) fn quantize(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let (x, codes) = (self.unpadded(node, 0)?, self.codes_at(node, 1)?);
        self.check_blocks(node)?;
        // ONNX's numbers for the types of results and of divisions.
        let (own, kind) = (if codes.signed { 3 } else { 2 }, node.int("output_dtype").unwrap_or(0));
        if ![0, own].contains(&kind) || ![0, 1].contains(&node.int("precision").unwrap_or(0)) {
            return Err(self.refuse(node, "to another type than its zero point's, or by divisions of another than f32"));
        }
        let layer = match self.draft.codes(x) {
            Some(from) if from == codes => return Ok(x),
            Some(from) => {
                Integer::Rescale { scales: (from.scale, codes.scale), bounds: codes.bounds(), rounding: self.rounding }
            }
            None => Integer::Quantize(codes, self.rounding),
        };
        self.push(&super::layer_name(node, None), Layer::Integer(layer), &[x], Some(codes))
    }

    /// The quantised output that tensor `name` is converted to, if its only reader is a QuantizeLinear, or a ReLU or Clip
    /// before one.
    pub(super) fn target(&self, name: &'a str) -> Result<Option<Target<'a>>> {
        let (mut name, mut nodes, mut range) = (name, Vec::new(), (f32::NEG_INFINITY, f32::INFINITY));
        loop {
            let Some(&[reader]) = self.readers.get(name).map(Vec::as_slice) else { return Ok(None) };
            if self.file.outputs.iter().any(|output| output == name) {
                return Ok(None);
            }
            let node = &self.file.nodes[reader];
            let Some(output) = node.outputs.first() else { return Ok(None) };
            nodes.push(reader);
            match node.op.as_str() {
                "Relu" | "Clip" if nodes.len() == 1 => range = self.bounds(node)?,
                "QuantizeLinear" if node.inputs[0] == name => {
                    let codes = self.codes_at(node, 1)?;
                    let (low, high) = codes.bounds();
                    let code =
                        |value: f32| (value / codes.scale).round_ties_even().clamp(low as f32, high as f32) as i32;
                    return Ok(Some(Target { output, codes, bounds: (code(range.0), code(range.1)), nodes }));
                }
                _ => return Ok(None),
            }
            name = output;
        }
    }

    /// Records `value` as the output `target`.
    pub(super) fn set_output(&mut self, target: Target<'a>, value: Value) {
        self.done.extend(target.nodes);
        self.tensors.insert(target.output, Tensor::Value(value));
    }

    /// The requantisation from sums of `filters` with codes `x` to codes `y` within `bounds`.
    pub(super) fn requantize(
        &self,
        node: &'a OnnxNode,
        (filters, bias): (&Filters, &Bias),
        (x, y): (Codes, Codes),
        (low, high): (i32, i32),
    ) -> Result<IntegerWeights> {
        let Some(quantisation) = &filters.quantisation else {
            return Err(self.refuse(node, "of integers with float weights"));
        };
        let count = filters.shape[0];
        if ![1, count].contains(&quantisation.scales.len()) {
            return Err(self.wrong(node, format!("{} scales for {count} filters", quantisation.scales.len())));
        }
        // Products in f32, as in ONNX Runtime.
        let products: Vec<f32> = (0..count)
            .map(|k| x.scale * quantisation.scales[if quantisation.scales.len() == 1 { 0 } else { k }])
            .collect();
        let bias: Vec<i32> = match bias {
            Bias::None => vec![0; count],
            Bias::Sums(sums, scales) => {
                let stated = |k: usize| scales.get(if scales.len() == 1 { 0 } else { k });
                // Scales of dead filters are so small that they are no exact floats.
                let near = |scale: f32, product: f32| (scale - product).abs() <= 1e-4 * product + f32::MIN_POSITIVE;
                let apart = |(k, product): (usize, &f32)| stated(k).is_some_and(|scale| !near(*scale, *product));
                if products.iter().enumerate().any(apart) {
                    return Err(self.refuse(node, "whose bias is in another scale than its sums"));
                }
                sums.clone()
            }
            Bias::Floats(values) => {
                let sum = |(value, product): (&f32, &f32)| (f64::from(*value) / f64::from(*product)).round_ties_even();
                // Beyond 32 bits it is cut off, as ONNX Runtime does where it quantises such a bias.
                values.iter().zip(&products).map(|pair| sum(pair) as i32).collect()
            }
        };
        if bias.len() != count {
            return Err(self.wrong(node, format!("{} biases for {count} filters", bias.len())));
        }
        if low > 0 || high < 0 {
            return Err(self.refuse(node, "whose results cannot be 0"));
        }
        let multipliers = products.iter().map(|product| f64::from(product / y.scale)).collect();
        let (offset, rounding, input, wrapped) = (Vec::new(), self.rounding, x.bounds(), Wrapped::default());
        let requantize = Requantize { bias, offset, multipliers, rounding, input, low, high, wrapped };
        let (scales, zero_point, signed) = (quantisation.scales.clone(), quantisation.zero_point, quantisation.signed);
        Ok(IntegerWeights { scales, zero_point, signed, requantize: requantize.into() })
    }

    /// Input `index` of a QLinear operator, whose scale is the next input.
    fn integers_at(&self, node: &'a OnnxNode, index: usize) -> Result<Value> {
        let value = self.value(node, index)?;
        match self.draft.codes(value) {
            Some(codes) if codes == self.codes_at(node, index + 1)? => Ok(value),
            _ => Err(self.refuse(node, format!("whose input {index} was not quantised with its scale"))),
        }
    }

    /// Constant input `index` of a QLinear operator, whose scale is the next input.
    fn filters_at(&self, node: &'a OnnxNode, index: usize, transposed: bool) -> Result<Filters> {
        let Tensor::Constant(tensor) = self.required(node, index)? else {
            return Err(self.refuse(node, "whose weights are no constants"));
        };
        Ok(Filters::quantised(&self.quantised_constant(node, tensor, index + 1, i64::from(transposed))?, transposed))
    }

    fn sums_at(&self, node: &'a OnnxNode, index: usize) -> Result<Bias> {
        let Some(sums) = self.integers(node, index)? else { return Ok(Bias::None) };
        Ok(Bias::Sums(sums.iter().map(|&sum| sum as i32).collect(), Vec::new()))
    }

    pub(super) fn integer_conv(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let (x, y) = (self.integers_at(node, 0)?, self.codes_at(node, 6)?);
        let (filters, bias) = (self.filters_at(node, 3, false)?, self.sums_at(node, 8)?);
        self.convolve(node, (x, 3), filters, bias, Some((y, y.bounds())))
    }

    pub(super) fn integer_linear(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let x = self.integers_at(node, 0)?;
        let gemm = node.op.ends_with("QGemm");
        let (bias, y) = match gemm {
            true => (self.sums_at(node, 6)?, self.codes_at(node, 7)?),
            false => (Bias::None, self.codes_at(node, 6)?),
        };
        self.check_gemm(node)?;
        let filters = self.filters_at(node, 3, !gemm || node.int("transB") != Some(1))?;
        self.multiply(node, (x, 3), filters, bias, Some((y, y.bounds())))
    }

    pub(super) fn integer_add(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let (a, b, y) = (self.integers_at(node, 0)?, self.integers_at(node, 3)?, self.codes_at(node, 6)?);
        self.sum(node, [a, b], (y, y.bounds()))
    }

    /// Multiplies integers exactly, then rescales to the scale of the result.
    pub(super) fn integer_mul(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let (mut a, mut b, y) = (self.integers_at(node, 0)?, self.integers_at(node, 3)?, self.codes_at(node, 6)?);
        let [first, second] = [a, b].map(|value| self.draft.codes(value).map_or(1.0, |codes| codes.scale));
        // The gate is the second input.
        if a.shape.h * a.shape.w < b.shape.h * b.shape.w {
            (a, b) = (b, a);
        }
        let name = super::layer_name(node, None);
        let product = self.push(&name, Layer::Mul, &[a, b], None)?;
        let scales = (first * second / y.scale, 1.0);
        let layer = Integer::Rescale { scales, bounds: y.bounds(), rounding: self.rounding };
        self.push(&format!("{name}.rescale"), Layer::Integer(layer), &[product], Some(y))
    }

    /// The sum of two integer values, as integers.
    pub(super) fn sum(
        &mut self,
        node: &OnnxNode,
        terms: [Value; 2],
        (codes, bounds): (Codes, (i32, i32)),
    ) -> Result<Value> {
        let scales = terms.map(|term| self.draft.codes(term).map_or(1.0, |codes| codes.scale));
        let layer = Integer::Add { scales: (scales, codes.scale), bounds, rounding: self.rounding };
        self.push(&super::layer_name(node, None), Layer::Integer(layer), &terms, Some(codes))
    }

    pub(super) fn integer_mean(&mut self, node: &'a OnnxNode) -> Result<Value> {
        if node.int("channels_last").unwrap_or(0) != 0 {
            return Err(self.refuse(node, "with channels last"));
        }
        let (x, y) = (self.integers_at(node, 0)?, self.codes_at(node, 3)?);
        self.mean_of(node, x, (y, y.bounds()))
    }

    /// The mean over all pixels of an integer value, as integers.
    pub(super) fn mean_of(&mut self, node: &OnnxNode, x: Value, (codes, bounds): (Codes, (i32, i32))) -> Result<Value> {
        let from = self.draft.codes(x).map_or(1.0, |codes| codes.scale);
        let layer = Integer::Mean { scales: (from, codes.scale), bounds, rounding: self.rounding };
        self.push(&super::layer_name(node, None), Layer::Integer(layer), &[x], Some(codes))
    }
}
