//! Resampling of 8-bit images, bit-exact with Pillow.
//!
//! Two passes, along rows and along columns. Each output value is a fixed-point sum of input values, with a filter that
//! widens when downscaling. Coefficients have 22 fraction bits; values are rounded to 8 bits after each pass; a pass that
//! would not change the size is skipped.

use serde::Deserialize;

use super::decode::Pixels;

/// Fraction bits of a coefficient: 32 minus the 8 of a value and 2 that keep overshooting filters in range.
const PRECISION: u32 = 32 - 8 - 2;

/// The filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Triangle of radius 1.
    Bilinear,
    /// Keys' cubic with a = -0.5, radius 2.
    Bicubic,
    /// Sinc windowed by sinc, radius 3.
    Lanczos,
}

impl Interpolation {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    fn radius(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            Self::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// For each output index: the first input index of its sum, and its coefficients.
fn coefficients(from: usize, to: usize, filter: Interpolation) -> Vec<(usize, Vec<i32>)> {
    let scale = from as f64 / to as f64;
    let widening = scale.max(1.0);
    let support = filter.radius() * widening;
    (0..to)
        .map(|place| {
            let center = (place as f64 + 0.5) * scale;
            // Truncation, not floor: Pillow converts to an integer and then clips at 0.
            let first = ((center - support + 0.5) as i64).max(0) as usize;
            let end = ((center + support + 0.5) as i64).min(from as i64) as usize;
            let at = |i: usize| filter.weight((i as f64 - center + 0.5) * (1.0 / widening));
            let weights: Vec<f64> = (first..end).map(at).collect();
            let total: f64 = weights.iter().sum();
            let fixed = |weight: &f64| {
                let scaled = (if total == 0.0 { *weight } else { weight / total }) * f64::from(1 << PRECISION);
                // Rounds half away from zero.
                if scaled < 0.0 { (scaled - 0.5) as i32 } else { (scaled + 0.5) as i32 }
            };
            (first, weights.iter().map(fixed).collect())
        })
        .collect()
}

fn narrow(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION - 1);

/// `image` resized to `h` rows and `w` columns.
pub fn resize(image: &Pixels, h: usize, w: usize, filter: Interpolation) -> Pixels {
    // Rows are resampled first if they shrink more than twice as much as columns (Pillow 13).
    let [rows_lost, columns_lost] = [(image.h, h), (image.w, w)].map(|(from, to)| from as i64 - to as i64);
    if rows_lost > 0 && rows_lost > 2 * columns_lost {
        columns(&rows(image, h, filter), w, filter)
    } else {
        rows(&columns(image, w, filter), h, filter)
    }
}

/// Resamples every row of `image` to `w` columns.
fn columns(image: &Pixels, w: usize, filter: Interpolation) -> Pixels {
    let c = image.c;
    if w == image.w {
        return image.clone();
    }
    let columns = coefficients(image.w, w, filter);
    let mut data = Vec::with_capacity(image.h * w * c);
    for row in image.data.chunks_exact(image.w * c) {
        for (first, weights) in &columns {
            let mut sums = [HALF; 3];
            for (pixel, &weight) in row[first * c..].chunks_exact(c).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            data.extend(sums[..c].iter().map(|&sum| narrow(sum)));
        }
    }
    Pixels { w, data, ..*image }
}

/// Resamples every column of `image` to `h` rows.
fn rows(image: &Pixels, h: usize, filter: Interpolation) -> Pixels {
    if h == image.h {
        return image.clone();
    }
    let len = image.w * image.c;
    let mut data = Vec::with_capacity(h * len);
    let mut sums = vec![0; len];
    for (first, weights) in &coefficients(image.h, h, filter) {
        sums.fill(HALF);
        for (row, &weight) in image.data[first * len..].chunks_exact(len).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        data.extend(sums.iter().map(|&sum| narrow(sum)));
    }
    Pixels { h, data, ..*image }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::hex::hex;

    #[derive(serde::Deserialize)]
    struct Case {
        filter: Interpolation,
        channels: usize,
        from: [usize; 2],
        to: [usize; 2],
        sha256: String,
    }

    /// The test image of the reference script: some waves and edges, different in each channel.
    pub(crate) fn picture(h: usize, w: usize, c: usize) -> Pixels {
        let value = |i: usize| {
            let (y, x, k) = (i / (w * c), i / c % w, i % c);
            ((x * x * (k + 1) + 7 * y + (x * y) / 3 + 40 * ((x / 5 + y / 7) % 3) + 90 * k) % 256) as u8
        };
        Pixels { h, w, c, data: (0..h * w * c).map(value).collect() }
    }

    #[test]
    fn equals_pillow_bit_for_bit() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/reference/resize.json")).unwrap();
        assert!(cases.len() > 20);
        let wrong: Vec<_> = cases
            .iter()
            .filter(|case| {
                let [h, w] = case.from;
                let got = resize(&picture(h, w, case.channels), case.to[0], case.to[1], case.filter);
                let digest = hex(Sha256::digest(&got.data));
                digest != case.sha256
            })
            .map(|case| (case.filter, case.channels, case.from, case.to))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
