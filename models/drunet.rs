//! DRUNet (Zhang 2021): a U-Net of residual blocks with strided and transposed convolutions and a noise map.

use serde::Deserialize;

use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::layers::{Conv, ConvTranspose};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "drunet",
    file: "models/drunet.toml",
    cards: include_str!("drunet.toml"),
    namings: &[(Naming::Kair, "m_head.weight")],
    reads: "filters, blocks, channels",
    build,
    from_config: None,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    channels: usize,
    /// Channels of each level, the finest first.
    widths: Vec<usize>,
    /// Residual blocks per level, in the encoder and in the decoder.
    blocks: usize,
    /// Standard deviation (of 255) of the noise map, the last channel of the input.
    sigma: f64,
}

/// `blocks` residual blocks numbered from `first`.
fn residual(at: &Scope, mut x: Node, width: usize, first: usize, blocks: usize) -> Node {
    for i in first..first + blocks {
        let block = at.at(i);
        let inner = block.at("res.0");
        let y = inner.relu(inner.conv(x, Conv::new(width, 3).padding(1)));
        let y = block.at("res.2").conv(y, Conv::new(width, 3).padding(1));
        x = block.add(x, y);
    }
    x
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let Arch { channels, widths, blocks, sigma } = card.arch()?;
    card.within("levels of widths", widths.len(), 2..=6)?;
    card.check_sizes("widths", &widths)?;
    card.check_sizes("depths", &[blocks])?;
    card.check_sizes("channels", &[channels])?;
    let blocks = root.parts_at("m_body", |i| format!("m_body.{i}.res")).or(blocks);
    // The noise map is a channel more.
    let image = root.input(root.inputs("m_head").or(channels + 1).max(2) - 1);
    let channels = root.channels(image);
    let x = root.concat(&[image, root.fill(image, (sigma / 255.0) as f32)]);
    let mut x = root.at("m_head").conv(x, Conv::new(widths[0], 3).padding(1));
    let mut skips = vec![x];
    let last = widths.len() - 1;
    for (level, &width) in widths[..last].iter().enumerate() {
        let at = root.at(format!("m_down{}", level + 1));
        x = residual(&at, x, width, 0, blocks);
        x = at.at(blocks).conv(x, Conv::new(widths[level + 1], 2).stride(2));
        skips.push(x);
    }
    x = residual(&root.at("m_body"), x, widths[last], 0, blocks);
    for (level, &width) in widths[..last].iter().enumerate().rev() {
        let at = root.at(format!("m_up{}", level + 1));
        x = at.add(x, skips[level + 1]);
        x = at.at(0).conv_transpose(x, ConvTranspose::new(width, 2, 2));
        x = residual(&at, x, width, 1, blocks);
    }
    x = root.add(x, skips[0]);
    Ok(root.at("m_tail").exact().conv(x, Conv::new(channels, 3).padding(1)))
}
