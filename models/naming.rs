//! Whose parameter names a checkpoint uses, and building blocks that depend on it.

use serde::{Deserialize, Serialize};

use crate::graph::{Node, Scope};
use crate::kernels::Activation;
use crate::layers::{Conv, Padding};

/// A parameter naming scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Naming {
    /// torchvision, and all that kept its names (timm's plain ResNets, CIFAR ResNets).
    Torchvision,
    /// timm, where its names differ from torchvision's.
    Timm,
    /// Hugging Face transformers.
    Transformers,
    /// The MobileNetV1 that RetinaFace ports use as their backbone.
    Retinaface,
    /// KAIR, the image restoration toolbox of cszn.
    Kair,
    /// DnCNN-PyTorch of SaoYan.
    Saoyan,
    /// deepinv.
    Deepinv,
    /// pytorch-vdsr of twtygqyy.
    Vdsr,
    /// TensorFlow's layers.
    Tensorflow,
    /// Keras' layers.
    Keras,
    /// PyTorch's own example, and flair: encoder, rnn, decoder.
    Pytorch,
    /// Embedding, lstm, fc.
    Lstm,
    /// CLMBR's language models: embedding, recurrent, lm_head.
    Clmbr,
    /// fastai's AWD-LSTM.
    Fastai,
    /// char-rnn-tensorflow.
    Charrnn,
    /// textgenrnn of minimaxir, in Keras.
    Textgenrnn,
    /// g2pM of kakaobrain.
    G2pm,
    /// segmentation-models-pytorch.
    Smp,
    /// demosaicnet of mgharbi.
    Demosaicnet,
    /// Silero's voice activity detector.
    Silero,
    /// Our own, of the built-in models.
    Deadweight,
}

impl Naming {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Torchvision => "torchvision",
            Self::Timm => "timm",
            Self::Transformers => "transformers",
            Self::Retinaface => "retinaface",
            Self::Kair => "kair",
            Self::Saoyan => "saoyan",
            Self::Deepinv => "deepinv",
            Self::Vdsr => "vdsr",
            Self::Tensorflow => "tensorflow",
            Self::Keras => "keras",
            Self::Pytorch => "pytorch",
            Self::Lstm => "lstm",
            Self::Clmbr => "clmbr",
            Self::Fastai => "fastai",
            Self::Charrnn => "charrnn",
            Self::Textgenrnn => "textgenrnn",
            Self::G2pm => "g2pm",
            Self::Smp => "smp",
            Self::Demosaicnet => "demosaicnet",
            Self::Silero => "silero",
            Self::Deadweight => "deadweight",
        }
    }
}

/// A convolution and its batch norm, by the paths of their parameters.
pub(super) struct Unit {
    conv: Scope,
    norm: Scope,
}

impl Unit {
    /// `conv` and `norm` below `at`.
    pub fn new(at: &Scope, conv: &str, norm: &str) -> Self {
        Self { conv: at.at(conv), norm: at.at(norm) }
    }

    /// With transformers' names of the two.
    pub fn long(at: &Scope) -> Self {
        Self::new(at, "convolution", "normalization")
    }

    /// Convolution, batch norm, activation.
    pub fn apply(&self, x: Node, conv: Conv, eps: f64, activation: Activation) -> Node {
        let y = self.conv.conv_norm(x, conv, &self.norm, eps);
        if activation == Activation::Identity { y } else { self.conv.activation(y, activation) }
    }

    /// Whether a checkpoint holds its convolution.
    pub fn is_stored(&self) -> bool {
        self.conv.shape("weight").is_some()
    }

    /// Filters of its convolution in the checkpoint, else `card`.
    pub fn filters(&self, card: usize) -> usize {
        self.conv.shape("weight").and_then(|shape| shape.first().copied()).unwrap_or(card)
    }

    /// Channels that its convolution reads: from the checkpoint, else `card`.
    pub fn inputs(&self, card: usize) -> usize {
        self.conv.inputs("").or(card)
    }
}

/// The fully connected layer at the end, on pooled features; the number of classes comes from the checkpoint. A checkpoint
/// without one ends in the features.
pub(super) fn classifier(head: &Scope, x: Node, classes: usize) -> Node {
    if lacks(head) { x } else { head.linear(x, self::classes(head, classes), 1) }
}

/// Whether the checkpoint has no last layer at `head`: the network then ends in what it would read.
pub(super) fn lacks(head: &Scope) -> bool {
    let lacks = !head.has("weight") && !head.has("bias");
    if lacks {
        head.end_headless();
    }
    lacks
}

/// Scales each channel of `x` by a gate in 0..1 computed from the means of all channels (Hu 2018), through `width` values
/// with the activation `inner`; `squeeze` are the places of the two layers.
pub(super) fn squeeze_excite(
    at: &Scope,
    squeeze: &[Scope; 2],
    x: Node,
    width: usize,
    [inner, gate]: [Activation; 2],
) -> Node {
    let [reduce, expand] = squeeze;
    let mean = at.global_avg_pool(x); // [C, 1, 1]
    let squeezed = reduce.conv(mean, Conv::new(width, 1).bias(true));
    let gates = expand.conv(reduce.activation(squeezed, inner), Conv::new(at.channels(x), 1).bias(true));
    at.mul(x, expand.activation(gates, gate))
}

/// Number of outputs of the last layer, at `head`: from the checkpoint, else `classes`.
pub(super) fn classes(head: &Scope, classes: usize) -> usize {
    head.shape("weight").and_then(|shape| shape.first().copied()).unwrap_or(classes)
}

/// Padding of the convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Pad {
    /// Half the kernel on every side, as usual in PyTorch.
    Symmetric,
    /// TensorFlow's "same".
    Same,
}

/// Output stride of a backbone: beyond it, strides are replaced by dilations of the following layers (Chen 2017).
#[derive(Clone, Copy)]
pub(super) struct Atrous {
    output_stride: usize,
    /// Whether the layer that loses its stride is dilated itself.
    at_once: bool,
    stride: usize,
    dilation: usize,
}

impl Atrous {
    /// Leaves all strides as they are.
    pub fn none() -> Self {
        Self::new(usize::MAX, false)
    }

    /// Limits the total stride to `output_stride`.
    pub fn new(output_stride: usize, at_once: bool) -> Self {
        Self { output_stride, at_once, stride: 1, dilation: 1 }
    }

    /// Stride and dilation of the next layer, whose own stride is `stride`.
    pub fn step(&mut self, stride: usize) -> (usize, usize) {
        if self.stride * stride <= self.output_stride {
            self.stride *= stride;
            return (stride, self.dilation);
        }
        let before = self.dilation;
        self.dilation *= stride;
        (1, if self.at_once { self.dilation } else { before })
    }

    /// Total stride so far.
    pub fn stride(&self) -> usize {
        self.stride
    }
}

/// The outputs of a backbone that a segmentation head reads.
pub(super) struct Features {
    /// The last value at a quarter of the rows and columns.
    pub low: Node,
    /// The last value.
    pub high: Node,
}

/// Differences between the MobileNets of different libraries, besides names.
#[derive(Clone, Copy)]
pub(super) struct Style {
    /// Padding.
    pub pad: Pad,
    /// Epsilon of the batch norms.
    pub eps: f64,
}

impl Style {
    /// A dense convolution with this padding.
    pub fn conv(self, out: usize, kernel: usize, stride: usize) -> Conv {
        let conv = Conv::new(out, kernel).stride(stride);
        match self.pad {
            Pad::Symmetric => conv.padding(kernel / 2),
            Pad::Same => conv.pad(Padding::Same),
        }
    }

    /// `conv` with a dilation; the padding grows with it.
    pub fn dilated(self, conv: Conv, dilation: usize) -> Conv {
        let padding = conv.kernel.0 / 2 * dilation;
        let conv = conv.dilation(dilation);
        match self.pad {
            Pad::Symmetric => conv.padding(padding),
            Pad::Same => conv,
        }
    }

    /// A depthwise convolution.
    pub fn depthwise(self, channels: usize, kernel: usize, stride: usize) -> Conv {
        self.conv(channels, kernel, stride).groups(channels)
    }
}

/// The multiple of eight nearest to `channels` (at least 8), but not below 90 % of it: MobileNetV2's rule.
pub(super) fn make_divisible(channels: f64) -> usize {
    let nearest = (((channels + 4.0) / 8.0).floor() * 8.0).max(8.0);
    let enough = if nearest < 0.9 * channels { nearest + 8.0 } else { nearest };
    enough as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_round_as_the_papers_code_does() {
        let cases =
            [(32.0 * 0.35, 16), (16.0 * 0.35, 8), (24.0 * 0.75, 24), (33.6, 32), (18.0, 24), (320.0 * 1.4, 448)];
        for (width, want) in cases {
            assert_eq!(make_divisible(width), want, "{width}");
        }
    }
}
