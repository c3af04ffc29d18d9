//! The inverted residual of MobileNets in bands of rows: a pointwise convolution widens, a depthwise one filters, a
//! pointwise one narrows. The wide values of a band stay in the second-level cache and never reach memory.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::bytes::{Bytes, Convert, Filter, Rows};
use super::{ConvShape, PackedConv, bytes};
use crate::kernels::activation::Activation;
use crate::kernels::buffer::Buffer;
use crate::kernels::cells::Cells;
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, Halo};
use crate::kernels::requantize::Requantize;
use crate::kernels::scratch::with_scratch;
use crate::kernels::shared::Shared;

/// Bytes of wide values that a band has.
const CACHED: usize = 450_000;
/// Bands of a task at least, where there are tasks for all threads: the first of a task widens rows that the task before it has widened too.
const BANDS: usize = 4;

/// One of the three convolutions.
pub struct Step<'a> {
    /// Extents and attributes.
    pub shape: ConvShape,
    /// `[K, C/groups, R, S]`.
    pub weight: &'a [f32],
    /// `[K]`.
    pub bias: Option<&'a [f32]>,
    /// What follows it.
    pub activation: Activation,
    /// Of a convolution of integers: what makes codes of its sums, instead of a bias and an activation.
    pub requantize: Option<&'a Requantize>,
}

/// Which wide values a task has just made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wide {
    /// What the depthwise convolution reads.
    Filtered,
    /// What the last convolution reads.
    Narrowed,
}

/// Some rows of wide values, for somebody to look at.
pub struct Look<'a> {
    /// Which.
    pub wide: Wide,
    /// The thread that made them.
    pub worker: usize,
    /// The values.
    pub values: WideValues<'a>,
    /// The image and the row of the batch that row 0 is.
    pub place: (usize, usize),
}

/// Wide values.
pub enum WideValues<'a> {
    /// The first so many rows of image 0.
    Reals(&'a [f32], &'a Geometry, usize),
    /// Codes.
    Bytes(Cells<'a>),
}

/// Who looks at wide values.
pub struct Looker<'a> {
    /// Is shown all of them.
    pub look: &'a (dyn Fn(Look<'_>) + Sync),
    /// Whether it takes codes as well.
    pub takes_bytes: bool,
}

/// Three convolutions with their weights packed.
pub struct InvertedResidual {
    widen: Option<(PackedConv, Activation)>,
    filter: (PackedConv, Activation),
    narrow: (PackedConv, Activation),
    /// Of the depthwise convolution: rows from window to window, rows of a window, rows of padding above.
    stride: usize,
    reach: usize,
    top: usize,
    /// Output rows of a band.
    rows: usize,
    /// Rows of the wide input, of the output.
    heights: (usize, usize),
    /// Wide values that a band reads, and gives.
    read: Geometry,
    given: Geometry,
    x: Geometry,
    y: Geometry,
    /// The way that is taken where nobody looks at reals, if it is there, and the wide values of each worker, kept from run to run.
    bytes: Option<(Bytes, Mutex<Vec<Buffer<i32>>>)>,
}

/// `rows` rows of `geometry` from the frame's first column of one of its rows on: planes are as far apart as there.
fn strip(geometry: &Geometry, rows: usize) -> Geometry {
    let frame = geometry.halo.top + geometry.h + geometry.halo.bottom;
    Geometry { n: 1, h: rows, halo: Halo { top: 0, bottom: frame - rows, ..geometry.halo }, ..*geometry }
}

/// Where row `row` of `image` begins in the frame.
fn start_of(geometry: &Geometry, image: usize, row: usize) -> usize {
    geometry.at(image, 0, row, 0) - geometry.halo.left * geometry.lanes
}

impl InvertedResidual {
    /// Whether all rows of what the depthwise convolution `shape` reads, of `h` rows, are read by some window.
    pub fn fits(shape: &ConvShape, h: usize) -> bool {
        let (stride, reach) = (shape.stride.0, shape.dilation.0 * (shape.kernel.0 - 1) + 1);
        let outputs = (h + shape.padding.top + shape.padding.bottom - reach) / stride + 1;
        reach >= stride + shape.padding.top && (outputs - 1) * stride + reach >= h + shape.padding.top
    }

    /// Whether wide values are bytes where nobody looks at reals and the output is `width` wide.
    pub fn has_bytes(widen: Option<&Step<'_>>, filter: &Step<'_>, narrow: &Step<'_>, width: usize) -> bool {
        bytes::fits(widen, filter, narrow, width)
    }

    /// Packs the convolutions for an input of layout `x` and an output of layout `y`.
    ///
    /// # Panics
    /// If the sizes contradict one another, or the depthwise convolution does not [fit](Self::fits).
    pub fn new(widen: Option<&Step<'_>>, filter: &Step<'_>, narrow: &Step<'_>, x: &Geometry, y: &Geometry) -> Self {
        let shape = &filter.shape;
        assert!(Self::fits(shape, x.h), "every row is read");
        let (stride, reach) = (shape.stride.0, shape.dilation.0 * (shape.kernel.0 - 1) + 1);
        let halo = shape.halo(x.h, x.w);
        let sides = Halo { top: 0, bottom: 0, ..halo };
        let wide = Geometry::blocked(1, shape.in_channels, 1, x.w).with_halo(sides);
        let given = Geometry::blocked(1, shape.out_channels, 1, y.w);
        let fixed = (reach - stride) * wide.len();
        let each = stride * wide.len() + given.len();
        let rows = ((CACHED / size_of::<f32>()).saturating_sub(fixed) / each).clamp(1, y.h);
        let needed = (rows - 1) * stride + reach;
        let (wide, given) = (Geometry { h: needed, ..wide }, Geometry { h: rows, ..given });
        // Rows above and below are rows of the band.
        let padding = Halo { top: 0, bottom: 0, ..shape.padding };
        let read = if widen.is_some() { wide } else { strip(x, needed) };
        let pack = |step: &Step<'_>, x: &Geometry, y: &Geometry| {
            let shape = ConvShape { padding, ..step.shape };
            let shape = if step.shape.groups == 1 { step.shape } else { shape };
            let packed = match step.requantize {
                Some(requantize) => PackedConv::integer(&shape, step.weight, requantize, x, y),
                None => PackedConv::new(&shape, step.weight, step.bias, x, y, None),
            };
            (packed, step.activation)
        };
        Self {
            widen: widen.map(|step| pack(step, &strip(x, needed.min(x.h)), &strip(&wide, needed.min(x.h)))),
            filter: pack(filter, &read, &given),
            narrow: pack(narrow, &given, &strip(y, rows)),
            stride,
            reach,
            top: shape.padding.top,
            rows,
            heights: (x.h, y.h),
            read,
            given,
            x: *x,
            y: *y,
            bytes: Bytes::new(widen, filter, narrow, x, y).map(|bytes| (bytes, Mutex::new(Vec::new()))),
        }
    }

    /// Computes the first `images` images of `y`, to which `residual` is added, and shows all wide values to `look`.
    pub fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        x: &[f32],
        y: &mut [f32],
        residual: Option<(&[f32], &Geometry)>,
        look: Option<&Looker<'_>>,
    ) {
        assert!(x.len() >= self.x.len() && y.len() >= self.y.len() && images <= self.x.n, "buffers hold the images");
        let h = self.heights.1;
        let threads = exec.pool.threads();
        let tasks = (2 * threads).div_ceil(images).min(h.div_ceil(BANDS * self.rows));
        // As many for each thread: they are few.
        let tasks = if images == 1 { (tasks / threads).max(1) * threads } else { tasks.max(threads.div_ceil(images)) };
        let tasks = tasks.min(h);
        let y = Shared::new(y);
        exec.for_each_task(images * tasks, |worker, task| {
            let (image, part) = (task / tasks, task % tasks);
            let rows = h * part / tasks..h * (part + 1) / tasks;
            let band = Band { exec, worker, image, x, y, residual, look };
            let wants_reals = look.is_some_and(|looker| !looker.takes_bytes);
            if let (Some((bytes, scratch)), false) = (&self.bytes, wants_reals) {
                let free = scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut cells = free.unwrap_or_else(|| Buffer::zeroed(self.byte_cells(bytes).iter().sum()));
                self.part_in_bytes(&band, rows, bytes, &mut cells);
                scratch.lock().unwrap_or_else(PoisonError::into_inner).push(cells);
                return;
            }
            let wide = if self.widen.is_some() { self.read.len() } else { 0 };
            with_scratch(wide + self.given.len(), |scratch| self.part(&band, rows, scratch.split_at_mut(wide)));
        });
    }

    /// Some rows of one image, band by band.
    fn part(&self, to: &Band<'_>, part: Range<usize>, (wide, given): (&mut [f32], &mut [f32])) {
        let (isa, image) = (to.exec.isa, to.image);
        self.clear_sides(wide);
        // Rows of `wide` that the band before has left.
        let mut kept = 0;
        for start in part.clone().step_by(self.rows) {
            let rows = self.rows.min(part.end - start);
            let needed = (rows - 1) * self.stride + self.reach;
            // Row 0 of `wide` is this row of what the depthwise convolution reads, less the padding above.
            let first = start * self.stride;
            let (read, from) = match &self.widen {
                None => (to.x, start_of(&self.x, image, 0) + first * self.x.row_len() - self.top * self.x.row_len()),
                Some((widen, activation)) => {
                    let begin = self.top.saturating_sub(first).clamp(kept, needed);
                    let end = (self.heights.0 + self.top - first).clamp(begin, needed);
                    self.clear(wide, kept..begin);
                    self.clear(wide, end..needed);
                    if begin < end {
                        let x = &to.x[start_of(&self.x, image, first + begin - self.top)..];
                        let y = Shared::new(&mut wide[begin * self.read.row_len()..]);
                        // SAFETY: the wide values are this task's alone.
                        unsafe { widen.run_rows(isa, x, y, None, *activation, 0..end - begin) };
                    }
                    (&*wide, 0)
                }
            };
            // SAFETY: as above.
            unsafe {
                self.filter.0.run_rows(isa, &read[from..], Shared::new(given), None, self.filter.1, 0..rows);
            }
            if let Some(look) = to.look {
                let own = self.own(start, rows);
                if self.widen.is_some() && own > 0 {
                    let geometry = &strip(&self.read, own);
                    let values = WideValues::Reals(&read[self.top * self.read.row_len()..], geometry, own);
                    look.show(Wide::Filtered, to.worker, values, (image, first));
                }
                look.show(Wide::Narrowed, to.worker, WideValues::Reals(given, &self.given, rows), (image, start));
            }
            let (narrow, activation) = &self.narrow;
            let residual = to
                .residual
                .map(|(values, geometry)| (&values[start_of(geometry, image, start)..], strip(geometry, self.rows)));
            let residual = residual.as_ref().map(|(values, geometry)| (*values, geometry));
            let y = to.y.tail(start_of(&self.y, image, start));
            // SAFETY: these rows of the output are this task's.
            unsafe { narrow.run_rows(isa, given, y, residual, *activation, 0..rows) };
            if self.widen.is_some() {
                kept = needed - rows * self.stride;
                self.carry(wide, rows * self.stride..needed);
            }
        }
    }

    /// Rows that the depthwise convolution reads and the band of the output rows `start` to `start + rows` shows: each is shown by
    /// one band, none by bands that read padding alone.
    fn own(&self, start: usize, rows: usize) -> usize {
        let (first, last) = (start * self.stride, start + rows == self.heights.1);
        let end = if last { self.heights.0 } else { (first + rows * self.stride).min(self.heights.0) };
        end.saturating_sub(first)
    }

    /// Rows of a band of bytes: as many bytes as a band of reals has.
    fn byte_rows(&self) -> usize {
        (self.rows * size_of::<f32>()).min(self.heights.1)
    }

    /// Cells of wide values that a band of bytes reads, and gives.
    fn byte_cells(&self, bytes: &Bytes) -> [usize; 2] {
        let rows = self.byte_rows();
        let read = ((rows - 1) * self.stride + self.reach) * bytes.layout.row_len();
        [read, rows * bytes.given.row_len()]
    }

    /// As [`Self::part`], with wide values in bytes.
    fn part_in_bytes(&self, to: &Band<'_>, part: Range<usize>, bytes: &Bytes, cells: &mut [i32]) {
        let (isa, image, row_len) = (to.exec.isa, to.image, bytes.layout.row_len());
        let (wide, given) = cells.split_at_mut(self.byte_cells(bytes)[0]);
        let mut kept = 0;
        for start in part.clone().step_by(self.byte_rows()) {
            let rows = self.byte_rows().min(part.end - start);
            let (needed, first) = ((rows - 1) * self.stride + self.reach, start * self.stride);
            let begin = self.top.saturating_sub(first).clamp(kept, needed);
            let end = (self.heights.0 + self.top - first).clamp(begin, needed);
            wide[kept * row_len..begin * row_len].fill(0);
            wide[end * row_len..needed * row_len].fill(0);
            if begin < end {
                let (row, wide) = (first + begin - self.top, &mut wide[begin * row_len..end * row_len]);
                if let Some((widen, _)) = &self.widen {
                    let (x, to) = (&to.x[start_of(&self.x, image, row)..], Rows::new(wide, bytes.layout));
                    // SAFETY: the rows have the width of the output, and are this task's alone.
                    unsafe { widen.run_to_bytes(isa, x, 0..end - begin, to) };
                } else {
                    let from = &to.x[self.x.at(image, 0, row, 0)..];
                    isa.run(Convert { from, geometry: &self.x, to: wide, layout: bytes.layout, rows: end - begin });
                }
            }
            isa.run(Filter { bytes, from: wide, to: given, rows });
            if let Some(look) = to.look {
                let (Geometry { c, w, .. }, own) = (self.given, self.own(start, rows));
                if self.widen.is_some() && own > 0 {
                    let wide = &wide[self.top * row_len..];
                    let cells = Cells::new(wide, bytes.layout, [c, own, self.read.w]);
                    look.show(Wide::Filtered, to.worker, WideValues::Bytes(cells), (image, first));
                }
                let cells = Cells::new(given, bytes.given, [c, rows, w]);
                look.show(Wide::Narrowed, to.worker, WideValues::Bytes(cells), (image, start));
            }
            let y = to.y.tail(start_of(&self.y, image, start));
            // SAFETY: these rows of the output are this task's.
            unsafe { self.narrow.0.run_of_cells(isa, given, y, 0..rows) };
            kept = needed - rows * self.stride;
            wide.copy_within(rows * self.stride * row_len..needed * row_len, 0);
        }
    }

    /// Makes the columns beside the map zero, which no row that is computed or cleared has written.
    fn clear_sides(&self, wide: &mut [f32]) {
        let Geometry { halo, lanes, .. } = self.read;
        for row in wide.chunks_exact_mut(self.read.row_len()) {
            row[..halo.left * lanes].fill(0.0);
            let map = row.len() - halo.right * lanes;
            row[map..].fill(0.0);
        }
    }

    /// Makes rows of `wide` zero.
    fn clear(&self, wide: &mut [f32], rows: Range<usize>) {
        let row = self.read.row_len();
        for plane in wide.chunks_exact_mut(self.read.plane_len()) {
            plane[rows.start * row..rows.end * row].fill(0.0);
        }
    }

    /// Moves rows of `wide` to the front.
    fn carry(&self, wide: &mut [f32], rows: Range<usize>) {
        let row = self.read.row_len();
        for plane in wide.chunks_exact_mut(self.read.plane_len()) {
            plane.copy_within(rows.start * row..rows.end * row, 0);
        }
    }
}

impl Looker<'_> {
    fn show(&self, wide: Wide, worker: usize, values: WideValues<'_>, place: (usize, usize)) {
        (self.look)(Look { wide, worker, values, place });
    }
}

/// What a task reads and writes.
struct Band<'a> {
    exec: &'a Exec<'a>,
    worker: usize,
    image: usize,
    x: &'a [f32],
    y: Shared<'a>,
    residual: Option<(&'a [f32], &'a Geometry)>,
    look: Option<&'a Looker<'a>>,
}
