//! The depthwise convolution in the middle of an 8-bit inverted residual, on bytes. Where codes are 0 to 255 and the filters
//! are 3 x 3, bands hold bytes in place of floats, and one instruction multiplies four taps.

use super::ConvShape;
use super::inverted::Stage;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::Kernel;
use crate::kernels::packed_codes::{Layout, PIXEL_WORDS};
use crate::kernels::requantize::{Requantize, Requantizer};
use crate::kernels::simd::Simd;
use crate::kernels::tile::unrolled;

/// Rows and columns of a filter.
const SIDE: usize = 3;
/// Output pixels of a tile.
const PIXELS: usize = 4;
/// The range of codes that fit a byte without an offset.
const BYTES: (i32, i32) = (0, 255);

/// Packed rows that a convolution writes.
#[derive(Clone, Copy)]
pub(super) struct PackedRows {
    to: *mut i32,
    layout: Layout,
}

impl PackedRows {
    pub(super) fn new(to: &mut [i32], layout: Layout) -> Self {
        Self { to: to.as_mut_ptr(), layout }
    }

    /// Stores the codes for `sums[b][p]`: sums of products plus bias, of pixel `x + p` of row `y` of block `first + b`.
    ///
    /// # Safety
    /// The pixels are in the rows, which are alive and written by this thread alone.
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
                codes[p % PIXELS] = s.to_nearest(requantizer.scaled::<S, false>(s, first + b, sums[b][p]));
                if p % PIXELS == PIXELS - 1 || p == P - 1 {
                    let pixels = s.to_ints(s.transpose_fours(s.fours(codes)));
                    for i in 0..=p % PIXELS {
                        let at = self.layout.at(y, first + b, x + p / PIXELS * PIXELS + i);
                        let pixel = [pixels[4 * i], pixels[4 * i + 1], pixels[4 * i + 2], pixels[4 * i + 3]];
                        // SAFETY: the caller vouches for the pixels.
                        unsafe { self.to.add(at).cast::<[i32; PIXEL_WORDS]>().write_unaligned(pixel) };
                    }
                }
            });
        });
    }
}

/// A 3 x 3 depthwise convolution from packed codes to packed codes.
pub(super) struct ByteDepthwise {
    /// Layout of the input, and of the output.
    pub(super) layout: Layout,
    pub(super) output: Layout,
    /// Columns of the output.
    width: usize,
    blocks: Vec<Filters>,
}

/// The filters of a block, for each output row of a tile: the taps of one column in a word, four pixels in a vector.
struct Filters {
    taps: [[[[i32; LANES]; PIXEL_WORDS]; SIDE]; 2],
    bias: [[i32; LANES]; PIXEL_WORDS],
    scale: [[f32; LANES]; PIXEL_WORDS],
}

/// Whether `requantize` yields bytes by rounding and saturation alone.
fn yields_bytes(requantize: &Requantize) -> bool {
    (requantize.low, requantize.high) == BYTES && requantize.is_small()
}

/// Whether all intermediate activations between `expand` and `project` can be bytes, for an output of `width` columns.
pub(super) fn fits(expand: Option<&Stage<'_>>, depthwise: &Stage<'_>, project: &Stage<'_>, width: usize) -> bool {
    let (Some(requantize), shape) = (depthwise.requantize, &depthwise.shape) else { return false };
    let is_simple = shape.kernel == (SIDE, SIDE)
        && shape.dilation == (1, 1)
        && shape.stride.0 == shape.stride.1
        && shape.stride.0 <= 2
        && width >= PIXELS
        && shape.out_channels > LANES
        && depthwise.weight.iter().all(|weight| (-128.0..=127.0).contains(weight));
    let is_bytes = requantize.input == BYTES
        && yields_bytes(requantize)
        && project.requantize.is_some_and(|requantize| requantize.input == BYTES)
        && project.shape.groups == 1
        && project.weight.iter().all(|weight| (-128.0..=127.0).contains(weight))
        && expand.is_none_or(|stage| stage.shape.groups == 1 && stage.requantize.is_some_and(yields_bytes));
    is_simple && is_bytes
}

impl ByteDepthwise {
    /// Packs the convolution between `expand` and `project`, if it [fits]. The input is laid out as `x`, which is the input of
    /// `expand` if there is one.
    pub(super) fn new(
        expand: Option<&Stage<'_>>,
        depthwise: &Stage<'_>,
        project: &Stage<'_>,
        x: &Geometry,
        y: &Geometry,
    ) -> Option<Self> {
        let (requantize, shape) = (depthwise.requantize?, &depthwise.shape);
        if !fits(expand, depthwise, project, y.w) {
            return None;
        }
        let (stride, halo) = (shape.stride.0, shape.halo(x.h, x.w));
        let columns = (halo.left + x.w + halo.right).div_ceil(stride);
        let layout = Layout::by_block(shape.out_channels.div_ceil(LANES), stride, columns, halo.left);
        let blocks = (0..layout.blocks).map(|block| Filters::new(shape, depthwise.weight, requantize, block)).collect();
        Some(Self { layout, output: Layout::by_pixel(layout.blocks, y.w), width: y.w, blocks })
    }
}

impl Filters {
    fn new(shape: &ConvShape, weight: &[f32], requantize: &Requantize, block: usize) -> Self {
        // Lane `4 * p + j` of vector `k` is channel `4 * k + j` of pixel `p`.
        let channel = |k: usize, lane: usize| block * LANES + PIXEL_WORDS * k + lane % PIXEL_WORDS;
        let tap = |channel: usize, row: usize, column: usize| match row < SIDE && channel < shape.out_channels {
            true => weight[(channel * SIDE + row) * SIDE + column] as i8 as u8,
            false => 0,
        };
        let word = |first: usize, column: usize, channel: usize| {
            i32::from_le_bytes(std::array::from_fn(|row| tap(channel, row.wrapping_sub(first), column)))
        };
        let lanes =
            |of: &dyn Fn(usize) -> i32| std::array::from_fn(|k| std::array::from_fn(|lane| of(channel(k, lane))));
        Self {
            taps: std::array::from_fn(|output| std::array::from_fn(|column| lanes(&|c| word(output, column, c)))),
            bias: lanes(&|c| requantize.bias.get(c).copied().unwrap_or(0)),
            scale: std::array::from_fn(|k| {
                std::array::from_fn(|lane| requantize.multipliers.get(channel(k, lane)).map_or(0.0, |&m| m as f32))
            }),
        }
    }
}

/// Computes packed rows of the output from packed rows of the input.
pub(super) struct ByteDepthwiseRows<'a> {
    pub(super) conv: &'a ByteDepthwise,
    pub(super) from: &'a [i32],
    /// `[row][column][block][16 channels]`.
    pub(super) to: &'a mut [i32],
    pub(super) rows: usize,
}

impl Kernel for ByteDepthwiseRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Layout { blocks, stride, .. } = self.conv.layout;
        let needed = ((self.rows - 1) << stride) + SIDE;
        assert!(self.from.len() >= needed * self.conv.layout.row_len(), "the rows are there");
        assert!(self.to.len() >= self.rows * self.conv.output.row_len(), "the output rows are there");
        for block in 0..blocks {
            let mut y = 0;
            while y < self.rows {
                // With stride 1, four rows of input make two rows of output.
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

impl ByteDepthwiseRows<'_> {
    /// `N` rows of a block from row `y` on.
    #[inline(always)]
    fn row<S: Simd, const N: usize>(&mut self, s: S, block: usize, y: usize) {
        let Self { conv: &ByteDepthwise { layout, output, width, ref blocks }, from, .. } = *self;
        let filters = &blocks[block];
        let [a, b, c, d] = &filters.bias;
        let bias = [s.of_ints(*a), s.of_ints(*b), s.of_ints(*c), s.of_ints(*d)];
        let mut x = 0;
        while x < width {
            // The last tile starts earlier, so that no mask is needed.
            let at = x.min(width - PIXELS);
            let mut sums = [bias; N];
            for column in 0..SIDE {
                let start = layout.at(y << layout.stride, block, (at << layout.stride) + column);
                // SAFETY: the rows and columns of every window exist (asserted, and the halo holds the padding); a fourth row
                // that does not exist is not read.
                let taps = unsafe {
                    let rows = std::array::from_fn(|row| from.as_ptr().add(start + row.min(N + 1) * layout.row_len()));
                    s.quads(rows)
                };
                for k in 0..PIXEL_WORDS {
                    for (sums, filters) in sums.iter_mut().zip(&filters.taps) {
                        sums[k] = s.dot4(taps[k], s.of_ints(filters[column][k]), sums[k]);
                    }
                }
            }
            unrolled!(n < N, {
                let mut codes = sums[n];
                for k in 0..PIXEL_WORDS {
                    codes[k] = s.to_nearest(s.mul(s.to_floats(codes[k]), s.load(&filters.scale[k])));
                }
                let pixels = s.to_ints(s.fours(codes));
                for p in 0..PIXELS {
                    let to = output.at(y + n, block, at + p);
                    self.to[to..to + PIXEL_WORDS].copy_from_slice(&pixels[PIXEL_WORDS * p..PIXEL_WORDS * (p + 1)]);
                }
            });
            x = at + PIXELS;
        }
    }
}

/// Packs rows of codes that are held as floats.
pub(super) struct PackFloats<'a> {
    /// Starts at the first column of the tensor.
    pub(super) from: &'a [f32],
    pub(super) geometry: &'a Geometry,
    pub(super) to: &'a mut [i32],
    pub(super) layout: Layout,
    pub(super) rows: usize,
}

impl Kernel for PackFloats<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, geometry: g, to, layout, rows } = self;
        for row in 0..rows {
            for block in 0..layout.blocks {
                let from = &from[block * g.plane_len() + row * g.row_len()..][..g.w * LANES];
                for (x, pixel) in from.as_chunks::<LANES>().0.iter().enumerate() {
                    let at = layout.at(row, block, layout.left + x);
                    to[at..at + PIXEL_WORDS].copy_from_slice(&s.low_bytes(s.to_integers(s.load(pixel))));
                }
            }
        }
    }
}
