//! The range of an operand, for calibration.

use crate::kernels::geometry::{Geometry, LANES, Region};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;

/// Smallest and largest value seen; merges in any order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Smallest, `+inf` while nothing was seen.
    pub min: f32,
    /// Largest, `-inf` while nothing was seen.
    pub max: f32,
}

impl Default for Range {
    fn default() -> Self {
        Self { min: f32::INFINITY, max: f32::NEG_INFINITY }
    }
}

impl Range {
    /// Of a slice; NaN is ignored.
    pub fn of(values: &[f32]) -> Self {
        let mut lanes = LaneRanges::default();
        let (pixels, rest) = values.as_chunks();
        pixels.iter().for_each(|pixel| lanes.add(pixel, LANES));
        let mut last = [0.0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        lanes.add(&last, rest.len());
        lanes.all()
    }

    /// The range that holds both.
    pub fn merge(&mut self, other: Self) {
        *self = Self { min: self.min.min(other.min), max: self.max.max(other.max) };
    }

    /// Largest magnitude; 0 while nothing was seen.
    pub fn magnitude(self) -> f32 {
        if self.min > self.max { 0.0 } else { self.min.abs().max(self.max.abs()) }
    }

    /// Widens to `region` of image `image`. Returns false if it holds NaN or infinity.
    pub fn watch(&mut self, isa: Isa, x: &[f32], geometry: &Geometry, image: usize, region: Region) -> bool {
        let planes = LANES / geometry.lanes;
        let blocks = region.blocks.start * planes..(region.blocks.end * planes).min(geometry.blocks());
        region.rows.fold(true, |finite, y| {
            blocks.clone().fold(finite, |finite, block| {
                let start = geometry.at(image, block, y, 0);
                let used = (geometry.c - block * geometry.lanes).min(geometry.lanes);
                let row = &x[start..start + geometry.w * geometry.lanes];
                if used == LANES {
                    let (range, ok) = isa.run(Row(row));
                    self.merge(range);
                    return finite && ok;
                }
                row.chunks_exact(geometry.lanes).flat_map(|pixel| &pixel[..used]).fold(finite, |finite, &v| {
                    self.merge(Self { min: v, max: v });
                    finite && v.is_finite()
                })
            })
        })
    }
}

/// The range of each lane.
pub(super) struct LaneRanges {
    min: [f32; LANES],
    max: [f32; LANES],
}

impl Default for LaneRanges {
    fn default() -> Self {
        Self { min: [f32::INFINITY; LANES], max: [f32::NEG_INFINITY; LANES] }
    }
}

impl LaneRanges {
    /// Widens to the first `used` lanes; NaN is ignored.
    #[inline(always)]
    pub(super) fn add(&mut self, pixel: &[f32; LANES], used: usize) {
        // Lane by lane, so that it is vectorised.
        for lane in 0..used {
            self.min[lane] = if pixel[lane] < self.min[lane] { pixel[lane] } else { self.min[lane] };
            self.max[lane] = if pixel[lane] > self.max[lane] { pixel[lane] } else { self.max[lane] };
        }
    }

    /// The range over all lanes.
    pub(super) fn all(&self) -> Range {
        let lanes = self.min.into_iter().zip(self.max).map(|(min, max)| Range { min, max });
        lanes.fold(Range::default(), |mut all, lane| {
            all.merge(lane);
            all
        })
    }
}

/// A row of whole blocks.
struct Row<'a>(&'a [f32]);

impl Kernel for Row<'_> {
    type Output = (Range, bool);

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (Range, bool) {
        let mut low = s.splat(f32::INFINITY);
        let mut high = s.splat(f32::NEG_INFINITY);
        // `v - v` is zero unless v is NaN or infinite.
        let mut poison = s.splat(0.0);
        for pixel in self.0.chunks_exact(LANES) {
            let v = s.load(pixel);
            low = s.min(v, low);
            high = s.max(v, high);
            poison = s.add(poison, s.sub(v, v));
        }
        let lanes = |v: S::V| {
            let mut lanes = [0.0; LANES];
            s.store(&mut lanes, v);
            lanes
        };
        let mut range = Range::of(&lanes(low));
        range.max = Range::of(&lanes(high)).max;
        (range, lanes(poison).iter().all(|&v| v == 0.0))
    }
}
