//! The network: a CIFAR ResNet of one block a layer, for grey images, with projection shortcuts and torchvision's names.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{D, Device, Tensor, Var};
use candle_nn::{BatchNorm, Init, Linear, Module, ModuleT, VarBuilder, VarMap};

use crate::data::{CLASSES, Digits, PIXELS, SIZE, Scale};
use crate::random::SplitMix64;
use crate::unfold::convolve;

/// Channels of the three layers; each after the first halves the map.
const WIDTHS: [usize; 3] = [16, 32, 64];
const EPS: f64 = 1e-5;

/// The whole network. Values inside are `[C, N, H, W]`.
pub struct Net {
    stem: Unit,
    blocks: Vec<Block>,
    fc: Linear,
}

impl Net {
    /// Takes the parameters from `root`, or creates them there.
    pub fn new(root: &VarBuilder) -> Result<Self> {
        let stem = Unit::new(root, ["conv1", "bn1"], [1, WIDTHS[0]], 3, 1)?;
        let mut blocks = Vec::new();
        let mut channels = WIDTHS[0];
        for (layer, out) in WIDTHS.into_iter().enumerate() {
            let stride = if layer == 0 { 1 } else { 2 };
            blocks.push(Block::new(&root.pp(format!("layer{}.0", layer + 1)), [channels, out], stride)?);
            channels = out;
        }
        Ok(Self { stem, blocks, fc: candle_nn::linear(channels, CLASSES, root.pp("fc"))? })
    }

    /// Logits `[N, 10]` of scaled pixels `[N, 32, 32]`; with `train`, batch norms use and update the batch statistics.
    pub fn forward(&self, pixels: Vec<f32>, train: bool) -> Result<Tensor> {
        let images = pixels.len() / PIXELS;
        let mut x = Tensor::from_vec(pixels, (1, images, SIZE, SIZE), &Device::Cpu)?;
        x = self.stem.forward(&x, train)?.relu()?;
        for block in &self.blocks {
            x = block.forward(&x, train)?;
        }
        Ok(self.fc.forward(&x.mean((2, 3))?.t()?)?)
    }

    /// Number of correctly classified samples.
    pub fn correct(&self, digits: &Digits, scale: &Scale) -> Result<usize> {
        let mut correct = 0;
        for (pixels, labels) in digits.pixels.chunks(64 * PIXELS).zip(digits.labels.chunks(64)) {
            let scaled = pixels.iter().map(|&pixel| scale.apply(pixel)).collect();
            let classes = self.forward(scaled, false)?.argmax(D::Minus1)?.to_vec1::<u32>()?;
            correct += classes.iter().zip(labels).filter(|&(&class, &label)| class == u32::from(label)).count();
        }
        Ok(correct)
    }
}

/// Convolution without bias, then batch norm.
struct Unit {
    weight: Tensor,
    stride: usize,
    norm: BatchNorm,
}

impl Unit {
    fn new(at: &VarBuilder, names: [&str; 2], channels: [usize; 2], kernel: usize, stride: usize) -> Result<Self> {
        let shape = (channels[1], channels[0], kernel, kernel);
        let weight = at.pp(names[0]).get_with_hints(shape, "weight", Init::Const(0.0))?; // values: `initialise`
        Ok(Self { weight, stride, norm: candle_nn::batch_norm(channels[1], EPS, at.pp(names[1]))? })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        // candle norms axis 1: two transposed views, no copy.
        let y = convolve(x, &self.weight, self.stride)?.transpose(0, 1)?;
        Ok(self.norm.forward_t(&y, train)?.transpose(0, 1)?)
    }
}

/// Two 3x3 convolutions and a shortcut.
struct Block {
    first: Unit,
    second: Unit,
    shortcut: Option<Unit>,
}

impl Block {
    fn new(at: &VarBuilder, channels: [usize; 2], stride: usize) -> Result<Self> {
        let out = channels[1];
        let shortcut = (channels[0] != out || stride != 1)
            .then(|| Unit::new(at, ["downsample.0", "downsample.1"], channels, 1, stride))
            .transpose()?;
        let first = Unit::new(at, ["conv1", "bn1"], channels, 3, stride)?;
        Ok(Self { first, second: Unit::new(at, ["conv2", "bn2"], [out, out], 3, 1)?, shortcut })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.second.forward(&self.first.forward(x, train)?.relu()?, train)?;
        Ok(match &self.shortcut {
            Some(unit) => (y + unit.forward(x, train)?)?.relu()?,
            None => (y + x)?.relu()?,
        })
    }
}

/// He-normal weights and a zero bias of the classifier; batch norms keep candle's 1 and 0. candle's own initialisation cannot
/// be seeded on the CPU.
pub fn initialise(variables: &VarMap, random: &mut SplitMix64) -> Result<()> {
    for (name, variable) in by_name(variables) {
        let dims = variable.dims();
        if dims.len() > 1 {
            let gain = if name == "fc.weight" { 1.0 } else { 2.0 }; // no ReLU follows the classifier
            let deviation = (gain / dims[1..].iter().product::<usize>() as f64).sqrt();
            let values = (0..variable.elem_count()).map(|_| (random.normal() * deviation) as f32).collect();
            variable.set(&Tensor::from_vec(values, dims, &Device::Cpu)?)?;
        } else if name == "fc.bias" {
            variable.set(&variable.zeros_like()?)?;
        }
    }
    Ok(())
}

/// The variables in order of their names, so that the seed alone decides: candle keeps them in a hash map.
pub fn by_name(variables: &VarMap) -> BTreeMap<String, Var> {
    let held = variables.data().lock().expect("no thread panicked while it held the variables");
    held.iter().map(|(name, variable)| (name.clone(), variable.clone())).collect()
}
