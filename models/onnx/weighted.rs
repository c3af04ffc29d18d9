//! ONNX operators with weights.

use super::quantised::QuantisedConstant;
use super::{Lowering, Tensor, Value, layer_name};
use crate::Result;
use crate::kernels::{Activation, Codes, Halo};
use crate::layers::{BatchNorm, Conv, IntegerWeights, Layer, Linear, Padding, Param};
use crate::weights::onnx::{OnnxNode, OnnxTensor, Values};

/// Quantisation parameters of filters.
pub(super) struct Quantisation {
    /// Scales: one, or one per filter.
    pub scales: Vec<f32>,
    pub zero_point: i32,
    pub signed: bool,
}

/// Filters, outermost dimension first: floats, or codes minus their zero point.
pub(super) struct Filters {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
    pub quantisation: Option<Quantisation>,
}

impl Filters {
    /// Integer filters; `transposed` if each is a column.
    pub fn quantised(coded: &QuantisedConstant<'_>, transposed: bool) -> Self {
        let signed = !matches!(coded.tensor.values, Values::Bytes { signed: false, .. });
        let quantisation = Quantisation { scales: coded.scales.to_vec(), zero_point: coded.zero_point, signed };
        Self::laid(&coded.tensor.shape, coded.differences(), Some(quantisation), transposed)
    }

    fn laid(shape: &[usize], data: Vec<f32>, quantisation: Option<Quantisation>, transposed: bool) -> Self {
        match (transposed, shape) {
            (true, &[rows, columns]) => {
                let places = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
                Self { shape: vec![columns, rows], data: places.map(|at| data[at]).collect(), quantisation }
            }
            _ => Self { shape: shape.to_vec(), data, quantisation },
        }
    }
}

/// Bias of the filters.
pub(super) enum Bias {
    None,
    Floats(Vec<f32>),
    /// Integers in the scale of the sums, with the scales that the file states for them (one, or one per filter), if any.
    Sums(Vec<i32>, Vec<f32>),
}

impl Bias {
    fn floats(self) -> Option<Vec<f32>> {
        match self {
            Self::None => None,
            Self::Floats(floats) => Some(floats),
            Self::Sums(sums, scales) => {
                let scale = |i: usize| scales.get(if scales.len() == 1 { 0 } else { i }).copied().unwrap_or(0.0);
                Some(sums.iter().enumerate().map(|(i, &sum)| sum as f32 * scale(i)).collect())
            }
        }
    }
}

impl<'a> Lowering<'a> {
    /// A constant as floats.
    fn floats(&self, node: &'a OnnxNode, index: usize) -> Result<Vec<f32>> {
        match self.required(node, index)? {
            Tensor::Constant(OnnxTensor { values: Values::Floats(values), .. }) => Ok(values.clone()),
            Tensor::Quantised(coded) => Ok(coded.dequantised()),
            _ => Err(self.refuse(node, format!("whose input {index} is no float constant"))),
        }
    }

    /// The filters at input 1; as integers only if `integer`.
    fn filters(&self, node: &'a OnnxNode, integer: bool, transposed: bool) -> Result<Filters> {
        let (shape, coded) = match self.required(node, 1)? {
            Tensor::Constant(tensor) => (&tensor.shape, None),
            Tensor::Quantised(coded) => (&coded.tensor.shape, Some(coded)),
            Tensor::Value(_) => return Err(self.refuse(node, "of two values: one must be constant weights")),
        };
        let filters = match coded {
            Some(coded) if integer => Filters::quantised(coded, transposed),
            _ => Filters::laid(shape, self.floats(node, 1)?, None, transposed),
        };
        match filters.data.iter().all(|weight| weight.is_finite()) {
            true => Ok(filters),
            false => Err(self.wrong(node, "a weight is not finite")),
        }
    }

    fn bias(&self, node: &'a OnnxNode, index: usize) -> Result<Bias> {
        let input = self.input_of(node, index)?;
        if let Some(Tensor::Constant(tensor) | Tensor::Quantised(QuantisedConstant { tensor, .. })) = input
            && tensor.shape.last().copied() != Some(tensor.shape.iter().product())
        {
            return Err(self.refuse(node, format!("with a bias {:?}: one value per filter can be read", tensor.shape)));
        }
        Ok(match input {
            None => Bias::None,
            Some(Tensor::Quantised(
                coded @ QuantisedConstant { tensor: OnnxTensor { values: Values::Integers(sums), .. }, .. },
            )) => Bias::Sums(sums.iter().map(|&sum| sum as i32).collect(), coded.scales.to_vec()),
            Some(_) => Bias::Floats(self.floats(node, index)?),
        })
    }

    /// Whether the weights of `node` are constant 8-bit integers whose scales may differ along dimension `outermost`.
    fn has_codes(&self, node: &'a OnnxNode, outermost: usize) -> Result<bool> {
        let Tensor::Quantised(coded) = self.required(node, 1)? else { return Ok(false) };
        let bytes = matches!(coded.tensor.values, Values::Bytes { .. });
        Ok(bytes && (coded.scales.len() == 1 || coded.axis == outermost))
    }

    pub(super) fn conv(&mut self, node: &'a OnnxNode) -> Result<()> {
        let x = self.value(node, 0)?;
        let target = match self.draft.codes(x) {
            Some(_) if self.has_codes(node, 0)? => self.target(&node.outputs[0])?,
            _ => None,
        };
        let filters = self.filters(node, target.is_some(), false)?;
        let bias = self.bias(node, 2)?;
        match target {
            Some(target) => {
                let y = self.convolve(node, (x, 1), filters, bias, Some((target.codes, target.bounds)))?;
                self.set_output(target, y);
            }
            None => {
                let x = self.float_value(x);
                let y = self.convolve(node, (x, 1), filters, bias, None)?;
                self.tensors.insert(&node.outputs[0], Tensor::Value(y));
            }
        }
        Ok(())
    }

    /// Convolves `x` with the filters at input `weight`; for integers, `to` is the quantised output.
    pub(super) fn convolve(
        &mut self,
        node: &'a OnnxNode,
        (x, weight): (Value, usize),
        filters: Filters,
        bias: Bias,
        to: Option<(Codes, (i32, i32))>,
    ) -> Result<Value> {
        let &[k, inner, r, s] = filters.shape.as_slice() else {
            return Err(self.refuse(node, format!("by filters {:?}: only images can be convolved", filters.shape)));
        };
        let groups = usize::try_from(node.int("group").unwrap_or(1)).unwrap_or(0);
        if groups == 0 || k == 0 || r * s == 0 || inner * groups != x.shape.c || !k.is_multiple_of(groups) {
            let detail = format!("filters {:?} in {groups} groups over {}", filters.shape, x.shape);
            return Err(self.wrong(node, detail));
        }
        let shape = node.ints("kernel_shape");
        if shape.is_some_and(|shape| *shape != [r as i64, s as i64]) {
            return Err(self.wrong(node, format!("its kernel_shape is {shape:?}, its filters {:?}", filters.shape)));
        }
        let pads = self.pads(node)?;
        let pending = x.pad;
        let padding = match node.text("auto_pad") {
            None | Some("NOTSET" | "VALID") => Padding::Explicit(Halo {
                top: pads.top + pending.top,
                bottom: pads.bottom + pending.bottom,
                left: pads.left + pending.left,
                right: pads.right + pending.right,
            }),
            Some("SAME_UPPER") if pending == Halo::default() => Padding::Same,
            Some(other) => return Err(self.refuse(node, format!("with auto_pad {other}"))),
        };
        let integer = self.integer(node, x, &filters, &bias, to)?;
        let bias_values = bias.floats().filter(|_| integer.is_none());
        if bias_values.as_ref().is_some_and(|bias| bias.len() != k) {
            return Err(self.wrong(node, format!("a bias that is not of {k} filters")));
        }
        let conv = Conv {
            kernel: (r, s),
            stride: self.pair(node, "strides")?,
            dilation: self.pair(node, "dilations")?,
            padding,
            groups,
            in_channels: x.shape.c,
            bias_values: bias_values.map(|data| Param { shape: vec![k], data: data.into() }),
            weight: Param { shape: filters.shape, data: filters.data.into() },
            integer,
            ..Conv::new(k, 1)
        };
        self.push(&layer_name(node, Some(weight)), Layer::Conv(conv), &[x], to.map(|(codes, _)| codes))
    }

    fn integer(
        &self,
        node: &'a OnnxNode,
        x: Value,
        filters: &Filters,
        bias: &Bias,
        to: Option<(Codes, (i32, i32))>,
    ) -> Result<Option<IntegerWeights>> {
        let Some(((codes, bounds), from)) = to.zip(self.draft.codes(x)) else { return Ok(None) };
        self.requantize(node, (filters, bias), (from, codes), bounds).map(Some)
    }

    /// Whether input `index` of `node` is a constant with a single row.
    fn is_row(&self, node: &'a OnnxNode, index: usize) -> Result<bool> {
        Ok(match self.required(node, index)? {
            Tensor::Constant(tensor) | Tensor::Quantised(QuantisedConstant { tensor, .. }) => {
                tensor.shape.last().copied() == Some(tensor.shape.iter().product())
            }
            Tensor::Value(_) => false,
        })
    }

    /// Checks that `node` is a plain product: factors of 1, the first operand not transposed.
    pub(super) fn check_gemm(&self, node: &OnnxNode) -> Result<()> {
        let one = |name: &str| node.float(name).unwrap_or(1.0) == 1.0;
        match one("alpha") && one("beta") && node.int("transA").unwrap_or(0) == 0 {
            true => Ok(()),
            false => Err(self.refuse(node, "with alpha, beta or transA")),
        }
    }

    pub(super) fn linear(&mut self, node: &'a OnnxNode) -> Result<()> {
        self.check_gemm(node)?;
        let x = self.unpadded(node, 0)?;
        let transposed = node.int("transB") != Some(1);
        let mut output = &node.outputs[0];
        let target = match self.draft.codes(x) {
            Some(_) if self.has_codes(node, usize::from(transposed))? => self.target(output)?,
            _ => None,
        };
        let filters = self.filters(node, target.is_some(), transposed)?;
        let mut bias = self.bias(node, 2)?;
        if let Some(target) = target {
            let y = self.multiply(node, (x, 1), filters, bias, Some((target.codes, target.bounds)))?;
            self.set_output(target, y);
            return Ok(());
        }
        // A product followed by a sum with a constant becomes one layer.
        if let (Bias::None, Some(&[reader])) = (&bias, self.readers.get(output.as_str()).map(Vec::as_slice)) {
            let next = &self.file.nodes[reader];
            let other = usize::from(next.inputs.first() == Some(output));
            let constant =
                next.op == "Add" && !matches!(self.input_of(next, other), Ok(Some(Tensor::Value(_))) | Err(_));
            let floats = if constant && self.is_row(next, other)? { self.floats(next, other)? } else { Vec::new() };
            if floats.len() == filters.shape[0] && !self.file.outputs.contains(output) && !next.outputs.is_empty() {
                (bias, output) = (Bias::Floats(floats), &next.outputs[0]);
                self.done.insert(reader);
            }
        }
        let x = self.float_value(x);
        let y = self.multiply(node, (x, 1), filters, bias, None)?;
        self.tensors.insert(output, Tensor::Value(y));
        Ok(())
    }

    /// Multiplies all features of `x` by `filters`, which are input `weight`; for integers, `to` is the quantised output.
    pub(super) fn multiply(
        &mut self,
        node: &'a OnnxNode,
        (x, weight): (Value, usize),
        filters: Filters,
        bias: Bias,
        to: Option<(Codes, (i32, i32))>,
    ) -> Result<Value> {
        let &[out_features, in_features] = filters.shape.as_slice() else {
            return Err(self.refuse(node, format!("by {:?}: only matrices can be multiplied", filters.shape)));
        };
        if self.rank(node, 0) > 2 && x.shape.w != x.shape.elements() {
            return Err(self.refuse(node, format!("of {}: only vectors of all features can be imported", x.shape)));
        }
        if in_features != x.shape.elements() || out_features == 0 {
            return Err(self.wrong(node, format!("weights {:?} over {}", filters.shape, x.shape)));
        }
        let integer = self.integer(node, x, &filters, &bias, to)?;
        let bias = bias.floats().filter(|_| integer.is_none());
        if bias.as_ref().is_some_and(|bias| bias.len() != out_features) {
            return Err(self.wrong(node, format!("a bias that is not of {out_features} features")));
        }
        let linear = Linear {
            weight: Param { shape: filters.shape, data: filters.data.into() },
            bias: bias.map(|data| Param { shape: vec![out_features], data: data.into() }),
            in_features,
            out_features,
            tied: false,
            steps: false,
            activation: Activation::Identity,
            integer,
            channels_last: None,
            low_bits: None,
        };
        self.push(&layer_name(node, Some(weight)), Layer::Linear(linear), &[x], to.map(|(codes, _)| codes))
    }

    pub(super) fn batch_norm(&mut self, node: &'a OnnxNode) -> Result<Value> {
        if node.int("spatial").unwrap_or(1) != 1 || node.int("training_mode").unwrap_or(0) != 0 {
            return Err(self.refuse(node, "of training, or with statistics of pixels"));
        }
        let x = self.read(node, 0)?;
        let param = |index: usize| {
            let data = self.floats(node, index)?;
            match data.len() == x.shape.c && data.iter().all(|value| value.is_finite()) {
                true => Ok(Param { shape: vec![data.len()], data: data.into() }),
                false => Err(self.wrong(node, format!("input {index} is not of {} finite values", x.shape.c))),
            }
        };
        let [weight, bias, mean, variance] = [param(1)?, param(2)?, param(3)?, param(4)?];
        let eps = f64::from(node.float("epsilon").unwrap_or(1e-5));
        let layer = Layer::BatchNorm(BatchNorm { weight, bias, mean, variance, eps });
        self.push(&layer_name(node, None), layer, &[x], None)
    }

    /// `x` times one constant plus another, each a scalar or one value per channel.
    pub(super) fn affine(&mut self, node: &'a OnnxNode, x: Value, constant: usize, first: bool) -> Result<Value> {
        let values = self.floats(node, constant)?;
        let rank = match self.required(node, constant)? {
            Tensor::Constant(tensor) => tensor.shape.clone(),
            Tensor::Quantised(coded) => coded.tensor.shape.clone(),
            Tensor::Value(_) => Vec::new(),
        };
        // Dimensions are aligned at the last one: features of a vector, columns of an image.
        let trailing = rank.iter().rev().take_while(|&&extent| extent == 1).count();
        let vector = x.shape.h * x.shape.w == 1;
        let c = x.shape.c;
        let fits = match self.rank(node, usize::from(first)) {
            ..=2 => vector && rank.len() <= 2 && rank.last() == Some(&c),
            _ => trailing == 2,
        };
        if values.len() != 1 && (values.len() != c || !fits) || values.iter().any(|value| !value.is_finite()) {
            return Err(self.refuse(node, format!("of {} and a constant {rank:?}", x.shape)));
        }
        let of = |make: &dyn Fn(f32) -> (f32, f32)| -> (Vec<f32>, Vec<f32>) {
            (0..c).map(|i| make(values[if values.len() == 1 { 0 } else { i }])).unzip()
        };
        let (scale, shift) = match (node.op.as_str(), first) {
            ("Add", _) => of(&|value| (1.0, value)),
            ("Sub", false) => of(&|value| (1.0, -value)),
            ("Sub", true) => of(&|value| (-1.0, value)),
            ("Mul", _) => of(&|value| (value, 0.0)),
            ("Div", false) if values.iter().all(|&value| value != 0.0) => of(&|value| (1.0 / value, 0.0)),
            _ => return Err(self.refuse(node, "of a constant by a value, or by 0")),
        };
        let param = |data: Vec<f32>| Param { shape: vec![c], data: data.into() };
        let layer = BatchNorm {
            weight: param(scale),
            bias: param(shift),
            mean: param(vec![0.0; c]),
            variance: param(vec![1.0; c]),
            eps: 0.0,
        };
        self.push(&layer_name(node, None), Layer::BatchNorm(layer), &[x], None)
    }
}
