//! Joint demosaicking and denoising (Gharbi 2016) of Bayer and X-Trans mosaics: networks whose convolutions have no padding.

use serde::Deserialize;

use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::Halo;
use crate::layers::{Conv, ConvTranspose, Slice};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "demosaicnet",
    file: "models/demosaicnet.toml",
    cards: include_str!("demosaicnet.toml"),
    namings: &[(Naming::Demosaicnet, "main_processor.conv1.weight")],
    reads: "filters, layers",
    build,
    from_config: None,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Convolutions before the prediction.
    depth: usize,
    /// Channels between them.
    width: usize,
    /// The colour filter.
    #[serde(default)]
    mosaic: Mosaic,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mosaic {
    /// Repeats every two rows and columns; convolutions at half the resolution.
    #[default]
    Bayer,
    /// Repeats every six rows and columns; convolutions at the full resolution.
    Xtrans,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let Arch { depth, width, mosaic: kind } = card.arch()?;
    card.within("depth", depth, 1..=200)?;
    card.check_sizes("widths", &[width])?;
    let mosaic = root.input(3);
    let main = root.at("main_processor");
    let depth = main.parts("conv", 1).or(depth);
    let (x, lost) = match kind {
        // Each convolution removes one pixel on every side.
        Mosaic::Xtrans => {
            let layer = |x: Node, i: usize| {
                let at = main.at(format!("conv{i}"));
                at.relu(at.conv(x, Conv::new(width, 3).bias(true)))
            };
            ((1..=depth).fold(mosaic, layer), depth)
        }
        Mosaic::Bayer => (bayer(root, mosaic, depth, width), 2 * depth),
    };
    let cut = Halo { top: lost, bottom: lost, left: lost, right: lost };
    let middle = root.at("mosaic").slice(mosaic, Slice { start: 0, channels: 3, cut });
    let x = root.concat(&[middle, x]);
    let full = root.at("fullres_processor");
    let at = full.at("post_conv");
    let x = at.relu(at.conv(x, Conv::new(width, 3).bias(true)));
    Ok(full.at("output").exact().conv(x, Conv::new(3, 1).bias(true)))
}

/// The detail of all colours from a Bayer mosaic, by convolutions at half the resolution.
fn bayer(root: &Scope, mosaic: Node, depth: usize, width: usize) -> Node {
    let main = root.at("main_processor");
    let mut x = main.at("pack_mosaic").conv(mosaic, Conv::new(4, 2).stride(2).bias(true));
    for i in 1..=depth {
        // The last convolution has as many filters as there are masks.
        let channels = if i == depth { 2 * width } else { width };
        let at = main.at(format!("conv{i}"));
        x = at.relu(at.conv(x, Conv::new(channels, 3).bias(true)));
    }
    let width = root.channels(x) / 2;
    if root.channels(x) != 2 * width {
        root.problem(format!("main_processor.conv{depth}: has {} filters, half of them are masks", root.channels(x)));
    }
    let half = |start| Slice { start, channels: width, cut: Halo::default() };
    let (filters, masks) = (root.at("filters").slice(x, half(0)), root.at("masks").slice(x, half(width)));
    let x = root.mul(filters, masks);
    let x = root.at("residual_predictor").conv(x, Conv::new(12, 1).bias(true));
    let up = ConvTranspose { groups: 3, bias: Some(true), ..ConvTranspose::new(3, 2, 2) };
    root.at("upsampler").exact().conv_transpose(x, up)
}
