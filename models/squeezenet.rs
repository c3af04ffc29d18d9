//! SqueezeNet 1.0 and 1.1 (Iandola 2016).

use serde::Deserialize;

use super::naming::{classes, lacks};
use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::layers::{Conv, Pool};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "squeezenet",
    file: "models/squeezenet.toml",
    cards: include_str!("squeezenet.toml"),
    namings: &[(Naming::Torchvision, "features.12.squeeze.weight")],
    reads: "filters, classes, input channels",
    build,
    from_config: None,
};

/// Filters of the squeeze convolution of each fire module; its two expand convolutions have four times as many each.
const SQUEEZES: [usize; 8] = [16, 16, 32, 32, 48, 48, 64, 64];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// The paper's, or the cheaper one of its authors.
    version: Version,
    classes: usize,
}

#[derive(Clone, Copy, Deserialize)]
enum Version {
    #[serde(rename = "1.0")]
    V1_0,
    #[serde(rename = "1.1")]
    V1_1,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("classes", &[arch.classes])?;
    // Pooling layers come before these fire modules, and are numbered too.
    let (stem, pooled) = match arch.version {
        Version::V1_0 => (Conv::new(96, 7), [0, 3, 7]),
        Version::V1_1 => (Conv::new(64, 3), [0, 2, 4]),
    };
    let at = root.at("features.0");
    let x = at.conv(root.input(at.inputs("").or(3)), stem.stride(2).bias(true));
    let mut x = at.relu(x);
    let mut place = 2;
    for (index, squeeze) in SQUEEZES.into_iter().enumerate() {
        if pooled.contains(&index) {
            x = root.at(format!("features.{place}")).pool(x, Pool::max(3, 2).ceil());
            place += 1;
        }
        x = fire(&root.at(format!("features.{place}")), x, squeeze);
        place += 1;
    }
    let last = root.at("classifier.1");
    if lacks(&last) {
        return Ok(root.global_avg_pool(x));
    }
    let x = last.conv(x, Conv::new(classes(&last, arch.classes), 1).bias(true));
    let x = last.relu(x);
    Ok(root.global_avg_pool(x))
}

/// A 1x1 squeeze, then 1x1 and 3x3 expand in parallel.
fn fire(at: &Scope, x: Node, squeeze: usize) -> Node {
    let conv = |name: &str, x: Node, conv: Conv| {
        let at = at.at(name);
        let y = at.conv(x, conv.bias(true));
        at.relu(y)
    };
    let x = conv("squeeze", x, Conv::new(squeeze, 1));
    let one = conv("expand1x1", x, Conv::new(4 * squeeze, 1));
    let three = conv("expand3x3", x, Conv::new(4 * squeeze, 3).padding(1));
    at.concat(&[one, three])
}
