//! EfficientNet: inverted residuals of scaled width and depth (Tan 2019), and its variant for small devices.

use serde::Deserialize;

use super::inverted::{Block, Functions, Sizes};
use super::naming::{Naming, Pad, Style, Unit, classifier, make_divisible};
use super::{Card, Family, config};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::Activation;

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "efficientnet",
    file: "models/efficientnet.toml",
    cards: include_str!("efficientnet.toml"),
    namings: &[(Naming::Timm, "conv_stem.weight"), (Naming::Torchvision, "features.0.0.weight")],
    reads: "filters, blocks, classes, input channels",
    build,
    from_config: None,
};

/// Blocks, kernel, stride of the first block, expansion and filters of each stage of table 1.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Width multiplier.
    #[serde(default = "config::one")]
    width: f64,
    /// Depth multiplier.
    #[serde(default = "config::one")]
    depth: f64,
    /// The variant for small devices: ReLU6, no squeeze-and-excite; stem, head and the depths of first and last stage are
    /// not scaled.
    #[serde(default)]
    lite: bool,
    /// Padding.
    padding: Option<Pad>,
    /// Epsilon of the batch norms.
    eps: Option<f64>,
    #[serde(default = "config::rgb")]
    channels: usize,
    classes: usize,
}

fn build(root: &Scope, card: &Card, naming: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.within("width", arch.width, 0.01..=16.0)?;
    card.within("depth", arch.depth, 0.01..=16.0)?;
    card.check_sizes("channels", &[arch.channels])?;
    card.check_sizes("classes", &[arch.classes])?;
    let style = Style { pad: arch.padding.unwrap_or(Pad::Symmetric), eps: arch.eps.unwrap_or(1e-5) };
    let main = if arch.lite { Activation::Relu6 } else { Activation::Silu };
    let functions = Functions { main, inner: main, gate: Activation::Sigmoid };
    let scaled = |c: usize| make_divisible(c as f64 * arch.width);
    let outer = |c: usize| if arch.lite { c } else { scaled(c) };
    let torchvision = naming == Naming::Torchvision;

    let last = STAGES.len() - 1;
    let (stem, head) = match naming {
        Naming::Torchvision => (
            Unit::new(&root.at("features.0"), "0", "1"),
            Unit::new(&root.at(format!("features.{}", STAGES.len() + 1)), "0", "1"),
        ),
        _ => (Unit::new(root, "conv_stem", "bn1"), Unit::new(root, "conv_head", "bn2")),
    };
    let x = root.input(stem.inputs(arch.channels));
    let mut inputs = outer(32);
    let mut x = stem.apply(x, style.conv(inputs, 3, 2), style.eps, main);
    for (stage, &(depth, kernel, stride, expansion, out)) in STAGES.iter().enumerate() {
        let at = root.at(match naming {
            Naming::Torchvision => format!("features.{}", stage + 1),
            _ => format!("blocks.{stage}"),
        });
        let fixed = arch.lite && [0, last].contains(&stage);
        let depth = if fixed { depth } else { (depth as f64 * arch.depth).ceil() as usize };
        let out = scaled(out);
        for i in 0..at.parts("", 0).or(depth) {
            let (at, expands) = (at.at(i), expansion > 1);
            let block = match torchvision {
                true => Block::torchvision(at, expands, !arch.lite),
                false => Block::timm(at, expands),
            };
            let sizes = Sizes {
                channels: [inputs, inputs * expansion, out],
                kernel,
                stride: if i == 0 { stride } else { 1 },
                dilation: 1,
                // Of the channels before the expansion.
                squeeze: (!arch.lite).then_some((inputs / 4).max(1)),
            };
            x = block.apply(x, &sizes, style, functions);
            inputs = out;
        }
    }
    let x = head.apply(x, style.conv(outer(1280), 1, 1), style.eps, main);
    let pooled = root.global_avg_pool(x);
    Ok(classifier(&root.at(if torchvision { "classifier.1" } else { "classifier" }), pooled, arch.classes))
}
