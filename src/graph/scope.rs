//! The graph builder: a path in the checkpoint's name tree, which builds layers from the parameters found there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;

use super::params::{Params, random, same_but_for_ones, stored_values};
use super::{Difference, Graph, Node, NodeDef};
use crate::kernels::{Activation, Halo};
use crate::layers::{
    BatchNorm, Conv, ConvTranspose, Embedding, Layer, Linear, LowBitCodes, LowBits, Lstm, MatMul, Param, Recurrent,
    Values,
};

pub(super) struct State {
    pub(super) graph: Graph,
    pub(super) params: Params,
    pub(super) used: BTreeSet<String>,
    pub(super) problems: Vec<String>,
    pub(super) differences: Vec<Difference>,
    /// Path of the classifier that the checkpoint lacks.
    pub(super) headless: Option<String>,
}

impl State {
    pub(super) fn new(params: Params) -> Self {
        let (graph, used) = (Graph::default(), BTreeSet::new());
        Self { graph, params, used, problems: Vec::new(), differences: Vec::new(), headless: None }
    }
}

/// A path in the name tree. Cloning is cheap; all scopes of one network add to the same graph.
///
/// Building never stops half-way: a missing or ill-shaped parameter is recorded and building continues, so that
/// [`Scope::finish`] can list every problem at once.
#[derive(Clone)]
pub struct Scope {
    pub(super) state: Rc<RefCell<State>>,
    pub(super) path: String,
    /// Maps our parameter names to those of the checkpoint.
    stored: fn(&str) -> String,
    /// Whether filters are ternary.
    ternary: bool,
    /// Whether the numbers of filters are the network's own, whatever the checkpoint has.
    pub(super) exact: bool,
}

impl Scope {
    /// The root of a new network.
    pub fn new(params: Params) -> Self {
        let state = Rc::new(RefCell::new(State::new(params)));
        Self { state, path: String::new(), stored: str::to_owned, ternary: false, exact: false }
    }

    /// The same path in a checkpoint with other names: `stored` maps our parameter names to those of the checkpoint.
    pub fn renamed(&self, stored: fn(&str) -> String) -> Self {
        Self { stored, ..self.clone() }
    }

    /// The path `name` (which may contain dots) below this one.
    pub fn at(&self, name: impl Display) -> Self {
        let name = name.to_string();
        let path = match (self.path.is_empty(), name.is_empty()) {
            (true, _) => name,
            (_, true) => self.path.clone(),
            _ => format!("{}.{name}", self.path),
        };
        Self { state: Rc::clone(&self.state), path, ..*self }
    }

    /// The same path with ternary filters: 0, one positive and one negative value.
    pub fn ternary(&self) -> Self {
        Self { ternary: true, ..self.clone() }
    }

    /// The same path with numbers of filters that do not come from the checkpoint: the network computes with them.
    pub fn exact(&self) -> Self {
        Self { exact: true, ..self.clone() }
    }

    /// Whether the checkpoint holds the parameter `name` here. Without a checkpoint: true.
    pub fn has(&self, name: &str) -> bool {
        let params = &self.state.borrow().params;
        !params.is_stored() || params.shape(&self.stored_name(name)).is_some()
    }

    /// Shape of the parameter `name` here, if a checkpoint holds it.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.state.borrow().params.shape(&self.stored_name(name)).map(<[usize]>::to_vec)
    }

    /// Names and extents of all tensors of the checkpoint, if there is one.
    pub fn extents(&self) -> Option<BTreeMap<String, Vec<usize>>> {
        let params = &self.state.borrow().params;
        let extents = |name: &str| Some((name.to_owned(), params.shape(name)?.to_vec()));
        params.is_stored().then(|| params.names().into_iter().filter_map(extents).collect())
    }

    pub(super) fn stored_name(&self, name: &str) -> String {
        (self.stored)(&self.at(name).path)
    }

    /// `conv`, without zeros among its attributes, which are a problem.
    fn possible(&self, conv: Conv) -> Conv {
        let Conv { out_channels, kernel: (r, s), stride: (y, x), dilation: (down, right), groups, .. } = conv;
        let named = [("filters", out_channels), ("rows", r), ("columns", s), ("groups", groups)];
        let steps = [("stride", y), ("stride", x), ("dilation", down), ("dilation", right)];
        for (name, _) in named.into_iter().chain(steps).filter(|(_, number)| *number == 0) {
            self.problem(format!("{}: {name} of 0", self.path));
        }
        let pair = |a: usize, b: usize| (a.max(1), b.max(1));
        Conv {
            out_channels: out_channels.max(1),
            kernel: pair(r, s),
            stride: pair(y, x),
            dilation: pair(down, right),
            groups: groups.max(1),
            ..conv
        }
    }

    /// Whether it has no node yet.
    pub fn is_empty(&self) -> bool {
        self.state.borrow().graph.nodes.is_empty()
    }

    /// Channels of `node`.
    pub fn channels(&self, node: Node) -> usize {
        self.state.borrow().graph.def(node).channels
    }

    /// The input of the network, `[channels, H, W]`. Must be the first node.
    pub fn input(&self, channels: usize) -> Node {
        assert!(self.state.borrow().graph.nodes.is_empty(), "the input is the first node");
        Self { path: "input".into(), ..self.clone() }.push(Layer::Input, vec![], channels)
    }

    /// The input of the network.
    ///
    /// # Panics
    /// If there is none yet.
    pub fn image(&self) -> Node {
        assert!(!self.state.borrow().graph.nodes.is_empty(), "the input is the first node");
        Node(0)
    }

    /// Convolution by `weight` `[out, in/groups, R, S]` and, where the checkpoint has one, `bias` `[out]`; the checkpoint
    /// also says how many filters there are.
    pub fn conv(&self, x: Node, conv: Conv) -> Node {
        let inputs = self.channels(x);
        let conv = self.sized(inputs, self.possible(conv));
        if !inputs.is_multiple_of(conv.groups) || !conv.out_channels.is_multiple_of(conv.groups) {
            self.problem(format!(
                "{}: {} groups do not divide {inputs} -> {}",
                self.path, conv.groups, conv.out_channels
            ));
        }
        let shape = [conv.out_channels, inputs / conv.groups, conv.kernel.0, conv.kernel.1];
        let weight = self.weight(x, &shape);
        let bias = self.bias(conv.bias, conv.out_channels);
        let channels = conv.out_channels;
        // Random weights have more values, and are not counted as codes.
        let low_bits = if self.ternary { LowBits::ternary(&weight.data) } else { self.stored_bits() };
        if self.ternary && low_bits.is_none() && matches!(self.state.borrow().params, Params::Stored(_)) {
            self.problem(format!("{}.weight: has more than three values, the network is ternary", self.path));
        }
        self.push(
            Layer::Conv(Conv { weight, bias_values: bias, in_channels: inputs, low_bits, ..conv }),
            vec![x],
            channels,
        )
    }

    /// The integers that the parameter `weight` here is stored as, if any.
    pub fn stored_bits(&self) -> Option<LowBits> {
        let Params::Stored(weights) = &self.state.borrow().params else { return None };
        let name = self.stored_name("weight");
        let blocks = || {
            let stored = weights.block_codes(&name)?;
            let (bits, signed) = (stored.bits(), stored.signed());
            Some(LowBits { bits, signed, codes: LowBitCodes::Made(Arc::new(move || stored.codes())) })
        };
        weights.integers(&name).map(|stored| LowBits::stored(stored.codes)).or_else(blocks)
    }

    /// Transposed convolution by `weight` `[in, out/groups, R, S]` and, where the checkpoint has one, `bias` `[out]`.
    pub fn conv_transpose(&self, x: Node, conv: ConvTranspose) -> Node {
        let inputs = self.channels(x);
        let conv = self.sized_transpose(conv);
        let shape = [inputs, conv.out_channels / conv.groups, conv.kernel.0, conv.kernel.1];
        let weight = self.weight(x, &shape);
        let bias = self.bias(conv.bias, conv.out_channels);
        let channels = conv.out_channels;
        let layer = ConvTranspose { weight, bias_values: bias, in_channels: inputs, ..conv };
        self.push(Layer::ConvTranspose(layer), vec![x], channels)
    }

    /// `x W^T + b` with `weight` `[out, in]` and `bias` `[out]`; `in` is all features of `x`, `pixels` per channel. The
    /// checkpoint says how many outputs there are.
    pub fn linear(&self, x: Node, out_features: usize, pixels: usize) -> Node {
        let in_features = self.channels(x) * pixels;
        let out_features = if self.exact { out_features } else { self.filters("").or(out_features) };
        let weight = self.weight(x, &[out_features, in_features]);
        let bias = self.bias(None, out_features);
        let layer = Linear {
            weight,
            bias,
            in_features,
            out_features,
            tied: false,
            steps: false,
            activation: Activation::Identity,
            integer: None,
            channels_last: None,
            low_bits: self.stored_bits(),
        };
        self.push(Layer::Linear(layer), vec![x], out_features)
    }

    /// `weight` `[out, in]`, which may be `tied` to another layer's, times each step of a sequence, plus `bias` `[out]`.
    pub fn linear_steps(&self, x: Node, weight: Param, bias: Option<Param>, tied: bool) -> Node {
        self.stored_steps(x, (weight, None), bias, tied)
    }

    /// As [`Scope::linear_steps`], of weights that are stored as integers, perhaps.
    pub fn stored_steps(
        &self,
        x: Node,
        (weight, low_bits): (Param, Option<LowBits>),
        bias: Option<Param>,
        tied: bool,
    ) -> Node {
        let (in_features, out_features) = (self.channels(x), weight.shape[0]);
        if weight.shape != [out_features, in_features] {
            self.problem(format!("{}: is {:?}, its input has {in_features} features", self.path, weight.shape));
        }
        // Where the values are codes, they are those that are counted: the file need not be kept for them.
        let held = weight.data.codes().map(|codes| {
            let codes = Arc::clone(codes);
            LowBitCodes::Made(Arc::new(move || codes.codes()))
        });
        let low_bits = low_bits.map(|low| LowBits { codes: held.unwrap_or(low.codes), ..low });
        let layer = Linear {
            weight,
            bias,
            in_features,
            out_features,
            tied,
            steps: true,
            activation: Activation::Identity,
            integer: None,
            channels_last: None,
            low_bits,
        };
        self.push(Layer::Linear(layer), vec![x], out_features)
    }

    /// Rows of `table` `[V, E]`, indexed by a sequence of token ids.
    pub fn embedding(&self, x: Node, table: Param) -> Node {
        let features = table.shape[1];
        self.push(Layer::Embedding(Embedding { table }), vec![x], features)
    }

    /// The recurrence over `x`, with four gates i, f, g, o per step and the parameters of `lstm`.
    pub fn lstm(&self, x: Node, lstm: Lstm) -> Node {
        self.steps_of(x, Layer::Lstm(lstm))
    }

    /// The recurrence over `x`, with the gates of `recurrent` stacked per step.
    pub fn recurrent(&self, x: Node, recurrent: Recurrent) -> Node {
        self.steps_of(x, Layer::Recurrent(recurrent))
    }

    fn steps_of(&self, x: Node, layer: Layer) -> Node {
        let recurrence = layer.recurrence().expect("a recurrent layer");
        let (weight, outputs) = (recurrence.weight, recurrence.outputs());
        if !recurrence.fits() || self.channels(x) != weight.shape[0] {
            self.problem(format!("{}: is {:?} for {} gate values per step", self.path, weight.shape, self.channels(x)));
        }
        self.push(layer, vec![x], outputs)
    }

    /// The product of two activations `[heads·K, 1, M]` and `[heads·K, 1, columns]`, of each head by itself: see [`MatMul`].
    pub fn matmul(&self, a: Node, b: Node, heads: usize, columns: usize) -> Node {
        let inner = self.channels(a) / heads.max(1);
        self.push(Layer::MatMul(MatMul { heads, inner }), vec![a, b], heads * columns)
    }

    /// The parameter `name` here, of extents `shape`.
    pub fn parameter(&self, name: &str, shape: &[usize]) -> Param {
        self.param(name, shape)
    }

    /// Batch norm at inference with `weight`, `bias`, `running_mean`, `running_var`, all `[C]`.
    pub fn batch_norm(&self, x: Node, eps: f64) -> Node {
        let c = self.channels(x);
        let [weight, bias, mean, variance] =
            ["weight", "bias", "running_mean", "running_var"].map(|name| self.param(name, &[c]));
        self.push(Layer::BatchNorm(BatchNorm { weight, bias, mean, variance, eps }), vec![x], c)
    }

    /// `convolution` followed by the batch norm at `norm` (another scope of the network). The norm is left out if the
    /// checkpoint has it folded already: no norm, but a bias at the convolution.
    pub fn conv_norm(&self, x: Node, conv: Conv, norm: &Scope, eps: f64) -> Node {
        let folded = !norm.has("weight") && self.has("bias");
        let y = self.conv(x, if folded { conv.bias(true) } else { conv });
        if folded { y } else { norm.batch_norm(y, eps) }
    }

    /// Whether a checkpoint says which parameters there are.
    pub fn is_stored(&self) -> bool {
        self.state.borrow().params.is_stored()
    }

    /// Records a problem that makes the network impossible; [`Scope::finish`] returns it.
    pub fn problem(&self, problem: String) {
        self.state.borrow_mut().problems.push(problem);
    }

    fn bias(&self, wanted: Option<bool>, channels: usize) -> Option<Param> {
        // If the network does not say, the checkpoint decides; without a checkpoint, a layer has a bias only if required.
        let take = wanted.unwrap_or_else(|| self.has("bias"));
        take.then(|| self.param("bias", &[channels]))
    }

    pub(super) fn push(&self, layer: Layer, inputs: Vec<Node>, channels: usize) -> Node {
        let nodes = &mut self.state.borrow_mut().graph.nodes;
        nodes.push(NodeDef { name: self.path.clone(), layer, inputs, channels, codes: None });
        Node(nodes.len() as u32 - 1)
    }

    /// The `weight` here of a layer that reads `x`; of one that reads another number of channels, the problem names the
    /// layer that they come from.
    fn weight(&self, x: Node, shape: &[usize]) -> Param {
        let known = self.state.borrow().problems.len();
        let weight = self.param("weight", shape);
        if self.shape("weight").is_some_and(|got| got.get(1) != shape.get(1)) {
            let input = format!("; {} has {} channels", self.source(x), self.channels(x));
            self.state.borrow_mut().problems.iter_mut().skip(known).for_each(|problem| *problem += &input);
        }
        weight
    }

    fn param(&self, name: &str, shape: &[usize]) -> Param {
        let path = self.stored_name(name);
        let state = &mut *self.state.borrow_mut();
        state.used.insert(state.params.stored_name(&path).to_owned());
        let count = shape.iter().product();
        let data = match &state.params {
            Params::Declared => Values::default(),
            Params::Random(seed) => random(*seed, (name, &path), shape, count).into(),
            params => match params.shape(&path) {
                None => {
                    state.problems.push(format!("{path}: missing, the network needs {shape:?}"));
                    Values::default()
                }
                Some(got) if got.iter().product::<usize>() != count || !same_but_for_ones(got, shape) => {
                    state.problems.push(format!("{path}: is {got:?}, the network needs {shape:?}"));
                    Values::default()
                }
                Some(_) => match params {
                    Params::Stored(weights) => stored_values(weights, &path, shape),
                    _ => Values::default(),
                },
            },
        };
        Param { shape: shape.to_vec(), data }
    }
}

impl From<Halo> for crate::layers::Padding {
    fn from(halo: Halo) -> Self {
        Self::Explicit(halo)
    }
}
