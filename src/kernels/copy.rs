//! Copies: to and from the blocked layout, concatenation, slices, pixel shuffles, and the strided shortcut.

use std::sync::Arc;

use super::coded::CodedMatrix;
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::isa::Kernel;
use super::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use super::shared::Shared;
use super::simd::Simd;

/// The first `images` images, NCHW in `from`, into a buffer laid out as `geometry`.
pub fn pack(exec: &Exec<'_>, images: usize, from: &[f32], to: &mut [f32], geometry: &Geometry) {
    let Geometry { c, h, w, lanes, .. } = *geometry;
    assert!(from.len() >= images * c * h * w && to.len() >= geometry.len(), "buffers hold the images");
    let to = Shared::new(to);
    // One task per channel block: no other writes its rows.
    exec.for_each_task(images * geometry.blocks(), |_, task| {
        let (image, block) = (task / geometry.blocks(), task % geometry.blocks());
        // SAFETY: each block of each image belongs to one task.
        let plane =
            unsafe { to.slice(image * geometry.image_len() + block * geometry.plane_len(), geometry.plane_len()) };
        for lane in 0..lanes.min(c - block * lanes) {
            let channel = &from[(image * c + block * lanes + lane) * h * w..][..h * w];
            for (y, row) in channel.chunks_exact(w).enumerate() {
                let start = geometry.at(0, 0, y, 0) + lane;
                if lanes == 1 {
                    plane[start..start + w].copy_from_slice(row);
                    continue;
                }
                for (x, &value) in row.iter().enumerate() {
                    plane[start + x * lanes] = value;
                }
            }
        }
    });
}

/// The first `images` images of a buffer laid out as `geometry` into NCHW.
pub fn unpack(exec: &Exec<'_>, images: usize, from: &[f32], geometry: &Geometry, to: &mut [f32]) {
    let Geometry { c, h, w, lanes, .. } = *geometry;
    assert!(from.len() >= geometry.len() && to.len() >= images * c * h * w, "buffers hold the images");
    let to = Shared::new(to);
    // One task per row, over all channels: a row of a block stays in cache while its lanes are separated.
    exec.for_each_task(images * h, |_, task| {
        let (image, y) = (task / h, task % h);
        if lanes == LANES && w >= LANES {
            return exec.isa.run(UnpackRow { from, geometry, image, y, to });
        }
        for channel in 0..c {
            // SAFETY: each row of each channel of each image belongs to one task.
            let row = unsafe { to.slice(((image * c + channel) * h + y) * w, w) };
            let start = geometry.index(image, channel, y, 0);
            for (value, &from) in row.iter_mut().zip(from[start..].iter().step_by(lanes)) {
                *value = from;
            }
        }
    });
}

/// A row of at least sixteen pixels of all channels of an image.
struct UnpackRow<'a> {
    from: &'a [f32],
    geometry: &'a Geometry,
    image: usize,
    y: usize,
    to: Shared<'a>,
}

impl Kernel for UnpackRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Geometry { c, h, w, .. } = *self.geometry;
        for block in 0..self.geometry.blocks() {
            let pixels = &self.from[self.geometry.at(self.image, block, self.y, 0)..][..w * LANES];
            for start in (0..w).step_by(LANES) {
                // The last pixels of a row are copied together with some pixels before them.
                let start = start.min(w - LANES);
                let mut rows = [s.splat(0.0); LANES];
                for (x, pixel) in pixels[start * LANES..].as_chunks::<LANES>().0.iter().take(LANES).enumerate() {
                    rows[x] = s.load(pixel);
                }
                let columns = s.transpose(rows);
                for lane in 0..LANES.min(c - block * LANES) {
                    let channel = self.image * c + block * LANES + lane;
                    // SAFETY: each row of each channel of each image belongs to one task.
                    s.store(unsafe { self.to.slice((channel * h + self.y) * w + start, LANES) }, columns[lane]);
                }
            }
        }
    }
}

struct Concat<'a> {
    parts: Vec<Source<'a>>,
    /// First channel of each part, and the end.
    starts: Vec<usize>,
}

impl PixelOp for Concat<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let first = at.block * LANES;
        let part = self.starts.partition_point(|&start| start <= first) - 1;
        let inner = first - self.starts[part];
        if inner.is_multiple_of(LANES) && (first + LANES <= self.starts[part + 1] || part + 1 == self.parts.len()) {
            return self.parts[part].load(s, Pixel { block: inner / LANES, ..at });
        }
        let lanes: [f32; LANES] = std::array::from_fn(|lane| {
            let part = self.starts.partition_point(|&start| start <= first + lane) - 1;
            let source = self.parts.get(part);
            source.map_or(0.0, |source| source.channel(at.image, first + lane - self.starts[part], at.y, at.x))
        });
        s.load(&lanes)
    }
}

/// Concatenates the channels of `parts`.
pub fn concat(exec: &Exec<'_>, images: usize, parts: &[(&[f32], &Geometry)], y: &mut [f32], yg: &Geometry) {
    let sources: Vec<_> = parts.iter().map(|(data, geometry)| Source::new(data, geometry)).collect();
    let mut starts = vec![0];
    for part in &sources {
        starts.push(starts[starts.len() - 1] + part.geometry.c);
    }
    let whole = |part: &Source| part.geometry.lanes == LANES;
    if sources.iter().all(whole) && starts[..sources.len()].iter().all(|start| start.is_multiple_of(LANES)) {
        return concat_blocks(exec, images, &sources, y, yg);
    }
    for_each_pixel(exec, images, &Concat { parts: sources, starts }, y, yg);
}

/// [`concat()`] if each part starts at a block.
fn concat_blocks(exec: &Exec<'_>, images: usize, parts: &[Source], y: &mut [f32], yg: &Geometry) {
    assert!(y.len() >= yg.len(), "the output holds its images");
    let blocks = || parts.iter().flat_map(|part| (0..part.geometry.blocks()).map(move |block| (part, block)));
    assert_eq!(blocks().count(), yg.blocks(), "all blocks of the output");
    let blocks: Vec<_> = blocks().collect();
    let y = Shared::new(y);
    exec.for_each_task(images * blocks.len(), |_, task| {
        let (image, block) = (task / blocks.len(), task % blocks.len());
        let (part, inner) = blocks[block];
        for row in 0..yg.h {
            let from = &part.data[part.geometry.at(image, inner, row, 0)..][..yg.w * LANES];
            // SAFETY: each block of each image belongs to one task.
            unsafe { y.slice(yg.at(image, block, row, 0), yg.w * LANES) }.copy_from_slice(from);
        }
    });
}

struct Rows<'a>(Source<'a>);

impl PixelOp for Rows<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let first = at.block * LANES;
        let lane = |lane: usize| {
            let column = first + lane;
            if column < self.0.geometry.w { self.0.channel(at.image, 0, at.x, column) } else { 0.0 }
        };
        s.load(&std::array::from_fn::<f32, LANES, _>(lane))
    }
}

/// The rows of a single channel as steps of a sequence: `[N, 1, H, W]` to `[N, W, 1, H]`.
pub fn rows(exec: &Exec<'_>, images: usize, x: (&[f32], &Geometry), y: &mut [f32], yg: &Geometry) {
    for_each_pixel(exec, images, &Rows(Source::new(x.0, x.1)), y, yg);
}

struct Slice<'a> {
    x: Source<'a>,
    start: usize,
    top: usize,
    left: usize,
}

impl PixelOp for Slice<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let (y, x) = (at.y + self.top, at.x + self.left);
        if self.start.is_multiple_of(LANES) {
            return self.x.load(s, Pixel { block: at.block + self.start / LANES, y, x, ..at });
        }
        s.load(&self.x.gather(at.image, self.start + at.block * LANES, y, x))
    }
}

/// The channels from `start` on, from row `top` and column `left` on, as many as `y` holds.
pub fn slice(
    exec: &Exec<'_>,
    images: usize,
    (start, top, left): (usize, usize, usize),
    x: (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    for_each_pixel(exec, images, &Slice { x: Source::new(x.0, x.1), start, top, left }, y, yg);
}

struct Shuffle<'a> {
    x: Source<'a>,
    factor: usize,
    up: bool,
    channels: usize,
}

impl PixelOp for Shuffle<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let f = self.factor;
        let lanes: [f32; LANES] = std::array::from_fn(|lane| {
            let c = at.block * LANES + lane;
            if c >= self.channels {
                return 0.0;
            }
            if self.up {
                let from = (c * f + at.y % f) * f + at.x % f;
                self.x.channel(at.image, from, at.y / f, at.x / f)
            } else {
                self.x.channel(at.image, c / (f * f), at.y * f + c / f % f, at.x * f + c % f)
            }
        });
        s.load(&lanes)
    }
}

/// Pixel shuffle (`up`: channels to pixels) or unshuffle (pixels to channels) by `factor` rows and columns.
pub fn shuffle(
    exec: &Exec<'_>,
    images: usize,
    (factor, up): (usize, bool),
    x: (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    for_each_pixel(exec, images, &Shuffle { x: Source::new(x.0, x.1), factor, up, channels: yg.c }, y, yg);
}

/// The rows of a table.
pub enum Table {
    /// Floats, each row zero-padded to whole blocks.
    Floats(Vec<f32>),
    /// Codes.
    Coded(Arc<CodedMatrix>),
}

struct Lookup<'a> {
    x: Source<'a>,
    table: &'a Table,
    features: usize,
}

impl PixelOp for Lookup<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let row = self.x.channel(at.image, 0, at.y, at.x) as usize;
        match self.table {
            Table::Floats(table) => s.load(&table[row * self.features + at.block * LANES..]),
            Table::Coded(matrix) => s.load(&matrix.part_of_row(row, at.block)),
        }
    }
}

/// Embedding lookup: the rows of `table` with the indices in `x`.
///
/// # Panics
/// If an index is not a row of the table.
pub fn lookup(exec: &Exec<'_>, images: usize, table: &Table, x: (&[f32], &Geometry), y: &mut [f32], yg: &Geometry) {
    let features = yg.blocks() * LANES;
    for_each_pixel(exec, images, &Lookup { x: Source::new(x.0, x.1), table, features }, y, yg);
}

struct Subsample<'a> {
    x: Source<'a>,
    stride: usize,
    before: usize,
}

impl PixelOp for Subsample<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let lanes: [f32; LANES] =
            std::array::from_fn(|lane| match (at.block * LANES + lane).checked_sub(self.before) {
                Some(c) if c < self.x.geometry.c => self.x.channel(at.image, c, at.y * self.stride, at.x * self.stride),
                _ => 0.0,
            });
        s.load(&lanes)
    }
}

/// Every `stride`-th row and column, after `before` channels of zeros; the channels after them are zero as well.
pub fn subsample(
    exec: &Exec<'_>,
    images: usize,
    (stride, before): (usize, usize),
    x: (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    for_each_pixel(exec, images, &Subsample { x: Source::new(x.0, x.1), stride, before }, y, yg);
}
