//! AlexNet in one tower (Krizhevsky 2014).

use serde::Deserialize;

use super::naming::{classifier, lacks};
use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::layers::{Conv, Pool};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "alexnet",
    file: "models/alexnet.toml",
    cards: include_str!("alexnet.toml"),
    namings: &[(Naming::Torchvision, "features.10.weight")],
    reads: "filters, classes, input channels",
    build,
    from_config: None,
};

/// Path in the checkpoint, filters, kernel, stride and padding of each convolution, and whether pooling follows.
const CONVS: [(usize, usize, usize, usize, usize, bool); 5] = [
    (0, 64, 11, 4, 2, true),
    (3, 192, 5, 1, 2, true),
    (6, 384, 3, 1, 1, false),
    (8, 256, 3, 1, 1, false),
    (10, 256, 3, 1, 1, true),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    classes: usize,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("classes", &[arch.classes])?;
    let mut x = root.input(root.inputs("features.0").or(3));
    for (place, filters, kernel, stride, padding, pooled) in CONVS {
        let at = root.at(format!("features.{place}"));
        x = at.conv(x, Conv::new(filters, kernel).stride(stride).padding(padding).bias(true));
        x = at.relu(x);
        if pooled {
            x = at.pool(x, Pool::max(3, 2));
        }
    }
    if lacks(&root.at("classifier.1")) {
        return Ok(root.global_avg_pool(x));
    }
    // 6x6 pixels remain of 224x224.
    for (place, pixels) in [(1, 36), (4, 1)] {
        let at = root.at(format!("classifier.{place}"));
        x = at.linear(x, 4096, pixels);
        x = at.relu(x);
    }
    Ok(classifier(&root.at("classifier.6"), x, arch.classes))
}
