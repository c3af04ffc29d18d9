//! Random networks of fusable layers, at sizes on both sides of the fusion thresholds.

use deadweight::graph::{Graph, Node, Params, Scope};
use deadweight::kernels::Activation;
use deadweight::layers::{Conv, Padding, Pool, PoolKind, Shape};
use proptest::prelude::*;

/// A layer of a random network; left out if its numbers contradict its input.
#[derive(Clone, Debug)]
pub enum Kind {
    /// With the `width`-th of some widths.
    Pointwise {
        width: usize,
        padding: usize,
    },
    Depthwise {
        side: usize,
        stride: usize,
        padding: usize,
    },
    /// 3 x 3, over all channels.
    Mixing {
        width: usize,
        stride: usize,
    },
    /// With the `other`-th earlier value of the same shape.
    Add {
        other: usize,
    },
    Pool {
        kind: PoolKind,
        stride: usize,
    },
    Activation,
}

#[derive(Clone, Debug)]
pub struct Part {
    pub kind: Kind,
    /// Its activation.
    pub activation: Activation,
    /// The value it reads, counted back from the last one.
    pub back: usize,
}

/// A random network.
#[derive(Clone, Debug)]
pub struct Network {
    /// Channels of the input.
    pub input: usize,
    /// Channels of most layers.
    pub wide: usize,
    pub size: (usize, usize),
    pub parts: Vec<Part>,
    /// Whether it ends in pooling and a fully connected layer.
    pub classifies: bool,
    /// The output value, counted back from the last one.
    pub output: usize,
    pub seed: u64,
}

impl Network {
    /// The network, not yet folded or fused, and the shape of its input.
    pub fn graph(&self) -> (Graph, Shape) {
        let net = Scope::new(Params::Random(self.seed));
        let input = Shape::new(self.input, self.size.0, self.size.1);
        let mut values = vec![(net.input(self.input), input)];
        for (i, part) in self.parts.iter().enumerate() {
            let (x, shape) = values[values.len() - 1 - part.back.min(values.len() - 1)];
            let at = net.at(format!("part{i}"));
            let conv = |conv: Conv| {
                let halo = conv.halo(shape.h, shape.w);
                let size = |size: usize, around: usize, side: usize| {
                    (size + around).checked_sub(side).map(|rest| rest / conv.stride.0 + 1)
                };
                let h = size(shape.h, halo.top + halo.bottom, conv.kernel.0)?;
                let w = size(shape.w, halo.left + halo.right, conv.kernel.1)?;
                let y = Shape::new(conv.out_channels, h, w);
                Some((net.activation(at.conv(x, conv.bias(true)), part.activation), y))
            };
            let made = match part.kind {
                Kind::Pointwise { width, padding } => {
                    // The last two are just below and above the threshold by weights.
                    let edge = (shape.h * shape.w / 4).saturating_sub(shape.c).clamp(1, 200);
                    let channels = [15, 16, 17, 24, self.wide, self.wide, edge, edge + 1][width];
                    conv(Conv::new(channels, 1).padding(padding))
                }
                Kind::Depthwise { side, stride, padding } if shape.c > 1 => {
                    let around = Conv::new(shape.c, side).stride(stride).groups(shape.c);
                    conv(if padding == 0 { around.pad(Padding::Same) } else { around.padding(padding - 1) })
                }
                Kind::Mixing { width, stride } => conv(Conv::new(width, 3).stride(stride).padding(1)),
                Kind::Add { other } => {
                    let alike: Vec<Node> = values.iter().rev().filter(|v| v.1 == shape).map(|v| v.0).collect();
                    let sum = net.add(x, alike[other % alike.len()]);
                    Some((net.activation(sum, part.activation), shape))
                }
                Kind::Pool { kind, stride } if shape.h > 2 && shape.w > 2 => {
                    let y = net.pool(x, Pool { kind, ..Pool::max(3, stride).padding(1) });
                    Some((y, Shape::new(shape.c, (shape.h - 1) / stride + 1, (shape.w - 1) / stride + 1)))
                }
                Kind::Activation => Some((net.activation(x, part.activation), shape)),
                Kind::Depthwise { .. } | Kind::Pool { .. } => None,
            };
            values.extend(made);
        }
        let mut output = values[values.len() - 1 - self.output.min(values.len() - 1)].0;
        if self.classifies {
            let pooled = net.global_avg_pool(output);
            output = net.at("classifier").linear(pooled, 10, 1);
        }
        (net.finish(output).unwrap().0, input)
    }
}

fn activations(bounds: bool) -> impl Strategy<Value = Activation> {
    let others = if bounds { Activation::Relu } else { Activation::HardSwish };
    let leaky = if bounds { Activation::Relu6 } else { Activation::LeakyRelu(0.1) };
    prop::sample::select(vec![
        Activation::Relu6,
        Activation::Relu6,
        Activation::Relu,
        Activation::Identity,
        others,
        leaky,
    ])
}

fn part(bounds: bool) -> impl Strategy<Value = Part> {
    let pooling = prop::sample::select(vec![
        PoolKind::Max,
        PoolKind::Average { count_padding: false },
        PoolKind::Average { count_padding: !bounds },
    ]);
    let padding = prop_oneof![15 => Just(0usize), 1 => Just(1usize)];
    let kind = prop_oneof![
        8 => (0usize..8, padding).prop_map(|(width, padding)| Kind::Pointwise { width, padding }),
        8 => (prop::sample::select(vec![3usize, 3, 3, 5]), 1usize..3, prop::sample::select(vec![2usize, 2, 2, 0, 1, 3]))
            .prop_map(|(side, stride, padding)| Kind::Depthwise { side, stride, padding }),
        1 => (prop::sample::select(vec![8usize, 16, 24]), 1usize..3).prop_map(|(width, stride)| Kind::Mixing { width, stride }),
        2 => (0usize..4).prop_map(|other| Kind::Add { other }),
        1 => (pooling, 1usize..3).prop_map(|(kind, stride)| Kind::Pool { kind, stride }),
        1 => Just(Kind::Activation),
    ];
    let back = prop_oneof![8 => Just(0usize), 1 => Just(1usize), 1 => 2usize..5];
    (kind, activations(bounds), back).prop_map(|(kind, activation, back)| Part { kind, activation, back })
}

/// Random layers, or the pattern of MobileNetV1 with some of them left out.
fn parts(bounds: bool) -> impl Strategy<Value = Vec<Part>> {
    let pattern =
        (prop::collection::vec((1usize..3, 0usize..8, any::<bool>()), 1..5), activations(bounds), any::<bool>())
            .prop_map(|(blocks, activation, begins)| {
                let layer = |kind| Part { kind, activation, back: 0 };
                let mut parts = Vec::new();
                if begins {
                    parts.push(layer(Kind::Pointwise { width: 4, padding: 0 }));
                }
                for (stride, width, stays) in blocks {
                    parts.push(layer(Kind::Depthwise { side: 3, stride: if stays { 1 } else { stride }, padding: 2 }));
                    parts.push(layer(Kind::Pointwise { width: if stays { 4 } else { width }, padding: 0 }));
                }
                parts
            });
    prop_oneof![1 => pattern, 2 => prop::collection::vec(part(bounds), 2..8)]
}

/// Values of `wide` channels just below and above the threshold by bytes, or few rows.
fn sizes() -> impl Strategy<Value = (usize, (usize, usize))> {
    let cached = (prop::sample::select(vec![16usize, 17, 48, 64, 128, 256]), 0usize..2, 0usize..4).prop_map(
        |(wide, beyond, narrower)| {
            let values = 150_000 / wide;
            let h = values.isqrt() + narrower;
            (wide, (h, values / h + beyond))
        },
    );
    let few =
        (prop::sample::select(vec![16usize, 17, 33]), 10usize..15, 3usize..10).prop_map(|(wide, h, w)| (wide, (h, w)));
    prop_oneof![2 => cached, 1 => few]
}

pub fn networks(bounds: bool) -> impl Strategy<Value = Network> {
    // More channels than stay planar.
    let input = prop::sample::select(vec![9usize, 15, 16, 17, 24]);
    let output = prop_oneof![3 => Just(0usize), 1 => 1usize..4];
    (input, sizes(), parts(bounds), any::<bool>(), output, any::<u64>()).prop_map(
        |(input, (wide, size), parts, classifies, output, seed)| Network {
            input,
            wide,
            size,
            parts,
            classifies,
            output,
            seed,
        },
    )
}
