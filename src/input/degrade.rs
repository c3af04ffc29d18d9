//! Degradation of clean images, as input for restoration networks: noise, a colour filter, a smaller size.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use super::decode::Pixels;
use super::resize::{Interpolation, resize};

/// What is done to an image before it becomes the network's input; the original is then the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Degradation {
    /// Nothing: the image is degraded already.
    #[default]
    None,
    /// Gaussian noise of standard deviation `sigma` (of 255), seeded by `seed` and the image's content: the same in any order
    /// and split.
    Noise {
        /// Standard deviation, of 255.
        sigma: f64,
        /// Seed.
        seed: u64,
    },
    /// Only the colour that the Bayer filter (green red, blue green) passes, for each pixel.
    Bayer,
    /// Only the colour that the X-Trans filter passes, for each pixel: a pattern of six rows and columns.
    Xtrans,
    /// Downscaled by this factor and upscaled again, both bicubic.
    Bicubic(usize),
}

impl Degradation {
    /// Whether it leaves images as they are.
    pub fn is_none(self) -> bool {
        self == Self::None
    }

    /// The image cropped to a multiple of the downscaling factor; and the degraded image, if the degradation works on 8-bit
    /// pixels.
    pub(super) fn pixels(self, image: Pixels) -> (Pixels, Option<Pixels>) {
        let Self::Bicubic(factor) = self else { return (image, None) };
        let cut = image.cut(image.h / factor * factor, image.w / factor * factor);
        if cut.h * cut.w == 0 {
            return (image, None);
        }
        let small = resize(&cut, cut.h / factor, cut.w / factor, Interpolation::Bicubic);
        let bad = resize(&small, cut.h, cut.w, Interpolation::Bicubic);
        (cut, Some(bad))
    }

    /// Degrades `values` `[C, H, W]`, with `unit` per 255 grey levels, if the degradation works on floats. The noise is
    /// seeded by `digest`.
    pub(super) fn values(self, values: &mut [f32], [c, h, w]: [usize; 3], unit: f64, digest: &[u8; 32]) {
        match self {
            Self::None | Self::Bicubic(_) => {}
            Self::Noise { sigma, seed } => {
                let mut key = *digest;
                key.iter_mut().zip(seed.to_le_bytes()).for_each(|(byte, seed)| *byte ^= seed);
                let mut random = ChaCha8Rng::from_seed(key);
                let normal = Normal::new(0.0, sigma * unit).expect("a standard deviation is finite and not negative");
                for value in values {
                    *value += normal.sample(&mut random) as f32;
                }
            }
            Self::Bayer => filtered(values, [c, h, w], |row, column| match (row % 2, column % 2) {
                (0, 1) => 0,
                (1, 0) => 2,
                _ => 1,
            }),
            Self::Xtrans => filtered(values, [c, h, w], |row, column| match XTRANS[row % 6][column % 6] {
                b'r' => 0,
                b'b' => 2,
                _ => 1,
            }),
        }
    }
}

/// Colours of the X-Trans filter, by rows.
const XTRANS: [&[u8; 6]; 6] = [b"gbggrg", b"rgrbgb", b"gbggrg", b"grggbg", b"bgbrgr", b"grggbg"];

/// Sets what the filter does not pass to zero: at each row and column it passes channel `colour`.
fn filtered(values: &mut [f32], [c, h, w]: [usize; 3], colour: impl Fn(usize, usize) -> usize) {
    for channel in 0..c {
        for (i, value) in values[channel * h * w..][..h * w].iter_mut().enumerate() {
            if channel != colour(i / w, i % w) {
                *value = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_its_deviation_and_depends_on_seed_and_image_only() {
        let noisy = |seed, digest| {
            let mut values = vec![0.5; 40_000];
            let noise = Degradation::Noise { sigma: 25.0, seed };
            noise.values(&mut values, [1, 200, 200], 1.0 / 255.0, &[digest; 32]);
            values
        };
        let values = noisy(0, 1);
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let deviation = (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt() * 255.0;
        assert!((mean - 0.5).abs() < 0.002 && (deviation - 25.0).abs() < 0.3, "{mean} {deviation}");
        assert_eq!(values, noisy(0, 1));
        assert!(values != noisy(1, 1) && values != noisy(0, 2));
    }

    #[test]
    fn a_bayer_filter_lets_one_colour_through() {
        let mut values = vec![1.0; 12];
        Degradation::Bayer.values(&mut values, [3, 2, 2], 1.0, &[0; 32]);
        assert_eq!(values, [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn an_x_trans_filter_passes_each_colour_in_every_row_and_column() {
        let mut values = vec![1.0; 3 * 36];
        Degradation::Xtrans.values(&mut values, [3, 6, 6], 1.0, &[0; 32]);
        let at = |channel: usize, row: usize, column: usize| values[(channel * 6 + row) * 6 + column];
        for i in 0..36 {
            assert_eq!((0..3).map(|channel| at(channel, i / 6, i % 6)).sum::<f32>(), 1.0, "{i}");
        }
        // Of 36 pixels 8 are red, 20 green, 8 blue; each line has all colours.
        let count = |channel: usize| values[channel * 36..][..36].iter().sum::<f32>();
        assert_eq!([0, 1, 2].map(count), [8.0, 20.0, 8.0]);
        for line in 0..6 {
            for channel in 0..3 {
                assert!((0..6).any(|i| at(channel, line, i) == 1.0) && (0..6).any(|i| at(channel, i, line) == 1.0));
            }
        }
        assert_eq!((at(2, 0, 1), at(0, 0, 4), at(0, 1, 0), at(2, 3, 4)), (1.0, 1.0, 1.0, 1.0));
    }

    #[test]
    fn an_image_is_cut_before_it_is_made_smaller() {
        let image = Pixels { h: 7, w: 9, c: 1, data: vec![80; 63] };
        let (cut, bad) = Degradation::Bicubic(3).pixels(image.clone());
        assert_eq!((cut.h, cut.w), (6, 9));
        assert_eq!(bad.unwrap(), Pixels { h: 6, w: 9, c: 1, data: vec![80; 54] });
        assert_eq!(Degradation::None.pixels(image.clone()), (image, None));
    }
}
