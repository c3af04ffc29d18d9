//! The SqueezeNet of trained ternary quantisation: batch norm before each convolution, residuals, ternary filters.

use serde::Deserialize;

use super::naming::{classes, lacks};
use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::layers::{Conv, Pool};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "ternary",
    file: "models/ternary.toml",
    cards: include_str!("ternary.toml"),
    namings: &[(Naming::Torchvision, "features.13.squeeze_bn.weight")],
    reads: "filters, classes, input channels",
    build,
    from_config: None,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    classes: usize,
}

/// Index of each fire module, filters of its squeeze convolution, and whether it has a residual connection.
const FIRES: [(usize, usize, bool); 8] = [
    (4, 16, false),
    (5, 16, true),
    (7, 32, false),
    (8, 32, true),
    (10, 48, false),
    (11, 48, true),
    (12, 64, false),
    (13, 64, true),
];
const EPS: f64 = 1e-5;

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("classes", &[arch.classes])?;
    let stem = root.at("features.0");
    let x = stem.conv_norm(root.input(stem.inputs("").or(3)), Conv::new(64, 3).padding(1), &root.at("features.1"), EPS);
    let x = stem.relu(x);
    let mut x = root.at("features.3").pool(x, Pool::max(3, 2).ceil());
    for (place, squeeze, residual) in FIRES {
        if [7, 10].contains(&place) {
            x = root.at(format!("features.{}", place - 1)).pool(x, Pool::max(3, 2).ceil());
        }
        x = fire(&root.at(format!("features.{place}")), x, squeeze, residual);
    }
    let last = root.at("classifier.1");
    if lacks(&last) {
        return Ok(root.global_avg_pool(x));
    }
    let x = last.conv(x, Conv::new(classes(&last, arch.classes), 1).bias(true));
    let x = last.relu(x);
    Ok(root.global_avg_pool(x))
}

/// A 1x1 squeeze, then 1x1 and 3x3 expand in parallel, each after its own batch norm and ReLU.
fn fire(at: &Scope, x: Node, squeeze: usize, residual: bool) -> Node {
    let conv = |name: &str, x: Node, conv: Conv| {
        let norm = at.at(format!("{name}_bn"));
        let x = norm.batch_norm(x, EPS);
        let x = norm.relu(x);
        at.at(name).ternary().conv(x, conv)
    };
    let narrow = conv("squeeze", x, Conv::new(squeeze, 1));
    let one = conv("expand1x1", narrow, Conv::new(4 * squeeze, 1));
    let three = conv("expand3x3", narrow, Conv::new(4 * squeeze, 3).padding(1));
    let y = at.concat(&[one, three]);
    if residual { at.add(y, x) } else { y }
}
