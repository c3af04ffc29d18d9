//! ResNet: residual blocks of two 3x3 convolutions or a 1x1-3x3-1x1 bottleneck (He 2015), and its variants: wide
//! (Zagoruyko 2016), ResNeXt (Xie 2017), with squeeze-and-excite (Hu 2018).

use serde::{Deserialize, Serialize};

use super::naming::{Atrous, Features, Naming, Unit, classifier, make_divisible, squeeze_excite};
use super::{Card, Family, FromConfig, config};
use crate::graph::{Node, Scope};
use crate::kernels::{Activation, Halo};
use crate::layers::{Conv, Pool, Subsample};
use crate::{Error, Result};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "resnet",
    file: "models/resnet.toml",
    cards: include_str!("resnet.toml"),
    namings: &[
        (Naming::Torchvision, "conv1.weight"),
        (Naming::Timm, "conv1.0.weight"),
        (Naming::Transformers, "resnet.embedder.embedder.convolution.weight"),
    ],
    reads: "filters, groups, blocks, classes, input channels",
    build,
    from_config: Some(from_config),
};

/// Batch norms of all namings have PyTorch's default epsilon.
const EPS: f64 = 1e-5;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Block {
    Basic,
    Bottleneck,
}

/// What comes before the first block.
#[derive(PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Stem {
    /// 7x7 with stride 2, max pool.
    Imagenet,
    /// Three 3x3, the first with stride 2 and the first two of half the width; max pool (ResNet-C and -D).
    Deep,
    /// 3x3 with stride 1.
    Cifar,
}

/// The shortcut of a block whose input and output differ in shape.
#[derive(Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Shortcut {
    /// 1x1 convolution with the block's stride.
    #[default]
    Projection,
    /// 2x2 average pool with the block's stride, then 1x1 convolution (ResNet-D).
    Average,
    /// Every second pixel, with zero channels added (option A of the paper).
    Zeros,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum StrideIn {
    /// The first 1x1 convolution: the paper's bottleneck, "v1".
    Conv1,
    /// The 3x3 convolution: "v1.5".
    #[default]
    Conv2,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum PoolPad {
    #[default]
    Symmetric,
    /// One row below and one column to the right: Caffe's ceil rule at even sizes.
    After,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    block: Block,
    /// Blocks of each stage.
    depths: Vec<usize>,
    /// Filters of the 3x3 convolutions of each stage.
    widths: Vec<usize>,
    stem: Stem,
    /// Filters of the stem; by default those of the first stage.
    stem_width: Option<usize>,
    /// Filters of a bottleneck's last convolution for each of its 3x3 convolution's.
    #[serde(default = "four")]
    expansion: usize,
    /// Groups of a bottleneck's 3x3 convolution.
    #[serde(default = "config::single")]
    groups: usize,
    /// Divisor of the channels inside squeeze-and-excite, if each block ends in one.
    squeeze: Option<usize>,
    #[serde(default)]
    shortcut: Shortcut,
    #[serde(default)]
    stride_in: StrideIn,
    #[serde(default)]
    pool_padding: PoolPad,
    /// Name of the last layer in torchvision's naming.
    #[serde(default = "fc")]
    head: String,
    #[serde(default = "config::rgb")]
    channels: usize,
    classes: usize,
}

fn fc() -> String {
    "fc".into()
}

fn four() -> usize {
    4
}

struct Net {
    arch: Arch,
    naming: Naming,
    root: Scope,
}

fn build(root: &Scope, card: &Card, naming: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("depths", &arch.depths)?;
    card.check_sizes("widths", &arch.widths)?;
    card.check_sizes("stem_width", arch.stem_width.as_slice())?;
    card.check_sizes("channels", &[arch.channels])?;
    card.check_sizes("classes", &[arch.classes])?;
    card.check_sizes("expansion", &[arch.expansion])?;
    card.check_sizes("groups", &[arch.groups])?;
    card.check_sizes("squeeze", arch.squeeze.as_slice())?;
    if arch.depths.is_empty() || arch.depths.len() != arch.widths.len() {
        return Err(card.wrong(format!("{} depths for {} widths", arch.depths.len(), arch.widths.len())));
    }
    let plain = arch.stem == Stem::Imagenet && arch.shortcut == Shortcut::Projection && arch.squeeze.is_none();
    if naming == Naming::Transformers && !plain {
        let what = format!("{}: a stem or shortcut that transformers has no names for", card.name);
        return Err(Error::unsupported(what, "use a checkpoint with torchvision's or timm's names"));
    }
    let net = Net { arch, naming, root: root.clone() };
    let pooled = root.global_avg_pool(net.features(Atrous::none()).high);
    let head = if naming == Naming::Transformers { "classifier.1" } else { &net.arch.head };
    Ok(classifier(&root.at(head), pooled, net.arch.classes))
}

/// A ResNet with `depths` and torchvision's names below `root`, without its classifier.
pub(super) fn backbone(
    root: &Scope,
    channels: usize,
    depths: &[usize; 4],
    bottleneck: bool,
    atrous: Atrous,
) -> Features {
    let arch = Arch {
        block: if bottleneck { Block::Bottleneck } else { Block::Basic },
        depths: depths.to_vec(),
        widths: vec![64, 128, 256, 512],
        stem: Stem::Imagenet,
        stem_width: None,
        expansion: four(),
        groups: 1,
        squeeze: None,
        shortcut: Shortcut::Projection,
        stride_in: StrideIn::Conv2,
        pool_padding: PoolPad::Symmetric,
        head: fc(),
        channels,
        classes: 1,
    };
    Net { arch, naming: Naming::Torchvision, root: root.clone() }.features(atrous)
}

impl Net {
    fn features(&self, mut atrous: Atrous) -> Features {
        let first = match (&self.arch.stem, self.naming) {
            (_, Naming::Transformers) => "resnet.embedder.embedder.convolution",
            (Stem::Deep, _) => "conv1.0",
            _ => "conv1",
        };
        let x = self.root.input(self.root.inputs(first).or(self.arch.channels));
        // The stem and its pooling.
        if self.arch.stem != Stem::Cifar {
            atrous.step(4);
        }
        let mut inputs = self.arch.stem_width.unwrap_or(self.arch.widths[0]);
        let mut x = self.stem(x, inputs);
        let mut low = x;
        for (stage, (&depth, &width)) in self.arch.depths.iter().zip(&self.arch.widths).enumerate() {
            let at = match self.naming {
                Naming::Transformers => self.root.at(format!("resnet.encoder.stages.{stage}.layers")),
                _ => self.root.at(format!("layer{}", stage + 1)),
            };
            for i in 0..at.parts("", 0).or(depth) {
                let (stride, dilation) = atrous.step(if i == 0 && stage > 0 { 2 } else { 1 });
                (x, inputs) = self.block(&at.at(i), (x, inputs), width, (stride, dilation));
            }
            if stage == 0 {
                low = x;
            }
        }
        Features { low, high: x }
    }

    fn stem(&self, x: Node, width: usize) -> Node {
        let conv1 = match self.naming {
            Naming::Transformers => Unit::long(&self.root.at("resnet.embedder.embedder")),
            _ => Unit::new(&self.root, "conv1", "bn1"),
        };
        let conv = |out, stride| Conv::new(out, 3).stride(stride).padding(1);
        let x = match self.arch.stem {
            Stem::Imagenet => conv1.apply(x, Conv::new(width, 7).stride(2).padding(3), EPS, Activation::Relu),
            Stem::Cifar => return conv1.apply(x, conv(width, 1), EPS, Activation::Relu),
            Stem::Deep => {
                let half = (width / 2).max(1);
                let x = Unit::new(&self.root, "conv1.0", "conv1.1").apply(x, conv(half, 2), EPS, Activation::Relu);
                let x = Unit::new(&self.root, "conv1.3", "conv1.4").apply(x, conv(half, 1), EPS, Activation::Relu);
                Unit::new(&self.root, "conv1.6", "bn1").apply(x, conv(width, 1), EPS, Activation::Relu)
            }
        };
        let pool = match self.arch.pool_padding {
            PoolPad::Symmetric => Pool::max(3, 2).padding(1),
            PoolPad::After => Pool { padding: Halo { bottom: 1, right: 1, ..Halo::default() }, ..Pool::max(3, 2) },
        };
        self.root.at("maxpool").pool(x, pool)
    }

    /// The block at `at` on `x`, which has `inputs` channels by the card; also returns the channels of its output by the card.
    fn block(
        &self,
        at: &Scope,
        (x, inputs): (Node, usize),
        width: usize,
        (stride, dilation): (usize, usize),
    ) -> (Node, usize) {
        let (first, second) = match self.arch.stride_in {
            StrideIn::Conv1 => (stride, 1),
            StrideIn::Conv2 => (1, stride),
        };
        let three = |width: usize| Conv::new(width, 3).padding(dilation).dilation(dilation);
        let convs = match self.arch.block {
            Block::Basic => vec![three(width).stride(stride), three(width)],
            Block::Bottleneck => vec![
                Conv::new(width, 1).stride(first),
                three(width).stride(second).groups(self.arch.groups),
                Conv::new(self.arch.expansion * width, 1),
            ],
        };
        let last = convs.len() - 1;
        let out = convs[last].out_channels;
        let unit = |k: usize| match self.naming {
            Naming::Transformers => Unit::long(&at.at(format!("layer.{k}"))),
            _ => Unit::new(at, &format!("conv{}", k + 1), &format!("bn{}", k + 1)),
        };
        let changes = stride != 1 || inputs != out;
        let shortcut = self.shortcut(at, x, (changes, unit(last).filters(out)), (out, stride));
        let y = convs.into_iter().enumerate().fold(x, |y, (k, conv)| {
            unit(k).apply(y, conv, EPS, if k == last { Activation::Identity } else { Activation::Relu })
        });
        let y = match self.arch.squeeze {
            None => y,
            Some(divisor) => {
                let width = make_divisible(out as f64 / divisor as f64);
                let functions = [Activation::Relu, Activation::Sigmoid];
                let places = ["se.fc1", "se.fc2"].map(|name| at.at(name));
                squeeze_excite(&at.at("se"), &places, y, width, functions)
            }
        };
        (at.relu(at.add(y, shortcut)), out)
    }

    /// The shortcut to a sum with `channels` channels (`out` by the card). By the card it is the identity unless the block
    /// `changes` the shape; a checkpoint may have a projection wherever it needs one.
    fn shortcut(&self, at: &Scope, x: Node, (changes, channels): (bool, usize), (out, stride): (usize, usize)) -> Node {
        let projection = match (&self.arch.shortcut, self.naming) {
            (Shortcut::Zeros, _) if !changes => return x,
            (Shortcut::Zeros, _) => {
                let zeros = channels.saturating_sub(self.root.channels(x));
                return at.subsample(x, Subsample { stride, before: zeros / 2, after: zeros - zeros / 2 });
            }
            (Shortcut::Average, _) => Unit::new(at, "downsample.1", "downsample.2"),
            (Shortcut::Projection, Naming::Transformers) => Unit::long(&at.at("shortcut")),
            (Shortcut::Projection, _) => Unit::new(at, "downsample.0", "downsample.1"),
        };
        let fits = at.is_stored() && stride == 1 && self.root.channels(x) == channels;
        if !projection.is_stored() && (!changes || fits) {
            return x;
        }
        let conv = Conv::new(out, 1);
        let (x, conv) = match self.arch.shortcut {
            Shortcut::Average if stride == 1 => (x, conv),
            Shortcut::Average => (at.at("downsample.0").pool(x, Pool::average(2, stride).ceil()), conv),
            _ => (x, conv.stride(stride)),
        };
        projection.apply(x, conv, EPS, Activation::Identity)
    }
}

/// transformers' `config.json` of a ResNet; missing fields have the library's defaults.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    num_channels: usize,
    embedding_size: usize,
    hidden_sizes: Vec<usize>,
    depths: Vec<usize>,
    layer_type: Block,
    hidden_act: String,
    downsample_in_first_stage: bool,
    downsample_in_bottleneck: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            num_channels: 3,
            embedding_size: 64,
            hidden_sizes: vec![256, 512, 1024, 2048],
            depths: vec![3, 4, 6, 3],
            layer_type: Block::Bottleneck,
            hidden_act: "relu".into(),
            downsample_in_first_stage: false,
            downsample_in_bottleneck: false,
        }
    }
}

fn from_config(value: &serde_json::Value) -> Result<FromConfig> {
    let config: Config = config::read(value)?;
    config::needs(config.hidden_act == "relu", "hidden_act", "relu")?;
    config::needs(!config.downsample_in_first_stage, "downsample_in_first_stage", "false")?;
    let divisor = match config.layer_type {
        Block::Basic => 1,
        Block::Bottleneck => 4,
    };
    config::needs(config.hidden_sizes.iter().all(|size| size % divisor == 0), "hidden_sizes", "multiples of 4")?;
    let arch = Arch {
        block: config.layer_type,
        depths: config.depths,
        widths: config.hidden_sizes.iter().map(|size| size / divisor).collect(),
        stem: Stem::Imagenet,
        stem_width: Some(config.embedding_size),
        expansion: four(),
        groups: 1,
        squeeze: None,
        shortcut: Shortcut::Projection,
        stride_in: if config.downsample_in_bottleneck { StrideIn::Conv1 } else { StrideIn::Conv2 },
        pool_padding: PoolPad::Symmetric,
        head: fc(),
        channels: config.num_channels,
        classes: config::classes(value, 1000),
    };
    config::arch(&arch)
}
