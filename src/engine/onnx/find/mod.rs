//! Finds the operators that multiply and accumulate, and describes each as a layer of ours whose operand is a tensor of the file.

mod conv;
mod dynamic_lstm;
mod others;
mod pair;
mod product;
mod recurrent;
mod source;
mod weights;

use std::collections::{HashMap, HashSet};

use rten_onnx::onnx::NodeProto;

pub(super) use self::source::{Delay, Role, Shown, Source, Zero, tensors_of};

use self::weights::Coded;
use super::attributes::Attributes;
use super::rten_model::title;
use super::view::View;
use crate::graph::{Graph, Node, NodeDef};
use crate::kernels::{Activation, Codes};
use crate::layers::{Layer, Operand, Shape};
use crate::weights::onnx::operator as kind;
use crate::{Error, Result};

/// The codes that an operator of integers reads.
pub(super) struct IntegerOperand {
    pub zero: Zero,
    /// What they are, if their zero point is known from the file.
    pub codes: Option<Codes>,
}

/// A constant of the file that a layer holds as its weights, perhaps in another order.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub tensor: String,
    pub node: Node,
    /// Extents of the constant, and places between neighbours along each axis in the weights of the layer.
    pub dims: Vec<usize>,
    pub strides: Vec<usize>,
}

/// The layers that were found.
pub(super) struct Found {
    pub graph: Graph,
    pub shown: Vec<Shown>,
    pub shared: Vec<Shared>,
    /// Operators that multiply and are not measured: name, why, and MACs of an input where the extents tell.
    pub others: Vec<(String, String, Option<u64>)>,
}

/// What is known of the file.
pub(super) struct Known<'a> {
    pub source: &'a str,
    /// Operators in order.
    pub nodes: &'a [NodeProto],
    /// Extents of tensors.
    pub shapes: &'a HashMap<String, Vec<usize>>,
    /// Names of large constants of floats.
    pub weights: &'a HashSet<String>,
    /// Names of tensors that depend on constants alone.
    pub constants: &'a HashSet<String>,
    /// Names of the graph's outputs.
    pub outputs: &'a [String],
    /// The value of a tensor that depends on constants alone.
    pub value: &'a dyn Fn(&str) -> Result<rten::Value>,
}

/// Whether operators of this kind multiply and accumulate.
pub(super) fn multiplies(op: &str) -> bool {
    const OWN: [&str; 11] = [
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "MatMulInteger",
        "Einsum",
        "LSTM",
        "GRU",
        "RNN",
        "Attention",
    ];
    const MICROSOFT: [&str; 4] = ["DynamicQuantizeLSTM", "GroupQueryAttention", "MatMulNBits", "MultiHeadAttention"];
    op.strip_prefix("com.microsoft:").map_or(OWN.contains(&op), |op| MICROSOFT.contains(&op))
}

/// Finds the layers of one graph.
pub(super) struct Finder<'a> {
    known: Known<'a>,
    /// Which operator makes a tensor.
    makers: HashMap<&'a str, usize>,
    /// Which operators read a tensor.
    readers: HashMap<&'a str, Vec<usize>>,
    graph: Graph,
    names: HashSet<String>,
    shown: Vec<Shown>,
    shared: Vec<Shared>,
    operands: HashMap<(String, [Vec<usize>; 3]), Node>,
    others: Vec<(String, String, Option<u64>)>,
}

/// Why an operator is not measured.
pub(super) type Refusal = String;

/// `layer` and the extents of its output, if it can read `x`.
fn checked(layer: Layer, x: Shape) -> Result<(Layer, Shape), Refusal> {
    let shape = layer.output(&[x])?;
    Ok((layer, shape))
}

impl<'a> Finder<'a> {
    /// Describes all operators that multiply, in a graph whose input and output have these extents.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for weights; those of reading constants.
    pub fn find(known: Known<'a>, input: Shape, output: &[usize]) -> Result<Found> {
        let (mut makers, mut readers): (HashMap<&str, usize>, HashMap<&str, Vec<usize>>) = Default::default();
        for (i, node) in known.nodes.iter().enumerate() {
            for name in node.input.iter().filter(|name| !name.is_empty()) {
                readers.entry(name).or_default().push(i);
            }
            makers.extend(node.output.iter().map(|name| (name.as_str(), i)));
        }
        let mut graph = Graph::default();
        let def = NodeDef { name: "input".into(), layer: Layer::Input, inputs: vec![], channels: input.c, codes: None };
        graph.nodes.push(def);
        let (names, shown, shared, operands, others) = Default::default();
        let mut finder = Self { known, makers, readers, graph, names, shown, shared, operands, others };
        for node in finder.known.nodes {
            finder.node(node)?;
        }
        // The value that the network gives.
        let shape = match *output {
            [1, c, h, w] => Shape::new(c, h, w),
            [1, c] => Shape::new(c, 1, 1),
            _ => Shape::new(output.iter().product(), 1, 1),
        };
        let given =
            finder.push("output", Layer::Operand(Operand { shape, dynamic: false }), vec![Node(0)], shape.c, None);
        finder.graph.output = Some(given);
        let Self { graph, shown, shared, others, .. } = finder;
        Ok(Found { graph, shown, shared, others })
    }

    fn node(&mut self, node: &'a NodeProto) -> Result<()> {
        // What depends on constants alone is no work of an input.
        if node.output.iter().all(|output| self.known.constants.contains(output.as_str())) {
            return Ok(());
        }
        let op = kind(node);
        let found = match op.as_str() {
            "Conv" | "ConvInteger" => self.conv(node)?,
            "ConvTranspose" => self.conv_transpose(node)?,
            "Gemm" | "MatMul" | "MatMulInteger" | "Einsum" => self.product(node)?,
            "LSTM" | "GRU" | "RNN" => self.recurrence(node)?,
            "com.microsoft:DynamicQuantizeLSTM" => self.dynamic_lstm(node)?,
            name if multiplies(name) => Err("is one operator of several products".to_owned()),
            _ => {
                self.within(node);
                Ok(())
            }
        };
        if let Err(why) = found {
            let macs = others::macs(node, self.known.shapes);
            self.others.push((title(node), why, macs));
        }
        Ok(())
    }

    /// Operators in the graphs of `node`, whose operands cannot be asked for.
    fn within(&mut self, node: &NodeProto) {
        for graph in super::operators::subgraphs(node) {
            let others = &mut self.others;
            super::operators::for_each(graph, &mut |inner| {
                if multiplies(&kind(inner)) {
                    others.push((title(inner), format!("is inside {}", title(node)), None));
                }
            });
        }
    }

    /// Extents of a tensor.
    fn dims(&self, name: &str) -> Result<&'a [usize], Refusal> {
        let known = self.known.shapes.get(name).map(Vec::as_slice);
        known.ok_or_else(|| format!("reads {name}, whose extents are not known"))
    }

    /// Input `index` of `node`.
    fn input(&self, node: &'a NodeProto, index: usize) -> Result<&'a str, Refusal> {
        let given = node.input.get(index).map(String::as_str).filter(|name| !name.is_empty());
        given.ok_or_else(|| format!("has no input {index}"))
    }

    /// Whether input `index` of `node` depends on constants alone.
    fn is_constant(&self, node: &NodeProto, index: usize) -> bool {
        node.input.get(index).is_some_and(|name| self.known.constants.contains(name.as_str()))
    }

    /// The name of the row of `node`.
    fn row(&self, node: &NodeProto) -> String {
        let own = node.name.as_ref().filter(|name| !name.is_empty());
        own.or(node.output.first()).cloned().unwrap_or_default()
    }

    fn push(&mut self, name: &str, layer: Layer, inputs: Vec<Node>, channels: usize, codes: Option<Codes>) -> Node {
        let mut unique = name.to_owned();
        let mut count = 1;
        while !self.names.insert(unique.clone()) {
            count += 1;
            unique = format!("{name}#{count}");
        }
        self.graph.nodes.push(NodeDef { name: unique, layer, inputs, channels, codes });
        Node(self.graph.nodes.len() as u32 - 1)
    }

    /// The operand that is the tensor `name`, its axes `lists` taken as channels, rows and columns; and where its values are: in
    /// the codes that it is dequantised from, if it is. `integers` says what the codes of an operator of integers are.
    fn operand(
        &mut self,
        name: &str,
        lists: [&[usize]; 3],
        integers: Option<IntegerOperand>,
    ) -> Result<(Node, Source), Refusal> {
        let dims = self.dims(name)?;
        let view = View::new(dims, lists).ok_or_else(|| format!("reads several images at once, {dims:?}"))?;
        let (tensor, zero, codes, dynamic) = match (integers, self.dequantised(name)) {
            (Some(IntegerOperand { zero, codes }), _) => (name.to_owned(), zero, codes, codes.is_none()),
            (None, Some(Coded { codes: tensor, of })) => (tensor, Zero::Fixed(of.zero_point), Some(of), false),
            (None, None) => (name.to_owned(), Zero::None, None, false),
        };
        let node = self.operand_node(name, lists, view.shape(), (codes, dynamic));
        Ok((node, Source { tensor, view, zero, delay: None }))
    }

    fn operand_node(
        &mut self,
        name: &str,
        lists: [&[usize]; 3],
        shape: Shape,
        (codes, dynamic): (Option<Codes>, bool),
    ) -> Node {
        let key = (name.to_owned(), lists.map(<[usize]>::to_vec));
        if let Some(&known) = self.operands.get(&key) {
            return known;
        }
        let layer = Layer::Operand(Operand { shape, dynamic });
        // A tensor may have the name of a row.
        let node = self.push(&format!("{name} (operand)"), layer, vec![Node(0)], shape.c, codes);
        self.operands.insert(key, node);
        node
    }

    /// Notes that the weights of `node` are the constant `name` of extents `dims`, its axes in the order `axes`.
    fn share(&mut self, node: Node, name: &str, dims: &[usize], axes: &[usize]) {
        if self.known.weights.contains(name) && !self.shared.iter().any(|shared| shared.tensor == name) {
            let behind = |axis: usize| axes.iter().skip_while(move |&&other| other != axis).skip(1);
            let stride = |axis: usize| behind(axis).map(|&axis| dims[axis]).product();
            let strides = (0..dims.len()).map(stride).collect();
            self.shared.push(Shared { tensor: name.to_owned(), node, dims: dims.to_vec(), strides });
        }
    }

    /// Adds what is shown as the operand of `node`.
    fn show(&mut self, node: Node, source: Source) {
        self.shown.push(Shown { node, role: Role::First, source });
    }

    /// Adds what is shown as the output of `node`, which computes the first output of `of`: the tensor `behind` it of the same
    /// extents, cut to those of the layer.
    fn show_output(&mut self, node: Node, of: &NodeProto, behind: &str, lists: [&[usize]; 3], shape: Shape) {
        let Ok(dims) = self.dims(&of.output[0]) else { return };
        let Some(view) = View::new(dims, lists) else { return };
        let view = view.cropped(shape.h, shape.w);
        if view.shape() == shape {
            let source = Source { tensor: behind.to_owned(), view, zero: Zero::None, delay: None };
            self.shown.push(Shown { node, role: Role::Output, source });
        }
    }

    /// The operator that alone reads the tensor `name`.
    fn alone(&self, name: &str) -> Option<&'a NodeProto> {
        match self.readers.get(name).map(Vec::as_slice) {
            Some(&[reader]) if !self.known.outputs.iter().any(|output| output == name) => {
                Some(&self.known.nodes[reader])
            }
            _ => None,
        }
    }

    /// The tensor that the layer of `node` gives, behind the constant that alone is added to its product.
    fn behind_bias(&self, node: &'a NodeProto) -> &'a str {
        let own = node.output[0].as_str();
        match self.alone(own) {
            Some(add) if kind(add) == "Add" && kind(node) == "MatMul" => {
                let constant = add.input.iter().any(|name| self.known.constants.contains(name.as_str()));
                if constant { add.output[0].as_str() } else { own }
            }
            _ => own,
        }
    }

    /// The activation that alone reads the tensor `own`, and the tensor behind it.
    fn activated(&self, own: &'a str) -> (Activation, &'a str) {
        let Some(alone) = self.alone(own) else { return (Activation::Identity, own) };
        let bounds = || [1, 2].map(|i| self.number(alone.input.get(i)?));
        let activation = match kind(alone).as_str() {
            "Relu" => Activation::Relu,
            "Clip" if alone.input.len() == 3 && bounds() == [Some(0.0), Some(6.0)] => Activation::Relu6,
            "Clip" if alone.float("min") == Some(0.0) && alone.float("max") == Some(6.0) => Activation::Relu6,
            "LeakyRelu" => Activation::LeakyRelu(alone.float("alpha").unwrap_or(0.01)),
            "HardSwish" => Activation::HardSwish,
            "Sigmoid" => Activation::Sigmoid,
            "Tanh" => Activation::Tanh,
            _ => return (Activation::Identity, own),
        };
        (activation, alone.output[0].as_str())
    }

    /// Whether the tensor `name` becomes unsigned codes whose lowest is zero: a ReLU.
    fn cut_at_zero(&self, name: &str) -> bool {
        let Some(reader) = self.alone(name).filter(|reader| kind(reader) == "QuantizeLinear") else { return false };
        let zero = reader.input.get(2).filter(|name| !name.is_empty());
        zero.is_none_or(|zero| self.lowest(zero))
    }

    /// Whether the constant `zero` is the lowest code of its type.
    fn lowest(&self, zero: &str) -> bool {
        let known = self.known.constants.contains(zero).then(|| self.held(zero).ok()).flatten();
        known.is_some_and(|held| {
            let lowest = if held.codes.is_some_and(|codes| codes.signed) { -128.0 } else { 0.0 };
            held.values == [lowest]
        })
    }

    /// The constant float `name`, if it is one.
    fn number(&self, name: &str) -> Option<f32> {
        let value = self.known.constants.contains(name).then(|| (self.known.value)(name).ok())??;
        match value.into_tensor::<f32>()?.into_data()[..] {
            [number] => Some(number),
            _ => None,
        }
    }

    fn failed(&self, detail: impl Into<String>) -> Error {
        Error::malformed(self.known.source, detail)
    }
}
