//! Import of ONNX files: their operators become our layers; float, QDQ and QLinear alike.

mod quantised;
mod stated;
mod weighted;
mod weightless;

use std::collections::{HashMap, HashSet};

use self::quantised::QuantisedConstant;
use super::Task;
use super::imported::{Draft, ImportedNetwork, Value};
use crate::graph::Node;
use crate::kernels::{Codes, Halo, Integer, Rounding};
use crate::layers::{Layer, Shape};
use crate::weights::onnx::{Onnx, OnnxFile, OnnxNode, OnnxTensor, Values};
use crate::{Error, Result};

/// Largest extent of an input.
const LARGEST: usize = 1 << 16;

/// A tensor of the file.
#[derive(Clone)]
enum Tensor<'a> {
    /// A constant as stored.
    Constant(&'a OnnxTensor),
    /// A dequantised constant: its integers and quantisation parameters.
    Quantised(QuantisedConstant<'a>),
    /// A layer's output: floats, or integers with quantisation parameters.
    Value(Value),
}

struct Lowering<'a> {
    file: &'a Onnx,
    rounding: Rounding,
    draft: Draft,
    tensors: HashMap<&'a str, Tensor<'a>>,
    /// Nodes that read each tensor.
    readers: HashMap<&'a str, Vec<usize>>,
    /// Nodes that were fused into an earlier one.
    done: HashSet<usize>,
    /// Dequantised versions of integer values.
    floats: HashMap<Node, Value>,
    known: stated::Known<'a>,
}

/// Builds the network of `file`. If the file leaves the rows and columns of its input open, they are `size`. Integer layers
/// round as `rounding`.
///
/// # Errors
/// [`Error::Unsupported`] naming the operator that cannot be imported; [`Error::Malformed`] naming the tensor that does not
/// fit.
pub fn build(file: &Onnx, size: Option<(usize, usize)>, rounding: Rounding) -> Result<ImportedNetwork> {
    stated::check_version(file)?;
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, node) in file.nodes.iter().enumerate() {
        for input in &node.inputs {
            readers.entry(input).or_default().push(i);
        }
    }
    let tensors = file.constants.iter().map(|(name, tensor)| (name.as_str(), Tensor::Constant(tensor))).collect();
    let (draft, done, floats) = (Draft::default(), HashSet::new(), HashMap::new());
    let known = stated::Known::of(file);
    let mut lowering = Lowering { file, rounding, draft, tensors, readers, done, floats, known };
    let input = lowering.input(size)?;
    for (i, node) in file.nodes.iter().enumerate() {
        lowering.check_stated(node)?;
        if !lowering.done.contains(&i) {
            lowering.node(node)?;
        }
    }
    let [output] = file.outputs.as_slice() else {
        let what = format!("{}: {} outputs", file.source, file.outputs.len());
        return Err(Error::unsupported(what, "only networks with one output can be imported"));
    };
    let Some(&Tensor::Value(output)) = lowering.tensors.get(output.as_str()) else {
        return Err(Error::malformed(&file.source, format!("{output}: is the output, and no operator makes it")));
    };
    let output = lowering.float_value(output);
    let task = if output.shape.h * output.shape.w > 1 { Task::Segment } else { Task::Classify };
    let mut graph = lowering.draft.graph;
    graph.output = Some(output.node);
    Ok(ImportedNetwork { graph, input, input_codes: None, task })
}

/// Whether all operators of `file` are of kinds that can be imported, whatever they state.
pub fn has_known_operators(file: &OnnxFile) -> bool {
    stated::has_known_operators(file)
}

impl<'a> Lowering<'a> {
    fn wrong(&self, node: &OnnxNode, detail: impl std::fmt::Display) -> Error {
        Error::malformed(format!("{}: {}", self.file.source, title(node)), detail.to_string())
    }

    fn refuse(&self, node: &OnnxNode, detail: impl std::fmt::Display) -> Error {
        let what = format!("{}: {} {detail}", self.file.source, title(node));
        Error::unsupported(what, "ResNet and MobileNet classifiers can be imported: float, QDQ or QLinear")
    }

    fn input(&mut self, size: Option<(usize, usize)>) -> Result<Shape> {
        let file = self.file;
        let [(name, extents)] = file.inputs.as_slice() else {
            let what = format!("{}: {} inputs", file.source, file.inputs.len());
            return Err(Error::unsupported(what, "only networks with one input can be imported"));
        };
        // If the first operator moves channels to the front, they come last.
        let readers = self.readers.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        let moves = |node: &OnnxNode| node.op == "Transpose" && node.ints("perm") == Some(&[0, 3, 1, 2]);
        let last = !readers.is_empty() && readers.iter().all(|&reader| moves(&file.nodes[reader]));
        let (c, h, w) = match (extents.as_slice(), last) {
            (&[_, c, h, w], false) | (&[_, h, w, c], true) => (c, h, w),
            _ => {
                let detail = format!("{name}: an input of {} extents, images have four", extents.len());
                return Err(Error::malformed(&file.source, detail));
            }
        };
        let rows = h.or(size.map(|size| size.0));
        let columns = w.or(size.map(|size| size.1));
        let (Some(c), Some(h), Some(w)) = (c, rows, columns) else {
            let what = format!("{}: {name}: an input whose extents are not fixed", file.source);
            return Err(Error::unsupported(what, "name a card with --arch, its input has a size"));
        };
        if c.max(h).max(w) > LARGEST {
            return Err(Error::malformed(&file.source, format!("{name}: an input of [{c}, {h}, {w}]")));
        }
        let shape = Shape::new(c, h, w);
        let value = self.draft.input(shape);
        self.tensors.insert(name, Tensor::Value(value));
        Ok(shape)
    }

    /// Adds a layer with the given `name`.
    fn push(&mut self, name: &str, layer: Layer, inputs: &[Value], codes: Option<Codes>) -> Result<Value> {
        let shapes: Vec<Shape> = inputs.iter().map(|value| value.shape).collect();
        let shape = layer.output(&shapes).map_err(|detail| Error::shape(name, detail))?;
        Ok(self.draft.push(name, layer, inputs, shape, codes))
    }

    /// Input `index` of `node`, unless it is omitted.
    fn input_of(&self, node: &'a OnnxNode, index: usize) -> Result<Option<&Tensor<'a>>> {
        let Some(name) = node.inputs.get(index).filter(|name| !name.is_empty()) else { return Ok(None) };
        let missing = || self.wrong(node, format!("reads {name}, and no operator before made it"));
        self.tensors.get(name.as_str()).ok_or_else(missing).map(Some)
    }

    fn required(&self, node: &'a OnnxNode, index: usize) -> Result<&Tensor<'a>> {
        self.input_of(node, index)?.ok_or_else(|| self.wrong(node, format!("has no input {index}")))
    }

    /// Input `index` as a layer's output; it may consist of integers and have pending padding.
    fn value(&self, node: &'a OnnxNode, index: usize) -> Result<Value> {
        match self.required(node, index)? {
            Tensor::Value(value) => Ok(*value),
            _ => Err(self.refuse(node, "of a constant")),
        }
    }

    /// Input `index` as a layer's output without pending padding; it may consist of integers.
    fn unpadded(&self, node: &'a OnnxNode, index: usize) -> Result<Value> {
        let value = self.value(node, index)?;
        if value.pad != Halo::default() { Err(self.refuse(node, "of a padded value")) } else { Ok(value) }
    }

    /// Input `index` as floats, without pending padding.
    fn read(&mut self, node: &'a OnnxNode, index: usize) -> Result<Value> {
        let value = self.unpadded(node, index)?;
        Ok(self.float_value(value))
    }

    /// `value` as floats.
    fn float_value(&mut self, value: Value) -> Value {
        let Some(codes) = self.draft.codes(value) else { return value };
        let plain = Value { pad: Halo::default(), ..value };
        let (draft, layer) = (&mut self.draft, Layer::Integer(Integer::Dequantize(codes)));
        let name = format!("{}.dequantize", draft.graph.def(value.node).name);
        let float =
            self.floats.entry(plain.node).or_insert_with(|| draft.push(&name, layer, &[plain], value.shape, None));
        Value { pad: value.pad, ..*float }
    }

    /// Input `index` as a constant list of integers.
    fn integers(&self, node: &'a OnnxNode, index: usize) -> Result<Option<&'a [i64]>> {
        match self.input_of(node, index)? {
            None => Ok(None),
            Some(Tensor::Constant(OnnxTensor { values: Values::Integers(values), .. })) => Ok(Some(values)),
            Some(_) => Err(self.refuse(node, format!("whose input {index} is no list of constant integers"))),
        }
    }

    /// Input `index` as a constant float.
    fn scalar(&self, node: &'a OnnxNode, index: usize) -> Result<Option<f32>> {
        match self.input_of(node, index)? {
            None => Ok(None),
            Some(Tensor::Constant(OnnxTensor { values: Values::Floats(values), .. })) if values.len() == 1 => {
                Ok(Some(values[0]))
            }
            Some(_) => Err(self.refuse(node, format!("whose input {index} is not one constant float"))),
        }
    }

    /// A pair of counts, both positive.
    fn pair(&self, node: &OnnxNode, name: &str) -> Result<(usize, usize)> {
        let count = |&value: &i64| usize::try_from(value).ok().filter(|value| (1..1 << 16).contains(value));
        match node.ints(name).map(|values| values.iter().map(count).collect::<Option<Vec<usize>>>()) {
            None => Ok((1, 1)),
            Some(Some(pair)) if pair.len() == 2 => Ok((pair[0], pair[1])),
            Some(_) => Err(self.wrong(node, format!("its {name} are {:?}", node.ints(name).unwrap_or_default()))),
        }
    }

    /// Padding from ONNX's order: top, left, bottom, right.
    fn halo(&self, node: &OnnxNode, pads: &[i64]) -> Result<Halo> {
        let count = |&pad: &i64| usize::try_from(pad).ok().filter(|&pad| pad < 1 << 16);
        match pads.iter().map(count).collect::<Option<Vec<usize>>>().as_deref() {
            Some([]) => Ok(Halo::default()),
            Some(&[top, left, bottom, right]) => Ok(Halo { top, bottom, left, right }),
            _ => Err(self.wrong(node, format!("its pads are {pads:?}"))),
        }
    }

    /// The padding of a convolution or pooling.
    fn pads(&self, node: &OnnxNode) -> Result<Halo> {
        let pads = node.ints("pads").unwrap_or_default();
        let own = matches!(node.text("auto_pad"), None | Some("NOTSET"));
        match own || pads.iter().all(|&pad| pad == 0) {
            true => self.halo(node, pads),
            false => Err(self.refuse(node, format!("with pads {pads:?} and auto_pad"))),
        }
    }

    fn node(&mut self, node: &'a OnnxNode) -> Result<()> {
        let output = node.outputs.first().ok_or_else(|| self.wrong(node, "has no output"))?;
        let tensor = match node.op.as_str() {
            "DequantizeLinear" => self.dequantize(node)?,
            "QuantizeLinear" => Tensor::Value(self.quantize(node)?),
            // The result is stored under the output of the last node that was fused into this one.
            "Conv" => return self.conv(node),
            "Gemm" | "MatMul" => return self.linear(node),
            "QLinearConv" => Tensor::Value(self.integer_conv(node)?),
            "QLinearMatMul" | "com.microsoft:QGemm" => Tensor::Value(self.integer_linear(node)?),
            "com.microsoft:QLinearAdd" => Tensor::Value(self.integer_add(node)?),
            "com.microsoft:QLinearMul" => Tensor::Value(self.integer_mul(node)?),
            "com.microsoft:QLinearGlobalAveragePool" => Tensor::Value(self.integer_mean(node)?),
            "Add" | "Sub" | "Mul" | "Div" => return self.arithmetic(node),
            "GlobalAveragePool" | "ReduceMean" => return self.mean(node),
            "Relu" | "Clip" | "LeakyRelu" | "HardSwish" | "HardSigmoid" | "Sigmoid" | "Tanh" => {
                return self.activation(node);
            }
            "BatchNormalization" => Tensor::Value(self.batch_norm(node)?),
            "MaxPool" | "AveragePool" => Tensor::Value(self.pool(node)?),
            "Concat" => Tensor::Value(self.concat(node)?),
            "Softmax" => Tensor::Value(self.softmax(node)?),
            "Pad" => Tensor::Value(self.pad(node)?),
            "Dropout"
                if node.inputs.get(2).is_some_and(|mode| !mode.is_empty()) && self.integers(node, 2)? != Some(&[0]) =>
            {
                return Err(self.refuse(node, "of training"));
            }
            "Identity" | "Dropout" => self.required(node, 0)?.clone(),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => Tensor::Value(self.reshape(node)?),
            "Transpose" => Tensor::Value(self.transpose(node)?),
            _ => return Err(self.refuse(node, "as an operator")),
        };
        self.tensors.insert(output, tensor);
        Ok(())
    }
}

/// Name of `node` in messages.
fn title(node: &OnnxNode) -> String {
    let name = if node.name.is_empty() { node.outputs.first().map_or("", String::as_str) } else { &node.name };
    format!("{} {name}", node.op)
}

/// Name of the layer of `node`: that of its weights, if the file names them, else the node's own.
fn layer_name(node: &OnnxNode, weight: Option<usize>) -> String {
    let weight = weight.and_then(|index| node.inputs.get(index)).filter(|name| !name.starts_with("onnx::"));
    let own = || node.outputs.first().filter(|_| node.name.is_empty()).unwrap_or(&node.name);
    let name = weight.unwrap_or_else(own).trim_start_matches('/').trim_start_matches("ConvBnFusion_W_");
    let endings = ["_DequantizeLinear_Output", "_quantized", "_weights_fused_bn", "/ReadVariableOp:0", ".weight"];
    endings.iter().fold(name, |name, ending| name.strip_suffix(ending).unwrap_or(name)).to_owned()
}
