//! Integers that stand for reals: QuantizeLinear and DequantizeLinear around operators of reals, and QLinear operators.
//!
//! An operator between both becomes one layer of integers. What is between them alone is computed on reals.

use super::weighted::{Bias, Filters};
use super::{Held, Lowering, Value};
use crate::Result;
use crate::kernels::{Codes, Integer, Requantize};
use crate::layers::{IntegerWeights, Layer};
use crate::weights::onnx::{OnnxNode, OnnxTensor, Values};

/// A constant of integers that stand for reals.
#[derive(Clone)]
pub(super) struct Coded<'a> {
    pub tensor: &'a OnnxTensor,
    /// Reals a code, one or one a place along `axis`.
    pub scales: &'a [f32],
    pub zero_point: i32,
    pub axis: usize,
}

impl Coded<'_> {
    /// The integers less their zero point.
    pub fn differences(&self) -> Vec<f32> {
        let zero = self.zero_point;
        match &self.tensor.values {
            Values::Bytes { signed: true, bytes } => {
                bytes.iter().map(|&code| (i32::from(code as i8) - zero) as f32).collect()
            }
            Values::Bytes { bytes, .. } => bytes.iter().map(|&code| (i32::from(code) - zero) as f32).collect(),
            Values::Integers(values) => values.iter().map(|&value| (value - i64::from(zero)) as f32).collect(),
            Values::Reals(values) => values.clone(),
        }
    }

    /// The reals.
    pub fn reals(&self) -> Vec<f32> {
        let inner: usize = self.tensor.shape.iter().skip(self.axis.saturating_add(1)).product();
        let scale = |i: usize| self.scales[i / inner.max(1) % self.scales.len()];
        self.differences().into_iter().enumerate().map(|(i, value)| value * scale(i)).collect()
    }
}

/// Where the results of an operator go as integers.
pub(super) struct Target<'a> {
    /// The tensor that holds them.
    pub output: &'a str,
    pub codes: Codes,
    /// Of `q - zero_point`, cut by an activation.
    pub bounds: (i32, i32),
    /// Nodes that this takes the place of.
    nodes: Vec<usize>,
}

impl<'a> Lowering<'a> {
    /// The scale and zero point at inputs `scale` and after it, of one value.
    pub(super) fn codes_at(&self, node: &'a OnnxNode, scale: usize) -> Result<Codes> {
        let value = self.scalar(node, scale)?.ok_or_else(|| self.wrong(node, "has no scale"))?;
        let (signed, zero_point) = match self.input_of(node, scale + 1)? {
            None => (false, 0),
            Some(Held::Constant(OnnxTensor { values: Values::Bytes { signed, bytes }, .. })) if bytes.len() == 1 => {
                (*signed, if *signed { i32::from(bytes[0] as i8) } else { i32::from(bytes[0]) })
            }
            Some(_) => return Err(self.refuse(node, "whose zero point is not one constant 8-bit integer")),
        };
        if !(value.is_finite() && value > 0.0) {
            return Err(self.wrong(node, format!("its scale is {value}")));
        }
        Ok(Codes { scale: value, zero_point, signed })
    }

    /// A constant with the scales and zero points at inputs `scale` and after it, if several then along `axis`.
    fn coded(&self, node: &'a OnnxNode, tensor: &'a OnnxTensor, scale: usize, axis: i64) -> Result<Coded<'a>> {
        let Some(Held::Constant(OnnxTensor { values: Values::Reals(scales), .. })) = self.input_of(node, scale)? else {
            return Err(self.refuse(node, "whose scales are no constant reals"));
        };
        let zero_points = match self.input_of(node, scale + 1)? {
            None => vec![0],
            Some(Held::Constant(tensor)) => {
                let none = Coded { tensor, scales: &[1.0], zero_point: 0, axis: 0 };
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
        Ok(Coded { tensor, scales, zero_point, axis })
    }

    fn check_blocks(&self, node: &OnnxNode) -> Result<()> {
        match node.int("block_size").unwrap_or(0) {
            0 => Ok(()),
            size => Err(self.refuse(node, format!("with scales of blocks of {size}"))),
        }
    }

    pub(super) fn dequantize(&self, node: &'a OnnxNode) -> Result<Held<'a>> {
        self.check_blocks(node)?;
        match self.required(node, 0)? {
            Held::Constant(tensor) => Ok(Held::Coded(self.coded(node, tensor, 1, node.int("axis").unwrap_or(1))?)),
            Held::Value(value) if self.draft.codes(*value) == Some(self.codes_at(node, 1)?) => Ok(Held::Value(*value)),
            _ => Err(self.refuse(node, "of what was not quantised with its scale")),
        }
    }

    pub(super) fn quantize(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let (x, codes) = (self.unpadded(node, 0)?, self.codes_at(node, 1)?);
        self.check_blocks(node)?;
        // Types of the results, of divisions: numbers of ONNX's types.
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

    /// Where tensor `name` goes if all that reads it is a QuantizeLinear, perhaps behind a ReLU or Clip.
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
                    let code = |real: f32| (real / codes.scale).round_ties_even().clamp(low as f32, high as f32) as i32;
                    return Ok(Some(Target { output, codes, bounds: (code(range.0), code(range.1)), nodes }));
                }
                _ => return Ok(None),
            }
            name = output;
        }
    }

    /// Notes that `value` is what `target` tells of.
    pub(super) fn reach(&mut self, target: Target<'a>, value: Value) {
        self.done.extend(target.nodes);
        self.held.insert(target.output, Held::Value(value));
    }

    /// What makes codes `y` within `bounds` of the sums of `filters` with codes `x`.
    pub(super) fn requantize(
        &self,
        node: &'a OnnxNode,
        (filters, bias): (&Filters, &Bias),
        (x, y): (Codes, Codes),
        (low, high): (i32, i32),
    ) -> Result<IntegerWeights> {
        let Some(coding) = &filters.coding else { return Err(self.refuse(node, "of integers with real weights")) };
        let count = filters.shape[0];
        if ![1, count].contains(&coding.scales.len()) {
            return Err(self.wrong(node, format!("{} scales for {count} filters", coding.scales.len())));
        }
        // Products in f32, as ONNX Runtime has them.
        let products: Vec<f32> =
            (0..count).map(|k| x.scale * coding.scales[if coding.scales.len() == 1 { 0 } else { k }]).collect();
        let bias: Vec<i32> = match bias {
            Bias::None => vec![0; count],
            Bias::Sums(sums, scales) => {
                let told = |k: usize| scales.get(if scales.len() == 1 { 0 } else { k });
                let apart =
                    |(k, product): (usize, &f32)| told(k).is_some_and(|scale| (scale / product - 1.0).abs() > 1e-4);
                if products.iter().enumerate().any(apart) {
                    return Err(self.refuse(node, "whose bias is in another scale than its sums"));
                }
                sums.clone()
            }
            Bias::Reals(reals) => {
                let sum = |(real, product): (&f32, &f32)| (f64::from(*real) / f64::from(*product)).round_ties_even();
                reals.iter().zip(&products).map(|pair| sum(pair) as i32).collect()
            }
        };
        if bias.len() != count {
            return Err(self.wrong(node, format!("{} biases for {count} filters", bias.len())));
        }
        if low > 0 || high < 0 {
            return Err(self.refuse(node, "whose results cannot be 0"));
        }
        let multipliers = products.iter().map(|product| f64::from(product / y.scale)).collect();
        let requantize =
            Requantize { bias, offset: Vec::new(), multipliers, rounding: self.rounding, input: x.bounds(), low, high };
        let (scales, zero_point, signed) = (coding.scales.clone(), coding.zero_point, coding.signed);
        Ok(IntegerWeights { scales, zero_point, signed, requantize: requantize.into() })
    }

    /// Input `index` of a QLinear operator, whose scale follows it.
    fn integers_at(&self, node: &'a OnnxNode, index: usize) -> Result<Value> {
        let value = self.value(node, index)?;
        match self.draft.codes(value) {
            Some(codes) if codes == self.codes_at(node, index + 1)? => Ok(value),
            _ => Err(self.refuse(node, format!("whose input {index} was not quantised with its scale"))),
        }
    }

    /// Constant input `index` of a QLinear operator, whose scale follows it.
    fn filters_at(&self, node: &'a OnnxNode, index: usize, transposed: bool) -> Result<Filters> {
        let Held::Constant(tensor) = self.required(node, index)? else {
            return Err(self.refuse(node, "whose weights are no constants"));
        };
        Ok(Filters::coded(&self.coded(node, tensor, index + 1, i64::from(transposed))?, transposed))
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

    /// The product of integers is exact; it is brought to the scale of the result.
    pub(super) fn integer_mul(&mut self, node: &'a OnnxNode) -> Result<Value> {
        let (mut a, mut b, y) = (self.integers_at(node, 0)?, self.integers_at(node, 3)?, self.codes_at(node, 6)?);
        let [first, second] = [a, b].map(|value| self.draft.codes(value).map_or(1.0, |codes| codes.scale));
        // The gate is the second.
        if a.shape.h * a.shape.w < b.shape.h * b.shape.w {
            (a, b) = (b, a);
        }
        let name = super::layer_name(node, None);
        let product = self.push(&name, Layer::Mul, &[a, b], None)?;
        let scales = (first * second / y.scale, 1.0);
        let layer = Integer::Rescale { scales, bounds: y.bounds(), rounding: self.rounding };
        self.push(&format!("{name}.rescale"), Layer::Integer(layer), &[product], Some(y))
    }

    /// The sum of two values of integers, as integers.
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

    /// The mean over all pixels of integers, as integers.
    pub(super) fn mean_of(&mut self, node: &OnnxNode, x: Value, (codes, bounds): (Codes, (i32, i32))) -> Result<Value> {
        let from = self.draft.codes(x).map_or(1.0, |codes| codes.scale);
        let layer = Integer::Mean { scales: (from, codes.scale), bounds, rounding: self.rounding };
        self.push(&super::layer_name(node, None), Layer::Integer(layer), &[x], Some(codes))
    }
}
