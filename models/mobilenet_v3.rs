//! MobileNetV3: inverted residuals with squeeze-and-excite and hard-swish, found by search (Howard 2019).

use serde::{Deserialize, Serialize};

use super::inverted::{Block, Functions, Sizes};
use super::naming::{Atrous, Naming, Pad, Style, Unit, classifier, lacks, make_divisible};
use super::{Card, Family, config};
use crate::graph::{Node, Scope};
use crate::kernels::Activation;
use crate::layers::Conv;
use crate::{Error, Result};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "mobilenet_v3",
    file: "models/mobilenet_v3.toml",
    cards: include_str!("mobilenet_v3.toml"),
    namings: &[(Naming::Torchvision, "features.0.0.weight"), (Naming::Timm, "conv_stem.weight")],
    reads: "filters, classes, input channels",
    build,
    from_config: None,
};

/// One block of tables 1 and 2 of the paper.
struct Row {
    /// Stage in timm's names.
    stage: usize,
    kernel: usize,
    /// Expansion ratio.
    expansion: f64,
    out: usize,
    squeeze: bool,
    swish: bool,
    stride: usize,
}

const fn row(stage: usize, kernel: usize, expansion: f64, out: usize, se_hs: (bool, bool), stride: usize) -> Row {
    Row { stage, kernel, expansion, out, squeeze: se_hs.0, swish: se_hs.1, stride }
}

/// With squeeze-and-excite or without, with hard-swish or ReLU.
const RE: (bool, bool) = (false, false);
const HS: (bool, bool) = (false, true);
const SE_RE: (bool, bool) = (true, false);
const SE_HS: (bool, bool) = (true, true);

const LARGE: [Row; 15] = [
    row(0, 3, 1.0, 16, RE, 1),
    row(1, 3, 4.0, 24, RE, 2),
    row(1, 3, 3.0, 24, RE, 1),
    row(2, 5, 3.0, 40, SE_RE, 2),
    row(2, 5, 3.0, 40, SE_RE, 1),
    row(2, 5, 3.0, 40, SE_RE, 1),
    row(3, 3, 6.0, 80, HS, 2),
    row(3, 3, 2.5, 80, HS, 1),
    row(3, 3, 2.3, 80, HS, 1),
    row(3, 3, 2.3, 80, HS, 1),
    row(4, 3, 6.0, 112, SE_HS, 1),
    row(4, 3, 6.0, 112, SE_HS, 1),
    row(5, 5, 6.0, 160, SE_HS, 2),
    row(5, 5, 6.0, 160, SE_HS, 1),
    row(5, 5, 6.0, 160, SE_HS, 1),
];

const SMALL: [Row; 11] = [
    row(0, 3, 1.0, 16, SE_RE, 2),
    row(1, 3, 4.5, 24, RE, 2),
    row(1, 3, 3.67, 24, RE, 1),
    row(2, 5, 4.0, 40, SE_HS, 2),
    row(2, 5, 6.0, 40, SE_HS, 1),
    row(2, 5, 6.0, 40, SE_HS, 1),
    row(3, 5, 3.0, 48, SE_HS, 1),
    row(3, 5, 3.0, 48, SE_HS, 1),
    row(4, 5, 6.0, 96, SE_HS, 2),
    row(4, 5, 6.0, 96, SE_HS, 1),
    row(4, 5, 6.0, 96, SE_HS, 1),
];

#[derive(Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Size {
    Small,
    Large,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    size: Size,
    /// Width multiplier of everything but the head.
    #[serde(default = "config::one")]
    width: f64,
    /// Without squeeze-and-excite, hard-swish and 5x5 kernels.
    #[serde(default)]
    minimal: bool,
    /// Padding.
    padding: Option<Pad>,
    /// Epsilon of the batch norms; by default that of the naming's library.
    eps: Option<f64>,
    #[serde(default = "config::rgb")]
    channels: usize,
    classes: usize,
}

fn build(root: &Scope, card: &Card, naming: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.within("width", arch.width, 0.01..=16.0)?;
    card.check_sizes("channels", &[arch.channels])?;
    card.check_sizes("classes", &[arch.classes])?;
    if naming == Naming::Torchvision && arch.width != 1.0 {
        let what = format!("{}: width {} in torchvision's naming", card.name, arch.width);
        return Err(Error::unsupported(what, "timm's names go with any width"));
    }
    let eps = arch.eps.unwrap_or(if naming == Naming::Torchvision { 1e-3 } else { 1e-5 });
    let style = Style { pad: arch.padding.unwrap_or(Pad::Symmetric), eps };
    let channels = |c: usize| make_divisible(c as f64 * arch.width);
    let swish = if arch.minimal { Activation::Relu } else { Activation::HardSwish };
    let (rows, features, head) = match arch.size {
        Size::Small => (&SMALL[..], 576, 1024),
        Size::Large => (&LARGE[..], 960, 1280),
    };

    let names = Names { root, naming, rows, prefix: "features." };
    // Narrow networks keep the stem of the full-width one.
    let stem = if arch.width < 0.75 { 16 } else { channels(16) };
    let rows = rows.iter().map(|row| Row {
        kernel: if arch.minimal { 3 } else { row.kernel },
        squeeze: row.squeeze && !arch.minimal,
        swish: row.swish && !arch.minimal,
        out: channels(row.out),
        ..*row
    });
    let x = blocks(&names, arch.channels, (stem, swish), rows, style, Atrous::none());
    let x = names.features().apply(x, style.conv(channels(features), 1, 1), eps, swish);
    // The head's convolution comes after the pooling; torchvision stores it as a linear layer.
    let pooled = root.global_avg_pool(x);
    let (hidden, classes) = match naming {
        Naming::Torchvision => (root.at("classifier.0"), "classifier.3"),
        _ => (root.at("conv_head"), "classifier"),
    };
    if lacks(&hidden) {
        return Ok(pooled);
    }
    let x = match naming {
        Naming::Torchvision => hidden.linear(pooled, head, 1),
        _ => hidden.conv(pooled, Conv::new(head, 1).bias(true)),
    };
    Ok(classifier(&root.at(classes), hidden.activation(x, swish), arch.classes))
}

/// The large MobileNetV3 without its classifier, in torchvision's names right below `root`.
pub(super) fn backbone(root: &Scope, channels: usize, atrous: Atrous) -> Node {
    let style = Style { pad: Pad::Symmetric, eps: 1e-3 };
    let names = Names { root, naming: Naming::Torchvision, rows: &LARGE, prefix: "" };
    let rows = LARGE.iter().map(|row| Row { ..*row });
    let x = blocks(&names, channels, (16, Activation::HardSwish), rows, style, atrous);
    names.features().apply(x, style.conv(960, 1, 1), style.eps, Activation::HardSwish)
}

/// The stem and all blocks.
fn blocks(
    names: &Names,
    inputs: usize,
    (stem, swish): (usize, Activation),
    rows: impl Iterator<Item = Row>,
    style: Style,
    mut atrous: Atrous,
) -> Node {
    let x = names.root.input(names.stem().inputs(inputs));
    let (stride, _) = atrous.step(2);
    let mut inputs = stem;
    let mut x = names.stem().apply(x, style.conv(stem, 3, stride), style.eps, swish);
    for (index, row) in rows.enumerate() {
        let (stride, dilation) = atrous.step(row.stride);
        let block = names.block(index, &row);
        let middle = if row.expansion > 1.0 { make_divisible(inputs as f64 * row.expansion) } else { inputs };
        let sizes = Sizes {
            channels: [inputs, middle, row.out],
            kernel: row.kernel,
            stride,
            dilation,
            squeeze: row.squeeze.then(|| make_divisible(middle as f64 * 0.25)),
        };
        let main = if row.swish { Activation::HardSwish } else { Activation::Relu };
        let functions = Functions { main, inner: Activation::Relu, gate: Activation::HardSigmoid };
        x = block.apply(x, &sizes, style, functions);
        inputs = row.out;
    }
    x
}

/// Parameter names of each part.
struct Names<'a> {
    root: &'a Scope,
    naming: Naming,
    rows: &'a [Row],
    /// Prefix of the layer number in torchvision's names.
    prefix: &'static str,
}

impl Names<'_> {
    fn stem(&self) -> Unit {
        match self.naming {
            Naming::Torchvision => Unit::new(&self.root.at(format!("{}0", self.prefix)), "0", "1"),
            _ => Unit::new(self.root, "conv_stem", "bn1"),
        }
    }

    /// The 1x1 convolution before the pooling.
    fn features(&self) -> Unit {
        match self.naming {
            Naming::Torchvision => {
                Unit::new(&self.root.at(format!("{}{}", self.prefix, self.rows.len() + 1)), "0", "1")
            }
            _ => {
                let stages = self.rows.last().map_or(0, |row| row.stage + 1);
                Unit::new(&self.root.at(format!("blocks.{stages}.0")), "conv", "bn1")
            }
        }
    }

    fn block(&self, index: usize, row: &Row) -> Block {
        let expands = row.expansion > 1.0;
        if self.naming == Naming::Torchvision {
            return Block::torchvision(self.root.at(format!("{}{}", self.prefix, index + 1)), expands, row.squeeze);
        }
        let first = self.rows.iter().position(|other| other.stage == row.stage).unwrap_or_default();
        Block::timm(self.root.at(format!("blocks.{}.{}", row.stage, index - first)), expands)
    }
}
