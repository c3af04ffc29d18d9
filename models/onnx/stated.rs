//! Checks that what a file states of its operators is what the importer implements: versions, attributes, ranks and types.

use std::collections::{HashMap, HashSet};

use super::{Lowering, Tensor};
use crate::weights::onnx::{Onnx, OnnxFile, OnnxNode, OnnxTensor, Values, operator};
use crate::{Error, Result};

/// Supported versions of ONNX's own operators. Before them, sums broadcast differently, and batch normalisation and dropout
/// were in training mode by default.
const VERSIONS: std::ops::RangeInclusive<i64> = 7..=28;

/// Most inputs of `op` in version `opset`, and its attributes; `None` for unsupported operators.
fn definition(op: &str, opset: i64) -> Option<(usize, &'static str)> {
    // Attributes that later versions turned into inputs.
    let until = |version: i64, before: (usize, &'static str), since: (usize, &'static str)| {
        if opset < version { before } else { since }
    };
    Some(match op {
        "Conv" => (3, "auto_pad dilations group kernel_shape pads strides"),
        "QLinearConv" => (9, "auto_pad dilations group kernel_shape pads strides"),
        "Gemm" => (3, "alpha beta transA transB"),
        "com.microsoft:QGemm" => (9, "alpha transA transB"),
        "MatMul" | "Add" | "Sub" | "Mul" | "Div" => (2, ""),
        "QLinearMatMul" | "com.microsoft:QLinearAdd" | "com.microsoft:QLinearMul" => (8, ""),
        "GlobalAveragePool" | "Relu" | "HardSwish" | "Sigmoid" | "Tanh" | "Identity" => (1, ""),
        "com.microsoft:QLinearGlobalAveragePool" => (5, "channels_last"),
        "Clip" => until(11, (1, "min max"), (3, "")),
        "LeakyRelu" => (1, "alpha"),
        "HardSigmoid" => (1, "alpha beta"),
        "BatchNormalization" => (5, "epsilon momentum spatial training_mode"),
        "MaxPool" => (1, "auto_pad ceil_mode dilations kernel_shape pads storage_order strides"),
        "AveragePool" => (1, "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides"),
        "Concat" => (usize::MAX, "axis"),
        "Softmax" | "Flatten" => (1, "axis"),
        "ReduceMean" => until(18, (1, "axes keepdims"), (2, "keepdims noop_with_empty_axes")),
        "Pad" => until(11, (1, "mode pads value"), (4, "mode")),
        "Dropout" => until(12, (1, "ratio"), (3, "seed")),
        "Reshape" => (2, "allowzero"),
        "Squeeze" | "Unsqueeze" => until(13, (1, "axes"), (2, "")),
        "Transpose" => (1, "perm"),
        "QuantizeLinear" => (3, "axis block_size output_dtype precision saturate"),
        "DequantizeLinear" => (3, "axis block_size output_dtype"),
        _ => return None,
    })
}

/// Whether all operators of `file` are of kinds that are implemented.
pub(super) fn has_known_operators(file: &OnnxFile) -> bool {
    let known = |op: String| op == "Constant" || definition(&op, file.opset()).is_some();
    file.model.graph.iter().flat_map(|graph| &graph.node).all(|node| known(operator(node)))
}

/// Checks the version of the operators of `file`.
pub(super) fn check_version(file: &Onnx) -> Result<()> {
    match VERSIONS.contains(&file.opset) {
        true => Ok(()),
        false => {
            let what = format!("{}: version {} of ONNX's operators", file.source, file.opset);
            let hint =
                format!("convert it to one of {} to {} (onnx.version_converter)", VERSIONS.start(), VERSIONS.end());
            Err(Error::unsupported(what, hint))
        }
    }
}

/// Facts about tensors, known before anything is built.
#[derive(Default)]
pub(super) struct Known<'a> {
    ranks: HashMap<&'a str, usize>,
    /// Quantised integer tensors that are used without dequantisation.
    integers: HashSet<&'a str>,
}

/// Operators that move integers without computing on them.
const MOVES: [&str; 9] =
    ["MaxPool", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Concat", "Pad"];

impl<'a> Known<'a> {
    /// Facts about all tensors of `file`.
    pub(super) fn of(file: &'a Onnx) -> Self {
        let mut known = Self::default();
        known.ranks.extend(file.inputs.iter().map(|(name, extents)| (name.as_str(), extents.len())));
        known.ranks.extend(file.constants.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.len())));
        for node in &file.nodes {
            let Some(output) = node.outputs.first() else { continue };
            let first = node.inputs.first().map_or("", String::as_str);
            if let Some(rank) = known.rank_of(file, node) {
                known.ranks.insert(output, rank);
            }
            let moved = MOVES.contains(&node.op.as_str()) && known.integers.contains(first);
            if moved || node.op == "QuantizeLinear" || is_of_integers(&node.op) {
                known.integers.insert(output);
            }
        }
        known
    }

    fn rank_of(&self, file: &Onnx, node: &OnnxNode) -> Option<usize> {
        let rank = |index: usize| self.ranks.get(node.inputs.get(index)?.as_str()).copied();
        let first = rank(0);
        let list = |index: usize| match file.constants.get(node.inputs.get(index)?.as_str())? {
            OnnxTensor { values: Values::Integers(list), .. } => Some(list.as_slice()),
            _ => None,
        };
        let axes = || node.ints("axes").or(list(1)).map(<[i64]>::len);
        match node.op.as_str() {
            "Flatten" | "Gemm" | "com.microsoft:QGemm" => Some(2),
            "MatMul" | "Add" | "Sub" | "Mul" | "Div" => first.max(rank(1)),
            "QLinearMatMul" | "com.microsoft:QLinearAdd" | "com.microsoft:QLinearMul" => first.max(rank(3)),
            "Reshape" => list(1).map(<[i64]>::len),
            "Squeeze" => first?.checked_sub(axes()?),
            "Unsqueeze" => Some(first? + axes()?),
            "ReduceMean" if node.int("keepdims") == Some(0) => first?.checked_sub(axes()?),
            _ => first,
        }
    }
}

/// Whether all outputs of `op` are quantised integers.
fn is_of_integers(op: &str) -> bool {
    op == "QLinearConv"
        || op == "QLinearMatMul"
        || op == "com.microsoft:QGemm"
        || op.starts_with("com.microsoft:QLinear")
}

impl<'a> Lowering<'a> {
    /// Checks that `node` states nothing that is not implemented.
    pub(super) fn check_stated(&self, node: &'a OnnxNode) -> Result<()> {
        let opset = self.file.opset;
        let Some((inputs, attributes)) = definition(&node.op, opset) else {
            return Err(self.refuse(node, "as an operator"));
        };
        if let Some(name) = node.attributes().find(|name| !attributes.split(' ').any(|known| known == *name)) {
            return Err(self.refuse(node, format!("with the attribute {name}, unknown in version {opset}")));
        }
        if node.inputs.len() > inputs {
            return Err(self.refuse(node, format!("of {} inputs, version {opset} has {inputs}", node.inputs.len())));
        }
        let codes = node.inputs.first().is_some_and(|name| self.is_integer(name));
        let takes = node.op == "DequantizeLinear" || is_of_integers(&node.op) || MOVES.contains(&node.op.as_str());
        if codes && !takes {
            return Err(self.refuse(node, "of integers as they are: their zero is not 0"));
        }
        Ok(())
    }

    /// Whether tensor `name` consists of quantised integers, not yet dequantised.
    pub(super) fn is_integer(&self, name: &str) -> bool {
        self.known.integers.contains(name)
    }

    /// Rank of input `index` of `node`, the batch dimension included.
    pub(super) fn rank(&self, node: &OnnxNode, index: usize) -> usize {
        node.inputs.get(index).and_then(|name| self.known.ranks.get(name.as_str())).copied().unwrap_or(2)
    }

    /// `axis` of input 0 of `node` as a non-negative index.
    pub(super) fn axis_of(&self, node: &OnnxNode, axis: i64) -> i64 {
        if axis < 0 { axis + self.rank(node, 0) as i64 } else { axis }
    }

    /// The axes of `node`, from its attribute or input 1, as sorted non-negative indices among `rank`.
    pub(super) fn axes(&self, node: &'a OnnxNode, rank: usize) -> Result<Option<Vec<i64>>> {
        let Some(axes) = self.integers(node, 1)?.or(node.ints("axes")) else { return Ok(None) };
        let mut axes: Vec<i64> = axes.iter().map(|&axis| if axis < 0 { axis + rank as i64 } else { axis }).collect();
        axes.sort_unstable();
        Ok(Some(axes))
    }

    /// Padding before and after each dimension; `None` if `node` pads with other values than zeros.
    pub(super) fn zeros(&self, node: &'a OnnxNode) -> Result<Option<Vec<i64>>> {
        let x = self.value(node, 0)?;
        let constant = self.input_of(node, 2)?;
        let is_zero = match (constant, self.draft.codes(x).filter(|_| self.is_integer(&node.inputs[0]))) {
            (Some(Tensor::Quantised(coded)), None) => coded.dequantised() == [0.0],
            (_, None) => self.scalar(node, 2)?.or(node.float("value")).unwrap_or(0.0) == 0.0,
            // Zero, for integers, is their zero point.
            (None, Some(codes)) => codes.zero_point == 0,
            (Some(Tensor::Constant(OnnxTensor { values: Values::Bytes { signed, bytes }, .. })), Some(codes)) => {
                let code = |&byte: &u8| if *signed { i32::from(byte as i8) } else { i32::from(byte) };
                *signed == codes.signed && bytes.iter().map(code).eq([codes.zero_point])
            }
            _ => false,
        };
        if !is_zero || node.text("mode").is_some_and(|mode| mode != "constant") {
            return Ok(None);
        }
        let rank = self.rank(node, 0);
        let pads = self.integers(node, 1)?.or(node.ints("pads")).unwrap_or_default();
        let Some(axes) = self.integers(node, 3)? else { return Ok(Some(pads.to_vec())) };
        let mut all = vec![0; 2 * rank];
        if pads.len() != 2 * axes.len() {
            return Err(self.wrong(node, format!("{} pads for {} axes", pads.len(), axes.len())));
        }
        for (i, &axis) in axes.iter().enumerate() {
            let axis = usize::try_from(self.axis_of(node, axis)).ok().filter(|&axis| axis < rank);
            let axis = axis.ok_or_else(|| self.wrong(node, format!("its axes are {axes:?}")))?;
            (all[axis], all[rank + axis]) = (pads[i], pads[axes.len() + i]);
        }
        Ok(Some(all))
    }

    /// Whether `extent` can be the batch dimension.
    pub(super) fn is_batch(&self, extent: i64) -> bool {
        let fixed = self.file.inputs.first().and_then(|(_, extents)| *extents.first()?);
        extent == 0 || extent == fixed.unwrap_or(1) as i64
    }
}
