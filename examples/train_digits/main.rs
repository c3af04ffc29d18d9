//! Trains the built-in model: a small CIFAR-style ResNet on the handwritten digits that scikit-learn's package carries.
//!
//! `models/demo/README.md` says how to get the data and run this. It writes the weights (`digits.safetensors`) and the first
//! 32 held-out images (`digits_inputs.safetensors`). Everything random comes from `--seed`, so two runs on one machine
//! write the same bytes; another CPU may take other matrix kernels, which round differently.
#![allow(clippy::print_stdout)] // an example talks to the terminal; the library does not

mod data;
mod net;
mod random;
mod store;
mod unfold;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use clap::Parser;

use data::{Digits, PIXELS, SIZE, Scale, shifted};
use net::{Net, by_name, initialise};
use random::SplitMix64;

const SOURCE: &str = "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning \
                      Repository (doi 10.24432/C50P49), the test part as scikit-learn's digits.csv.gz has it";
const LICENCE: &str = "data: CC BY 4.0; weights: MIT OR Apache-2.0, as deadweight";
/// Held-out images that are stored beside the weights.
const STORED: usize = 32;
const BATCH: usize = 32;
const PEAK_RATE: f64 = 3e-3;
const WEIGHT_DECAY: f64 = 5e-2;
/// Largest shift of a training image in pixels, either way on both axes.
const SHIFT: i64 = 3;

/// Trains the built-in digits classifier and writes its weights and sample images
#[derive(Parser)]
struct Args {
    /// digits.csv of scikit-learn, gunzipped: 64 cells of 0..=16 and the class a line
    data: PathBuf,
    /// Seed of the initial weights, the order of the samples and their shifts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder to write the two files to
    #[arg(long, default_value = "models/demo")]
    out: PathBuf,
    /// Passes over the training samples
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.out.is_dir(), "{}: not a folder", args.out.display());
    let (train, test) = Digits::read(&args.data)?.split();
    let scale = Scale::of(&train.pixels);
    println!("{} samples to train on, {} held out; mean {}, std {}", train.len(), test.len(), scale.mean, scale.std);

    let variables = VarMap::new();
    let net = Net::new(&VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu))?;
    let mut random = SplitMix64::new(args.seed);
    initialise(&variables, &mut random)?;
    fit(&net, &variables, &train, &scale, &mut random, args.epochs as usize)?;

    let correct = net.correct(&test, &scale)?;
    let card = [
        ("accuracy", format!("{correct} of {} held-out samples", test.len())),
        ("command", format!("train_digits digits.csv --seed {} --epochs {}", args.seed, args.epochs)),
        ("input", format!("[N, 1, {SIZE}, {SIZE}], (pixel / 255 - {}) / {}", scale.mean, scale.std)),
        ("licence", LICENCE.into()),
        ("source", SOURCE.into()),
    ];
    let path = args.out.join("digits.safetensors");
    store::write(&path, &store::variables(&by_name(&variables))?, &card)?;
    store::write(&args.out.join("digits_inputs.safetensors"), &store::images(&test, STORED), &card[3..])?;

    // Only the file matters: read back, running statistics included, it must classify as the network just did.
    let read = candle_core::safetensors::load(&path, &Device::Cpu)?;
    let again = Net::new(&VarBuilder::from_tensors(read, DType::F32, &Device::Cpu))?.correct(&test, &scale)?;
    ensure!(again == correct, "{}: read back it gets {again} right, not {correct}", path.display());
    println!("held out: {correct} of {} right ({:.2} %)", test.len(), 100.0 * correct as f64 / test.len() as f64);
    println!("{}: {} bytes", path.display(), fs::metadata(&path)?.len());
    Ok(())
}

/// AdamW over shuffled, shifted samples; the learning rate warms up over the first epoch and follows a cosine after that.
fn fit(
    net: &Net,
    variables: &VarMap,
    train: &Digits,
    scale: &Scale,
    random: &mut SplitMix64,
    epochs: usize,
) -> Result<()> {
    let learned = by_name(variables).into_iter().filter(|(name, _)| !name.contains("running_"));
    let params = ParamsAdamW { weight_decay: WEIGHT_DECAY, ..ParamsAdamW::default() };
    let mut optimiser = AdamW::new(learned.map(|(_, variable)| variable).collect(), params)?;
    let per_epoch = train.len() / BATCH; // what is left over would make a batch whose samples weigh more
    let begin = Instant::now();
    let mut order = (0..train.len()).collect::<Vec<_>>();
    for epoch in 0..epochs {
        random.shuffle(&mut order);
        let mut losses = 0.0;
        for (batch, samples) in order.chunks_exact(BATCH).enumerate() {
            let step = (epoch * per_epoch + batch) as f64;
            let cosine = 0.5 + 0.5 * (std::f64::consts::PI * step / (epochs * per_epoch) as f64).cos();
            optimiser.set_learning_rate(PEAK_RATE * cosine * ((step + 1.0) / per_epoch as f64).min(1.0));
            let mut pixels = Vec::with_capacity(BATCH * PIXELS);
            for &sample in samples {
                let shift = [random.between(-SHIFT, SHIFT), random.between(-SHIFT, SHIFT)];
                pixels.extend(shifted(train.image(sample), shift).map(|pixel| scale.apply(pixel)));
            }
            let labels = samples.iter().map(|&sample| u32::from(train.labels[sample])).collect();
            let labels = Tensor::from_vec(labels, BATCH, &Device::Cpu)?;
            let loss = candle_nn::loss::cross_entropy(&net.forward(pixels, true)?, &labels)?;
            optimiser.backward_step(&loss)?;
            losses += loss.to_scalar::<f32>()?;
        }
        let (loss, seconds) = (losses / per_epoch as f32, begin.elapsed().as_secs_f32());
        println!("epoch {:2} of {epochs}: loss {loss:.4}, {seconds:.0} s", epoch + 1);
    }
    Ok(())
}
