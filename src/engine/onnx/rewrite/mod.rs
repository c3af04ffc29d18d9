//! Makes of a file's graph one that rten runs as the file says: what rten lacks, or reads in another way, becomes other operators.

mod fold;
mod pointwise;
mod quantised;
mod recurrent;

use std::collections::HashMap;

use rten_onnx::onnx::{DataType, GraphProto, NodeProto, TensorProto};

use super::attributes::{Attributes, Given, operator, with};
use crate::Result;
use crate::weights::onnx::operator as kind;

pub(super) use fold::fold_norm;

/// A graph under construction.
pub(super) struct Rewriter<'a> {
    opset: i64,
    /// Constants of the graph, by name.
    known: &'a HashMap<String, TensorProto>,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// The operators as they are measured: of those that are replaced, the replacement that multiplies, or the original.
    measured: Vec<NodeProto>,
    fresh: usize,
}

/// The graph, and the operators of its top level as they are measured.
pub(super) fn rewritten(mut graph: GraphProto, opset: i64) -> Result<(GraphProto, Vec<NodeProto>)> {
    let known: HashMap<String, TensorProto> =
        graph.initializer.iter().map(|tensor| (tensor.name.clone().unwrap_or_default(), described(tensor))).collect();
    let mut rewriter = Rewriter { opset, known: &known, nodes: vec![], constants: vec![], measured: vec![], fresh: 0 };
    for node in std::mem::take(&mut graph.node) {
        rewriter.node(node)?;
    }
    let Rewriter { nodes, constants, measured, .. } = rewriter;
    graph.node = nodes;
    graph.initializer.extend(constants);
    // What the file says of inner values may be of other extents than those of this run.
    graph.value_info.clear();
    Ok((graph, measured))
}

/// Makes stored constants of the tensors that operators of `graph` give as they are.
pub(super) fn store_literals(graph: &mut GraphProto) {
    let mut stored = Vec::new();
    graph.node.retain_mut(|node| {
        if kind(node) != "Constant" || node.output.len() != 1 {
            return true;
        }
        match node.attribute.iter_mut().find_map(|attribute| attribute.t.take()) {
            Some(tensor) => {
                stored.push(TensorProto { name: Some(node.output[0].clone()), ..tensor });
                false
            }
            None => true,
        }
    });
    graph.initializer.extend(stored);
}

/// Name, type and extents of a constant; the values of small ones.
fn described(tensor: &TensorProto) -> TensorProto {
    let small = tensor.dims.iter().try_fold(1i64, |count, &extent| count.checked_mul(extent));
    let raw_data = tensor.raw_data.clone().filter(|_| small.is_some_and(|count| count <= 64));
    let values = |list: &[f32]| if list.len() <= 64 { list.to_vec() } else { vec![] };
    TensorProto {
        name: tensor.name.clone(),
        dims: tensor.dims.clone(),
        data_type: tensor.data_type,
        raw_data,
        float_data: values(&tensor.float_data),
        ..TensorProto::default()
    }
}

/// The padding that `node` states, before each axis, then behind each; where it is "same", with strides of 1, on which it does not
/// depend on the extents of the operand.
fn explicit_pads(node: &NodeProto) -> Vec<i64> {
    let kernel = node.ints("kernel_shape").unwrap_or_default();
    match node.text("auto_pad") {
        Some(same @ ("SAME_UPPER" | "SAME_LOWER")) => {
            let dilation = |axis: usize| node.ints("dilations").and_then(|list| list.get(axis)).copied().unwrap_or(1);
            let totals = kernel.iter().enumerate().map(|(axis, kernel)| dilation(axis) * (kernel - 1));
            let (less, more): (Vec<i64>, Vec<i64>) = totals.map(|total| (total / 2, total - total / 2)).unzip();
            if same == "SAME_UPPER" { [less, more].concat() } else { [more, less].concat() }
        }
        Some("VALID") => vec![0; 2 * kernel.len()],
        _ => match node.ints("pads") {
            Some(pads) if !pads.is_empty() => pads.to_vec(),
            _ => vec![0; 2 * kernel.len()],
        },
    }
}

/// `node` with its padding in numbers, if the odd one is to come first: rten has it last.
fn with_pads_before(node: NodeProto) -> NodeProto {
    if node.text("auto_pad") != Some("SAME_LOWER") {
        return node;
    }
    let pads = explicit_pads(&node);
    let node = with(node, "pads", Given::Ints(&pads));
    with(node, "auto_pad", Given::Text("NOTSET"))
}

impl Rewriter<'_> {
    /// Adds `node` as rten runs it.
    fn node(&mut self, mut node: NodeProto) -> Result<()> {
        for attribute in &mut node.attribute {
            if let Some(inner) = attribute.g.take() {
                // Operators within are run, and not measured.
                attribute.g = Some(rewritten(inner, self.opset)?.0);
            }
        }
        match kind(&node).as_str() {
            "Dropout" => self.keep(operator("Identity", &[&node.input[0]], &[&node.output[0]])),
            "Softmax" | "LogSoftmax" if self.opset < 13 => self.flat_softmax(&node),
            "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool" => {
                let node = with_pads_before(self.with_kernel_shape(node));
                self.keep(node);
            }
            "ConvInteger" => {
                let node = self.with_kernel_shape(node);
                self.measured.push(node.clone());
                self.padded_by_zero_point(node);
            }
            "LSTM" => {
                self.name_hidden(&mut node);
                self.keep(node);
            }
            "com.microsoft:DynamicQuantizeLSTM" => self.dynamic_lstm(node),
            "GRU" => self.gru(node),
            "RNN" => self.rnn(node),
            "Mish" | "Selu" | "Celu" | "ThresholdedRelu" | "LRN" => self.pointwise(&node),
            "QLinearConv" => self.quantised_conv(&node),
            "QLinearMatMul" | "com.microsoft:QGemm" => self.quantised_product(&node),
            name if name.strip_prefix("com.microsoft:QLinear").is_some() => self.quantised_others(&node),
            _ => self.keep(node),
        }
        Ok(())
    }

    /// Adds `node` as it is.
    fn keep(&mut self, node: NodeProto) {
        self.measured.push(node.clone());
        self.nodes.push(node);
    }

    /// Adds an operator that is a part of what `of` does, and returns its output.
    fn add(&mut self, of: &NodeProto, op: &str, inputs: &[&str]) -> String {
        self.add_with(of, op, inputs, &[])
    }

    /// [`Rewriter::add`] with attributes.
    fn add_with(&mut self, of: &NodeProto, op: &str, inputs: &[&str], attributes: &[(&str, i64)]) -> String {
        let output = self.name(of, op);
        let node = operator(op, inputs, &[&output]);
        let node = attributes.iter().fold(node, |node, &(name, value)| with(node, name, Given::Int(value)));
        self.nodes.push(node);
        output
    }

    /// A name that no other tensor has.
    fn name(&mut self, of: &NodeProto, what: &str) -> String {
        self.fresh += 1;
        let base = of.output.iter().find(|name| !name.is_empty()).or(of.name.as_ref()).cloned().unwrap_or_default();
        format!("{base}//{what}{}", self.fresh)
    }

    /// A constant of floats.
    fn floats(&mut self, of: &NodeProto, dims: &[i64], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(of, DataType::FLOAT, dims, bytes)
    }

    /// A constant list of integers.
    fn ints(&mut self, of: &NodeProto, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(of, DataType::INT64, &[values.len() as i64], bytes)
    }

    /// A constant integer.
    fn int(&mut self, of: &NodeProto, value: i64) -> String {
        self.constant(of, DataType::INT64, &[], value.to_le_bytes().to_vec())
    }

    fn constant(&mut self, of: &NodeProto, kind: DataType, dims: &[i64], bytes: Vec<u8>) -> String {
        let name = self.name(of, "constant");
        self.constants.push(TensorProto {
            name: Some(name.clone()),
            dims: dims.to_vec(),
            data_type: Some(kind),
            raw_data: Some(bytes.into()),
            ..TensorProto::default()
        });
        name
    }

    /// Extents of the constant `name`, if it is one.
    fn dims(&self, name: &str) -> Option<&[i64]> {
        self.known.get(name).map(|tensor| tensor.dims.as_slice())
    }

    /// The file may leave the extents of a convolution's filters to the filters.
    fn with_kernel_shape(&self, node: NodeProto) -> NodeProto {
        let dims = node.input.get(1).and_then(|name| self.dims(name)).filter(|dims| dims.len() > 2);
        match dims {
            Some(dims) if node.ints("kernel_shape").is_none_or(<[i64]>::is_empty) => {
                with(node, "kernel_shape", Given::Ints(&dims[2..]))
            }
            _ => node,
        }
    }

    /// Runs a convolution of integers, around whose operand are codes of zero: rten has other codes there.
    fn padded_by_zero_point(&mut self, node: NodeProto) {
        let pads = explicit_pads(&node);
        if pads.iter().all(|&pad| pad == 0) {
            return self.nodes.push(node);
        }
        let (before, after) = pads.split_at(pads.len() / 2);
        let all = [&[0, 0], before, &[0, 0], after].concat();
        let all = self.ints(&node, &all);
        let zero = node.input.get(2).cloned().unwrap_or_default();
        let padded = self.add(&node, "Pad", &[&node.input[0], &all, &zero]);
        let mut conv = with(node, "pads", Given::Ints(&vec![0; pads.len()]));
        conv.attribute.retain(|attribute| attribute.name.as_deref() != Some("auto_pad"));
        conv.input[0] = padded;
        self.nodes.push(conv);
    }

    /// Before version 13 a softmax goes over all values from its axis on.
    fn flat_softmax(&mut self, node: &NodeProto) {
        let (x, axis) = (node.input[0].clone(), node.int("axis").unwrap_or(1));
        let shape = self.add(node, "Shape", &[&x]);
        let flat = self.add_with(node, "Flatten", &[&x], &[("axis", axis)]);
        let op = node.op_type.clone().unwrap_or_default();
        let shares = self.add_with(node, &op, &[&flat], &[("axis", 1)]);
        self.nodes.push(operator("Reshape", &[&shares, &shape], &[&node.output[0]]));
    }
}
