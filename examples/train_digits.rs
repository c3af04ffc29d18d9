//! Trains the built-in model: a small ResNet on the handwritten digits that scikit-learn's wheel carries.
//!
//! ```text
//! pip download scikit-learn && unzip -p scikit_learn-*.whl sklearn/datasets/data/digits.csv.gz | gunzip > digits.csv
//! cargo run --release --example train_digits -- digits.csv --out models/demo
//! ```
//!
//! Data: test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning
//! Repository (CC BY 4.0). The first 1,437 images train, the last 360 test; 32 of those are stored as built-in inputs.
//! Initial values, order and shifts come from one seed, and training is the same to the bit for one thread count.
#![allow(clippy::print_stdout, reason = "a program that tells its progress")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Module, ModuleT, Tensor};
use candle_nn::{AdamW, BatchNorm, Conv2d, Conv2dConfig, Linear, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use clap::Parser;
use safetensors::tensor::{Dtype, TensorView};

/// Side of an image of the file, and of an input: each pixel becomes 2 x 2.
const SMALL: usize = 8;
const SIDE: usize = 16;
/// Images that train; the others test.
const TRAIN: usize = 1437;
/// Test images that are stored as built-in inputs.
const STORED: usize = 32;
/// The card's normalisation: mean and standard deviation of a pixel.
const MEAN: f64 = 0.305;
const STD: f64 = 0.376;
const WIDTHS: [usize; 3] = [16, 32, 64];
const BATCH: usize = 32;

#[derive(Parser)]
#[command(about = "Train the built-in digits classifier")]
struct Args {
    /// Unpacked digits.csv: 64 pixels of 0 to 16 and the digit, a line each.
    data: PathBuf,
    /// Directory that gets digits.safetensors and digits_inputs.safetensors.
    #[arg(long, default_value = "models/demo")]
    out: PathBuf,
    /// Of initial values, order and shifts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Passes over the training images.
    #[arg(long, default_value_t = 10)]
    epochs: usize,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In 0..1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// A convolution and its batch norm.
struct Unit(Conv2d, BatchNorm);

impl Unit {
    fn new(
        c: usize,
        k: usize,
        size: usize,
        stride: usize,
        conv: VarBuilder<'_>,
        norm: VarBuilder<'_>,
    ) -> candle_core::Result<Self> {
        let config = Conv2dConfig { padding: size / 2, stride, ..Default::default() };
        Ok(Self(candle_nn::conv2d_no_bias(c, k, size, config, conv)?, candle_nn::batch_norm(k, 1e-5, norm)?))
    }

    fn forward(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        self.1.forward_t(&self.0.forward(x)?, train)
    }
}

struct Block {
    first: Unit,
    second: Unit,
    shortcut: Option<Unit>,
}

struct Net {
    stem: Unit,
    blocks: Vec<Block>,
    head: Linear,
}

impl Net {
    fn new(vb: &VarBuilder<'_>) -> candle_core::Result<Self> {
        let stem = Unit::new(1, WIDTHS[0], 3, 1, vb.pp("conv1"), vb.pp("bn1"))?;
        let mut c = WIDTHS[0];
        let mut blocks = Vec::new();
        for (stage, k) in WIDTHS.into_iter().enumerate() {
            let vb = vb.pp(format!("layer{}.0", stage + 1));
            let stride = if stage == 0 { 1 } else { 2 };
            let first = Unit::new(c, k, 3, stride, vb.pp("conv1"), vb.pp("bn1"))?;
            let second = Unit::new(k, k, 3, 1, vb.pp("conv2"), vb.pp("bn2"))?;
            let shortcut = match c == k {
                true => None,
                false => Some(Unit::new(c, k, 1, stride, vb.pp("downsample.0"), vb.pp("downsample.1"))?),
            };
            blocks.push(Block { first, second, shortcut });
            c = k;
        }
        Ok(Self { stem, blocks, head: candle_nn::linear(c, 10, vb.pp("fc"))? })
    }

    fn forward(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let mut x = self.stem.forward(x, train)?.relu()?;
        for block in &self.blocks {
            let y = block.first.forward(&x, train)?.relu()?;
            let y = block.second.forward(&y, train)?;
            let shortcut = match &block.shortcut {
                Some(unit) => unit.forward(&x, train)?,
                None => x,
            };
            x = (y + shortcut)?.relu()?;
        }
        self.head.forward(&x.mean(3)?.mean(2)?)
    }
}

/// 8-bit images of 16 x 16 and their digits.
fn read(path: &Path) -> Result<(Vec<Vec<u8>>, Vec<u8>)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read as text", path.display()))?;
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let place = || format!("{} line {}", path.display(), number + 1);
        let fields: Vec<f64> = line.split(',').map(str::parse).collect::<Result<_, _>>().with_context(place)?;
        ensure!(fields.len() == SMALL * SMALL + 1, "{}: {} fields, wants 65", place(), fields.len());
        let pixel = |i: usize| (fields[i / SIDE / 2 * SMALL + i % SIDE / 2] * 255.0 / 16.0).round() as u8;
        images.push((0..SIDE * SIDE).map(pixel).collect());
        labels.push(fields[SMALL * SMALL] as u8);
    }
    ensure!(images.len() > TRAIN + STORED, "{}: {} images, wants 1797", path.display(), images.len());
    Ok((images, labels))
}

/// `[N, 1, 16, 16]`, each image moved by its rows and columns.
fn batch(images: &[&Vec<u8>], shifts: &[(usize, usize)]) -> candle_core::Result<Tensor> {
    let mut values = Vec::with_capacity(images.len() * SIDE * SIDE);
    for (image, &(down, across)) in images.iter().zip(shifts) {
        for i in 0..SIDE * SIDE {
            // Shifts count from -2: 2 leaves the image where it is.
            let (y, x) = ((i / SIDE + 2).wrapping_sub(down), (i % SIDE + 2).wrapping_sub(across));
            let value = if y < SIDE && x < SIDE { image[y * SIDE + x] } else { 0 };
            values.push((f32::from(value) / 255.0 - MEAN as f32) / STD as f32);
        }
    }
    Tensor::from_vec(values, (images.len(), 1, SIDE, SIDE), &Device::Cpu)
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (images, labels) = read(&args.data)?;
    let mut vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let net = Net::new(&vb)?;
    let mut random = Random(args.seed);
    initialise(&mut vars, &mut random)?;
    let steps = TRAIN.div_ceil(BATCH) * args.epochs;
    let mut optimiser = AdamW::new(vars.all_vars(), ParamsAdamW { lr: 0.0, weight_decay: 1e-3, ..Default::default() })?;
    let mut order: Vec<usize> = (0..TRAIN).collect();
    let mut step = 0;
    for epoch in 0..args.epochs {
        for i in (1..TRAIN).rev() {
            order.swap(i, random.below(i + 1));
        }
        let mut total = 0.0;
        for chunk in order.chunks(BATCH) {
            let shifts: Vec<_> = chunk.iter().map(|_| (random.below(5), random.below(5))).collect();
            let x = batch(&chunk.iter().map(|&i| &images[i]).collect::<Vec<_>>(), &shifts)?;
            let digits: Vec<u32> = chunk.iter().map(|&i| u32::from(labels[i])).collect();
            let loss = candle_nn::loss::cross_entropy(&net.forward(&x, true)?, &Tensor::new(digits, &Device::Cpu)?)?;
            optimiser.set_learning_rate(4e-3 * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos()));
            optimiser.backward_step(&loss)?;
            total += f64::from(loss.to_scalar::<f32>()?) * chunk.len() as f64;
            step += 1;
        }
        println!(
            "epoch {}: loss {:.4}, test {}/{}",
            epoch + 1,
            total / TRAIN as f64,
            correct(&net, &images, &labels)?,
            images.len() - TRAIN
        );
    }
    let right = correct(&net, &images, &labels)?;
    store(&args, &vars, &format!("{right}/{}", images.len() - TRAIN), &images, &labels)
}

/// He-normal filters and head, unit norms, zero shifts, in the order of the names.
fn initialise(vars: &mut VarMap, random: &mut Random) -> Result<()> {
    let mut shapes: Vec<(String, Vec<usize>)> = {
        let data = vars.data().lock().map_err(|_| anyhow::anyhow!("the variables are locked"))?;
        data.iter().map(|(name, var)| (name.clone(), var.dims().to_vec())).collect()
    };
    shapes.sort();
    for (name, shape) in shapes {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = match (name.rsplit('.').next(), shape.len()) {
            (Some("weight"), 2..) => {
                let deviation = (2.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
                (0..count).map(|_| (deviation * random.normal()) as f32).collect()
            }
            (Some("weight" | "running_var"), _) => vec![1.0; count],
            _ => vec![0.0; count],
        };
        vars.set_one(name, Tensor::from_vec(values, shape, &Device::Cpu)?)?;
    }
    Ok(())
}

fn correct(net: &Net, images: &[Vec<u8>], labels: &[u8]) -> Result<usize> {
    let mut right = 0;
    for start in (TRAIN..images.len()).step_by(60) {
        let range = start..images.len().min(start + 60);
        let x = batch(&images[range.clone()].iter().collect::<Vec<_>>(), &vec![(2, 2); range.len()])?;
        let answers: Vec<u32> = net.forward(&x, false)?.argmax(1)?.to_vec1()?;
        right += answers.iter().zip(&labels[range]).filter(|(answer, label)| **answer == u32::from(**label)).count();
    }
    Ok(right)
}

fn store(args: &Args, vars: &VarMap, accuracy: &str, images: &[Vec<u8>], labels: &[u8]) -> Result<()> {
    let data = vars.data().lock().map_err(|_| anyhow::anyhow!("the variables are locked"))?;
    let mut tensors = Vec::new();
    for (name, var) in data.iter() {
        let values: Vec<f32> = var.flatten_all()?.to_vec1()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensors.push((name.clone(), var.dims().to_vec(), bytes));
    }
    tensors.sort();
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<_>>()?;
    let metadata = HashMap::from([
        ("source".to_owned(), "trained by examples/train_digits.rs on the digits of scikit-learn's wheel".to_owned()),
        ("data".to_owned(), "Optical Recognition of Handwritten Digits, UCI, CC BY 4.0".to_owned()),
        ("licence".to_owned(), "MIT OR Apache-2.0".to_owned()),
        ("seed".to_owned(), args.seed.to_string()),
        ("test accuracy".to_owned(), accuracy.to_owned()),
    ]);
    std::fs::create_dir_all(&args.out)?;
    std::fs::write(args.out.join("digits.safetensors"), safetensors::serialize(views, Some(metadata))?)?;
    let pixels: Vec<u8> = images[TRAIN..TRAIN + STORED].concat();
    let views = [
        ("images", TensorView::new(Dtype::U8, vec![STORED, SIDE, SIDE, 1], &pixels)?),
        ("labels", TensorView::new(Dtype::U8, vec![STORED], &labels[TRAIN..TRAIN + STORED])?),
    ];
    let metadata = HashMap::from([(
        "source".to_owned(),
        "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI, CC BY 4.0; pixels repeated 2 x 2"
            .to_owned(),
    )]);
    std::fs::write(args.out.join("digits_inputs.safetensors"), safetensors::serialize(views, Some(metadata))?)?;
    println!("test accuracy {accuracy}; written to {}", args.out.display());
    Ok(())
}
