//! Convolutions, transposed ones among them, over images and sequences.

use rten_onnx::onnx::NodeProto;

use super::super::attributes::Attributes;
use super::weights::Held;
use super::{Finder, IntegerOperand, Refusal, Source, Zero, checked};
use crate::Result;
use crate::graph::Node;
use crate::kernels::{Activation, Codes, Halo};
use crate::layers::{Conv, ConvTranspose, Layer, Padding, Param, Shape};
use crate::weights::onnx::operator as kind;

/// What a convolution states, in rows and columns; a sequence is an image of one row.
struct Stated {
    kernel: (usize, usize),
    stride: (usize, usize),
    dilation: (usize, usize),
    pads: Halo,
    groups: usize,
}

/// Axes of an image, or of a sequence, as channels, rows and columns.
fn axes(rank: usize) -> [&'static [usize]; 3] {
    if rank == 4 { [&[1], &[2], &[3]] } else { [&[1], &[], &[2]] }
}

fn stated(node: &NodeProto, kernel: &[usize], size: &[usize]) -> Result<Stated, Refusal> {
    let pair = |list: &[usize], one: usize| match *list {
        [w] => Some((one, w)),
        [h, w] => Some((h, w)),
        _ => None,
    };
    let list = |name: &str, default: usize| {
        let given = node.ints(name).filter(|list| !list.is_empty()).map(<[i64]>::to_vec);
        let list = given.unwrap_or_else(|| vec![default as i64; kernel.len()]);
        let list: Option<Vec<usize>> = list.iter().map(|&value| usize::try_from(value).ok()).collect();
        list.ok_or_else(|| format!("has negative {name}"))
    };
    let of = |name: &str| {
        let list = list(name, 1)?;
        pair(&list, 1).filter(|(h, w)| *h > 0 && *w > 0).ok_or_else(|| format!("has {name} {list:?}"))
    };
    let (stride, dilation) = (of("strides")?, of("dilations")?);
    let kernel = pair(kernel, 1).ok_or("is of other than one or two dimensions")?;
    let size = pair(size, 1).ok_or("is of other than one or two dimensions")?;
    let pads = match node.text("auto_pad") {
        None | Some("NOTSET") => {
            let pads = node.ints("pads").unwrap_or_default();
            let pads: Option<Vec<usize>> = pads.iter().map(|&pad| usize::try_from(pad).ok()).collect();
            match pads.ok_or("has negative pads")?[..] {
                [] => Halo::default(),
                [left, right] => Halo { left, right, ..Halo::default() },
                [top, left, bottom, right] => Halo { top, bottom, left, right },
                _ => return Err("has pads of other dimensions".into()),
            }
        }
        Some("VALID") => Halo::default(),
        Some(same @ ("SAME_UPPER" | "SAME_LOWER")) => {
            // As much as makes the output ceil(input / stride); the odd one after, or before.
            let total = |size: usize, kernel: usize, stride: usize, dilation: usize| {
                let all = (size.div_ceil(stride) - 1) * stride + dilation * (kernel - 1) + 1;
                let all = all.saturating_sub(size);
                let less = all / 2;
                if same == "SAME_UPPER" { (less, all - less) } else { (all - less, less) }
            };
            let (top, bottom) = total(size.0.max(1), kernel.0, stride.0, dilation.0);
            let (left, right) = total(size.1.max(1), kernel.1, stride.1, dilation.1);
            Halo { top, bottom, left, right }
        }
        Some(other) => return Err(format!("has auto_pad {other}")),
    };
    let groups = usize::try_from(node.int("group").unwrap_or(1)).unwrap_or(0);
    Ok(Stated { kernel, stride, dilation, pads, groups })
}

impl<'a> Finder<'a> {
    pub(super) fn conv(&mut self, node: &'a NodeProto) -> Result<Result<(), Refusal>> {
        if !self.is_constant(node, 1) {
            return Ok(Err("has filters that are no constants".into()));
        }
        let held = self.held(&node.input[1])?;
        let (held, operand) = match kind(node).as_str() {
            "ConvInteger" => match self.integers(node, held) {
                Ok((held, zero)) => (held, Some(zero)),
                Err(why) => return Ok(Err(why)),
            },
            _ => (held, None),
        };
        Ok(self.conv_of(node, held, operand))
    }

    fn conv_of(&mut self, node: &'a NodeProto, held: Held, integers: Option<IntegerOperand>) -> Result<(), Refusal> {
        let name = self.input(node, 0)?;
        let dims = self.dims(name)?;
        let rank = held.dims.len();
        if !(3..=4).contains(&rank) || dims.len() != rank {
            return Err("is of other than one or two dimensions".into());
        }
        let stated = stated(node, &held.dims[2..], &dims[2..])?;
        let (channels, groups) = (dims[1], stated.groups);
        let [out, inner] = [held.dims[0], held.dims[1]];
        if groups == 0
            || inner * groups != channels
            || !out.is_multiple_of(groups)
            || stated.kernel.0 * stated.kernel.1 == 0
        {
            return Err(format!("has filters {:?} in {groups} groups over {channels} channels", held.dims));
        }
        let is_integer = integers.is_some();
        let (operand, source, lists) = self.image(name, &stated, rank, integers)?;
        let (activation, output) = self.activated(&node.output[0]);
        let biased = node.input.get(2).is_some_and(|bias| !bias.is_empty()) && kind(node) == "Conv";
        let cut =
            if is_integer { node.input.get(6).is_some_and(|zero| self.lowest(zero)) } else { self.cut_at_zero(output) };
        let relu = activation == Activation::Relu || cut;
        let integer = held.integer(&[0], if biased { out } else { 0 }, relu);
        let is_float = held.codes.is_none();
        let held = if integer.is_some() { held } else { held.dequantised() };
        let shape = vec![out, inner, stated.kernel.0, stated.kernel.1];
        let all: Vec<usize> = (0..rank).collect();
        let bias = Param { shape: vec![out], data: Default::default() };
        let conv = Conv {
            in_channels: channels,
            kernel: stated.kernel,
            stride: stated.stride,
            dilation: stated.dilation,
            padding: Padding::Explicit(stated.pads),
            groups,
            bias: Some(biased),
            weight: held.ordered(&all, shape),
            bias_values: Some(bias).filter(|_| biased && integer.is_none()),
            activation,
            integer,
            ..Conv::new(out, 1)
        };
        let (layer, shape) = checked(Layer::Conv(conv), source.view.shape())?;
        let row = self.push(&self.row(node), layer, vec![operand], out, None);
        if is_float {
            self.share(row, &node.input[1], &held.dims, &all);
        }
        self.show(row, source);
        if !is_integer {
            self.show_output(row, node, output, lists, shape);
        }
        Ok(())
    }

    /// The operand of a convolution over the tensor `name`: an image, or several one below the other, where a window of one value
    /// meets no other image.
    fn image(
        &mut self,
        name: &str,
        stated: &Stated,
        rank: usize,
        integers: Option<IntegerOperand>,
    ) -> Result<(Node, Source, [&'static [usize]; 3]), Refusal> {
        let point = stated.kernel == (1, 1) && stated.stride == (1, 1) && stated.pads == Halo::default();
        let several = self.dims(name)?[0] != 1;
        let lists: [&'static [usize]; 3] = match (several && point, rank) {
            (true, 4) => [&[1], &[0, 2], &[3]],
            (true, _) => [&[1], &[0], &[2]],
            (false, _) => axes(rank),
        };
        let (operand, source) = self.operand(name, lists, integers)?;
        Ok((operand, source, lists))
    }

    pub(super) fn conv_transpose(&mut self, node: &'a NodeProto) -> Result<Result<(), Refusal>> {
        if !self.is_constant(node, 1) {
            return Ok(Err("has filters that are no constants".into()));
        }
        let held = self.held(&node.input[1])?;
        let is_float = held.codes.is_none();
        Ok(self.conv_transpose_of(node, held.dequantised(), is_float))
    }

    fn conv_transpose_of(&mut self, node: &'a NodeProto, held: Held, is_float: bool) -> Result<(), Refusal> {
        let name = self.input(node, 0)?;
        let dims = self.dims(name)?;
        let rank = held.dims.len();
        if !(3..=4).contains(&rank) || dims.len() != rank {
            return Err("is of other than one or two dimensions".into());
        }
        let mut stated = stated(node, &held.dims[2..], &dims[2..])?;
        let [channels, inner] = [held.dims[0], held.dims[1]];
        let groups = stated.groups;
        if channels != dims[1] || groups == 0 || !channels.is_multiple_of(groups) || inner == 0 {
            return Err(format!("has filters {:?} in {groups} groups over {} channels", held.dims, dims[1]));
        }
        let lists = axes(rank);
        let (operand, source) = self.operand(name, lists, None)?;
        let Shape { h, w, .. } = source.view.shape();
        // What is cut from the output follows from its extents, however the file states them; rows and columns that no tap
        // reaches are of no work.
        let got = self.dims(&node.output[0])?;
        let got = if rank == 4 { (got[2], got[3]) } else { (1, got[2]) };
        let cut = |size: usize, kernel: usize, stride: usize, dilation: usize, got: usize, before: usize| {
            let full = (size - 1) * stride + dilation * (kernel - 1) + 1;
            let all = full.saturating_sub(got);
            (before.min(all), all - before.min(all))
        };
        let auto = matches!(node.text("auto_pad"), Some("SAME_UPPER" | "SAME_LOWER"));
        let before = |before: usize| if auto { 0 } else { before };
        let (top, bottom) = cut(h, stated.kernel.0, stated.stride.0, stated.dilation.0, got.0, before(stated.pads.top));
        let (left, right) =
            cut(w, stated.kernel.1, stated.stride.1, stated.dilation.1, got.1, before(stated.pads.left));
        stated.pads = Halo { top, bottom, left, right };
        let (activation, output) = self.activated(&node.output[0]);
        let out = inner * groups;
        let all: Vec<usize> = (0..rank).collect();
        let biased = node.input.get(2).is_some_and(|bias| !bias.is_empty());
        let conv = ConvTranspose {
            in_channels: channels,
            kernel: stated.kernel,
            stride: stated.stride,
            dilation: stated.dilation,
            padding: stated.pads,
            groups,
            bias: Some(biased),
            weight: held.ordered(&all, vec![channels, inner, stated.kernel.0, stated.kernel.1]),
            bias_values: biased.then(|| Param { shape: vec![out], data: Default::default() }),
            activation,
            ..ConvTranspose::new(out, 1, 1)
        };
        let (layer, shape) = checked(Layer::ConvTranspose(conv), source.view.shape())?;
        let row = self.push(&self.row(node), layer, vec![operand], out, None);
        if is_float {
            self.share(row, &node.input[1], &held.dims, &all);
        }
        self.show(row, source);
        self.show_output(row, node, output, lists, shape);
        Ok(())
    }

    /// The weights of an operator of integers less their zero point (input 3), and the codes of its operand, whose zero point is
    /// input 2. Of operators that were rewritten, inputs 4 and 5 are the scales of operand and weights.
    pub(super) fn integers(&self, node: &'a NodeProto, mut held: Held) -> Result<(Held, IntegerOperand), Refusal> {
        let of_weights = match self.zero_point(node, 3)? {
            Some((Zero::Fixed(zero), _)) => zero,
            Some(_) => return Err("has a zero point of weights that is no constant".into()),
            None => 0,
        };
        held.values.iter_mut().for_each(|value| *value -= of_weights as f32);
        if let Some(codes) = &mut held.codes {
            codes.zero_point = of_weights;
            codes.scales = self.scales(node, 5).unwrap_or_else(|| vec![1.0]);
            // One a filter: those of a matrix are its columns.
            codes.axis = if held.dims.len() == 2 { 1 } else { 0 };
        }
        Ok((held, self.codes(node, [2, 4])?))
    }

    /// The scales at input `index`, if they are constants.
    fn scales(&self, node: &NodeProto, index: usize) -> Option<Vec<f32>> {
        let name = node.input.get(index).filter(|name| self.known.constants.contains(name.as_str()))?;
        Some(self.held(name).ok()?.values)
    }

    /// The codes of an operand whose zero point and scale are these inputs of an operator of integers.
    pub(super) fn codes(&self, node: &'a NodeProto, [zero, scale]: [usize; 2]) -> Result<IntegerOperand, Refusal> {
        let scale = self.scales(node, scale).filter(|scales| scales.len() == 1).map_or(1.0, |scales| scales[0]);
        Ok(match self.zero_point(node, zero)? {
            Some((Zero::Fixed(zero_point), Some(signed))) => {
                IntegerOperand { zero: Zero::Fixed(zero_point), codes: Some(Codes { scale, zero_point, signed }) }
            }
            Some((zero, _)) => IntegerOperand { zero, codes: None },
            None => IntegerOperand { zero: Zero::Fixed(0), codes: None },
        })
    }

    /// The zero point at input `index`, if there is one, and whether its type is signed, if it is a constant.
    fn zero_point(&self, node: &'a NodeProto, index: usize) -> Result<Option<(Zero, Option<bool>)>, Refusal> {
        let Some(name) = node.input.get(index).filter(|name| !name.is_empty()) else { return Ok(None) };
        if !self.known.constants.contains(name.as_str()) {
            return Ok(Some((Zero::Tensor(name.clone()), None)));
        }
        let held = self.held(name).map_err(|error| error.to_string())?;
        match held.values.first() {
            Some(first) if held.values.iter().all(|zero| zero == first) => {
                Ok(Some((Zero::Fixed(*first as i32), held.codes.map(|codes| codes.signed))))
            }
            _ => Err("has zero points that differ".to_owned()),
        }
    }
}
