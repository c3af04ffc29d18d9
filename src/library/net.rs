//! Defining a network of one's own.

use std::marker::PhantomData;
use std::ops::{Add, Mul};
use std::path::Path;

use super::tensor::Tensor;
use crate::graph::{Graph, Node, Scope};
use crate::kernels::Activation;
use crate::layers::{self, Pool};
use crate::weights::Weights;
use crate::{Result, graph};

/// Where the weights of a network of one's own come from.
///
/// ```
/// use deadweight::prelude::*;
///
/// let weight = Tensor::new([1, 2], vec![3.0, -1.0])?;
/// let net = Net::build(Params::tensors([("fc.weight", weight)])?, |n| n.linear("fc", n.input(2), 1))?;
/// let model = Model::from_net("difference", net, [2, 1, 1])?;
/// let y = model.session().build()?.run(&Tensor::new([2, 1, 1], vec![2.0, 5.0])?)?;
/// assert_eq!(y.data(), [1.0]);
/// # Ok::<(), deadweight::Error>(())
/// ```
pub struct Params(graph::Params);

impl Params {
    /// Seeded random values of the extents that the network needs.
    pub fn random(seed: u64) -> Self {
        Self(graph::Params::Random(seed))
    }

    /// A file: safetensors, a PyTorch checkpoint or GGUF.
    ///
    /// # Errors
    /// [`crate::Error::Io`], [`crate::Error::Malformed`] or [`crate::Error::Unsupported`] for what it holds.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Weights::open(path).map(|weights| Self(graph::Params::Stored(weights)))
    }

    /// Tensors from memory by name: `conv1.weight` and `conv1.bias` of a layer `conv1`.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] for two of one name, or none.
    pub fn tensors<'n>(tensors: impl IntoIterator<Item = (&'n str, Tensor)>) -> Result<Self> {
        let one = |(name, tensor): (&str, Tensor)| (name.to_owned(), tensor.shape().to_vec(), tensor.into_data());
        let weights = Weights::from_tensors("tensors", tensors.into_iter().map(one))?;
        Ok(Self(graph::Params::Stored(weights)))
    }
}

/// A network that was defined layer by layer; [`Model::from_net`](super::Model::from_net) runs and measures it.
///
/// ```
/// use deadweight::prelude::*;
///
/// let net = Net::build(Params::random(7), |n| {
///     let x = n.input(3);
///     let x = n.conv("conv1", x, Conv::new(16, 3).padding(1)).relu();
///     let y = n.conv("conv2", x, Conv::new(16, 3).padding(1)) + x;
///     n.linear("fc", y.relu().global_avg_pool(), 10)
/// })?;
/// let model = Model::from_net("mine", net, [3, 8, 8])?;
/// let macs: u64 = model.layers().iter().map(|layer| layer.macs).sum();
/// assert_eq!(macs, 64 * 16 * 9 * (3 + 16) + 16 * 10);
///
/// // What is wrong is told of all layers at once, and nothing panics.
/// let error = Net::build(Params::random(7), |n| {
///     let x = n.conv("first", n.input(3), Conv::new(0, 3));
///     n.conv("second", x, Conv::new(4, 3).stride(0))
/// });
/// let said = error.err().expect("two layers are wrong").to_string();
/// assert!(said.contains("first") && said.contains("second"));
/// # Ok::<(), deadweight::Error>(())
/// ```
///
/// A value of one network cannot enter another; the compiler refuses it:
///
/// ```compile_fail
/// use deadweight::prelude::*;
///
/// let _ = Net::build(Params::random(1), |outer| {
///     let x = outer.input(3);
///     let _ = Net::build(Params::random(2), |inner| {
///         let _ = inner.conv("conv", x, Conv::new(2, 1));
///         inner.input(3)
///     });
///     x
/// });
/// ```
pub struct Net {
    pub(super) graph: Graph,
}

impl Net {
    /// The network that `define` describes, whose result is its output; its parameters are those of `params` by the names of the layers.
    ///
    /// # Errors
    /// [`crate::Error::Mismatch`] listing every layer that cannot be as described, and every parameter that is missing, of other extents, or
    /// left over.
    pub fn build(params: Params, define: impl FnOnce(&NetBuilder) -> Var<'_>) -> Result<Self> {
        let builder = NetBuilder { scope: Scope::new(params.0) };
        let output = define(&builder).node;
        builder.scope.finish(output).map(|(graph, _)| Self { graph })
    }
}

/// Adds layers to a network: see [`Net::build`].
///
/// ```
/// use deadweight::prelude::*;
///
/// fn block<'n>(n: &'n NetBuilder, name: &str, x: Var<'n>) -> Var<'n> {
///     let y = n.conv(&format!("{name}.conv"), x, Conv::new(x.channels(), 3).padding(1));
///     (n.batch_norm(&format!("{name}.norm"), y, 1e-5) + x).relu()
/// }
///
/// let net = Net::build(Params::random(1), |n| {
///     let x = n.conv("stem", n.input(3), Conv::new(8, 1));
///     let (a, b) = (block(n, "a", x), block(n, "b", x));
///     n.concat("both", &[a, b])
/// })?;
/// # drop(net);
/// # Ok::<(), deadweight::Error>(())
/// ```
pub struct NetBuilder {
    scope: Scope,
}

/// A value in a network that is being defined. Sums and products of two are `+` and `*`.
///
/// ```
/// use deadweight::prelude::*;
///
/// let net = Net::build(Params::random(1), |n| {
///     let x = n.conv("conv", n.input(1), Conv::new(4, 3)).relu().max_pool(2, 2);
///     let gate = n.conv("gate", x.global_avg_pool(), Conv::new(4, 1)).sigmoid();
///     x * gate
/// })?;
/// assert_eq!(Model::from_net("gated", net, [1, 10, 10])?.layers().last().map(|layer| layer.output), Some([4, 4, 4]));
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Var<'n> {
    net: &'n NetBuilder,
    node: Node,
    /// Makes the lifetime exact, so that a value of one network is none of another.
    of: PhantomData<fn(&'n ()) -> &'n ()>,
}

/// A convolution: `filters` of `kernel` x `kernel`, stride 1, no padding, one group, no bias.
///
/// ```
/// use deadweight::prelude::*;
///
/// let depthwise = Conv::new(8, 3).padding(1).stride(2).groups(8);
/// let net = Net::build(Params::random(1), |n| n.conv("depthwise", n.input(8), depthwise))?;
/// let model = Model::from_net("one", net, [8, 6, 6])?;
/// assert_eq!((model.layers()[1].output, model.layers()[1].macs), ([8, 3, 3], 8 * 9 * 9));
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Conv {
    filters: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
    bias: bool,
}

impl Conv {
    /// `filters` filters of `kernel` x `kernel`.
    pub fn new(filters: usize, kernel: usize) -> Self {
        let (kernel, one) = ([kernel; 2], [1; 2]);
        Self { filters, kernel, stride: one, padding: [0; 2], dilation: one, groups: 1, bias: false }
    }

    /// Rows and columns of a filter.
    pub fn kernel(self, kernel: [usize; 2]) -> Self {
        Self { kernel, ..self }
    }

    /// Rows and columns from one window to the next.
    pub fn stride(self, stride: usize) -> Self {
        self.strides([stride; 2])
    }

    /// The same, each by itself.
    pub fn strides(self, stride: [usize; 2]) -> Self {
        Self { stride, ..self }
    }

    /// Zeros on all four sides.
    pub fn padding(self, padding: usize) -> Self {
        self.paddings([padding; 2])
    }

    /// Zeros above and below, and at both sides.
    pub fn paddings(self, padding: [usize; 2]) -> Self {
        Self { padding, ..self }
    }

    /// Rows and columns from one tap to the next.
    pub fn dilation(self, dilation: usize) -> Self {
        self.dilations([dilation; 2])
    }

    /// The same, each by itself.
    pub fn dilations(self, dilation: [usize; 2]) -> Self {
        Self { dilation, ..self }
    }

    /// Groups of channels, each convolved by itself.
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// With a bias.
    pub fn bias(self) -> Self {
        Self { bias: true, ..self }
    }
}

impl NetBuilder {
    /// The network's input, of `channels` channels. Asked for again, it is the same.
    pub fn input(&self, channels: usize) -> Var<'_> {
        if self.scope.is_empty() {
            self.scope.input(channels.max(1));
        }
        let node = self.scope.image();
        if channels != self.scope.channels(node) || channels == 0 {
            let has = self.scope.channels(node);
            self.scope.problem(format!("input: {channels} channels asked for, it has {has}"));
        }
        self.var(node)
    }

    /// A convolution by `name.weight` `[filters, C/groups, R, S]`, and `name.bias` `[filters]` if it has one.
    pub fn conv<'n>(&'n self, name: &str, x: Var<'n>, conv: Conv) -> Var<'n> {
        let pair = |[rows, columns]: [usize; 2]| (rows, columns);
        let padding = crate::kernels::Halo {
            top: conv.padding[0],
            bottom: conv.padding[0],
            left: conv.padding[1],
            right: conv.padding[1],
        };
        let layer = layers::Conv {
            kernel: pair(conv.kernel),
            stride: pair(conv.stride),
            dilation: pair(conv.dilation),
            ..layers::Conv::new(conv.filters, 1).pad(padding.into()).groups(conv.groups).bias(conv.bias)
        };
        self.var(self.scope.exact().at(name).conv(x.node, layer))
    }

    /// All values of an input times `name.weight` `[outputs, C]`, plus `name.bias` `[outputs]` where the weights have one; `x` is
    /// `[C, 1, 1]`.
    pub fn linear<'n>(&'n self, name: &str, x: Var<'n>, outputs: usize) -> Var<'n> {
        if outputs == 0 {
            self.scope.problem(format!("{name}: no outputs"));
        }
        self.var(self.scope.exact().at(name).linear(x.node, outputs.max(1), 1))
    }

    /// The same of each step of a sequence `[C, 1, T]`.
    pub fn linear_steps<'n>(&'n self, name: &str, x: Var<'n>, outputs: usize) -> Var<'n> {
        if outputs == 0 {
            self.scope.problem(format!("{name}: no outputs"));
        }
        let at = self.scope.at(name);
        let bias = at.is_stored() && at.has("bias");
        self.var(at.project(x.node, outputs.max(1), bias))
    }

    /// Batch norm at inference by `weight`, `bias`, `running_mean` and `running_var`.
    pub fn batch_norm<'n>(&'n self, name: &str, x: Var<'n>, eps: f64) -> Var<'n> {
        self.var(self.scope.at(name).batch_norm(x.node, eps))
    }

    /// Channels of several, one after the other.
    pub fn concat<'n>(&'n self, name: &str, parts: &[Var<'n>]) -> Var<'n> {
        if parts.is_empty() {
            self.scope.problem(format!("{name}: nothing to concatenate"));
            return self.input(1);
        }
        let parts: Vec<Node> = parts.iter().map(|part| part.node).collect();
        self.var(self.scope.at(name).concat(&parts))
    }

    fn var(&self, node: Node) -> Var<'_> {
        Var { net: self, node, of: PhantomData }
    }
}

impl<'n> Var<'n> {
    /// `max(x, 0)`.
    pub fn relu(self) -> Self {
        self.activation(Activation::Relu)
    }

    /// `min(max(x, 0), 6)`.
    pub fn relu6(self) -> Self {
        self.activation(Activation::Relu6)
    }

    /// `x / (1 + exp(-x))`.
    pub fn silu(self) -> Self {
        self.activation(Activation::Silu)
    }

    /// `x * (1 + erf(x / sqrt(2))) / 2`.
    pub fn gelu(self) -> Self {
        self.activation(Activation::Gelu)
    }

    /// `1 / (1 + exp(-x))`.
    pub fn sigmoid(self) -> Self {
        self.activation(Activation::Sigmoid)
    }

    /// The hyperbolic tangent.
    pub fn tanh(self) -> Self {
        self.activation(Activation::Tanh)
    }

    /// The largest of each `kernel` x `kernel` window.
    pub fn max_pool(self, kernel: usize, stride: usize) -> Self {
        self.pool(Pool::max(kernel.max(1), stride.max(1)), [kernel, stride])
    }

    /// The mean of each `kernel` x `kernel` window.
    pub fn avg_pool(self, kernel: usize, stride: usize) -> Self {
        self.pool(Pool::average(kernel.max(1), stride.max(1)), [kernel, stride])
    }

    /// The mean over all pixels.
    pub fn global_avg_pool(self) -> Self {
        self.net.var(self.net.scope.global_avg_pool(self.node))
    }

    /// Its channels.
    pub fn channels(self) -> usize {
        self.net.scope.channels(self.node)
    }

    fn activation(self, activation: Activation) -> Self {
        self.net.var(self.net.scope.activation(self.node, activation))
    }

    fn pool(self, pool: Pool, [kernel, stride]: [usize; 2]) -> Self {
        if kernel == 0 || stride == 0 {
            self.net.scope.problem(format!("{}: kernel {kernel} and stride {stride}", pool.kind.name()));
        }
        self.net.var(self.net.scope.pool(self.node, pool))
    }
}

impl<'n> Add for Var<'n> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.net.var(self.net.scope.add(self.node, other.node))
    }
}

impl<'n> Mul for Var<'n> {
    type Output = Self;

    /// Times a gate of the same extents, or `[C, 1, 1]`.
    fn mul(self, gate: Self) -> Self {
        self.net.var(self.net.scope.mul(self.node, gate.node))
    }
}
