//! The middle of an inverted residual of integers in bytes: where codes are 0 to 255 and the depthwise filters are 3 x 3, bands
//! hold bytes in place of reals and four taps are multiplied at once.

use super::ConvShape;
use super::inverted::Step;
use crate::kernels::cells::{Layout, PIXEL};
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::Kernel;
use crate::kernels::requantize::{Requantize, Requantizer};
use crate::kernels::simd::Simd;
use crate::kernels::tile::unrolled;

/// Taps a side.
const SIDE: usize = 3;
/// Output pixels of a tile.
const PIXELS: usize = 4;
/// The codes that are bytes as they are.
const BYTES: (i32, i32) = (0, 255);

/// Rows that a convolution writes.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    to: *mut i32,
    layout: Layout,
}

impl Rows {
    pub(super) fn new(to: &mut [i32], layout: Layout) -> Self {
        Self { to: to.as_mut_ptr(), layout }
    }

    /// Stores the codes of `sums[b][p]`, sums of products and bias of pixel `x + p` of row `y` of block `first + b`.
    ///
    /// # Safety
    /// The pixels lie in the rows, which live and are this thread's.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd, const P: usize, const B: usize>(
        &self,
        s: S,
        requantizer: &Requantizer,
        sums: &[[S::I; P]; B],
        first: usize,
        y: usize,
        x: usize,
    ) {
        let x = x + self.layout.left;
        unrolled!(b < B, {
            let mut codes = [sums[b][0]; PIXELS];
            unrolled!(p < P, {
                codes[p % PIXELS] = s.to_nearest(requantizer.reals::<S, false>(s, first + b, sums[b][p]));
                if p % PIXELS == PIXELS - 1 || p == P - 1 {
                    let pixels = s.to_ints(s.transpose_fours(s.fours(codes)));
                    for i in 0..=p % PIXELS {
                        let at = self.layout.at(y, first + b, x + p / PIXELS * PIXELS + i);
                        let pixel = [pixels[4 * i], pixels[4 * i + 1], pixels[4 * i + 2], pixels[4 * i + 3]];
                        // SAFETY: the caller vouches for the pixels.
                        unsafe { self.to.add(at).cast::<[i32; PIXEL]>().write_unaligned(pixel) };
                    }
                }
            });
        });
    }
}

/// A depthwise convolution from bytes to cells of the next one.
pub(super) struct Bytes {
    /// Of the input, and of the output.
    pub(super) layout: Layout,
    pub(super) given: Layout,
    /// Columns of the output.
    width: usize,
    blocks: Vec<Filters>,
}

/// The filters of a block, for each output row of a tile: taps of a column to a cell; four pixels to a vector.
struct Filters {
    taps: [[[[i32; LANES]; PIXEL]; SIDE]; 2],
    bias: [[i32; LANES]; PIXEL],
    scale: [[f32; LANES]; PIXEL],
}

/// Whether the codes that `requantize` makes are bytes, by rounding and saturation alone.
fn gives_bytes(requantize: &Requantize) -> bool {
    (requantize.low, requantize.high) == BYTES && requantize.is_small()
}

/// Whether all wide values between `widen` and `narrow` can be bytes where the output is `width` wide.
pub(super) fn fits(widen: Option<&Step<'_>>, filter: &Step<'_>, narrow: &Step<'_>, width: usize) -> bool {
    let (Some(requantize), shape) = (filter.requantize, &filter.shape) else { return false };
    let is_simple = shape.kernel == (SIDE, SIDE)
        && shape.dilation == (1, 1)
        && shape.stride.0 == shape.stride.1
        && shape.stride.0 <= 2
        && width >= PIXELS
        && shape.out_channels > LANES
        && filter.weight.iter().all(|weight| (-128.0..=127.0).contains(weight));
    let is_bytes = requantize.input == BYTES
        && gives_bytes(requantize)
        && narrow.requantize.is_some_and(|requantize| requantize.input == BYTES)
        && narrow.shape.groups == 1
        && narrow.weight.iter().all(|weight| (-128.0..=127.0).contains(weight))
        && widen.is_none_or(|step| step.shape.groups == 1 && step.requantize.is_some_and(gives_bytes));
    is_simple && is_bytes
}

impl Bytes {
    /// Packs what is between `widen` and `narrow`, if it [fits]; inputs are laid out as `x`, which is that of `widen` where
    /// there is one.
    pub(super) fn new(
        widen: Option<&Step<'_>>,
        filter: &Step<'_>,
        narrow: &Step<'_>,
        x: &Geometry,
        y: &Geometry,
    ) -> Option<Self> {
        let (requantize, shape) = (filter.requantize?, &filter.shape);
        if !fits(widen, filter, narrow, y.w) {
            return None;
        }
        let (stride, halo) = (shape.stride.0, shape.halo(x.h, x.w));
        let columns = (halo.left + x.w + halo.right).div_ceil(stride);
        let layout = Layout::by_block(shape.out_channels.div_ceil(LANES), stride, columns, halo.left);
        let blocks = (0..layout.blocks).map(|block| Filters::new(shape, filter.weight, requantize, block)).collect();
        Some(Self { layout, given: Layout::by_pixel(layout.blocks, y.w), width: y.w, blocks })
    }
}

impl Filters {
    fn new(shape: &ConvShape, weight: &[f32], requantize: &Requantize, block: usize) -> Self {
        // Lane `4 * p + j` of vector `k` is channel `4 * k + j` of pixel `p`.
        let channel = |k: usize, lane: usize| block * LANES + PIXEL * k + lane % PIXEL;
        let tap = |channel: usize, row: usize, column: usize| match row < SIDE && channel < shape.out_channels {
            true => weight[(channel * SIDE + row) * SIDE + column] as i8 as u8,
            false => 0,
        };
        let cell = |output: usize, column: usize, channel: usize| {
            i32::from_le_bytes(std::array::from_fn(|row| tap(channel, row.wrapping_sub(output), column)))
        };
        let lanes =
            |of: &dyn Fn(usize) -> i32| std::array::from_fn(|k| std::array::from_fn(|lane| of(channel(k, lane))));
        Self {
            taps: std::array::from_fn(|output| std::array::from_fn(|column| lanes(&|c| cell(output, column, c)))),
            bias: lanes(&|c| requantize.bias.get(c).copied().unwrap_or(0)),
            scale: std::array::from_fn(|k| {
                std::array::from_fn(|lane| requantize.multipliers.get(channel(k, lane)).map_or(0.0, |&m| m as f32))
            }),
        }
    }
}

/// Rows of the output from rows of bytes.
pub(super) struct Filter<'a> {
    pub(super) bytes: &'a Bytes,
    pub(super) from: &'a [i32],
    /// `[row][column][block][16 channels]`.
    pub(super) to: &'a mut [i32],
    pub(super) rows: usize,
}

impl Kernel for Filter<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Layout { blocks, stride, .. } = self.bytes.layout;
        let needed = ((self.rows - 1) << stride) + SIDE;
        assert!(self.from.len() >= needed * self.bytes.layout.row_len(), "the rows are there");
        assert!(self.to.len() >= self.rows * self.bytes.given.row_len(), "and so are those of the output");
        for block in 0..blocks {
            let mut y = 0;
            while y < self.rows {
                // Four rows of input are two of output where windows are a row apart.
                if stride == 0 && y + 1 < self.rows {
                    self.row::<S, 2>(s, block, y);
                    y += 2;
                } else {
                    self.row::<S, 1>(s, block, y);
                    y += 1;
                }
            }
        }
    }
}

impl Filter<'_> {
    /// `N` rows of a block from row `y` on.
    #[inline(always)]
    fn row<S: Simd, const N: usize>(&mut self, s: S, block: usize, y: usize) {
        let Self { bytes: &Bytes { layout, given, width, ref blocks }, from, .. } = *self;
        let filters = &blocks[block];
        let [a, b, c, d] = &filters.bias;
        let bias = [s.of_ints(*a), s.of_ints(*b), s.of_ints(*c), s.of_ints(*d)];
        let mut x = 0;
        while x < width {
            // The last tile starts earlier: no masks.
            let at = x.min(width - PIXELS);
            let mut sums = [bias; N];
            for column in 0..SIDE {
                let place = layout.at(y << layout.stride, block, (at << layout.stride) + column);
                // SAFETY: the rows and columns of every window are there (asserted, and as the halo is); a fourth row that
                // is not there is not read.
                let taps = unsafe {
                    let rows = std::array::from_fn(|row| from.as_ptr().add(place + row.min(N + 1) * layout.row_len()));
                    s.quads(rows)
                };
                for k in 0..PIXEL {
                    for (sums, filters) in sums.iter_mut().zip(&filters.taps) {
                        sums[k] = s.dot4(taps[k], s.of_ints(filters[column][k]), sums[k]);
                    }
                }
            }
            unrolled!(n < N, {
                let mut codes = sums[n];
                for k in 0..PIXEL {
                    codes[k] = s.to_nearest(s.mul(s.to_floats(codes[k]), s.load(&filters.scale[k])));
                }
                let pixels = s.to_ints(s.fours(codes));
                for p in 0..PIXELS {
                    let to = given.at(y + n, block, at + p);
                    self.to[to..to + PIXEL].copy_from_slice(&pixels[PIXEL * p..PIXEL * (p + 1)]);
                }
            });
            x = at + PIXELS;
        }
    }
}

/// Rows of codes, held as reals, to bytes.
pub(super) struct Convert<'a> {
    /// From the first column of the tensor.
    pub(super) from: &'a [f32],
    pub(super) geometry: &'a Geometry,
    pub(super) to: &'a mut [i32],
    pub(super) layout: Layout,
    pub(super) rows: usize,
}

impl Kernel for Convert<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, geometry: g, to, layout, rows } = self;
        for row in 0..rows {
            for block in 0..layout.blocks {
                let from = &from[block * g.plane_len() + row * g.row_len()..][..g.w * LANES];
                for (x, pixel) in from.as_chunks::<LANES>().0.iter().enumerate() {
                    let at = layout.at(row, block, layout.left + x);
                    to[at..at + PIXEL].copy_from_slice(&s.low_bytes(s.to_integers(s.load(pixel))));
                }
            }
        }
    }
}
