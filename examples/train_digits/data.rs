//! The digits: parses and checks the csv, enlarges, scales and shifts the images.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Height and width of a digit in the data set: ink in 4x4 cells, 0..=16.
const CELLS: usize = 8;
/// Height and width of the images the network sees.
pub const SIZE: usize = 32;
/// Pixels of an image.
pub const PIXELS: usize = SIZE * SIZE;
/// Classes, named by the digit they mean.
pub const CLASSES: usize = 10;
/// Leading samples that are trained on; the rest is held out.
pub const TRAIN: usize = 1437;

/// Square grey images with their classes.
pub struct Digits {
    /// `[N, 32, 32]`, 0 is paper, 255 is ink.
    pub pixels: Vec<u8>,
    /// `[N]`
    pub labels: Vec<u8>,
}

impl Digits {
    /// Parses the csv; every line is checked, and an error names the first wrong line.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        ensure!(!bytes.starts_with(&[0x1f, 0x8b]), "{0}: still compressed; gunzip -k {0}", path.display());
        let text = String::from_utf8(bytes).with_context(|| format!("{}: not text", path.display()))?;
        let mut digits = Self { pixels: Vec::new(), labels: Vec::new() };
        for (line, number) in text.lines().zip(1..) {
            digits.push(line).with_context(|| format!("{}: line {number}", path.display()))?;
        }
        let len = digits.len();
        ensure!(len > TRAIN, "{}: {len} samples, more than {TRAIN} are needed", path.display());
        Ok(digits)
    }

    fn push(&mut self, line: &str) -> Result<()> {
        let parse = |field: &str| field.trim().parse::<u8>().with_context(|| format!("field {field:?}"));
        let fields = line.split(',').map(parse).collect::<Result<Vec<_>>>()?;
        let Some((&label, cells)) = fields.split_last().filter(|(_, cells)| cells.len() == CELLS * CELLS) else {
            bail!("{} fields, {} are needed", fields.len(), CELLS * CELLS + 1);
        };
        ensure!(usize::from(label) < CLASSES, "class {label} is above {}", CLASSES - 1);
        ensure!(cells.iter().all(|&cell| cell <= 16), "a cell is above 16");
        self.pixels.extend(enlarge(cells));
        self.labels.push(label);
        Ok(())
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The samples to train on and those held out.
    pub fn split(&self) -> (Self, Self) {
        let (pixels, labels) = (self.pixels.split_at(TRAIN * PIXELS), self.labels.split_at(TRAIN));
        let part = |pixels: &[u8], labels: &[u8]| Self { pixels: pixels.to_vec(), labels: labels.to_vec() };
        (part(pixels.0, labels.0), part(pixels.1, labels.1))
    }

    /// The pixels of one sample.
    pub fn image(&self, sample: usize) -> &[u8] {
        &self.pixels[sample * PIXELS..][..PIXELS]
    }
}

/// Bilinear enlargement by four with half-pixel centres and edges repeated, in integers: all weights are multiples of 1/8.
fn enlarge(cells: &[u8]) -> Vec<u8> {
    // Along one axis output pixel x lies at (2x - 3) / 8 cells; the result is (left cell, right cell, right cell's eighths).
    let taps = |x: usize| {
        let at = (2 * x as i64 - 3).clamp(0, 8 * (CELLS as i64 - 1)) as usize;
        (at / 8, (at / 8 + 1).min(CELLS - 1), (at % 8) as u32)
    };
    let mut pixels = Vec::with_capacity(PIXELS);
    for (top, bottom, down) in (0..SIZE).map(taps) {
        for (left, right, across) in (0..SIZE).map(taps) {
            let row = |y: usize| {
                let cell = |x: usize| u32::from(cells[y * CELLS + x]);
                cell(left) * (8 - across) + cell(right) * across
            };
            let ink = row(top) * (8 - down) + row(bottom) * down; // 0..=16 * 64
            pixels.push(((ink * 255 + 512) / 1024) as u8);
        }
    }
    pixels
}

/// Normalisation of the pixels, rounded to the four digits of a card.
pub struct Scale {
    /// Mean of the training pixels, in 0..1.
    pub mean: f32,
    /// Their standard deviation.
    pub std: f32,
}

impl Scale {
    /// The scale that gives these pixels mean 0 and deviation 1.
    pub fn of(pixels: &[u8]) -> Self {
        let (mut sum, mut squares) = (0u64, 0u64);
        for &pixel in pixels {
            sum += u64::from(pixel);
            squares += u64::from(pixel).pow(2);
        }
        let len = pixels.len() as f64;
        let mean = sum as f64 / len;
        let std = (squares as f64 / len - mean * mean).sqrt();
        let round = |value: f64| ((value / 255.0 * 1e4).round() / 1e4) as f32;
        Self { mean: round(mean), std: round(std) }
    }

    /// A pixel as the network's input.
    pub fn apply(&self, pixel: u8) -> f32 {
        (f32::from(pixel) / 255.0 - self.mean) / self.std
    }
}

/// The image shifted down and right by `shift`, filled with paper (0).
pub fn shifted(pixels: &[u8], shift: [i64; 2]) -> impl Iterator<Item = u8> {
    let inside = |at: i64| usize::try_from(at).ok().filter(|&at| at < SIZE);
    (0..PIXELS).map(move |at| {
        let y = inside((at / SIZE) as i64 - shift[0]);
        let x = inside((at % SIZE) as i64 - shift[1]);
        y.zip(x).map_or(0, |(y, x)| pixels[y * SIZE + x])
    })
}
