//! Resampling of 8-bit images, bit-exact with Pillow.
//!
//! Two passes, along rows and along columns. Each output value is a fixed-point sum of input values, with a filter that
//! widens when downscaling. Coefficients have 22 fraction bits; values are rounded to 8 bits after each pass; a pass that
//! does not change the size changes no value. Only the part that is wanted is computed.

use std::ops::Range;

use serde::Deserialize;

use super::decode::Pixels;
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;

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

/// One half of a unit of the result, from which sums start so that they round.
const HALF: i32 = 1 << (PRECISION - 1);

/// How many neighbouring values of a row are summed together, and how many rows are resampled together: several vectors.
const BLOCK: usize = 32;

/// The sums of one pass.
struct Pass {
    /// The input indices that they read.
    read: Range<usize>,
    /// For each output index that is wanted: the first input index, counted from the first that is read, and the
    /// coefficients.
    sums: Vec<(usize, Vec<i32>)>,
}

impl Pass {
    /// The sums at `places` of `to` output indices.
    fn new([from, to]: [usize; 2], places: Range<usize>, filter: Interpolation) -> Self {
        let scale = from as f64 / to as f64;
        let widening = scale.max(1.0);
        let support = filter.radius() * widening;
        let mut sums: Vec<(usize, Vec<i32>)> = places
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
            .collect();
        // Neither end of a sum is before that of the one before it.
        let start = sums.first().map_or(0, |(first, _)| *first);
        let end = sums.last().map_or(0, |(first, weights)| first + weights.len());
        sums.iter_mut().for_each(|(first, _)| *first -= start);
        Self { read: start..end, sums }
    }

    /// Resamples the columns of `data`, rows of `len` values of which the first is the first that is read, to `to`.
    #[inline(always)]
    fn down(&self, data: &[u8], len: usize, to: &mut [u8]) {
        for (to, (first, weights)) in to.chunks_exact_mut(len).zip(&self.sums) {
            let rows = &data[first * len..][..weights.len() * len];
            let (blocks, rest) = to.as_chunks_mut::<BLOCK>();
            let done = blocks.len() * BLOCK;
            for (i, block) in blocks.iter_mut().enumerate() {
                *block = column_sums(rows, len, i * BLOCK, weights);
            }
            for (i, value) in rest.iter_mut().enumerate() {
                [*value] = column_sums(rows, len, done + i, weights);
            }
        }
    }

    /// Resamples the rows of `data`, `width` pixels of `C` channels each, to `to`: `BLOCK` rows at a time are turned to columns.
    /// Of the last ones, which may be fewer, the rest is left from those before, and dropped.
    #[inline(always)]
    fn across<const C: usize>(&self, data: &[u8], width: usize, to: &mut [u8]) {
        let (data, to) = (data.as_chunks::<C>().0, to.as_chunks_mut::<C>().0);
        let (read, sums) = (self.read.len(), self.sums.len());
        let [mut columns, mut resampled] = [read, sums].map(|height| vec![[0; C]; height * BLOCK]);
        for (to, rows) in to.chunks_mut(BLOCK * sums).zip(data.chunks(BLOCK * width)) {
            turn(&rows[self.read.start..], width, &mut columns, BLOCK);
            self.down(columns.as_flattened(), BLOCK * C, resampled.as_flattened_mut());
            turn(&resampled, BLOCK, to, sums);
        }
    }
}

/// Writes the columns of `from`, which has rows of `width`, to the rows of `to`, of `height`.
#[inline(always)]
fn turn<const C: usize>(from: &[[u8; C]], width: usize, to: &mut [[u8; C]], height: usize) {
    for (x, column) in to.chunks_exact_mut(height).enumerate() {
        for (to, &pixel) in column.iter_mut().zip(from[x..].iter().step_by(width)) {
            *to = pixel;
        }
    }
}

/// The sums of `N` neighbouring values of rows of `len`.
#[inline(always)]
fn column_sums<const N: usize>(rows: &[u8], len: usize, at: usize, weights: &[i32]) -> [u8; N] {
    let mut sums = [HALF; N];
    for (row, &weight) in rows.chunks_exact(len).zip(weights) {
        let values = &row[at..at + N];
        for i in 0..N {
            sums[i] += i32::from(values[i]) * weight;
        }
    }
    let mut narrowed = [0; N];
    for i in 0..N {
        narrowed[i] = (sums[i] >> PRECISION).clamp(0, 255) as u8;
    }
    narrowed
}

/// Both passes over an image of `C` channels.
struct Passes<'a, const C: usize> {
    image: &'a Pixels,
    down: Pass,
    across: Pass,
    down_first: bool,
}

impl<const C: usize> Kernel for Passes<'_, C> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Vec<u8> {
        let Self { image, down, across, down_first } = self;
        let len = image.w * C;
        let rows = &image.data[down.read.start * len..down.read.end * len];
        let mut resampled = vec![0; down.sums.len() * across.sums.len() * C];
        if down_first {
            let mut between = vec![0; down.sums.len() * len];
            down.down(rows, len, &mut between);
            across.across::<C>(&between, image.w, &mut resampled);
        } else {
            let len = across.sums.len() * C;
            let mut between = vec![0; down.read.len() * len];
            across.across::<C>(rows, image.w, &mut between);
            down.down(&between, len, &mut resampled);
        }
        resampled
    }
}

/// `image` resized to `h` rows and `w` columns.
///
/// # Panics
/// If it has other than 1 or 3 channels.
pub fn resize(image: &Pixels, h: usize, w: usize, filter: Interpolation) -> Pixels {
    resize_part(image, [h, w], [0..h, 0..w], filter)
}

/// Of `image` resized to `h` rows and `w` columns, the part of these `rows` and `columns`.
///
/// # Panics
/// As [`resize`].
pub(super) fn resize_part(
    image: &Pixels,
    [h, w]: [usize; 2],
    [rows, columns]: [Range<usize>; 2],
    filter: Interpolation,
) -> Pixels {
    let (down, across) = (Pass::new([image.h, h], rows, filter), Pass::new([image.w, w], columns, filter));
    // Rows are resampled first if they shrink more than twice as much as columns (Pillow 13).
    let [rows_lost, columns_lost] = [(image.h, h), (image.w, w)].map(|(from, to)| from as i64 - to as i64);
    let down_first = rows_lost > 0 && rows_lost > 2 * columns_lost;
    let [h, w] = [&down, &across].map(|pass| pass.sums.len());
    let data = match image.c {
        1 => Isa::best().run(Passes::<1> { image, down, across, down_first }),
        3 => Isa::best().run(Passes::<3> { image, down, across, down_first }),
        c => panic!("images have 1 or 3 channels, not {c}"),
    };
    Pixels { h, w, data, ..*image }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
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

    /// Both passes, one value at a time.
    fn plain(image: &Pixels, [h, w]: [usize; 2], filter: Interpolation) -> Pixels {
        let pass = |image: &Pixels, to: [usize; 2], axis: usize| {
            let from = [image.h, image.w];
            let Pass { read, sums } = Pass::new([from[axis], to[axis]], 0..to[axis], filter);
            let value = |i: usize| {
                let place = [i / image.c / to[1], i / image.c % to[1]];
                let (first, weights) = &sums[place[axis]];
                let at = |tap: usize| {
                    let mut at = place;
                    at[axis] = read.start + first + tap;
                    i64::from(image.data[(at[0] * image.w + at[1]) * image.c + i % image.c])
                };
                let sum: i64 = weights.iter().enumerate().map(|(tap, &weight)| at(tap) * i64::from(weight)).sum();
                ((sum + i64::from(HALF)) >> PRECISION).clamp(0, 255) as u8
            };
            let data = (0..to[0] * to[1] * image.c).map(value).collect();
            Pixels { h: to[0], w: to[1], data, ..*image }
        };
        let lost = [image.h as i64 - h as i64, image.w as i64 - w as i64];
        if lost[0] > 0 && lost[0] > 2 * lost[1] {
            pass(&pass(image, [h, image.w], 0), [h, w], 1)
        } else {
            pass(&pass(image, [image.h, w], 1), [h, w], 0)
        }
    }

    proptest! {
        #[test]
        fn every_part_equals_plain_sums(
            c in prop_oneof![Just(1), Just(3)],
            from in [1usize..100, 1usize..100],
            to in [1usize..100, 1usize..100],
            ends in [any::<[prop::sample::Index; 2]>(), any::<[prop::sample::Index; 2]>()],
            filter in prop_oneof![Just(Interpolation::Bilinear), Just(Interpolation::Bicubic), Just(Interpolation::Lanczos)],
            seed in any::<u64>(),
        ) {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            // Half of the values are extreme: cubics overshoot between such.
            let value = |_| if random.random() { random.random() } else { 255 * u8::from(random.random::<bool>()) };
            let image = Pixels { h: from[0], w: from[1], c, data: (0..from[0] * from[1] * c).map(value).collect() };
            let whole = plain(&image, to, filter);
            prop_assert_eq!(&resize(&image, to[0], to[1], filter), &whole);
            let [rows, columns] = [0, 1].map(|axis| {
                let [a, b] = ends[axis].map(|end| end.index(to[axis]));
                a.min(b)..a.max(b) + 1
            });
            let part = whole.part([rows.clone(), columns.clone()]);
            prop_assert_eq!(resize_part(&image, to, [rows, columns], filter), part);
        }
    }
}
