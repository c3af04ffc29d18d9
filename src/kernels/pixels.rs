//! Layers that compute each output pixel independently: one loop over pixels, and a function of sixteen channels per pixel.

use std::ops::Range;

use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::isa::Kernel;
use super::shared::Shared;
use super::simd::Simd;

/// Position of sixteen channels of one pixel.
#[derive(Clone, Copy)]
pub(super) struct Pixel {
    pub image: usize,
    pub block: usize,
    pub y: usize,
    pub x: usize,
}

/// What a layer computes at a pixel.
pub(super) trait PixelOp: Sync {
    /// Sixteen channels of output. Must be `#[inline(always)]`. Its result in padding lanes is dropped.
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V;

    /// Computes the row of pixels that starts at `at`, padding lanes included, if there is a faster way than pixel by pixel.
    #[inline(always)]
    fn row<S: Simd>(&self, _: S, _at: Pixel, _to: &mut [[f32; LANES]]) -> bool {
        false
    }
}

/// Tasks per thread: few enough to claim cheaply, and enough that all threads end together.
const TASKS_A_THREAD: usize = 8;

/// Computes the first `images` images of `y`, which must be blocked, by `op`.
pub(super) fn for_each_pixel<O: PixelOp>(exec: &Exec<'_>, images: usize, op: &O, y: &mut [f32], yg: &Geometry) {
    assert!(y.len() >= yg.len() && images <= yg.n && yg.lanes == LANES, "a blocked output holds the images");
    // The rows of a block are contiguous.
    let rows = images * yg.blocks() * yg.h;
    let tasks = rows.min(TASKS_A_THREAD * exec.pool.threads());
    let y = Shared::new(y);
    exec.for_each_task(tasks, |_, task| {
        exec.isa.run(Rows { op, rows: rows * task / tasks..rows * (task + 1) / tasks, y: &y, yg });
    });
}

/// Some rows of all blocks of all images.
struct Rows<'a, O> {
    op: &'a O,
    rows: Range<usize>,
    y: &'a Shared<'a>,
    yg: &'a Geometry,
}

impl<O: PixelOp> Kernel for Rows<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { op, rows, y, yg } = self;
        for row in rows {
            let block = row / yg.h % yg.blocks();
            let at = Pixel { image: row / yg.h / yg.blocks(), block, y: row % yg.h, x: 0 };
            // SAFETY: each row of each block belongs to one task.
            let to = unsafe { y.slice(yg.at(at.image, at.block, at.y, 0), yg.w * LANES) };
            let pixels = to.as_chunks_mut::<LANES>().0;
            if op.row(s, at, pixels) {
                continue;
            }
            let used = (yg.c - block * LANES).min(LANES);
            let keep: [u32; LANES] = std::array::from_fn(|lane| if lane < used { !0 } else { 0 });
            for (x, to) in pixels.iter_mut().enumerate() {
                s.store(to, op.pixel(s, Pixel { x, ..at }));
                if used < LANES {
                    for lane in 0..LANES {
                        to[lane] = f32::from_bits(to[lane].to_bits() & keep[lane]);
                    }
                }
            }
        }
    }
}

/// A tensor that pixels are read from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub data: &'a [f32],
    pub geometry: &'a Geometry,
}

impl<'a> Source<'a> {
    /// A tensor of any layout.
    pub(super) fn new(data: &'a [f32], geometry: &'a Geometry) -> Self {
        assert!(data.len() >= geometry.len(), "an input holds its images");
        Self { data, geometry }
    }

    #[inline(always)]
    pub(super) fn load<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        if self.geometry.lanes == LANES {
            return s.load(&self.data[self.geometry.at(at.image, at.block, at.y, at.x)..]);
        }
        s.load(&self.gather(at.image, at.block * LANES, at.y, at.x))
    }

    /// The row of pixels that starts at `at`, if its channels are contiguous.
    #[inline(always)]
    pub(super) fn row(&self, at: Pixel) -> Option<&'a [[f32; LANES]]> {
        let geometry = self.geometry;
        let row = || &self.data[geometry.at(at.image, at.block, at.y, at.x)..][..geometry.w * LANES];
        (geometry.lanes == LANES).then(|| row().as_chunks().0)
    }

    /// Sixteen channels from `first` on; zero for those that do not exist.
    #[inline(always)]
    pub(super) fn gather(&self, image: usize, first: usize, y: usize, x: usize) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        let channels = first..self.geometry.c.min(first + LANES);
        if self.geometry.lanes == 1 {
            let (from, plane) = (&self.data[self.geometry.at(image, first, y, x)..], self.geometry.plane_len());
            if channels.len() == 3 {
                // Red, green and blue written out: three stores and a load of sixteen would stall on store forwarding.
                let [r, g, b] = [from[0], from[plane], from[2 * plane]];
                return [r, g, b, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
            }
            lanes.iter_mut().zip(from.iter().step_by(plane)).take(channels.len()).for_each(|(to, from)| *to = *from);
            return lanes;
        }
        lanes.iter_mut().zip(channels).for_each(|(lane, c)| *lane = self.channel(image, c, y, x));
        lanes
    }

    /// Channel `c`, which need not be the first of a block.
    #[inline(always)]
    pub(super) fn channel(&self, image: usize, c: usize, y: usize, x: usize) -> f32 {
        self.data[self.geometry.index(image, c, y, x)]
    }
}
