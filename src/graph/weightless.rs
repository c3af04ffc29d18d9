//! Builder methods for layers without parameters.

use super::{Node, Scope};
use crate::kernels::Activation;
use crate::layers::{Layer, Pool, Resize, Shuffle, Slice, Subsample};

impl Scope {
    /// A pointwise function.
    pub fn activation(&self, x: Node, activation: Activation) -> Node {
        let c = self.channels(x);
        self.at(activation.name()).push(Layer::Activation(activation), vec![x], c)
    }

    /// `max(x, 0)`.
    pub fn relu(&self, x: Node) -> Node {
        self.activation(x, Activation::Relu)
    }

    /// Max or average pooling.
    pub fn pool(&self, x: Node, pool: Pool) -> Node {
        let c = self.channels(x);
        self.at("pool").push(Layer::Pool(pool), vec![x], c)
    }

    /// Mean over all pixels: `[C, 1, 1]`.
    pub fn global_avg_pool(&self, x: Node) -> Node {
        let c = self.channels(x);
        self.at("global_pool").push(Layer::GlobalAvgPool, vec![x], c)
    }

    /// `a + b`, of equal shapes.
    pub fn add(&self, a: Node, b: Node) -> Node {
        let (c, other) = (self.channels(a), self.channels(b));
        if c != other {
            let (a, b) = (self.source(a), self.source(b));
            self.problem(format!("{}: adds {c} channels of {a} to {other} of {b}", self.path));
        }
        self.at("add").push(Layer::Add, vec![a, b], c)
    }

    /// `x * gate`, the gate `[C, 1, 1]` or of the shape of `x`.
    pub fn mul(&self, x: Node, gate: Node) -> Node {
        let (c, other) = (self.channels(x), self.channels(gate));
        if c != other {
            let (x, gate) = (self.source(x), self.source(gate));
            self.problem(format!("{}: multiplies {c} channels of {x} by {other} of {gate}", self.path));
        }
        self.at("mul").push(Layer::Mul, vec![x, gate], c)
    }

    /// Concatenation along channels.
    pub fn concat(&self, parts: &[Node]) -> Node {
        let c = parts.iter().map(|&part| self.channels(part)).sum();
        self.at("concat").push(Layer::Concat, parts.to_vec(), c)
    }

    /// `a - b`, of equal shapes.
    pub fn sub(&self, a: Node, b: Node) -> Node {
        let (c, other) = (self.channels(a), self.channels(b));
        if c != other {
            let (a, b) = (self.source(a), self.source(b));
            self.problem(format!("{}: subtracts {other} channels of {b} from {c} of {a}", self.path));
        }
        self.at("sub").push(Layer::Sub, vec![a, b], c)
    }

    /// `x` resized to the rows and columns of `like`.
    pub fn resize(&self, x: Node, like: Node, align_corners: bool) -> Node {
        let c = self.channels(x);
        self.at("resize").push(Layer::Resize(Resize { align_corners }), vec![x, like], c)
    }

    /// Every `factor²` channels become `factor` x `factor` pixels.
    pub fn pixel_shuffle(&self, x: Node, factor: usize) -> Node {
        let c = self.channels(x) / (factor * factor);
        self.at("pixel_shuffle").push(Layer::Shuffle(Shuffle { factor, up: true }), vec![x], c)
    }

    /// Every `factor` x `factor` pixels become `factor²` channels.
    pub fn pixel_unshuffle(&self, x: Node, factor: usize) -> Node {
        let c = self.channels(x) * factor * factor;
        self.at("pixel_unshuffle").push(Layer::Shuffle(Shuffle { factor, up: false }), vec![x], c)
    }

    /// Some channels of `x`, with its borders cropped.
    pub fn slice(&self, x: Node, slice: Slice) -> Node {
        self.at("slice").push(Layer::Slice(slice), vec![x], slice.channels)
    }

    /// The mean over the steps of `x` `[C, 1, T]`, weighted by the softmax of `scores` `[1, 1, T]`.
    pub fn weighted_mean(&self, x: Node, scores: Node) -> Node {
        let c = self.channels(x);
        self.at("mean").push(Layer::WeightedMean, vec![x, scores], c)
    }

    /// One channel of the constant `value`, of the size of `like`.
    pub fn fill(&self, like: Node, value: f32) -> Node {
        self.at("fill").push(Layer::Fill(value), vec![like], 1)
    }

    /// Every `stride`-th row and column, framed by zero channels (the option A shortcut of CIFAR ResNets).
    pub fn subsample(&self, x: Node, subsample: Subsample) -> Node {
        let c = subsample.before + self.channels(x) + subsample.after;
        self.at("subsample").push(Layer::Subsample(subsample), vec![x], c)
    }
}
