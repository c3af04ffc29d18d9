//! Semantic segmentation: DeepLabV3 (Chen 2017), DeepLabV3+ (Chen 2018), and FCN (Long 2015) as the plain baseline, on dilated
//! ResNets and MobileNets.

use serde::{Deserialize, Serialize};

use super::naming::{Atrous, Features, Naming, Pad, Style, Unit, classes};
use super::{Card, Family, FromConfig, config, mobilenet_v2, mobilenet_v3, resnet};
use crate::graph::{Node, Scope};
use crate::kernels::Activation;
use crate::layers::Conv;
use crate::{Error, Result};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "deeplab",
    file: "models/deeplab.toml",
    cards: include_str!("deeplab.toml"),
    namings: &[
        (Naming::Torchvision, "classifier.4.weight"),
        (Naming::Smp, "segmentation_head.0.weight"),
        (Naming::Transformers, "segmentation_head.classifier.convolution.weight"),
    ],
    reads: "filters, blocks of a ResNet, classes, input channels",
    build,
    from_config: Some(from_config),
};

/// All norms of the heads have PyTorch's default epsilon.
const EPS: f64 = 1e-5;

#[derive(Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Backbone {
    Resnet18,
    Resnet34,
    Resnet50,
    Resnet101,
    MobilenetV2,
    MobilenetV3Large,
}

#[derive(Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Head {
    /// 3x3 convolution.
    Fcn,
    /// Parallel dilated convolutions (the pyramid), then a 3x3 convolution.
    Pyramid,
    /// The pyramid, then features at a quarter of the resolution (V3+).
    Decoder,
    /// Image pooling beside a 1x1 convolution: the mobile DeepLabV3.
    Pooling,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// The classifier whose features are read.
    backbone: Backbone,
    /// What is made of them.
    head: Head,
    /// Total stride of the backbone.
    output_stride: usize,
    /// Dilations of the pyramid.
    #[serde(default)]
    rates: Vec<usize>,
    /// Whether the pyramid's dilated convolutions are depthwise separable; by default only those of a decoder are.
    separable: Option<bool>,
    /// Filters of the pyramid and after it.
    #[serde(default = "head_channels")]
    head_channels: usize,
    /// Width multiplier of a MobileNetV2.
    #[serde(default = "config::one")]
    width: f64,
    /// The widths are multiples of this.
    #[serde(default = "eight")]
    divisor: usize,
    /// Whether a MobileNetV2 keeps its last convolution (transformers' never does).
    #[serde(default = "yes")]
    last: bool,
    /// Padding of a MobileNetV2.
    padding: Option<Pad>,
    /// Epsilon of a MobileNetV2's norms.
    eps: Option<f64>,
    /// Whether logits are resized with aligned corners.
    #[serde(default)]
    align_corners: bool,
    #[serde(default = "config::rgb")]
    channels: usize,
    classes: usize,
}

fn head_channels() -> usize {
    256
}

fn eight() -> usize {
    8
}

fn yes() -> bool {
    true
}

fn build(root: &Scope, card: &Card, naming: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.within("output_stride", arch.output_stride, 8..=32)?;
    card.within("rates", arch.rates.len(), 0..=8)?;
    card.within("width", arch.width, 0.01..=16.0)?;
    card.within("divisor", arch.divisor, 1..=64)?;
    card.check_sizes("rates", &arch.rates)?;
    card.check_sizes("head_channels", &[arch.head_channels])?;
    card.check_sizes("channels", &[arch.channels])?;
    card.check_sizes("classes", &[arch.classes])?;
    let named: &[Naming] = match arch.head {
        Head::Fcn => &[Naming::Torchvision],
        Head::Pyramid => &[Naming::Torchvision, Naming::Smp],
        Head::Decoder => &[Naming::Smp],
        Head::Pooling => &[Naming::Transformers],
    };
    if !named.contains(&naming) {
        let known: Vec<&str> = named.iter().map(|naming| naming.name()).collect();
        let what = format!("{}: its head in the names of {}", card.name, naming.name());
        return Err(Error::unsupported(what, format!("known are the names of {}", known.join(", "))));
    }
    // torchvision's networks have a second classifier for training.
    root.skip("aux_classifier");
    // So have those of segmentation-models-pytorch.
    root.skip("classification_head");
    let features = backbone(root, &arch, naming);
    let image = root.image();
    let net = Net { root, naming, arch: &arch };
    let (x, last) = match arch.head {
        Head::Fcn => net.fcn(features.high),
        Head::Pyramid => net.pyramid(features.high),
        Head::Decoder => net.decoder(&features),
        Head::Pooling => net.pooling(features.high),
    };
    let logits = last.conv(x, Conv::new(classes(&last, arch.classes), 1).bias(true));
    Ok(root.resize(logits, image, arch.align_corners))
}

fn backbone(root: &Scope, arch: &Arch, naming: Naming) -> Features {
    let at_once = naming == Naming::Smp || arch.backbone == Backbone::MobilenetV3Large;
    let atrous = Atrous::new(arch.output_stride, at_once);
    let at = root.at(match naming {
        Naming::Torchvision => "backbone",
        Naming::Smp => "encoder",
        _ => "",
    });
    let resnet =
        |depths: [usize; 4], bottleneck: bool| resnet::backbone(&at, arch.channels, &depths, bottleneck, atrous);
    match arch.backbone {
        Backbone::Resnet18 => resnet([2, 2, 2, 2], false),
        Backbone::Resnet34 => resnet([3, 4, 6, 3], false),
        Backbone::Resnet50 => resnet([3, 4, 6, 3], true),
        Backbone::Resnet101 => resnet([3, 4, 23, 3], true),
        Backbone::MobilenetV2 => {
            let (names, pad, eps, head) = match naming {
                Naming::Transformers => (naming, Pad::Same, 1e-3, None),
                _ => (Naming::Torchvision, Pad::Symmetric, 1e-5, arch.last.then_some(1280)),
            };
            let style = Style { pad: arch.padding.unwrap_or(pad), eps: arch.eps.unwrap_or(eps) };
            // transformers has a last convolution that its head does not read.
            root.skip("mobilenet_v2.conv_1x1");
            mobilenet_v2::backbone(&at, names, arch.channels, (arch.width, arch.divisor), (style, atrous), head)
        }
        Backbone::MobilenetV3Large => {
            let high = mobilenet_v3::backbone(&at, arch.channels, atrous);
            Features { low: high, high }
        }
    }
}

/// A head under construction.
struct Net<'a> {
    root: &'a Scope,
    naming: Naming,
    arch: &'a Arch,
}

impl Net<'_> {
    /// Convolution at one name and norm at another, then ReLU.
    fn unit(&self, at: &Scope, names: [&str; 2], x: Node, conv: Conv) -> Node {
        Unit::new(at, names[0], names[1]).apply(x, conv, EPS, Activation::Relu)
    }

    fn fcn(&self, x: Node) -> (Node, Scope) {
        let at = self.root.at("classifier");
        let width = (self.root.channels(x) / 4).max(1);
        (self.unit(&at, ["0", "1"], x, Conv::new(width, 3).padding(1)), at.at("4"))
    }

    fn pyramid(&self, x: Node) -> (Node, Scope) {
        let three = Conv::new(self.arch.head_channels, 3).padding(1);
        if self.naming == Naming::Smp {
            let at = self.root.at("decoder");
            let x = self.spatial_pyramid(&at.at("aspp"), x);
            return (self.unit(&at, ["conv", "bn"], x, three), self.root.at("segmentation_head.0"));
        }
        let at = self.root.at("classifier");
        let x = self.spatial_pyramid(&at.at("0"), x);
        (self.unit(&at, ["1", "2"], x, three), at.at("4"))
    }

    /// Convolutions with several dilations and the mean of the image, in parallel.
    fn spatial_pyramid(&self, at: &Scope, x: Node) -> Node {
        let (convs, width) = (at.at("convs"), self.arch.head_channels);
        let separable = self.arch.separable.unwrap_or(self.arch.head == Head::Decoder);
        let mut parts = vec![self.unit(&convs.at(0), ["0", "1"], x, Conv::new(width, 1))];
        for (i, &rate) in self.arch.rates.iter().enumerate() {
            let at = convs.at(i + 1);
            let conv = Conv::new(width, 3).padding(rate).dilation(rate);
            parts.push(match separable {
                true => self.separable(&at.at("0"), &at.at("1"), x, conv),
                false => self.unit(&at, ["0", "1"], x, conv),
            });
        }
        parts.push(self.image_mean(&convs.at(self.arch.rates.len() + 1), ["1", "2"], x, false));
        self.unit(&at.at("project"), ["0", "1"], at.concat(&parts), Conv::new(width, 1))
    }

    fn image_mean(&self, at: &Scope, names: [&str; 2], x: Node, align_corners: bool) -> Node {
        let mean = self.unit(at, names, at.global_avg_pool(x), Conv::new(self.arch.head_channels, 1));
        at.resize(mean, x, align_corners)
    }

    /// Depthwise `conv` and pointwise 1x1 at `at`, norm at `norm`, ReLU.
    fn separable(&self, at: &Scope, norm: &Scope, x: Node, conv: Conv) -> Node {
        let inputs = self.root.channels(x);
        let out = conv.out_channels;
        let x = at.at("0").conv(x, Conv { out_channels: inputs, ..conv }.groups(inputs));
        let x = at.at("1").conv_norm(x, Conv::new(out, 1), norm, EPS);
        at.relu(x)
    }

    fn decoder(&self, features: &Features) -> (Node, Scope) {
        let at = self.root.at("decoder");
        let pyramid = self.spatial_pyramid(&at.at("aspp.0"), features.high);
        let three = || Conv::new(self.arch.head_channels, 3).padding(1);
        let x = self.separable(&at.at("aspp.1"), &at.at("aspp.2"), pyramid, three());
        let low = self.unit(&at.at("block1"), ["0", "1"], features.low, Conv::new(48, 1));
        let x = at.concat(&[at.at("up").resize(x, low, true), low]);
        let block = at.at("block2");
        (self.separable(&block.at("0"), &block.at("1"), x, three()), self.root.at("segmentation_head.0"))
    }

    fn pooling(&self, x: Node) -> (Node, Scope) {
        let at = self.root.at("segmentation_head");
        let unit = |name: &str, x: Node| Unit::long(&at.at(name)).apply(x, Conv::new(256, 1), EPS, Activation::Relu);
        let pool = at.at("conv_pool");
        let mean = pool.resize(unit("conv_pool", pool.global_avg_pool(x)), x, true);
        let x = unit("conv_projection", at.concat(&[mean, unit("conv_aspp", x)]));
        (x, at.at("classifier.convolution"))
    }
}

/// transformers' `MobileNetV2ForSemanticSegmentation`.
fn from_config(value: &serde_json::Value) -> Result<FromConfig> {
    let config: config::Mobile = config::read(value)?;
    config::needs(config.min_depth == 8, "min_depth", "8")?;
    config::needs(config.depth_divisible_by == 8, "depth_divisible_by", "8")?;
    config::needs(config.expand_ratio == 6.0, "expand_ratio", "6")?;
    config::needs(config.first_layer_is_expansion, "first_layer_is_expansion", "true")?;
    config::needs(config.num_channels == 3, "num_channels", "3")?;
    config::arch(&Arch {
        backbone: Backbone::MobilenetV2,
        head: Head::Pooling,
        output_stride: config.output_stride,
        rates: vec![],
        separable: None,
        head_channels: head_channels(),
        width: config.depth_multiplier,
        divisor: eight(),
        last: true,
        padding: Some(config.pad()?),
        eps: Some(config.layer_norm_eps),
        align_corners: false,
        channels: config::rgb(),
        classes: config::classes(value, 21),
    })
}
