//! Winograd F(4x4, 3x3): 36 products in place of 144 for every 4x4 outputs (Lavin and Gray 2016).
//!
//! `Y = A^T [(G g G^T) * (B^T d B)] A` with the interpolation points 0, 1, -1, 2, -2 and infinity. The transforms run
//! over sixteen channels at a time without a shuffle; the 36 products are matrix products over the input channels.

use std::sync::Mutex;

use super::{ConvShape, Job};
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::Kernel;
use crate::kernels::simd::Simd;

/// Outputs along one side of a tile.
const TILE: usize = 4;
/// Inputs along one side of a tile.
const PATCH: usize = 6;
/// Products of a tile.
const POINTS: usize = PATCH * PATCH;
/// Smallest map on which the transforms pay.
const SMALLEST_MAP: usize = 12;
/// Bytes of transformed input that a task keeps in the second-level cache.
const CACHED: usize = 300_000;

pub(super) struct Winograd {
    shape: ConvShape,
    /// Transformed filters, `[point][filter block pair][channel][blocks * 16]`.
    weights: Vec<f32>,
    /// Input channels filled up to whole blocks.
    channels: usize,
    /// Filter blocks.
    blocks: usize,
    /// Transformed input and products of each worker, kept from run to run.
    scratch: Mutex<Vec<Vec<f32>>>,
}

/// `G g` for one column (or row) of a filter.
fn transform_filter(g: [f64; 3]) -> [f64; PATCH] {
    let [a, b, c] = g;
    let (even, odd) = (a / 24.0 + c / 6.0, b / 12.0);
    [a / 4.0, -(a + b + c) / 6.0, -(a - b + c) / 6.0, even + odd, even - odd, c]
}

impl Winograd {
    /// Whether the layer's shape is one it computes, and gains on.
    pub(super) fn fits(shape: &ConvShape, x: &Geometry, y: &Geometry) -> bool {
        shape.kernel == (3, 3)
            && shape.stride == (1, 1)
            && shape.dilation == (1, 1)
            && shape.groups == 1
            && x.lanes == LANES
            && shape.in_channels >= 2 * LANES
            && shape.out_channels >= 2 * LANES
            && y.h.min(y.w) >= SMALLEST_MAP
    }

    pub(super) fn new(shape: &ConvShape, weight: &[f32]) -> Self {
        let (c, k) = (shape.in_channels, shape.out_channels);
        let (channels, blocks) = (c.next_multiple_of(LANES), k.div_ceil(LANES));
        let mut weights = vec![0.0; POINTS * channels * blocks * LANES];
        for filter in 0..k {
            for channel in 0..c {
                let taps = &weight[(filter * c + channel) * 9..][..9];
                let columns: [[f64; PATCH]; 3] =
                    std::array::from_fn(|s| transform_filter(std::array::from_fn(|r| f64::from(taps[r * 3 + s]))));
                for row in 0..PATCH {
                    let points = transform_filter(std::array::from_fn(|s| columns[s][row]));
                    for (column, point) in points.into_iter().enumerate() {
                        let at = place(row * PATCH + column, filter / LANES, channel, channels, blocks);
                        weights[at + filter % LANES] = point as f32;
                    }
                }
            }
        }
        Self { shape: *shape, weights, channels, blocks, scratch: Mutex::new(Vec::new()) }
    }

    pub(super) fn run(&self, exec: &Exec<'_>, job: &Job<'_>) {
        let (down, across) = (job.yg.h.div_ceil(TILE), job.yg.w.div_ceil(TILE));
        let tiles = down * across * job.images;
        // Tiles a task: as many as the cache holds, fewer where that would leave a thread without work.
        let cached = (CACHED / (POINTS * self.channels * size_of::<f32>())).max(16);
        let even = tiles.div_ceil(tiles.div_ceil(cached).next_multiple_of(exec.pool.threads()));
        let per_task = even.next_multiple_of(2).min(tiles);
        let tasks = tiles.div_ceil(per_task);
        let len = POINTS * per_task * (self.channels + self.blocks * LANES);
        exec.for_each_task(tasks, |_, task| {
            let free = self.scratch.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
            let mut scratch = free.unwrap_or_default();
            if scratch.len() < len {
                scratch.resize(len, 0.0);
            }
            let (start, end) = (task * per_task, tiles.min((task + 1) * per_task));
            exec.isa.run(Block { winograd: self, job, across, start, tiles: end - start, scratch: &mut scratch });
            self.scratch.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(scratch);
        });
    }
}

/// Start of the sixteen filters of `block` for one point and channel. Blocks lie in pairs, an odd last one alone.
fn place(point: usize, block: usize, channel: usize, channels: usize, blocks: usize) -> usize {
    let pair = block / 2 * 2;
    let width = (blocks - pair).min(2) * LANES;
    (point * blocks + pair) * channels * LANES + channel * width + (block - pair) * LANES
}

/// The tiles `start..start + tiles` of all images, for all filters.
struct Block<'a> {
    winograd: &'a Winograd,
    job: &'a Job<'a>,
    across: usize,
    start: usize,
    tiles: usize,
    scratch: &'a mut [f32],
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { winograd, job, tiles, .. } = self;
        let (channels, blocks) = (winograd.channels, winograd.blocks);
        let (inputs, products) = self.scratch.split_at_mut(POINTS * tiles * channels);
        // Transformed input: [point][channel block][tile][16].
        for block in 0..channels / LANES {
            for tile in 0..tiles {
                let (image, row, column) = place_of(job, self.across, self.start + tile);
                let patch = load_patch(s, winograd, job, image, block, row, column);
                let at = (block * tiles + tile) * LANES;
                transform_input(s, patch, &mut inputs[at..], channels * tiles);
            }
        }
        // Products: [point][filter block][tile][16].
        for point in 0..POINTS {
            let input = &inputs[point * channels * tiles..][..channels * tiles];
            let output = &mut products[point * blocks * LANES * tiles..][..blocks * LANES * tiles];
            for block in (0..blocks).step_by(2) {
                let weights = &winograd.weights[place(point, block, 0, channels, blocks)..];
                let output = &mut output[block * tiles * LANES..];
                let width = (blocks - block).min(2) * LANES;
                let product = Product { input, weights, width, channels, tiles };
                if width > LANES { product.multiply::<S, 2>(s, output) } else { product.multiply::<S, 1>(s, output) }
            }
        }
        let masked = job.masked_block();
        for block in 0..blocks {
            for tile in 0..tiles {
                let (image, row, column) = place_of(job, self.across, self.start + tile);
                let at = (block * tiles + tile) * LANES;
                let bias = s.load(&job.bias[block * LANES..]);
                let outputs = transform_output(s, &products[at..], blocks * LANES * tiles);
                for (i, outputs) in outputs.iter().enumerate().take(job.yg.h - row) {
                    for (j, &output) in outputs.iter().enumerate().take(job.yg.w - column) {
                        let sum = s.add(output, bias);
                        job.finish(s, sum, image, block, row + i, column + j, masked == Some(block));
                    }
                }
            }
        }
    }
}

/// Image, first row and first column of a tile.
fn place_of(job: &Job<'_>, across: usize, tile: usize) -> (usize, usize, usize) {
    let per_image = job.yg.h.div_ceil(TILE) * across;
    let (image, tile) = (tile / per_image, tile % per_image);
    (image, tile / across * TILE, tile % across * TILE)
}

/// The 6x6 inputs of a tile; zero beyond the buffer's frame, where only outputs beyond the map would look.
#[inline(always)]
fn load_patch<S: Simd>(
    s: S,
    winograd: &Winograd,
    job: &Job<'_>,
    image: usize,
    block: usize,
    row: usize,
    column: usize,
) -> [[S::V; PATCH]; PATCH] {
    let xg = job.xg;
    let top = row + xg.halo.top - winograd.shape.padding.top;
    let left = column + xg.halo.left - winograd.shape.padding.left;
    let (height, width) = (xg.halo.top + xg.h + xg.halo.bottom, xg.halo.left + xg.w + xg.halo.right);
    let origin = image * xg.image_len() + block * xg.plane_len() + top * xg.row_len() + left * LANES;
    let mut patch = [[s.splat(0.0); PATCH]; PATCH];
    let whole = top + PATCH <= height && left + PATCH <= width;
    for (i, patch) in patch.iter_mut().enumerate() {
        for (j, value) in patch.iter_mut().enumerate() {
            if whole || (top + i < height && left + j < width) {
                // SAFETY: the cell lies in the frame (just checked), so in the image's planes of `job.x`.
                *value = unsafe { s.load_ptr(job.x.as_ptr().add(origin + i * xg.row_len() + j * LANES)) };
            }
        }
    }
    patch
}

/// `B^T d` for one column (or row).
#[inline(always)]
fn input_side<S: Simd>(s: S, d: [S::V; PATCH]) -> [S::V; PATCH] {
    let (two, four, five) = (s.splat(2.0), s.splat(4.0), s.splat(5.0));
    let p = s.fnma(four, d[2], d[4]);
    let q = s.fnma(four, d[1], d[3]);
    let r = s.sub(d[4], d[2]);
    let t = s.mul(two, s.sub(d[3], d[1]));
    [
        s.add(s.fnma(five, d[2], s.mul(four, d[0])), d[4]),
        s.add(p, q),
        s.sub(p, q),
        s.add(r, t),
        s.sub(r, t),
        s.add(s.fnma(five, d[3], s.mul(four, d[1])), d[5]),
    ]
}

#[inline(always)]
fn transform_input<S: Simd>(s: S, patch: [[S::V; PATCH]; PATCH], to: &mut [f32], stride: usize) {
    let mut half = [[s.splat(0.0); PATCH]; PATCH];
    for j in 0..PATCH {
        let column = input_side(s, std::array::from_fn(|i| patch[i][j]));
        for i in 0..PATCH {
            half[i][j] = column[i];
        }
    }
    for (i, half) in half.into_iter().enumerate() {
        for (j, value) in input_side(s, half).into_iter().enumerate() {
            s.store(&mut to[(i * PATCH + j) * stride..], value);
        }
    }
}

/// `A^T m` for one column (or row).
#[inline(always)]
fn output_side<S: Simd>(s: S, m: [S::V; PATCH]) -> [S::V; TILE] {
    let (two, four, eight) = (s.splat(2.0), s.splat(4.0), s.splat(8.0));
    let (p, q) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (r, t) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    [s.add(s.add(m[0], p), r), s.fma(two, t, q), s.fma(four, r, p), s.add(s.fma(eight, t, q), m[5])]
}

#[inline(always)]
fn transform_output<S: Simd>(s: S, products: &[f32], stride: usize) -> [[S::V; TILE]; TILE] {
    let mut half = [[s.splat(0.0); PATCH]; TILE];
    for j in 0..PATCH {
        let column = output_side(s, std::array::from_fn(|i| s.load(&products[(i * PATCH + j) * stride..])));
        for i in 0..TILE {
            half[i][j] = column[i];
        }
    }
    half.map(|row| output_side(s, row))
}

/// One point's matrix product: `[tiles, channels] x [channels, filters]`.
struct Product<'a> {
    input: &'a [f32],
    weights: &'a [f32],
    /// Floats of weights a channel: one block's or two.
    width: usize,
    channels: usize,
    tiles: usize,
}

impl Product<'_> {
    /// For `B` filter blocks.
    #[inline(always)]
    fn multiply<S: Simd, const B: usize>(&self, s: S, output: &mut [f32]) {
        let mut tile = 0;
        while tile < self.tiles {
            let left = self.tiles - tile;
            if S::REGISTERS >= 32 {
                tile += match left {
                    14.. => self.tile::<S, 14, B>(s, tile, 0, output),
                    8.. => self.tile::<S, 8, B>(s, tile, 0, output),
                    4.. => self.tile::<S, 4, B>(s, tile, 0, output),
                    _ => self.tile::<S, 1, B>(s, tile, 0, output),
                };
            } else {
                let mut done = 0;
                for block in 0..B {
                    done = match left {
                        6.. => self.tile::<S, 6, 1>(s, tile, block, output),
                        4.. => self.tile::<S, 4, 1>(s, tile, block, output),
                        _ => self.tile::<S, 1, 1>(s, tile, block, output),
                    };
                }
                tile += done;
            }
        }
    }

    /// `P` tiles from `tile`, filter blocks `block..block + N` of the set. Returns `P`.
    #[inline(always)]
    fn tile<S: Simd, const P: usize, const N: usize>(
        &self,
        s: S,
        tile: usize,
        block: usize,
        output: &mut [f32],
    ) -> usize {
        let width = self.width;
        let mut sums = [[s.splat(0.0); P]; N];
        assert!(tile + P <= self.tiles && self.input.len() >= self.channels * self.tiles);
        assert!(self.weights.len() >= (self.channels - 1) * width + (block + N) * LANES);
        // SAFETY: `input` holds `channels * tiles` floats as [channel block][tile][16] and `tile + P <= tiles`; the
        // weights hold `width` floats a channel (both asserted above).
        unsafe {
            let mut weight = self.weights.as_ptr().add(block * LANES);
            for channels in 0..self.channels / LANES {
                let mut pixel = self.input.as_ptr().add((channels * self.tiles + tile) * LANES);
                for _ in 0..LANES {
                    let mut filters = [s.splat(0.0); N];
                    for (n, filters) in filters.iter_mut().enumerate() {
                        *filters = s.load_ptr(weight.add(n * LANES));
                    }
                    for p in 0..P {
                        let value = s.splat(*pixel.add(p * LANES));
                        for n in 0..N {
                            sums[n][p] = s.fma(value, filters[n], sums[n][p]);
                        }
                    }
                    weight = weight.add(width);
                    pixel = pixel.add(1);
                }
            }
        }
        for (n, sums) in sums.iter().enumerate() {
            for (p, &sum) in sums.iter().enumerate() {
                s.store(&mut output[((block + n) * self.tiles + tile + p) * LANES..], sum);
            }
        }
        P
    }
}
