//! Operators with weights.

use super::quantised::Coded;
use super::{Held, Lowering, Value, layer_name};
use crate::Result;
use crate::kernels::{Activation, Codes, Halo};
use crate::layers::{BatchNorm, Conv, IntegerWeights, Layer, Linear, Padding, Param};
use crate::weights::onnx::{OnnxNode, OnnxTensor, Values};

/// How integers stand for the reals of filters.
pub(super) struct Coding {
    /// Reals a code, one or one a filter.
    pub scales: Vec<f32>,
    pub zero_point: i32,
    pub signed: bool,
}

/// Filters, outermost: reals, or codes less their zero point.
pub(super) struct Filters {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
    pub coding: Option<Coding>,
}

impl Filters {
    /// Filters of integers; `transposed` if each is a column.
    pub fn coded(coded: &Coded<'_>, transposed: bool) -> Self {
        let signed = !matches!(coded.tensor.values, Values::Bytes { signed: false, .. });
        let coding = Coding { scales: coded.scales.to_vec(), zero_point: coded.zero_point, signed };
        Self::laid(&coded.tensor.shape, coded.differences(), Some(coding), transposed)
    }

    fn laid(shape: &[usize], data: Vec<f32>, coding: Option<Coding>, transposed: bool) -> Self {
        match (transposed, shape) {
            (true, &[rows, columns]) => {
                let places = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
                Self { shape: vec![columns, rows], data: places.map(|at| data[at]).collect(), coding }
            }
            _ => Self { shape: shape.to_vec(), data, coding },
        }
    }
}

/// What is added to each filter's results.
pub(super) enum Bias {
    None,
    Reals(Vec<f32>),
    /// Integers in the scale of the sums, and what this is by the file: one scale or one a filter, none if it is not told.
    Sums(Vec<i32>, Vec<f32>),
}

impl Bias {
    fn reals(self) -> Option<Vec<f32>> {
        match self {
            Self::None => None,
            Self::Reals(reals) => Some(reals),
            Self::Sums(sums, scales) => {
                let scale = |i: usize| scales.get(if scales.len() == 1 { 0 } else { i }).copied().unwrap_or(0.0);
                Some(sums.iter().enumerate().map(|(i, &sum)| sum as f32 * scale(i)).collect())
            }
        }
    }
}

impl<'a> Lowering<'a> {
    /// A constant as reals.
    fn reals(&self, node: &'a OnnxNode, index: usize) -> Result<Vec<f32>> {
        match self.required(node, index)? {
            Held::Constant(OnnxTensor { values: Values::Reals(values), .. }) => Ok(values.clone()),
            Held::Coded(coded) => Ok(coded.reals()),
            _ => Err(self.refuse(node, format!("whose input {index} is no constant of reals"))),
        }
    }

    /// The filters at input 1, as integers only if `integer`.
    fn filters(&self, node: &'a OnnxNode, integer: bool, transposed: bool) -> Result<Filters> {
        let (shape, coded) = match self.required(node, 1)? {
            Held::Constant(tensor) => (&tensor.shape, None),
            Held::Coded(coded) => (&coded.tensor.shape, Some(coded)),
            Held::Value(_) => return Err(self.refuse(node, "of two values: one must be constant weights")),
        };
        let filters = match coded {
            Some(coded) if integer => Filters::coded(coded, transposed),
            _ => Filters::laid(shape, self.reals(node, 1)?, None, transposed),
        };
        match filters.data.iter().all(|weight| weight.is_finite()) {
            true => Ok(filters),
            false => Err(self.wrong(node, "a weight is not finite")),
        }
    }

    fn bias(&self, node: &'a OnnxNode, index: usize) -> Result<Bias> {
        let held = self.input_of(node, index)?;
        if let Some(Held::Constant(tensor) | Held::Coded(Coded { tensor, .. })) = held
            && tensor.shape.last().copied() != Some(tensor.shape.iter().product())
        {
            return Err(self.refuse(node, format!("with a bias {:?}: one a filter is read", tensor.shape)));
        }
        Ok(match held {
            None => Bias::None,
            Some(Held::Coded(coded @ Coded { tensor: OnnxTensor { values: Values::Integers(sums), .. }, .. })) => {
                Bias::Sums(sums.iter().map(|&sum| sum as i32).collect(), coded.scales.to_vec())
            }
            Some(_) => Bias::Reals(self.reals(node, index)?),
        })
    }

    /// Whether the weights of `node` are constants of 8-bit integers along whose outermost extent scales may differ.
    fn has_codes(&self, node: &'a OnnxNode, outermost: usize) -> Result<bool> {
        let Held::Coded(coded) = self.required(node, 1)? else { return Ok(false) };
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
                self.reach(target, y);
            }
            None => {
                let x = self.real(x);
                let y = self.convolve(node, (x, 1), filters, bias, None)?;
                self.held.insert(&node.outputs[0], Held::Value(y));
            }
        }
        Ok(())
    }

    /// Convolves `x`, whose filters are input `weight`; of integers, `to` tells what the results become.
    pub(super) fn convolve(
        &mut self,
        node: &'a OnnxNode,
        (x, weight): (Value, usize),
        filters: Filters,
        bias: Bias,
        to: Option<(Codes, (i32, i32))>,
    ) -> Result<Value> {
        let &[k, inner, r, s] = filters.shape.as_slice() else {
            return Err(self.refuse(node, format!("by filters {:?}: images are convolved", filters.shape)));
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
        let waiting = x.pad;
        let padding = match node.text("auto_pad") {
            None | Some("NOTSET" | "VALID") => Padding::Explicit(Halo {
                top: pads.top + waiting.top,
                bottom: pads.bottom + waiting.bottom,
                left: pads.left + waiting.left,
                right: pads.right + waiting.right,
            }),
            Some("SAME_UPPER") if waiting == Halo::default() => Padding::Same,
            Some(other) => return Err(self.refuse(node, format!("with auto_pad {other}"))),
        };
        let integer = self.integer(node, x, &filters, &bias, to)?;
        let bias_values = bias.reals().filter(|_| integer.is_none());
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

    /// Whether input `index` of `node`, a constant, is one row.
    fn is_row(&self, node: &'a OnnxNode, index: usize) -> Result<bool> {
        Ok(match self.required(node, index)? {
            Held::Constant(tensor) | Held::Coded(Coded { tensor, .. }) => {
                tensor.shape.last().copied() == Some(tensor.shape.iter().product())
            }
            Held::Value(_) => false,
        })
    }

    /// Whether `node` multiplies plainly: by 1, the first operand as it is.
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
            self.reach(target, y);
            return Ok(());
        }
        // A product and a sum with a constant are one layer.
        if let (Bias::None, Some(&[reader])) = (&bias, self.readers.get(output.as_str()).map(Vec::as_slice)) {
            let next = &self.file.nodes[reader];
            let other = usize::from(next.inputs.first() == Some(output));
            let constant = next.op == "Add" && !matches!(self.input_of(next, other), Ok(Some(Held::Value(_))) | Err(_));
            let reals = if constant && self.is_row(next, other)? { self.reals(next, other)? } else { Vec::new() };
            if reals.len() == filters.shape[0] && !self.file.outputs.contains(output) && !next.outputs.is_empty() {
                (bias, output) = (Bias::Reals(reals), &next.outputs[0]);
                self.done.insert(reader);
            }
        }
        let x = self.real(x);
        let y = self.multiply(node, (x, 1), filters, bias, None)?;
        self.held.insert(output, Held::Value(y));
        Ok(())
    }

    /// Multiplies all features of `x` by `filters`, which are input `weight`; of integers, `to` tells what the results
    /// become.
    pub(super) fn multiply(
        &mut self,
        node: &'a OnnxNode,
        (x, weight): (Value, usize),
        filters: Filters,
        bias: Bias,
        to: Option<(Codes, (i32, i32))>,
    ) -> Result<Value> {
        let &[out_features, in_features] = filters.shape.as_slice() else {
            return Err(self.refuse(node, format!("by {:?}: matrices are multiplied", filters.shape)));
        };
        if self.rank(node, 0) > 2 && x.shape.w != x.shape.elements() {
            return Err(self.refuse(node, format!("of {}: vectors of all features are read", x.shape)));
        }
        if in_features != x.shape.elements() || out_features == 0 {
            return Err(self.wrong(node, format!("weights {:?} over {}", filters.shape, x.shape)));
        }
        let integer = self.integer(node, x, &filters, &bias, to)?;
        let bias = bias.reals().filter(|_| integer.is_none());
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
            let data = self.reals(node, index)?;
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

    /// `x` times a constant plus another, one for all channels or one a channel.
    pub(super) fn affine(&mut self, node: &'a OnnxNode, x: Value, constant: usize, first: bool) -> Result<Value> {
        let values = self.reals(node, constant)?;
        let rank = match self.required(node, constant)? {
            Held::Constant(tensor) => tensor.shape.clone(),
            Held::Coded(coded) => coded.tensor.shape.clone(),
            Held::Value(_) => Vec::new(),
        };
        // Extents are matched from the last: those of a vector are features, those of an image columns.
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
