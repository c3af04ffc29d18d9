//! VGG (Simonyan 2014), plain and with batch norm.

use serde::Deserialize;

use super::naming::{classifier, lacks};
use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::layers::{Conv, Pool};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "vgg",
    file: "models/vgg.toml",
    cards: include_str!("vgg.toml"),
    namings: &[(Naming::Torchvision, "classifier.6.weight"), (Naming::Torchvision, "features.0.weight")],
    reads: "filters, layers, pixels before the classifier, classes, input channels",
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
    /// Whether each convolution has a batch norm behind it.
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

/// Convolutions of each stage that the checkpoint has: each takes `step` places, and a pooling between two takes one more.
fn stored_depths(root: &Scope, step: usize) -> Option<Vec<usize>> {
    let is_conv = |place: usize| root.shape(&format!("features.{place}.weight")).is_some_and(|shape| shape.len() == 4);
    let (mut place, mut depths) = (0, vec![]);
    while is_conv(place) {
        let depth = (0..).take_while(|i| is_conv(place + i * step)).count();
        depths.push(depth);
        place += depth * step + 1;
    }
    (!depths.is_empty()).then_some(depths)
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("depths", &arch.depths)?;
    card.within("rows", arch.rows, 1..=64)?;
    card.check_sizes("classes", &[arch.classes])?;
    let mut x = root.input(root.inputs("features.0").or(3));
    let mut place = 0;
    let depths = stored_depths(root, if arch.batch_norm { 3 } else { 2 }).unwrap_or(arch.depths.to_vec());
    for (stage, depth) in depths.into_iter().enumerate() {
        for _ in 0..depth {
            let at = root.at(format!("features.{place}"));
            x = at.conv(x, Conv::new(WIDTHS[stage.min(WIDTHS.len() - 1)], 3).padding(1).bias(true));
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
    let first = root.at("classifier.0");
    if lacks(&first) {
        return Ok(root.global_avg_pool(x));
    }
    // What a filter of the first fully connected layer reads: all pixels of all channels.
    let pixels = first.shape("weight").and_then(|shape| Some(shape.get(1)? / root.channels(x)));
    let rows = pixels.map_or(arch.rows, |pixels| pixels.isqrt());
    for (place, pixels) in [(0, rows * rows), (3, 1)] {
        let at = root.at(format!("classifier.{place}"));
        x = at.linear(x, 4096, pixels);
        x = at.relu(x);
    }
    Ok(classifier(&root.at("classifier.6"), x, arch.classes))
}
