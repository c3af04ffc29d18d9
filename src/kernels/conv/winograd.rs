//! Winograd F(4x4, 3x3): 36 products in place of 144 for 4x4 outputs (Lavin and Gray 2016). F(2x2, 3x3), 16 in place of 36,
//! for maps so small that reading 36 transformed filters would take longer than multiplying by 16. For dilated convolutions
//! with small phases F(3x3, 3x3), 25 in place of 81; and if a phase has two rows and two columns, so that each output reads
//! two taps per axis, Karatsuba's method, 9 products in place of the 16 without zeros.
//!
//! `Y = A^T [(G g G^T) * (B^T d B)] A`. The transforms run over sixteen channels at a time without a shuffle; each of the
//! points is a 1x1 convolution over the tiles.

use std::ops::Range;

use super::direct::{Direct, Segment, live_taps};
use super::epilogue::Area;
use super::transforms::{MOST_POINTS, input_side, output_side, transform_filter};
use super::{ConvShape, Job};
use crate::kernels::activation::Activation;
use crate::kernels::buffer::Buffer;
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, Halo, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::scratch::with_scratch;
use crate::kernels::shared::Shared;
use crate::kernels::simd::Simd;

/// Most products of a tile.
const MOST_PRODUCTS: usize = MOST_POINTS * MOST_POINTS;
/// Smallest maps (or phases) for which tiles of 4 are always faster, and smallest maps for tiles of 2.
const SMALLEST_MAP: [usize; 2] = [12, 5];
/// Fewest filters times channels for which the transforms pay off on smaller maps.
const FEWEST_FILTERS: usize = 64 * 64;
/// Bytes of transformed input and products that a task keeps in the second-level cache.
const CACHED: usize = 1_200_000;
/// Fewest tiles for which streaming the transformed filters through the cache pays off.
const FEWEST: usize = 14;

pub(super) struct Winograd {
    shape: ConvShape,
    tile: Tile,
    /// The transformed filters: one 1x1 convolution per point.
    products: Vec<Direct>,
    /// Zeros, since the points have no bias.
    zeros: Buffer,
}

/// Outputs and inputs along the side of a tile.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Tile {
    outputs: usize,
    inputs: usize,
}

/// Two outputs from the two inputs of a phase.
const PAIR: Tile = Tile { outputs: 2, inputs: 3 };

/// Side of the tiles, in outputs, with which Winograd's method computes a map of `rows` and `columns`.
pub fn winograd_tile(whole: (usize, usize), dilation: (usize, usize)) -> usize {
    Tile::of(whole, dilation).outputs
}

impl Tile {
    /// The tile for a map of `whole` rows and columns.
    fn of(whole: (usize, usize), dilation: (usize, usize)) -> Self {
        // A dilated convolution is a separate convolution for each phase of rows and columns.
        let phases = (whole.0.div_ceil(dilation.0), whole.1.div_ceil(dilation.1));
        let [two, three, four] = [2, 3, 4].map(|outputs| Self { outputs, inputs: outputs + 2 });
        match phases {
            (rows, columns) if rows.min(columns) >= SMALLEST_MAP[0] => four,
            _ if dilation == (1, 1) => two,
            (2, 2) => PAIR,
            _ => [three, four].into_iter().fold(two, |best, tile| match tile.cost(whole, dilation) {
                cost if cost < best.cost(whole, dilation) => tile,
                _ => best,
            }),
        }
    }

    /// Cost of a map in products of an input with a filter; with few tiles, reading the filters costs as much as more tiles.
    fn cost(self, (rows, columns): (usize, usize), dilation: (usize, usize)) -> usize {
        let tiles = |size: usize, dilation: usize| {
            let (cells, longer) = (size / dilation, size % dilation);
            longer * (cells + 1).div_ceil(self.outputs) + (dilation - longer) * cells.div_ceil(self.outputs)
        };
        self.inputs * self.inputs * (tiles(rows, dilation.0) * tiles(columns, dilation.1)).max(FEWEST)
    }
}

impl Winograd {
    /// The tile, if the method computes the layer's shape and is faster for it.
    pub(super) fn tile(shape: &ConvShape, x: &Geometry, whole: (usize, usize)) -> Option<Tile> {
        let fits = shape.kernel == (3, 3)
            && shape.stride == (1, 1)
            && shape.groups == 1
            && x.lanes == LANES
            && shape.in_channels >= LANES
            && shape.out_channels >= LANES;
        let (tile, (down, across)) = (Tile::of(whole, shape.dilation), shape.dilation);
        let Halo { top, bottom, left, right } = shape.padding;
        let size = whole.0.div_ceil(down).min(whole.1.div_ceil(across));
        let pays = if size >= SMALLEST_MAP[0] {
            true
        } else if shape.in_channels * shape.out_channels < FEWEST_FILTERS {
            false
        } else if (down, across) == (1, 1) {
            size >= SMALLEST_MAP[1]
        } else {
            let taps = live_taps(whole.0, down, (top, bottom)) * live_taps(whole.1, across, (left, right));
            let zeros_around = (top, bottom, left, right) == (down, down, across, across);
            tile.cost(whole, shape.dilation) * 5 <= taps * 4 && (tile != PAIR || zeros_around)
        };
        (fits && pays).then_some(tile)
    }

    pub(super) fn new(shape: &ConvShape, weight: &[f32], tile: Tile) -> Self {
        let patch = tile.inputs;
        let filters = shape.in_channels * shape.out_channels;
        let mut points = vec![vec![0.0; filters]; patch * patch];
        for (filter, taps) in weight.chunks_exact(9).enumerate() {
            let columns: [_; 3] =
                std::array::from_fn(|s| transform_filter(std::array::from_fn(|r| f64::from(taps[r * 3 + s])), patch));
            for row in 0..patch {
                let values = transform_filter(std::array::from_fn(|s| columns[s][row]), patch);
                for (column, value) in values.into_iter().take(patch).enumerate() {
                    points[row * patch + column][filter] = value as f32;
                }
            }
        }
        let product = ConvShape { kernel: (1, 1), padding: Halo::default(), ..*shape };
        let (x, y) = (row_of(shape.in_channels, FEWEST), row_of(shape.out_channels, FEWEST));
        let products = points.iter().map(|weight| Direct::new(&product, weight, &x, &y, None)).collect();
        let zeros = Buffer::zeroed(shape.out_channels.next_multiple_of(LANES));
        Self { shape: *shape, tile, products, zeros }
    }

    /// Whether it is what [`Winograd::new`] of the same layer's weights makes.
    pub(super) fn serves(&self, shape: &ConvShape, tile: Tile) -> bool {
        (self.shape, self.tile) == (*shape, tile)
    }

    /// Its name in reports.
    pub(super) fn name(&self) -> &'static str {
        ["karatsuba", "winograd2", "winograd3", "winograd4"][self.tile.inputs - PAIR.inputs]
    }

    pub(super) fn run(&self, exec: &Exec<'_>, job: &Job<'_>) {
        match self.tile.inputs {
            6 => self.tiles::<4, 6>(exec, job),
            5 => self.tiles::<3, 5>(exec, job),
            3 => self.tiles::<2, 3>(exec, job),
            _ => self.tiles::<2, 4>(exec, job),
        }
    }

    /// Runs tiles of `T` x `T` outputs from `P` x `P` inputs.
    fn tiles<const T: usize, const P: usize>(&self, exec: &Exec<'_>, job: &Job<'_>) {
        let (rows, columns) = (starts(T, job.yg.h, self.shape.dilation.0), starts(T, job.yg.w, self.shape.dilation.1));
        let (down, across) = (rows.len(), columns.len());
        let (tiles, threads) = (down * across * job.images, exec.pool.threads());
        let blocks = job.xg.blocks() + job.yg.blocks();
        // Each batch of tiles reads all filters: with many filters larger batches pay off, though they leave the second-level
        // cache.
        let filters = P * P * job.xg.blocks() * job.yg.blocks() * LANES * LANES * size_of::<f32>();
        let cached = match CACHED.max(filters / 2) / (P * P * blocks * LANES * size_of::<f32>()) {
            fitting if tiles <= fitting => tiles,
            fitting => fitting.max(FEWEST) / FEWEST * FEWEST,
        };
        // With too few tiles for all threads, each thread takes a part of the filters, and transforms the input again.
        let parts = if tiles >= FEWEST * threads { 1 } else { threads };
        let batches =
            if parts == 1 { tiles.div_ceil(cached).next_multiple_of(threads) } else { tiles.div_ceil(cached) };
        exec.for_each_task(batches * parts, |_, task| {
            let (batch, part) = (task / parts, task % parts);
            let (start, end) = (tiles * batch / batches, tiles * (batch + 1) / batches);
            let origin = |tile: usize| TileOrigin {
                image: tile / (down * across),
                row: rows[tile / across % down],
                column: columns[tile % across],
            };
            let task =
                Task::<T, P> { winograd: self, job, tiles: (start..end).map(origin).collect(), part: (part, parts) };
            task.run(exec.isa);
        });
    }
}

/// First index of each tile of `tile` outputs, `dilation` apart, on an axis of `size`.
fn starts(tile: usize, size: usize, dilation: usize) -> Vec<usize> {
    (0..dilation.min(size)).flat_map(|phase| (phase..size).step_by(tile * dilation)).collect()
}

/// Layout of `tiles` pixels in one row.
fn row_of(channels: usize, tiles: usize) -> Geometry {
    Geometry::blocked(1, channels, 1, tiles)
}

/// First output of a tile.
struct TileOrigin {
    image: usize,
    row: usize,
    column: usize,
}

/// A batch of tiles, for a part of the filters.
struct Task<'a, const T: usize, const P: usize> {
    winograd: &'a Winograd,
    job: &'a Job<'a>,
    tiles: Vec<TileOrigin>,
    part: (usize, usize),
}

impl<const T: usize, const P: usize> Task<'_, T, P> {
    fn run(&self, isa: Isa) {
        let tiles = self.tiles.len();
        let (xg, yg) = (row_of(self.job.xg.c, tiles), row_of(self.job.yg.c, tiles));
        // One line more than the points need, so that they do not map to the same cache sets.
        let (input_len, output_len) = (xg.len() + LANES, yg.len() + LANES);
        let inputs = P * P * input_len;
        with_scratch(inputs + P * P * output_len, |scratch| self.run_in(isa, scratch.split_at_mut(inputs), (xg, yg)));
    }

    /// Runs in buffers for transformed input and products; each point is laid out as `xg` and `yg`, plus one line.
    fn run_in(&self, isa: Isa, (inputs, outputs): (&mut [f32], &mut [f32]), (xg, yg): (Geometry, Geometry)) {
        let (tiles, input_len, output_len) = (self.tiles.len(), xg.len() + LANES, yg.len() + LANES);
        isa.run(Inputs { task: self, to: inputs, xg: &xg });
        let row = Segment::new(0..tiles, 0..1);
        for (point, product) in self.winograd.products.iter().enumerate() {
            let job = Job {
                requantizer: None,
                x: &inputs[point * input_len..][..xg.len()],
                xg: &xg,
                y: Shared::new(&mut outputs[point * output_len..][..yg.len()]),
                yg: &yg,
                bias: &self.winograd.zeros,
                residual: None,
                activation: Activation::Identity,
                images: 1,
            };
            product.product(isa, &job, &row, self.part);
        }
        let blocks = self.winograd.products[0].blocks(self.part);
        isa.run(Outputs { task: self, blocks: blocks.clone(), from: outputs, yg: &yg });
        for &TileOrigin { image, row, column } in &self.tiles {
            let (down, across) = self.winograd.shape.dilation;
            let (end, right) = (self.job.yg.h.min(row + T * down), self.job.yg.w.min(column + T * across));
            if (down, across) == (1, 1) {
                let area = Area { image, blocks: blocks.clone(), rows: row..end, columns: column..right };
                // SAFETY: the tile's pixels in these blocks are this task's, and they are in the output.
                unsafe { self.job.finish(isa, area) };
                continue;
            }
            for (y, x) in (row..end).step_by(down).flat_map(|y| (column..right).step_by(across).map(move |x| (y, x))) {
                let area = Area { image, blocks: blocks.clone(), rows: y..y + 1, columns: x..x + 1 };
                // SAFETY: as above.
                unsafe { self.job.finish(isa, area) };
            }
        }
    }
}

/// `B^T d B` of every tile and channel: `[point][channel block][tile][16]`.
struct Inputs<'a, const T: usize, const P: usize> {
    task: &'a Task<'a, T, P>,
    to: &'a mut [f32],
    xg: &'a Geometry,
}

impl<const T: usize, const P: usize> Kernel for Inputs<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Task { winograd, job, tiles, .. } = self.task;
        let (xg, padding, stride) = (job.xg, winograd.shape.padding, self.xg.len() + LANES);
        let (down, across) = winograd.shape.dilation;
        let (height, width) = (xg.halo.top + xg.h + xg.halo.bottom, xg.halo.left + xg.w + xg.halo.right);
        // With two inputs, starts at the first that is not zero, where the second output starts too.
        let skipped = if P == PAIR.inputs { (down, across) } else { (0, 0) };
        let mut edge = [0.0; MOST_PRODUCTS * LANES];
        for block in 0..xg.blocks() {
            for (index, &TileOrigin { image, row, column }) in tiles.iter().enumerate() {
                // In the padded buffer.
                let top = row + skipped.0 + xg.halo.top - padding.top;
                let left = column + skipped.1 + xg.halo.left - padding.left;
                let start =
                    |row: usize| image * xg.image_len() + block * xg.plane_len() + row * xg.row_len() + left * LANES;
                let to = &mut self.to[self.xg.at(0, block, 0, index)..];
                let inside = |size: usize, first: usize, step: usize| (size - first).div_ceil(step);
                let (rows, columns) = (inside(height, top, down), inside(width, left, across));
                if rows >= P && columns >= P {
                    let steps = (down * xg.row_len(), across * LANES);
                    transform_input::<S, P>(s, &job.x[start(top)..], steps, to, stride);
                } else {
                    // Inputs beyond the buffer are read only by outputs beyond the map, so zeros serve.
                    edge.fill(0.0);
                    for (i, edge) in edge.chunks_exact_mut(P * LANES).enumerate().take(P.min(rows)) {
                        let from = job.x[start(top + i * down)..].chunks(across * LANES);
                        for (edge, from) in edge.chunks_exact_mut(LANES).zip(from).take(columns) {
                            edge.copy_from_slice(&from[..LANES]);
                        }
                    }
                    transform_input::<S, P>(s, &edge, (P * LANES, LANES), to, stride);
                }
            }
        }
    }
}

/// Transforms `P` x `P` inputs, with row and column steps `steps`, into as many vectors `stride` apart.
#[inline(always)]
fn transform_input<S: Simd, const P: usize>(
    s: S,
    from: &[f32],
    (down, across): (usize, usize),
    to: &mut [f32],
    stride: usize,
) {
    assert!(from.len() >= (P - 1) * (down + across) + LANES && to.len() >= (P * P - 1) * stride + LANES);
    let mut half = [[s.splat(0.0); P]; P];
    for j in 0..P {
        let mut column = [s.splat(0.0); P];
        for i in 0..P {
            // SAFETY: within `from` (asserted).
            column[i] = unsafe { s.load_ptr(from.as_ptr().add(i * down + j * across)) };
        }
        let column = input_side(s, column);
        for i in 0..P {
            half[i][j] = column[i];
        }
    }
    for i in 0..P {
        let row = input_side(s, half[i]);
        for j in 0..P {
            // SAFETY: within `to` (asserted).
            unsafe { s.store_ptr(to.as_mut_ptr().add((i * P + j) * stride), row[j]) };
        }
    }
}

/// `A^T M A` of every tile and filter; adds the bias and stores.
struct Outputs<'a, const T: usize, const P: usize> {
    task: &'a Task<'a, T, P>,
    blocks: Range<usize>,
    from: &'a [f32],
    yg: &'a Geometry,
}

impl<const T: usize, const P: usize> Kernel for Outputs<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Task { winograd, job, tiles, .. } = self.task;
        let (down, across) = winograd.shape.dilation;
        for block in self.blocks {
            let bias = s.load(&job.bias[block * LANES..]);
            for (index, &TileOrigin { image, row, column }) in tiles.iter().enumerate() {
                let from = &self.from[self.yg.at(0, block, 0, index)..];
                let half = transform_output::<S, T, P>(s, from, self.yg.len() + LANES);
                let (left, to) = ((job.yg.w - column).div_ceil(across), job.output(s, image));
                for i in 0..T {
                    let y = row + i * down;
                    if y >= job.yg.h {
                        break;
                    }
                    let outputs = output_side::<S, T, P>(s, half[i]).map(|output| s.add(output, bias));
                    // SAFETY: the pixels are in the map, and in these blocks this task's.
                    unsafe {
                        if left >= T && across == 1 {
                            to.store(s, [outputs], block, y, column);
                        } else {
                            for j in 0..T {
                                if j < left {
                                    to.store(s, [[outputs[j]]], block, y, column + j * across);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `A^T M` from `P` x `P` vectors `stride` apart.
#[inline(always)]
fn transform_output<S: Simd, const T: usize, const P: usize>(s: S, from: &[f32], stride: usize) -> [[S::V; P]; T] {
    assert!(from.len() >= (P * P - 1) * stride + LANES);
    let mut half = [[s.splat(0.0); P]; T];
    for j in 0..P {
        let mut column = [s.splat(0.0); P];
        for i in 0..P {
            // SAFETY: within `from` (asserted).
            column[i] = unsafe { s.load_ptr(from.as_ptr().add((i * P + j) * stride)) };
        }
        let column = output_side::<S, T, P>(s, column);
        for i in 0..T {
            half[i][j] = column[i];
        }
    }
    half
}
