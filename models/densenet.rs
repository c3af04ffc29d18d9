//! DenseNet with bottlenecks (Huang 2017).

use serde::Deserialize;

use super::naming::classifier;
use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::layers::{Conv, Pool};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "densenet",
    file: "models/densenet.toml",
    cards: include_str!("densenet.toml"),
    namings: &[
        (Naming::Torchvision, "features.denseblock1.denselayer1.norm1.weight"),
        (Naming::Torchvision, "features.denseblock1.denselayer1.norm.1.weight"),
    ],
    reads: "filters, layers, classes, input channels",
    build,
    from_config: None,
};

const EPS: f64 = 1e-5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Layers per block.
    depths: Vec<usize>,
    /// Channels that each layer adds.
    growth: usize,
    /// Filters of the first convolution.
    stem: usize,
    /// Whether that is 3x3 with stride 1, for small images.
    #[serde(default)]
    small: bool,
    /// Whether the filters of blocks and transitions are ternary.
    #[serde(default)]
    ternary: bool,
    classes: usize,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("depths", &arch.depths)?;
    card.within("blocks of depths", arch.depths.len(), 1..=8)?;
    card.check_sizes("growth", &[arch.growth])?;
    card.check_sizes("stem", &[arch.stem])?;
    card.check_sizes("classes", &[arch.classes])?;
    let features = root.at("features");
    let stem = features.at("conv0");
    let conv = match arch.small {
        true => Conv::new(arch.stem, 3).padding(1),
        false => Conv::new(arch.stem, 7).stride(2).padding(3),
    };
    let x = stem.conv(root.input(stem.inputs("").or(3)), conv.bias(false));
    let x = norm_relu(&features.at("norm0"), x);
    let mut x = stem.pool(x, Pool::max(3, 2).padding(1));
    let last = arch.depths.len() - 1;
    // Channels by the card.
    let mut channels = arch.stem;
    for (block, depth) in arch.depths.into_iter().enumerate() {
        let at = features.at(format!("denseblock{}", block + 1));
        let at = if arch.ternary { at.ternary() } else { at };
        let mut parts = vec![x];
        for layer in 0..at.parts("denselayer", 1).or(depth) {
            let new = dense_layer(&at.at(format!("denselayer{}", layer + 1)), &parts, arch.growth);
            parts.push(new);
            channels += arch.growth;
        }
        x = at.concat(&parts);
        if block < last {
            let at = features.at(format!("transition{}", block + 1));
            let at = if arch.ternary { at.ternary() } else { at };
            x = norm_relu(&at.at("norm"), x);
            channels /= 2;
            x = at.at("conv").conv(x, Conv::new(channels, 1).bias(false));
            x = at.pool(x, Pool::average(2, 2));
        }
    }
    let x = norm_relu(&features.at(format!("norm{}", last + 2)), x);
    let pooled = root.global_avg_pool(x);
    Ok(classifier(&root.at("classifier"), pooled, arch.classes))
}

fn norm_relu(at: &Scope, x: Node) -> Node {
    let y = at.batch_norm(x, EPS);
    at.relu(y)
}

/// Norm, ReLU, 1x1 to four times `growth`; norm, ReLU, 3x3 to `growth`; on the concatenation of all outputs before.
fn dense_layer(at: &Scope, parts: &[Node], growth: usize) -> Node {
    // torchvision's own weight files are older than the names without a dot.
    let dot = if at.shape("norm.1.weight").is_some() { "." } else { "" };
    let place = |kind: &str, index: usize| at.at(format!("{kind}{dot}{index}"));
    let x = if let [single] = parts { *single } else { at.concat(parts) };
    let x = norm_relu(&place("norm", 1), x);
    let x = place("conv", 1).conv(x, Conv::new(4 * growth, 1).bias(false));
    let x = norm_relu(&place("norm", 2), x);
    place("conv", 2).conv(x, Conv::new(growth, 3).padding(1).bias(false))
}
