//! Joint demosaicking and denoising (Gharbi 2016): the Bayer network, whose convolutions have no padding.

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
    namings: &[(Naming::Demosaicnet, "main_processor.pack_mosaic.weight")],
    build,
    from_config: None,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Convolutions at half the resolution.
    depth: usize,
    /// Channels between them.
    width: usize,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let Arch { depth, width } = card.arch()?;
    card.within("depth", depth, 1..=200)?;
    card.check_sizes("widths", &[width])?;
    let mosaic = root.input(3);
    let main = root.at("main_processor");
    let mut x = main.at("pack_mosaic").conv(mosaic, Conv::new(4, 2).stride(2).bias(true));
    for i in 1..=depth {
        // The last convolution has as many filters as there are masks.
        let channels = if i == depth { 2 * width } else { width };
        let at = main.at(format!("conv{i}"));
        x = at.relu(at.conv(x, Conv::new(channels, 3).bias(true)));
    }
    let half = |start| Slice { start, channels: width, cut: Halo::default() };
    let (filters, masks) = (root.at("filters").slice(x, half(0)), root.at("masks").slice(x, half(width)));
    let x = root.mul(filters, masks);
    let x = root.at("residual_predictor").conv(x, Conv::new(12, 1).bias(true));
    let up = ConvTranspose { groups: 3, bias: Some(true), ..ConvTranspose::new(3, 2, 2) };
    let x = root.at("upsampler").conv_transpose(x, up);
    // Each convolution removes one pixel of half the resolution on every side.
    let cut = Halo { top: 2 * depth, bottom: 2 * depth, left: 2 * depth, right: 2 * depth };
    let middle = root.at("mosaic").slice(mosaic, Slice { start: 0, channels: 3, cut });
    let x = root.concat(&[middle, x]);
    let full = root.at("fullres_processor");
    let at = full.at("post_conv");
    let x = at.relu(at.conv(x, Conv::new(width, 3).bias(true)));
    Ok(full.at("output").conv(x, Conv::new(3, 1).bias(true)))
}
