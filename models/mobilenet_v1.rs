//! MobileNetV1: a chain of depthwise-separable convolutions (Howard 2017).

use serde::{Deserialize, Serialize};

use super::naming::{Naming, Pad, Style, Unit, classifier, make_divisible};
use super::{Card, Family, FromConfig, config};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::Activation;

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "mobilenet_v1",
    file: "models/mobilenet_v1.toml",
    cards: include_str!("mobilenet_v1.toml"),
    namings: &[
        (Naming::Timm, "blocks.0.0.conv_dw.weight"),
        (Naming::Transformers, "mobilenet_v1.conv_stem.convolution.weight"),
        (Naming::Retinaface, "stage1.0.0.weight"),
    ],
    reads: "filters, classes, input channels",
    build,
    from_config: Some(from_config),
};

/// Stage in timm's names, filters and stride of each block.
const BLOCKS: [(usize, usize, usize); 13] = [
    (0, 64, 1),
    (1, 128, 2),
    (1, 128, 1),
    (2, 256, 2),
    (2, 256, 1),
    (3, 512, 2),
    (3, 512, 1),
    (3, 512, 1),
    (3, 512, 1),
    (3, 512, 1),
    (3, 512, 1),
    (4, 1024, 2),
    (4, 1024, 1),
];

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arch {
    /// Width multiplier.
    #[serde(default = "config::one")]
    width: f64,
    /// Filters of an additional 1x1 convolution before the pooling (timm's "h" networks).
    head: Option<usize>,
    /// Slope of a leaky ReLU; by default the activation is ReLU6.
    leaky_slope: Option<f32>,
    /// Padding; by default that of the naming's library.
    padding: Option<Pad>,
    /// Epsilon of the batch norms; by default that of the naming's library.
    eps: Option<f64>,
    #[serde(default = "config::rgb")]
    channels: usize,
    classes: usize,
}

fn build(root: &Scope, card: &Card, naming: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.within("width", arch.width, 0.01..=16.0)?;
    card.check_sizes("head", arch.head.as_slice())?;
    card.check_sizes("channels", &[arch.channels])?;
    card.check_sizes("classes", &[arch.classes])?;
    let (pad, eps) = if naming == Naming::Transformers { (Pad::Same, 1e-3) } else { (Pad::Symmetric, 1e-5) };
    let style = Style { pad: arch.padding.unwrap_or(pad), eps: arch.eps.unwrap_or(eps) };
    let activation = arch.leaky_slope.map_or(Activation::Relu6, Activation::LeakyRelu);
    let channels = |c: usize| match naming {
        Naming::Timm => make_divisible(c as f64 * arch.width),
        _ => ((c as f64 * arch.width) as usize).max(8),
    };

    let stem = match naming {
        Naming::Transformers => Unit::long(&root.at("mobilenet_v1.conv_stem")),
        Naming::Retinaface => Unit::new(root, "stage1.0.0", "stage1.0.1"),
        _ => Unit::new(root, "conv_stem", "bn1"),
    };
    let x = root.input(stem.inputs(arch.channels));
    let mut x = stem.apply(x, style.conv(channels(32), 3, 2), style.eps, activation);
    for (i, &(_, out, stride)) in BLOCKS.iter().enumerate() {
        let (depthwise, pointwise) = block_units(root, naming, i);
        x = depthwise.apply(x, style.depthwise(root.channels(x), 3, stride), style.eps, activation);
        x = pointwise.apply(x, style.conv(channels(out), 1, 1), style.eps, activation);
    }
    if let Some(head) = arch.head {
        x = Unit::new(root, "conv_head", "bn2").apply(x, style.conv(head, 1, 1), style.eps, activation);
    }
    let pooled = root.global_avg_pool(x);
    let head = if naming == Naming::Retinaface { "fc" } else { "classifier" };
    Ok(classifier(&root.at(head), pooled, arch.classes))
}

/// Depthwise and pointwise convolution of block `i`.
fn block_units(root: &Scope, naming: Naming, i: usize) -> (Unit, Unit) {
    match naming {
        Naming::Transformers => {
            let layer = |k: usize| Unit::long(&root.at(format!("mobilenet_v1.layer.{k}")));
            (layer(2 * i), layer(2 * i + 1))
        }
        Naming::Retinaface => {
            // The first stage includes the stem, the third the last two blocks.
            let at = root.at(match i {
                0..5 => format!("stage1.{}", i + 1),
                5..11 => format!("stage2.{}", i - 5),
                _ => format!("stage3.{}", i - 11),
            });
            (Unit::new(&at, "0", "1"), Unit::new(&at, "3", "4"))
        }
        _ => {
            let stage = BLOCKS[i].0;
            let first = BLOCKS.iter().position(|block| block.0 == stage).unwrap_or_default();
            let at = root.at(format!("blocks.{stage}.{}", i - first));
            (Unit::new(&at, "conv_dw", "bn1"), Unit::new(&at, "conv_pw", "bn2"))
        }
    }
}

fn from_config(value: &serde_json::Value) -> Result<FromConfig> {
    let config: config::Mobile = config::read(value)?;
    config::needs(config.min_depth == 8, "min_depth", "8")?;
    let arch = Arch {
        width: config.depth_multiplier,
        head: None,
        leaky_slope: None,
        padding: Some(config.pad()?),
        eps: Some(config.layer_norm_eps),
        channels: config.num_channels,
        classes: config::classes(value, 1001),
    };
    config::arch(&arch)
}
