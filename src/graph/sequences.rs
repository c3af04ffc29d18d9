//! Builder methods for layers of transformers.

use super::{Node, Scope};
use crate::kernels::attention::AttentionShape;
use crate::kernels::norm::NormKind;
use crate::layers::{Attention, Layer, Norm, Param, Positions, Rotary, Step, Tokens};

impl Scope {
    /// Layer norm over the channels of each step, with `weight` and, where the checkpoint has one, `bias`, both `[C]`.
    pub fn layer_norm(&self, x: Node, eps: f64) -> Node {
        self.norm(x, NormKind::Layer, eps, 1)
    }

    /// RMS norm over the channels of each step, or over those of each of `groups` groups, with `weight` `[C / groups]`.
    pub fn rms_norm(&self, x: Node, eps: f64, groups: usize) -> Node {
        self.norm(x, NormKind::Rms, eps, groups)
    }

    fn norm(&self, x: Node, kind: NormKind, eps: f64, groups: usize) -> Node {
        let c = self.channels(x);
        let each = [c / groups];
        // TensorFlow's names are in some checkpoints of PyTorch.
        let [weight, bias] = if self.shape("gamma").is_some() { ["gamma", "beta"] } else { ["weight", "bias"] };
        let with_bias = kind == NormKind::Layer && self.has(bias);
        let bias = with_bias.then(|| self.parameter(bias, &each));
        let weight = Some(self.parameter(weight, &each));
        self.push(Layer::Norm(Norm { kind, eps: eps as f32, groups, weight, bias }), vec![x], c)
    }

    /// Each step divided by its length.
    pub fn normalise(&self, x: Node) -> Node {
        let c = self.channels(x);
        let norm = Norm { kind: NormKind::Length, eps: 1e-12, groups: 1, weight: None, bias: None };
        self.at("normalise").push(Layer::Norm(norm), vec![x], c)
    }

    /// `weight` `[out, in]` and `bias` `[out]`, here, of each step. The checkpoint says whether there is a bias; without one,
    /// `bias`.
    pub fn project(&self, x: Node, out_features: usize, bias: bool) -> Node {
        let weight = self.parameter("weight", &[out_features, self.channels(x)]);
        let bias = if self.is_stored() { self.has("bias") } else { bias };
        let bias = bias.then(|| self.parameter("bias", &[out_features]));
        self.stored_steps(x, (weight, self.stored_bits()), bias, false)
    }

    /// Rotary position embedding of each head.
    pub fn rotary(&self, x: Node, rotary: Rotary) -> Node {
        let c = self.channels(x);
        self.at("rotary").push(Layer::Rotary(rotary), vec![x], c)
    }

    /// Attention of queries to keys and values; `ids` are the tokens of which `pad` is none.
    pub fn attention(&self, [q, k, v]: [Node; 3], shape: AttentionShape, padding: Option<(Node, u32)>) -> Node {
        let inputs = [q, k, v].into_iter().chain(padding.map(|(ids, _)| ids)).collect();
        let pad = padding.map(|(_, pad)| pad);
        self.push(Layer::Attention(Attention { shape, pad, rounding: None }), inputs, shape.heads * shape.outer)
    }

    /// The positions of the steps of `x`.
    pub fn positions(&self, x: Node, positions: Positions) -> Node {
        self.at("positions").push(Layer::Positions(positions), vec![x], 1)
    }

    /// The pixels of `x` as steps of a sequence, after the learned steps `before` `[n, C]`.
    pub fn tokens(&self, x: Node, before: Param) -> Node {
        let c = self.channels(x);
        self.at("tokens").push(Layer::Tokens(Tokens { before }), vec![x], c)
    }

    /// One step of `x`.
    pub fn step(&self, x: Node, step: Step) -> Node {
        let c = self.channels(x);
        self.at("step").push(Layer::Step(step), vec![x], c)
    }
}
