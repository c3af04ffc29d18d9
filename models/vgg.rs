//! VGG (Simonyan 2014), plain and with batch norm.

use serde::Deserialize;

use super::naming::classes;
use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::layers::{Conv, Pool};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "vgg",
    file: "models/vgg.toml",
    cards: include_str!("vgg.toml"),
    namings: &[(Naming::Torchvision, "classifier.6.weight")],
    build,
    from_config: None,
};

/// Filters of each stage.
const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Convolutions of each stage.
    depths: [usize; 5],
    #[serde(default)]
    batch_norm: bool,
    /// Rows (and columns) after the last pooling: 7 for 224, 1 for 32.
    #[serde(default = "rows")]
    rows: usize,
    classes: usize,
}

fn rows() -> usize {
    7
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("depths", &arch.depths)?;
    card.within("rows", arch.rows, 1..=64)?;
    card.check_sizes("classes", &[arch.classes])?;
    let mut x = root.input(3);
    let mut place = 0;
    for (width, depth) in WIDTHS.into_iter().zip(arch.depths) {
        for _ in 0..depth {
            let at = root.at(format!("features.{place}"));
            x = at.conv(x, Conv::new(width, 3).padding(1).bias(true));
            if arch.batch_norm {
                x = root.at(format!("features.{}", place + 1)).batch_norm(x, 1e-5);
                place += 1;
            }
            x = at.relu(x);
            place += 2;
        }
        x = root.at(format!("features.{place}")).pool(x, Pool::max(2, 2));
        place += 1;
    }
    for (place, pixels) in [(0, arch.rows * arch.rows), (3, 1)] {
        let at = root.at(format!("classifier.{place}"));
        x = at.linear(x, 4096, pixels);
        x = at.relu(x);
    }
    let last = root.at("classifier.6");
    Ok(last.linear(x, classes(&last, arch.classes), 1))
}
