//! Chains of 3x3 convolutions for image restoration: DnCNN and FDnCNN (Zhang 2017), IRCNN (Zhang 2017), FFDNet (Zhang 2018),
//! VDSR (Kim 2016).

use serde::Deserialize;

use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Extent, Node, Scope};
use crate::layers::Conv;

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "denoise",
    file: "models/denoise.toml",
    cards: include_str!("denoise.toml"),
    namings: &[
        (Naming::Kair, "model.0.weight"),
        (Naming::Kair, "0.model.0.weight"),
        (Naming::Saoyan, "dncnn.0.weight"),
        (Naming::Deepinv, "in_conv.weight"),
        (Naming::Vdsr, "residual_layer.0.conv.weight"),
        (Naming::Tensorflow, "conv_1/weights"),
        (Naming::Tensorflow, "conv_1.weight"),
    ],
    reads: "filters, layers, channels",
    build,
    from_config: None,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    channels: usize,
    /// Convolutions.
    depth: usize,
    /// Channels between them.
    width: usize,
    /// Dilation of each convolution; 1 by default.
    #[serde(default)]
    dilations: Vec<usize>,
    /// Whether convolutions have biases; by default as in the checkpoint.
    bias: Option<bool>,
    /// Epsilon of the batch norms after all convolutions but the first and the last, which a checkpoint may have folded.
    norm_eps: Option<f64>,
    /// How the image follows from the chain's output.
    output: Output,
    /// Factor of the pixel unshuffle before the chain, and of the pixel shuffle after it.
    #[serde(default = "one")]
    shuffle: usize,
    /// Standard deviation (of 255) of the noise map, which is the last channel of the chain's input.
    sigma: Option<f64>,
    /// Which of a checkpoint's noise levels, from 0.
    level: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Output {
    /// The image.
    Image,
    /// Subtracted from the input.
    Noise,
    /// Added to the input.
    Detail,
}

fn one() -> usize {
    1
}

/// Noise levels in KAIR's IRCNN files.
const LEVELS: usize = 25;

fn build(root: &Scope, card: &Card, naming: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.within("depth", arch.depth, 2..=200)?;
    card.within("shuffle", arch.shuffle, 1..=8)?;
    card.within("level", arch.level.unwrap_or(0), 0..=LEVELS - 1)?;
    card.check_sizes("widths", &[arch.channels, arch.width])?;
    card.check_sizes("dilations", &arch.dilations)?;
    if !arch.dilations.is_empty() && arch.dilations.len() != arch.depth {
        return Err(card.wrong(format!("{} dilations for depth {}", arch.dilations.len(), arch.depth)));
    }
    let chain = Chain::new(root, naming, &arch);
    let depth = chain.depth;
    let noise = usize::from(arch.sigma.is_some());
    let folded = arch.shuffle * arch.shuffle;
    let inputs = chain.place(0).0.inputs("").or(arch.channels * folded + noise).saturating_sub(noise);
    let channels = if inputs.is_multiple_of(folded) { (inputs / folded).max(1) } else { arch.channels };
    let image = root.input(channels);
    let mut x = image;
    if arch.shuffle > 1 {
        x = root.pixel_unshuffle(x, arch.shuffle);
    }
    if let Some(sigma) = arch.sigma {
        x = root.concat(&[x, root.fill(x, (sigma / 255.0) as f32)]);
    }
    for i in 0..depth {
        let dilation = arch.dilations.get(i).copied().unwrap_or(1);
        let last = i + 1 == depth;
        let width = if last { channels * folded } else { arch.width };
        let conv = Conv { bias: arch.bias, ..Conv::new(width, 3).padding(dilation).dilation(dilation) };
        let (at, norm) = chain.place(i);
        // The last convolution makes the image.
        let at = if last { at.exact() } else { at };
        x = at.conv(x, conv);
        if let (Some(norm), Some(eps)) = (norm, arch.norm_eps) {
            x = norm.batch_norm(x, eps);
        }
        if !last {
            x = at.relu(x);
        }
    }
    if arch.shuffle > 1 {
        x = root.pixel_shuffle(x, arch.shuffle);
    }
    Ok(match arch.output {
        Output::Image => x,
        Output::Noise => root.sub(image, x),
        Output::Detail => root.add(image, x),
    })
}

/// Where the parameters of the chain are.
struct Chain {
    root: Scope,
    naming: Naming,
    depth: usize,
    normed: bool,
}

impl Chain {
    fn new(root: &Scope, naming: Naming, arch: &Arch) -> Self {
        let mut root = root.clone();
        let normed = arch.norm_eps.is_some();
        let normed = match naming {
            // A folded checkpoint has no norms, and numbers its layers without them.
            Naming::Kair => {
                if let Some(level) =
                    arch.level.filter(|_| root.has("0.model.0.weight") && root.shape("0.model.0.weight").is_some())
                {
                    (0..LEVELS).filter(|&other| other != level).for_each(|other| root.skip(&other.to_string()));
                    root = root.at(level);
                }
                normed && root.at("model.3").has("running_mean")
            }
            Naming::Tensorflow => {
                // Unless TensorFlow's spelling has been changed to ours.
                if root.shape("conv_1.weight").is_none() {
                    root = root.renamed(tensorflow);
                }
                normed
            }
            _ => normed,
        };
        let mut chain = Self { root, naming, depth: arch.depth, normed };
        // The dilations of the card are those of its own depth.
        if arch.dilations.is_empty() {
            chain.depth = chain.stored_depth().or(arch.depth);
        }
        chain
    }

    /// Convolutions in the checkpoint: those of the parts that repeat, and those before and after them.
    fn stored_depth(&self) -> Extent<'_> {
        let Self { root, naming, normed, .. } = self;
        match naming {
            Naming::Deepinv => root.parts("conv_list.", 0).plus(2),
            Naming::Vdsr => root.parts("residual_layer.", 0).plus(2),
            Naming::Tensorflow => root.parts("conv_", 1),
            naming => {
                let name = if *naming == Naming::Saoyan { "dncnn" } else { "model" };
                // Convolution, (norm,) activation; the first has no norm.
                let place = |i: usize| if *normed { (3 * i).saturating_sub(1) } else { 2 * i };
                root.parts_at(name, |i| format!("{name}.{}", place(i)))
            }
        }
    }

    /// Paths of convolution `i` and of the norm after it, if there is one.
    fn place(&self, i: usize) -> (Scope, Option<Scope>) {
        let Self { root, naming, depth, normed } = self;
        let last = i + 1 == *depth;
        let inner = *normed && i > 0 && !last;
        let sequence = |name: &str| {
            // Convolution, (norm,) activation.
            let at = if *normed { (3 * i).saturating_sub(1) } else { 2 * i };
            (root.at(format!("{name}.{at}")), inner.then(|| root.at(format!("{name}.{}", at + 1))))
        };
        match naming {
            Naming::Saoyan => sequence("dncnn"),
            Naming::Deepinv if i == 0 => (root.at("in_conv"), None),
            Naming::Deepinv if last => (root.at("out_conv"), None),
            Naming::Deepinv => (root.at(format!("conv_list.{}", i - 1)), None),
            Naming::Vdsr if i == 0 => (root.at("input"), None),
            Naming::Vdsr if last => (root.at("output"), None),
            Naming::Vdsr => (root.at(format!("residual_layer.{}.conv", i - 1)), None),
            Naming::Tensorflow => {
                let norm = if i < 2 { "BatchNorm".to_owned() } else { format!("BatchNorm_{}", i - 1) };
                (root.at(format!("conv_{}", i + 1)), inner.then(|| root.at(norm)))
            }
            _ => sequence("model"),
        }
    }
}

/// TensorFlow's names of our parameters.
fn tensorflow(name: &str) -> String {
    let (place, parameter) = name.rsplit_once('.').unwrap_or(("", name));
    let parameter = match (place.starts_with("BatchNorm"), parameter) {
        (true, "weight") => "gamma",
        (true, "bias") => "beta",
        (_, "weight") => "weights",
        (_, "bias") => "biases",
        (_, "running_mean") => "moving_mean",
        (_, "running_var") => "moving_variance",
        (_, other) => other,
    };
    format!("{place}/{parameter}")
}
