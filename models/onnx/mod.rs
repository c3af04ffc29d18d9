//! Networks that come as ONNX files: their operators become our layers, float, QDQ and QLinear alike.

mod quantised;
mod stated;
mod weighted;
mod weightless;

use std::collections::{HashMap, HashSet};

use self::quantised::Coded;
use super::Task;
use super::carried::{Carried, Draft, Value};
use crate::graph::Node;
use crate::kernels::{Codes, Halo, Integer, Rounding};
use crate::layers::{Layer, Shape};
use crate::weights::onnx::{Onnx, OnnxNode, OnnxTensor, Values};
use crate::{Error, Result};

/// Largest extent of an input.
const LARGEST: usize = 1 << 16;

/// A tensor of the file.
#[derive(Clone)]
enum Held<'a> {
    /// A constant as it is stored.
    Constant(&'a OnnxTensor),
    /// A constant of integers that stand for reals.
    Coded(Coded<'a>),
    /// What a layer makes: reals, or the integers that stand for them.
    Value(Value),
}

struct Lowering<'a> {
    file: &'a Onnx,
    rounding: Rounding,
    draft: Draft,
    held: HashMap<&'a str, Held<'a>>,
    /// Nodes that read each tensor.
    readers: HashMap<&'a str, Vec<usize>>,
    /// Nodes that became part of one before them.
    done: HashSet<usize>,
    /// The reals of integers that were asked for.
    reals: HashMap<Node, Value>,
    known: stated::Known<'a>,
}

/// Builds the network of `file`. Where it does not fix the rows and columns of its input, they are `size`; its layers
/// of integers round as `rounding` says.
///
/// # Errors
/// [`Error::Unsupported`] naming the operator that is not read; [`Error::Malformed`] naming the tensor that does not fit.
pub fn build(file: &Onnx, size: Option<(usize, usize)>, rounding: Rounding) -> Result<Carried> {
    stated::check_version(file)?;
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, node) in file.nodes.iter().enumerate() {
        for input in &node.inputs {
            readers.entry(input).or_default().push(i);
        }
    }
    let held = file.constants.iter().map(|(name, tensor)| (name.as_str(), Held::Constant(tensor))).collect();
    let (draft, done, reals) = (Draft::default(), HashSet::new(), HashMap::new());
    let known = stated::Known::of(file);
    let mut lowering = Lowering { file, rounding, draft, held, readers, done, reals, known };
    let input = lowering.input(size)?;
    for (i, node) in file.nodes.iter().enumerate() {
        lowering.check_stated(node)?;
        if !lowering.done.contains(&i) {
            lowering.node(node)?;
        }
    }
    let [output] = file.outputs.as_slice() else {
        let what = format!("{}: {} outputs", file.source, file.outputs.len());
        return Err(Error::unsupported(what, "networks of one output are read"));
    };
    let Some(&Held::Value(output)) = lowering.held.get(output.as_str()) else {
        return Err(Error::malformed(&file.source, format!("{output}: is the output, and no operator makes it")));
    };
    let output = lowering.real(output);
    let task = if output.shape.h * output.shape.w > 1 { Task::Segment } else { Task::Classify };
    let mut graph = lowering.draft.graph;
    graph.output = Some(output.node);
    Ok(Carried { graph, input, input_codes: None, task })
}

impl<'a> Lowering<'a> {
    fn wrong(&self, node: &OnnxNode, detail: impl std::fmt::Display) -> Error {
        Error::malformed(format!("{}: {}", self.file.source, title(node)), detail.to_string())
    }

    fn refuse(&self, node: &OnnxNode, detail: impl std::fmt::Display) -> Error {
        let what = format!("{}: {} {detail}", self.file.source, title(node));
        Error::unsupported(what, "ResNet and MobileNet classifiers are read, of reals, QDQ or QLinear")
    }

    fn input(&mut self, size: Option<(usize, usize)>) -> Result<Shape> {
        let file = self.file;
        let [(name, extents)] = file.inputs.as_slice() else {
            let what = format!("{}: {} inputs", file.source, file.inputs.len());
            return Err(Error::unsupported(what, "networks of one input are read"));
        };
        // Where the first thing done is to put channels first, they come last.
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
        self.held.insert(name, Held::Value(value));
        Ok(shape)
    }

    /// Makes a layer, named `name`.
    fn push(&mut self, name: &str, layer: Layer, inputs: &[Value], codes: Option<Codes>) -> Result<Value> {
        let shapes: Vec<Shape> = inputs.iter().map(|value| value.shape).collect();
        let shape = layer.output(&shapes).map_err(|detail| Error::shape(name, detail))?;
        Ok(self.draft.push(name, layer, inputs, shape, codes))
    }

    /// Input `index` of `node`, if it is not left out.
    fn input_of(&self, node: &'a OnnxNode, index: usize) -> Result<Option<&Held<'a>>> {
        let Some(name) = node.inputs.get(index).filter(|name| !name.is_empty()) else { return Ok(None) };
        let missing = || self.wrong(node, format!("reads {name}, and no operator before made it"));
        self.held.get(name.as_str()).ok_or_else(missing).map(Some)
    }

    fn required(&self, node: &'a OnnxNode, index: usize) -> Result<&Held<'a>> {
        self.input_of(node, index)?.ok_or_else(|| self.wrong(node, format!("has no input {index}")))
    }

    /// Input `index`, which a layer makes; it may hold integers, and wait for its padding.
    fn value(&self, node: &'a OnnxNode, index: usize) -> Result<Value> {
        match self.required(node, index)? {
            Held::Value(value) => Ok(*value),
            _ => Err(self.refuse(node, "of a constant")),
        }
    }

    /// Input `index` without padding; it may hold integers.
    fn unpadded(&self, node: &'a OnnxNode, index: usize) -> Result<Value> {
        let value = self.value(node, index)?;
        if value.pad != Halo::default() { Err(self.refuse(node, "of a padded value")) } else { Ok(value) }
    }

    /// Input `index` as reals without padding.
    fn read(&mut self, node: &'a OnnxNode, index: usize) -> Result<Value> {
        let value = self.unpadded(node, index)?;
        Ok(self.real(value))
    }

    /// `value` as reals.
    fn real(&mut self, value: Value) -> Value {
        let Some(codes) = self.draft.codes(value) else { return value };
        let plain = Value { pad: Halo::default(), ..value };
        let (draft, layer) = (&mut self.draft, Layer::Integer(Integer::Dequantize(codes)));
        let name = format!("{}.dequantize", draft.graph.def(value.node).name);
        let real =
            self.reals.entry(plain.node).or_insert_with(|| draft.push(&name, layer, &[plain], value.shape, None));
        Value { pad: value.pad, ..*real }
    }

    /// A constant list of integers.
    fn integers(&self, node: &'a OnnxNode, index: usize) -> Result<Option<&'a [i64]>> {
        match self.input_of(node, index)? {
            None => Ok(None),
            Some(Held::Constant(OnnxTensor { values: Values::Integers(values), .. })) => Ok(Some(values)),
            Some(_) => Err(self.refuse(node, format!("whose input {index} is no list of constant integers"))),
        }
    }

    /// One constant real.
    fn scalar(&self, node: &'a OnnxNode, index: usize) -> Result<Option<f32>> {
        match self.input_of(node, index)? {
            None => Ok(None),
            Some(Held::Constant(OnnxTensor { values: Values::Reals(values), .. })) if values.len() == 1 => {
                Ok(Some(values[0]))
            }
            Some(_) => Err(self.refuse(node, format!("whose input {index} is not one constant real"))),
        }
    }

    /// A pair of counts, of which none is 0.
    fn pair(&self, node: &OnnxNode, name: &str) -> Result<(usize, usize)> {
        let count = |&value: &i64| usize::try_from(value).ok().filter(|value| (1..1 << 16).contains(value));
        match node.ints(name).map(|values| values.iter().map(count).collect::<Option<Vec<usize>>>()) {
            None => Ok((1, 1)),
            Some(Some(pair)) if pair.len() == 2 => Ok((pair[0], pair[1])),
            Some(_) => Err(self.wrong(node, format!("its {name} are {:?}", node.ints(name).unwrap_or_default()))),
        }
    }

    /// Zeros in the order top, left, bottom, right.
    fn halo(&self, node: &OnnxNode, pads: &[i64]) -> Result<Halo> {
        let count = |&pad: &i64| usize::try_from(pad).ok().filter(|&pad| pad < 1 << 16);
        match pads.iter().map(count).collect::<Option<Vec<usize>>>().as_deref() {
            Some([]) => Ok(Halo::default()),
            Some(&[top, left, bottom, right]) => Ok(Halo { top, bottom, left, right }),
            _ => Err(self.wrong(node, format!("its pads are {pads:?}"))),
        }
    }

    /// The zeros that a convolution or a pooling states.
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
        let held = match node.op.as_str() {
            "DequantizeLinear" => self.dequantize(node)?,
            "QuantizeLinear" => Held::Value(self.quantize(node)?),
            // What is written here belongs to the last of the nodes that were read with this one.
            "Conv" => return self.conv(node),
            "Gemm" | "MatMul" => return self.linear(node),
            "QLinearConv" => Held::Value(self.integer_conv(node)?),
            "QLinearMatMul" | "com.microsoft:QGemm" => Held::Value(self.integer_linear(node)?),
            "com.microsoft:QLinearAdd" => Held::Value(self.integer_add(node)?),
            "com.microsoft:QLinearMul" => Held::Value(self.integer_mul(node)?),
            "com.microsoft:QLinearGlobalAveragePool" => Held::Value(self.integer_mean(node)?),
            "Add" | "Sub" | "Mul" | "Div" => return self.arithmetic(node),
            "GlobalAveragePool" | "ReduceMean" => return self.mean(node),
            "Relu" | "Clip" | "LeakyRelu" | "HardSwish" | "HardSigmoid" | "Sigmoid" | "Tanh" => {
                return self.activation(node);
            }
            "BatchNormalization" => Held::Value(self.batch_norm(node)?),
            "MaxPool" | "AveragePool" => Held::Value(self.pool(node)?),
            "Concat" => Held::Value(self.concat(node)?),
            "Softmax" => Held::Value(self.softmax(node)?),
            "Pad" => Held::Value(self.pad(node)?),
            "Dropout"
                if node.inputs.get(2).is_some_and(|mode| !mode.is_empty()) && self.integers(node, 2)? != Some(&[0]) =>
            {
                return Err(self.refuse(node, "of training"));
            }
            "Identity" | "Dropout" => self.required(node, 0)?.clone(),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => Held::Value(self.reshape(node)?),
            "Transpose" => Held::Value(self.transpose(node)?),
            _ => return Err(self.refuse(node, "as an operator")),
        };
        self.held.insert(output, held);
        Ok(())
    }
}

/// How messages call `node`.
fn title(node: &OnnxNode) -> String {
    let name = if node.name.is_empty() { node.outputs.first().map_or("", String::as_str) } else { &node.name };
    format!("{} {name}", node.op)
}

/// The name of the layer of `node`: where its weights live, if the file knows that, else the node's own.
fn layer_name(node: &OnnxNode, weight: Option<usize>) -> String {
    let weight = weight.and_then(|index| node.inputs.get(index)).filter(|name| !name.starts_with("onnx::"));
    let own = || node.outputs.first().filter(|_| node.name.is_empty()).unwrap_or(&node.name);
    let name = weight.unwrap_or_else(own).trim_start_matches('/').trim_start_matches("ConvBnFusion_W_");
    let endings = ["_DequantizeLinear_Output", "_quantized", "_weights_fused_bn", "/ReadVariableOp:0", ".weight"];
    endings.iter().fold(name, |name, ending| name.strip_suffix(ending).unwrap_or(name)).to_owned()
}
