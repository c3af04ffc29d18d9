//! Norms over the channels of each pixel: of all of them, or of each of several groups. The same bits on every level.

use super::buffer::Buffer;
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::isa::Kernel;
use super::pixels::Source;
use super::scratch::with_scratch;
use super::shared::Shared;
use super::simd::Simd;

/// What a norm divides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// The standard deviation, after the mean is subtracted (Ba 2016): `(x - mean) / sqrt(variance + eps)`.
    Layer,
    /// The root mean square (Zhang 2019): `x / sqrt(mean(x^2) + eps)`.
    Rms,
    /// The length: `x / max(sqrt(sum(x^2)), eps)`.
    Length,
}

/// A norm with its weights packed.
pub struct PackedNorm {
    kind: NormKind,
    eps: f32,
    groups: usize,
    /// Channels of a group.
    channels: usize,
    /// Of one group, zero-padded to whole blocks.
    weight: Buffer,
    bias: Buffer,
}

/// Pixels that a task normalises at a time.
const PIXELS: usize = 8;

impl PackedNorm {
    /// Of `groups` groups of `channels` channels each, all with `weight` and `bias` `[channels]`; ones and zeros where there are
    /// none.
    ///
    /// # Panics
    /// If the sizes contradict one another.
    pub fn new(
        kind: NormKind,
        eps: f32,
        (groups, channels): (usize, usize),
        weight: Option<&[f32]>,
        bias: Option<&[f32]>,
    ) -> Self {
        let padded = |values: Option<&[f32]>, default: f32| {
            let mut padded = Buffer::zeroed(channels.next_multiple_of(LANES));
            match values {
                Some(values) => padded[..channels].copy_from_slice(values),
                None => padded[..channels].fill(default),
            }
            padded
        };
        Self { kind, eps, groups, channels, weight: padded(weight, 1.0), bias: padded(bias, 0.0) }
    }

    /// Normalises the first `images` images of `x` into `y`, which must be blocked.
    pub fn run(&self, exec: &Exec<'_>, images: usize, x: (&[f32], &Geometry), y: &mut [f32], yg: &Geometry) {
        assert!(y.len() >= yg.len() && images <= yg.n && yg.lanes == LANES, "a blocked output holds the images");
        assert_eq!((yg.c, x.1.c), (self.groups * self.channels, yg.c), "groups of channels");
        let strips = yg.w.div_ceil(PIXELS);
        let y = Shared::new(y);
        let x = Source::new(x.0, x.1);
        exec.for_each_task(images * yg.h * strips, |_, task| {
            let (image, row, strip) = (task / strips / yg.h, task / strips % yg.h, task % strips);
            let columns = strip * PIXELS..((strip + 1) * PIXELS).min(yg.w);
            with_scratch(self.weight.len(), |scratch| {
                exec.isa.run(Strip { norm: self, x, y: &y, yg, at: [image, row], columns, scratch });
            });
        });
    }
}

/// Some pixels of a row.
struct Strip<'a> {
    norm: &'a PackedNorm,
    x: Source<'a>,
    y: &'a Shared<'a>,
    yg: &'a Geometry,
    /// Image and row.
    at: [usize; 2],
    columns: std::ops::Range<usize>,
    /// The channels of a group.
    scratch: &'a mut [f32],
}

impl Kernel for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { norm, x, y, yg, at: [image, row], columns, scratch } = self;
        let aligned = (norm.groups == 1 || norm.channels.is_multiple_of(LANES)) && x.geometry.lanes == LANES;
        let used = norm.channels % LANES;
        // 1 for a channel of the last block, 0 for padding.
        let last: [f32; LANES] = std::array::from_fn(|lane| f32::from(u8::from(used == 0 || lane < used)));
        let blocks = norm.channels.div_ceil(LANES);
        for (column, group) in columns.flat_map(|column| (0..norm.groups).map(move |group| (column, group))) {
            let first = group * norm.channels;
            for (block, to) in scratch.chunks_exact_mut(LANES).enumerate() {
                let c = first + block * LANES;
                let values = if aligned {
                    s.load(&x.data[x.geometry.at(image, c / LANES, row, column)..])
                } else {
                    let end = first + norm.channels;
                    let channel =
                        |lane: usize| if c + lane < end { x.channel(image, c + lane, row, column) } else { 0.0 };
                    s.load(&std::array::from_fn::<f32, LANES, _>(channel))
                };
                s.store(to, values);
            }
            norm.normalise(s, scratch, &last);
            for (block, from) in scratch.chunks_exact(LANES).enumerate() {
                let c = first + block * LANES;
                if aligned {
                    // SAFETY: each pixel belongs to one task.
                    let to = unsafe { y.slice(yg.at(image, c / LANES, row, column), LANES) };
                    to.copy_from_slice(from);
                    continue;
                }
                let lanes = if block + 1 == blocks && used > 0 { used } else { LANES };
                for (lane, &value) in from[..lanes].iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { y.slice(yg.index(image, c + lane, row, column), 1)[0] = value };
                }
            }
        }
    }
}

impl PackedNorm {
    /// Normalises the channels of one group, which are zero-padded to whole blocks; `last` is 0 in the lanes of padding.
    #[inline(always)]
    fn normalise<S: Simd>(&self, s: S, values: &mut [f32], last: &[f32; LANES]) {
        let count = self.channels as f32;
        let blocks = values.len() / LANES;
        if self.kind == NormKind::Layer {
            let mut sums = s.splat(0.0);
            for block in values.chunks_exact(LANES) {
                sums = s.add(sums, s.load(block));
            }
            let mean = s.splat(sum_of_lanes(s, sums) / count);
            for (index, block) in values.chunks_exact_mut(LANES).enumerate() {
                let centred = s.sub(s.load(block), mean);
                s.store(block, if index + 1 == blocks { s.mul(centred, s.load(last)) } else { centred });
            }
        }
        let mut squares = s.splat(0.0);
        for block in values.chunks_exact(LANES) {
            squares = s.fma(s.load(block), s.load(block), squares);
        }
        let squares = sum_of_lanes(s, squares);
        let divisor = match self.kind {
            NormKind::Length => squares.sqrt().max(self.eps),
            _ => (squares / count + self.eps).sqrt(),
        };
        let scale = s.splat(1.0 / divisor);
        for (index, block) in values.chunks_exact_mut(LANES).enumerate() {
            let [weight, bias] = [&self.weight, &self.bias].map(|of| s.load(&of[index * LANES..]));
            s.store(block, s.fma(s.mul(s.load(block), scale), weight, bias));
        }
    }
}

/// The sum of sixteen lanes: of halves, quarters and so on.
#[inline(always)]
pub(super) fn sum_of_lanes<S: Simd>(s: S, v: S::V) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(&mut lanes, v);
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::{Isa, Pool};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn is_that_of_plain_loops_with_the_same_bits_everywhere(
            (groups, channels, images, h, w) in (1usize..4, 1usize..70, 1usize..3, 1usize..3, 1usize..20),
            kind in prop::sample::select(vec![NormKind::Layer, NormKind::Rms, NormKind::Length]),
            weighted: bool,
            seed: u32,
        ) {
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 9) as f32 / 4194304.0 - 0.7;
            let geometry = Geometry::blocked(images, groups * channels, h, w);
            let x: Vec<f32> = (0..geometry.elements()).map(value).collect();
            let mut buffer = vec![0.0; geometry.len()];
            geometry.pack(&x, &mut buffer);
            let [weight, bias]: [Vec<f32>; 2] = [3, 7].map(|k| (0..channels).map(|i| value(i * k)).collect());
            let given = |values: &[f32]| weighted.then(|| values.to_vec());
            let eps = 1e-5;
            let norm = PackedNorm::new(kind, eps, (groups, channels), given(&weight).as_deref(), given(&bias).as_deref());
            let mut results = Vec::new();
            for isa in Isa::available() {
                for threads in [1, 2] {
                    let pool = Pool::new(threads);
                    let mut y = vec![0.0; geometry.len()];
                    norm.run(&Exec::new(&pool, isa), images, (&buffer, &geometry), &mut y, &geometry);
                    results.push(y);
                }
            }
            let pixels = h * w;
            let y = geometry.unpack(&results[0]);
            for (place, got) in y.iter().enumerate() {
                let (image, c, pixel) = (place / pixels / geometry.c, place / pixels % geometry.c, place % pixels);
                let first = c / channels * channels;
                let of = |c: usize| f64::from(x[(image * geometry.c + c) * pixels + pixel]);
                let all = || (first..first + channels).map(of);
                let mean = if kind == NormKind::Layer { all().sum::<f64>() / channels as f64 } else { 0.0 };
                let squares: f64 = all().map(|x| (x - mean) * (x - mean)).sum();
                let divisor = match kind {
                    NormKind::Length => squares.sqrt().max(f64::from(eps)),
                    _ => (squares / channels as f64 + f64::from(eps)).sqrt(),
                };
                let normal = (of(c) - mean) / divisor;
                let i = c - first;
                let want = if weighted { normal * f64::from(weight[i]) + f64::from(bias[i]) } else { normal };
                prop_assert!((f64::from(*got) - want).abs() < 2e-4 * (1.0 + normal.abs()), "{got} {want}");
            }
            for other in &results {
                prop_assert!(other.iter().zip(&results[0]).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
            let padding = results[0].len() - y.len();
            prop_assert!(results[0].iter().filter(|v| **v == 0.0).count() >= padding);
        }
    }
}
