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
    namings: &[(Naming::Torchvision, "features.norm5.weight")],
    build,
    from_config: None,
};

const EPS: f64 = 1e-5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Layers per block.
    depths: [usize; 4],
    /// Channels that each layer adds.
    growth: usize,
    /// Filters of the first convolution.
    stem: usize,
    classes: usize,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("depths", &arch.depths)?;
    card.check_sizes("growth", &[arch.growth])?;
    card.check_sizes("stem", &[arch.stem])?;
    card.check_sizes("classes", &[arch.classes])?;
    let features = root.at("features");
    let stem = features.at("conv0");
    let x = stem.conv(root.input(3), Conv::new(arch.stem, 7).stride(2).padding(3).bias(false));
    let x = norm_relu(&features.at("norm0"), x);
    let mut x = stem.pool(x, Pool::max(3, 2).padding(1));
    for (block, depth) in arch.depths.into_iter().enumerate() {
        let at = features.at(format!("denseblock{}", block + 1));
        let mut parts = vec![x];
        for layer in 0..depth {
            let new = dense_layer(&at.at(format!("denselayer{}", layer + 1)), &parts, arch.growth);
            parts.push(new);
        }
        x = at.concat(&parts);
        if block < 3 {
            let at = features.at(format!("transition{}", block + 1));
            x = norm_relu(&at.at("norm"), x);
            let half = at.channels(x) / 2;
            x = at.at("conv").conv(x, Conv::new(half, 1).bias(false));
            x = at.pool(x, Pool::average(2, 2));
        }
    }
    let x = norm_relu(&features.at("norm5"), x);
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
