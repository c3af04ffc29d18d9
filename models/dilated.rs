//! A chain of dilated 3x3 convolutions for semantic segmentation, after the context module of Yu and Koltun 2016.

use serde::Deserialize;

use super::naming::classes;
use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::layers::Conv;

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "dilated",
    file: "models/dilated.toml",
    cards: include_str!("dilated.toml"),
    namings: &[(Naming::Deadweight, "conv1.weight")],
    reads: "filters, classes, input channels",
    build,
    from_config: None,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    channels: usize,
    /// Filters of each convolution.
    widths: Vec<usize>,
    /// Dilation of each convolution.
    dilations: Vec<usize>,
    classes: usize,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("widths", &[arch.channels, arch.classes])?;
    card.check_sizes("widths", &arch.widths)?;
    card.check_sizes("dilations", &arch.dilations)?;
    if arch.widths.len() != arch.dilations.len() {
        return Err(card.wrong(format!("{} widths and {} dilations", arch.widths.len(), arch.dilations.len())));
    }
    let mut x = root.input(root.inputs("conv1").or(arch.channels));
    for (i, (&width, &dilation)) in (1..).zip(arch.widths.iter().zip(&arch.dilations)) {
        let at = root.at(format!("conv{i}"));
        let conv = Conv::new(width, 3).padding(dilation).dilation(dilation);
        x = at.conv_norm(x, conv, &root.at(format!("bn{i}")), 1e-5);
        x = at.relu(x);
    }
    let last = root.at("classifier");
    Ok(last.conv(x, Conv::new(classes(&last, arch.classes), 1).bias(true)))
}
