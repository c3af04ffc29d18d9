//! MobileNetV2: inverted residuals with linear bottlenecks (Sandler 2018).

use serde::{Deserialize, Serialize};

use super::naming::{Atrous, Features, Naming, Pad, Style, Unit, classifier, make_divisible};
use super::{Card, Family, FromConfig, config};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::Activation;

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "mobilenet_v2",
    file: "models/mobilenet_v2.toml",
    cards: include_str!("mobilenet_v2.toml"),
    namings: &[
        (Naming::Torchvision, "features.0.0.weight"),
        (Naming::Timm, "conv_stem.weight"),
        (Naming::Transformers, "mobilenet_v2.conv_stem.first_conv.convolution.weight"),
    ],
    reads: "filters, blocks (names of timm), classes, input channels",
    build,
    from_config: Some(from_config),
};

/// Expansion, filters and stride of the first block of each stage.
const STAGES: [(usize, usize, usize); 7] =
    [(1, 16, 1), (6, 24, 2), (6, 32, 2), (6, 64, 2), (6, 96, 1), (6, 160, 2), (6, 320, 1)];

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Width multiplier.
    #[serde(default = "config::one")]
    width: f64,
    /// Blocks per stage.
    #[serde(default = "depths")]
    depths: [usize; 7],
    /// Filters of the first convolution; by default 32 times `width`.
    stem: Option<usize>,
    /// Filters of the last convolution; by default 1280 times `width`, but at least 1280.
    head: Option<usize>,
    /// Padding; by default that of the naming's library.
    padding: Option<Pad>,
    /// Epsilon of the batch norms; by default that of the naming's library.
    eps: Option<f64>,
    #[serde(default = "config::rgb")]
    channels: usize,
    classes: usize,
}

fn depths() -> [usize; 7] {
    [1, 2, 3, 4, 3, 3, 1]
}

fn build(root: &Scope, card: &Card, naming: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.within("width", arch.width, 0.01..=16.0)?;
    card.check_sizes("depths", &arch.depths)?;
    card.check_sizes("stem", arch.stem.as_slice())?;
    card.check_sizes("head", arch.head.as_slice())?;
    card.check_sizes("channels", &[arch.channels])?;
    card.check_sizes("classes", &[arch.classes])?;
    let (pad, eps) = if naming == Naming::Transformers { (Pad::Same, 1e-3) } else { (Pad::Symmetric, 1e-5) };
    let style = Style { pad: arch.padding.unwrap_or(pad), eps: arch.eps.unwrap_or(eps) };
    let channels = |c: usize| scaled(naming, c, arch.width);
    let head = arch.head.unwrap_or_else(|| channels(1280).max(1280));

    let names = Names { root, naming, blocks: arch.depths.iter().sum() };
    let stem = arch.stem.unwrap_or_else(|| channels(32));
    let x = blocks(&names, arch.channels, stem, &arch.depths, style, Atrous::none(), &channels).high;
    let x = names.head().apply(x, style.conv(head, 1, 1), style.eps, Activation::Relu6);
    let pooled = root.global_avg_pool(x);
    let classes = if naming == Naming::Torchvision { "classifier.1" } else { "classifier" };
    Ok(classifier(&root.at(classes), pooled, arch.classes))
}

/// A MobileNetV2 without its classifier, as a segmentation backbone; with its last convolution (`head` filters) if `head` is
/// given.
pub(super) fn backbone(
    root: &Scope,
    naming: Naming,
    inputs: usize,
    (width, divisor): (f64, usize),
    (style, atrous): (Style, Atrous),
    head: Option<usize>,
) -> Features {
    let channels = |c: usize| match divisor {
        8 => scaled(naming, c, width),
        _ => ((c as f64 * width / divisor as f64).round() as usize).max(1) * divisor,
    };
    let names = Names { root, naming, blocks: depths().iter().sum() };
    let features = blocks(&names, inputs, channels(32), &depths(), style, atrous, &channels);
    let Some(head) = head else { return features };
    let high = names.head().apply(features.high, style.conv(head, 1, 1), style.eps, Activation::Relu6);
    Features { high, ..features }
}

/// The stem and all inverted residuals.
fn blocks(
    names: &Names,
    inputs: usize,
    stem: usize,
    depths: &[usize; 7],
    style: Style,
    mut atrous: Atrous,
    channels: &dyn Fn(usize) -> usize,
) -> Features {
    let x = names.root.input(names.stem().inputs(inputs));
    let (stride, _) = atrous.step(2);
    let mut inputs = stem;
    let mut x = names.stem().apply(x, style.conv(stem, 3, stride), style.eps, Activation::Relu6);
    let mut low = x;
    let mut index = 0;
    for (stage, (&(expansion, out, stride), &depth)) in STAGES.iter().zip(depths).enumerate() {
        let depth = match names.naming {
            Naming::Timm => names.root.parts(&format!("blocks.{stage}."), 0).or(depth),
            _ => depth,
        };
        for i in 0..depth {
            let block = names.block(index, (stage, i), expansion > 1);
            let place = atrous.step(if i == 0 { stride } else { 1 });
            let out = channels(out);
            x = inverted_residual(x, &block, style, (inputs, expansion, out), place);
            inputs = out;
            if atrous.stride() == 4 {
                low = x;
            }
            index += 1;
        }
    }
    Features { low, high: x }
}

/// The channels of input and output by the card also decide whether the two are added.
fn inverted_residual(
    x: Node,
    block: &Block,
    style: Style,
    (inputs, expansion, out): (usize, usize, usize),
    (stride, dilation): (usize, usize),
) -> Node {
    let middle = inputs * expansion;
    let mut y = x;
    if let Some(expand) = &block.expand {
        y = expand.apply(y, style.conv(middle, 1, 1), style.eps, Activation::Relu6);
    }
    let depthwise = style.dilated(style.depthwise(block.at.channels(y), 3, stride), dilation);
    let y = block.depthwise.apply(y, depthwise, style.eps, Activation::Relu6);
    let y = block.project.apply(y, style.conv(out, 1, 1), style.eps, Activation::Identity);
    if stride == 1 && inputs == out { block.at.add(y, x) } else { y }
}

/// `c` filters times `width`, rounded.
fn scaled(naming: Naming, c: usize, width: f64) -> usize {
    let exact = c as f64 * width;
    // transformers rounds to whole channels first.
    make_divisible(if naming == Naming::Transformers { exact.round_ties_even() } else { exact })
}

/// Paths of the layers of one block.
struct Block {
    at: Scope,
    expand: Option<Unit>,
    depthwise: Unit,
    project: Unit,
}

/// Parameter names of each part.
struct Names<'a> {
    root: &'a Scope,
    naming: Naming,
    blocks: usize,
}

impl Names<'_> {
    fn stem(&self) -> Unit {
        match self.naming {
            Naming::Transformers => Unit::long(&self.root.at("mobilenet_v2.conv_stem.first_conv")),
            Naming::Timm => Unit::new(self.root, "conv_stem", "bn1"),
            _ => Unit::new(self.root, "features.0.0", "features.0.1"),
        }
    }

    fn head(&self) -> Unit {
        match self.naming {
            Naming::Transformers => Unit::long(&self.root.at("mobilenet_v2.conv_1x1")),
            Naming::Timm => Unit::new(self.root, "conv_head", "bn2"),
            _ => Unit::new(&self.root.at(format!("features.{}", self.blocks + 1)), "0", "1"),
        }
    }

    /// Block `index` of all and `i` of its `stage`; the first has no expansion.
    fn block(&self, index: usize, (stage, i): (usize, usize), expands: bool) -> Block {
        match self.naming {
            Naming::Transformers => {
                // The block without expansion belongs to the stem.
                let at = self.root.at(match index {
                    0 => "mobilenet_v2.conv_stem".to_owned(),
                    _ => format!("mobilenet_v2.layer.{}", index - 1),
                });
                Block {
                    expand: expands.then(|| Unit::long(&at.at("expand_1x1"))),
                    depthwise: Unit::long(&at.at("conv_3x3")),
                    project: Unit::long(&at.at("reduce_1x1")),
                    at,
                }
            }
            Naming::Timm => {
                let at = self.root.at(format!("blocks.{stage}.{i}"));
                let unit = |conv: &str, norm: &str| Unit::new(&at, conv, norm);
                let (expand, depthwise, project) = if expands {
                    (Some(unit("conv_pw", "bn1")), unit("conv_dw", "bn2"), unit("conv_pwl", "bn3"))
                } else {
                    (None, unit("conv_dw", "bn1"), unit("conv_pw", "bn2"))
                };
                Block { at, expand, depthwise, project }
            }
            _ => {
                let at = self.root.at(format!("features.{}", index + 1));
                let unit = |conv: &str, norm: &str| Unit::new(&at.at("conv"), conv, norm);
                let (expand, depthwise, project) = if expands {
                    (Some(unit("0.0", "0.1")), unit("1.0", "1.1"), unit("2", "3"))
                } else {
                    (None, unit("0.0", "0.1"), unit("1", "2"))
                };
                Block { at, expand, depthwise, project }
            }
        }
    }
}

fn from_config(value: &serde_json::Value) -> Result<FromConfig> {
    let config: config::Mobile = config::read(value)?;
    config::needs(config.min_depth == 8, "min_depth", "8")?;
    config::needs(config.depth_divisible_by == 8, "depth_divisible_by", "8")?;
    config::needs(config.expand_ratio == 6.0, "expand_ratio", "6")?;
    config::needs(config.output_stride == 32, "output_stride", "32")?;
    config::needs(config.first_layer_is_expansion, "first_layer_is_expansion", "true")?;
    let width = config.depth_multiplier;
    let fixed = config.finegrained_output && width < 1.0;
    let arch = Arch {
        width,
        depths: depths(),
        stem: None,
        head: Some(if fixed { 1280 } else { scaled(Naming::Transformers, 1280, width) }),
        padding: Some(config.pad()?),
        eps: Some(config.layer_norm_eps),
        channels: config.num_channels,
        classes: config::classes(value, 1001),
    };
    config::arch(&arch)
}
