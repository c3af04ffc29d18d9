//! MobileNetV4 of convolutions alone: universal inverted bottlenecks, with up to two depthwise convolutions (Qin 2024).

use serde::Deserialize;

use super::naming::{Naming, Pad, Style, Unit, classifier, lacks, make_divisible};
use super::{Card, Family, config};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::Activation;

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "mobilenet_v4",
    file: "models/mobilenet_v4.toml",
    cards: include_str!("mobilenet_v4.toml"),
    namings: &[(Naming::Timm, "conv_stem.weight")],
    reads: "filters, classes, input channels",
    build,
    from_config: None,
};

/// One block.
enum Row {
    /// Convolution: kernel, stride, filters.
    Conv(usize, usize, usize),
    /// Bottleneck: kernels of the depthwise convolutions before and after the expansion (0 for none), stride, expansion,
    /// filters.
    Bottleneck([usize; 2], usize, usize, usize),
}

use Row::{Bottleneck, Conv};

/// The small network, by stage.
const SMALL: [&[Row]; 5] = [
    &[Conv(3, 2, 32), Conv(1, 1, 32)],
    &[Conv(3, 2, 96), Conv(1, 1, 64)],
    &[
        Bottleneck([5, 5], 2, 3, 96),
        Bottleneck([0, 3], 1, 2, 96),
        Bottleneck([0, 3], 1, 2, 96),
        Bottleneck([0, 3], 1, 2, 96),
        Bottleneck([0, 3], 1, 2, 96),
        Bottleneck([3, 0], 1, 4, 96),
    ],
    &[
        Bottleneck([3, 3], 2, 6, 128),
        Bottleneck([5, 5], 1, 4, 128),
        Bottleneck([0, 5], 1, 4, 128),
        Bottleneck([0, 5], 1, 3, 128),
        Bottleneck([0, 3], 1, 4, 128),
        Bottleneck([0, 3], 1, 4, 128),
    ],
    &[Conv(1, 1, 960)],
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Padding.
    padding: Option<Pad>,
    /// Epsilon of the batch norms.
    eps: Option<f64>,
    #[serde(default = "config::rgb")]
    channels: usize,
    classes: usize,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("channels", &[arch.channels])?;
    card.check_sizes("classes", &[arch.classes])?;
    let style = Style { pad: arch.padding.unwrap_or(Pad::Symmetric), eps: arch.eps.unwrap_or(1e-5) };
    let stem = Unit::new(root, "conv_stem", "bn1");
    let x = root.input(stem.inputs(arch.channels));
    let mut inputs = 32;
    let mut x = stem.apply(x, style.conv(inputs, 3, 2), style.eps, Activation::Relu);
    for (stage, rows) in SMALL.into_iter().enumerate() {
        for (i, row) in rows.iter().enumerate() {
            let at = root.at(format!("blocks.{stage}.{i}"));
            (x, inputs) = match *row {
                Conv(kernel, stride, out) => {
                    let unit = Unit::new(&at, "conv", "bn1");
                    (unit.apply(x, style.conv(out, kernel, stride), style.eps, Activation::Relu), out)
                }
                Bottleneck(kernels, stride, expansion, out) => {
                    let middle = make_divisible((inputs * expansion) as f64);
                    (bottleneck(&at, x, kernels, stride, [inputs, middle, out], style), out)
                }
            };
        }
    }
    let (pooled, hidden) = (root.global_avg_pool(x), root.at("conv_head"));
    if lacks(&hidden) {
        return Ok(pooled);
    }
    let x =
        Unit::new(root, "conv_head", "norm_head").apply(pooled, style.conv(1280, 1, 1), style.eps, Activation::Relu);
    Ok(classifier(&root.at("classifier"), x, arch.classes))
}

/// `channels` are those of the input, after the expansion, and of the output, by the card.
fn bottleneck(
    at: &Scope,
    x: Node,
    [before, after]: [usize; 2],
    stride: usize,
    [inputs, middle, out]: [usize; 3],
    style: Style,
) -> Node {
    let unit = |name: &str| Unit::new(&at.at(name), "conv", "bn");
    let mut y = x;
    if before > 0 {
        // The stride is that of the later of the two.
        let conv = style.depthwise(at.channels(y), before, if after > 0 { 1 } else { stride });
        y = unit("dw_start").apply(y, conv, style.eps, Activation::Identity);
    }
    y = unit("pw_exp").apply(y, style.conv(middle, 1, 1), style.eps, Activation::Relu);
    if after > 0 {
        let conv = style.depthwise(at.channels(y), after, stride);
        y = unit("dw_mid").apply(y, conv, style.eps, Activation::Relu);
    }
    y = unit("pw_proj").apply(y, style.conv(out, 1, 1), style.eps, Activation::Identity);
    if stride == 1 && inputs == out { at.add(y, x) } else { y }
}
