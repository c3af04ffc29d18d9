//! The inverted residual of MobileNets in bands of rows: a pointwise convolution expands, a depthwise one filters, a pointwise
//! one projects. The intermediate activations of a band stay in the second-level cache and never reach memory.
//!
//! ```text
//!   x ──expand 1x1──▶ expanded ──depthwise──▶ filtered ──project 1x1──▶ y (+ residual)
//!                     └── a band of rows of each, in cache ──┘
//! ```

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::bytes::{ByteDepthwise, ByteDepthwiseRows, PackFloats, PackedRows};
use super::{ConvShape, PackedConv, bytes};
use crate::kernels::activation::Activation;
use crate::kernels::buffer::Buffer;
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, Halo};
use crate::kernels::packed_codes::PackedCodes;
use crate::kernels::requantize::Requantize;
use crate::kernels::scratch::with_scratch;
use crate::kernels::shared::Shared;

/// Bytes of intermediate activations in a band.
const CACHED: usize = 450_000;
/// Fewest bands per task, if there are tasks for all threads: the first band of a task computes again what the last one of the
/// task before has expanded.
const BANDS: usize = 4;

/// One of the three convolutions: expand, depthwise or project.
pub struct Stage<'a> {
    /// Extents and attributes.
    pub shape: ConvShape,
    /// `[K, C/groups, R, S]`.
    pub weight: &'a [f32],
    /// `[K]`.
    pub bias: Option<&'a [f32]>,
    /// Activation after it.
    pub activation: Activation,
    /// For a convolution of integers: makes codes of the sums, in place of bias and activation.
    pub requantize: Option<&'a Requantize>,
}

/// Which intermediate activation a task has just computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intermediate {
    /// The expanded activation, which the depthwise convolution reads.
    Expanded,
    /// The filtered activation, which the projection reads.
    Filtered,
}

/// Some rows of an intermediate activation, for an observer.
pub struct Observed<'a> {
    /// Which one.
    pub stage: Intermediate,
    /// The thread that computed them.
    pub worker: usize,
    /// The values.
    pub values: IntermediateValues<'a>,
    /// Image of the batch and row of the map that row 0 is.
    pub origin: (usize, usize),
}

/// Values of an intermediate activation.
pub enum IntermediateValues<'a> {
    /// Floats, their layout, and the number of rows of image 0.
    Floats(&'a [f32], &'a Geometry, usize),
    /// Packed codes.
    Bytes(PackedCodes<'a>),
}

/// Observes intermediate activations.
pub struct Observer<'a> {
    /// Called with every row once.
    pub call: &'a (dyn Fn(Observed<'_>) + Sync),
    /// Whether it accepts packed codes as well as floats.
    pub takes_bytes: bool,
}

/// The three convolutions with their weights packed.
pub struct InvertedResidual {
    expand: Option<(PackedConv, Activation)>,
    depthwise: (PackedConv, Activation),
    project: (PackedConv, Activation),
    /// Of the depthwise convolution: row stride, rows of a window, rows of padding above.
    stride: usize,
    reach: usize,
    top: usize,
    /// Output rows of a band.
    rows: usize,
    /// Rows of the expanded activation, and of the output.
    heights: (usize, usize),
    /// Layouts of a band of the depthwise convolution's input and output.
    input: Geometry,
    filtered: Geometry,
    x: Geometry,
    y: Geometry,
    /// The byte version, if it exists; used unless an observer needs floats. With the buffers of each worker, kept from run
    /// to run.
    bytes: Option<(ByteDepthwise, Mutex<Vec<Buffer<i32>>>)>,
}

/// Layout of `rows` rows of `geometry`, starting at the first halo column of one of its rows; the plane stride stays the same.
fn strip(geometry: &Geometry, rows: usize) -> Geometry {
    let frame = geometry.halo.top + geometry.h + geometry.halo.bottom;
    Geometry { n: 1, h: rows, halo: Halo { top: 0, bottom: frame - rows, ..geometry.halo }, ..*geometry }
}

/// Index of the first halo column of row `row` of `image`.
fn start_of(geometry: &Geometry, image: usize, row: usize) -> usize {
    geometry.at(image, 0, row, 0) - geometry.halo.left * geometry.lanes
}

impl InvertedResidual {
    /// Whether every one of the `h` rows that the depthwise convolution `shape` reads is read by some window.
    pub fn fits(shape: &ConvShape, h: usize) -> bool {
        let (stride, reach) = (shape.stride.0, shape.dilation.0 * (shape.kernel.0 - 1) + 1);
        let outputs = (h + shape.padding.top + shape.padding.bottom - reach) / stride + 1;
        reach >= stride + shape.padding.top && (outputs - 1) * stride + reach >= h + shape.padding.top
    }

    /// Whether intermediate activations are bytes when no observer needs floats, for an output of `width` columns.
    pub fn has_bytes(expand: Option<&Stage<'_>>, depthwise: &Stage<'_>, project: &Stage<'_>, width: usize) -> bool {
        bytes::fits(expand, depthwise, project, width)
    }

    /// Packs the convolutions for an input of layout `x` and an output of layout `y`.
    ///
    /// # Panics
    /// If the sizes contradict one another, or the depthwise convolution does not [fit](Self::fits).
    pub fn new(
        expand: Option<&Stage<'_>>,
        depthwise: &Stage<'_>,
        project: &Stage<'_>,
        x: &Geometry,
        y: &Geometry,
    ) -> Self {
        let shape = &depthwise.shape;
        assert!(Self::fits(shape, x.h), "every row is read");
        let (stride, reach) = (shape.stride.0, shape.dilation.0 * (shape.kernel.0 - 1) + 1);
        let halo = shape.halo(x.h, x.w);
        let sides = Halo { top: 0, bottom: 0, ..halo };
        let expanded = Geometry::blocked(1, shape.in_channels, 1, x.w).with_halo(sides);
        let filtered = Geometry::blocked(1, shape.out_channels, 1, y.w);
        let fixed = (reach - stride) * expanded.len();
        let each = stride * expanded.len() + filtered.len();
        let rows = ((CACHED / size_of::<f32>()).saturating_sub(fixed) / each).clamp(1, y.h);
        let needed = (rows - 1) * stride + reach;
        let (expanded, filtered) = (Geometry { h: needed, ..expanded }, Geometry { h: rows, ..filtered });
        // Rows of padding above and below are rows of the band.
        let padding = Halo { top: 0, bottom: 0, ..shape.padding };
        let input = if expand.is_some() { expanded } else { strip(x, needed) };
        let pack = |stage: &Stage<'_>, x: &Geometry, y: &Geometry| {
            let shape = ConvShape { padding, ..stage.shape };
            let shape = if stage.shape.groups == 1 { stage.shape } else { shape };
            let packed = match stage.requantize {
                Some(requantize) => PackedConv::integer(&shape, stage.weight, requantize, x, y),
                None => PackedConv::new(&shape, stage.weight, stage.bias, x, y, None),
            };
            (packed, stage.activation)
        };
        Self {
            expand: expand.map(|stage| pack(stage, &strip(x, needed.min(x.h)), &strip(&expanded, needed.min(x.h)))),
            depthwise: pack(depthwise, &input, &filtered),
            project: pack(project, &filtered, &strip(y, rows)),
            stride,
            reach,
            top: shape.padding.top,
            rows,
            heights: (x.h, y.h),
            input,
            filtered,
            x: *x,
            y: *y,
            bytes: ByteDepthwise::new(expand, depthwise, project, x, y).map(|bytes| (bytes, Mutex::new(Vec::new()))),
        }
    }

    /// Computes the first `images` images of `y`, to which `residual` is added; `observer` is called with all intermediate
    /// activations.
    pub fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        x: &[f32],
        y: &mut [f32],
        residual: Option<(&[f32], &Geometry)>,
        observer: Option<&Observer<'_>>,
    ) {
        assert!(x.len() >= self.x.len() && y.len() >= self.y.len() && images <= self.x.n, "buffers hold the images");
        let h = self.heights.1;
        let threads = exec.pool.threads();
        let tasks = (2 * threads).div_ceil(images).min(h.div_ceil(BANDS * self.rows));
        // The same number for each thread, since there are few.
        let tasks = if images == 1 { (tasks / threads).max(1) * threads } else { tasks.max(threads.div_ceil(images)) };
        let tasks = tasks.min(h);
        let y = Shared::new(y);
        exec.for_each_task(images * tasks, |worker, task| {
            let (image, part) = (task / tasks, task % tasks);
            let rows = h * part / tasks..h * (part + 1) / tasks;
            let band = Band { exec, worker, image, x, y, residual, observer };
            let needs_floats = observer.is_some_and(|observer| !observer.takes_bytes);
            if let (Some((bytes, scratch)), false) = (&self.bytes, needs_floats) {
                let free = scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut words = free.unwrap_or_else(|| Buffer::zeroed(self.byte_words(bytes).iter().sum()));
                self.part_in_bytes(&band, rows, bytes, &mut words);
                scratch.lock().unwrap_or_else(PoisonError::into_inner).push(words);
                return;
            }
            let expanded = if self.expand.is_some() { self.input.len() } else { 0 };
            with_scratch(expanded + self.filtered.len(), |scratch| {
                self.part(&band, rows, scratch.split_at_mut(expanded))
            });
        });
    }

    /// Some rows of one image, band by band.
    fn part(&self, to: &Band<'_>, part: Range<usize>, (expanded, filtered): (&mut [f32], &mut [f32])) {
        let (isa, image) = (to.exec.isa, to.image);
        self.clear_sides(expanded);
        // Rows of `expanded` left by the band before.
        let mut kept = 0;
        for start in part.clone().step_by(self.rows) {
            let rows = self.rows.min(part.end - start);
            let needed = (rows - 1) * self.stride + self.reach;
            // Row 0 of `expanded` is this row of what the depthwise convolution reads, less the padding above.
            let first = start * self.stride;
            let (input, from) = match &self.expand {
                None => (to.x, start_of(&self.x, image, 0) + first * self.x.row_len() - self.top * self.x.row_len()),
                Some((expand, activation)) => {
                    let begin = self.top.saturating_sub(first).clamp(kept, needed);
                    let end = (self.heights.0 + self.top - first).clamp(begin, needed);
                    self.clear(expanded, kept..begin);
                    self.clear(expanded, end..needed);
                    if begin < end {
                        let x = &to.x[start_of(&self.x, image, first + begin - self.top)..];
                        let y = Shared::new(&mut expanded[begin * self.input.row_len()..]);
                        // SAFETY: the intermediate activations are this task's alone.
                        unsafe { expand.run_rows(isa, x, y, None, *activation, 0..end - begin) };
                    }
                    (&*expanded, 0)
                }
            };
            // SAFETY: as above.
            unsafe {
                self.depthwise.0.run_rows(isa, &input[from..], Shared::new(filtered), None, self.depthwise.1, 0..rows);
            }
            if let Some(observer) = to.observer {
                let own = self.own(start, rows);
                if self.expand.is_some() && own > 0 {
                    let geometry = &strip(&self.input, own);
                    let values = IntermediateValues::Floats(&input[self.top * self.input.row_len()..], geometry, own);
                    observer.show(Intermediate::Expanded, to.worker, values, (image, first));
                }
                observer.show(
                    Intermediate::Filtered,
                    to.worker,
                    IntermediateValues::Floats(filtered, &self.filtered, rows),
                    (image, start),
                );
            }
            let (project, activation) = &self.project;
            let residual = to
                .residual
                .map(|(values, geometry)| (&values[start_of(geometry, image, start)..], strip(geometry, self.rows)));
            let residual = residual.as_ref().map(|(values, geometry)| (*values, geometry));
            let y = to.y.tail(start_of(&self.y, image, start));
            // SAFETY: these rows of the output are this task's.
            unsafe { project.run_rows(isa, filtered, y, residual, *activation, 0..rows) };
            if self.expand.is_some() {
                kept = needed - rows * self.stride;
                self.carry(expanded, rows * self.stride..needed);
            }
        }
    }

    /// Number of expanded rows that the band of the output rows `start` to `start + rows` shows to the observer. Each row is
    /// shown by one band; bands that read padding alone show none.
    fn own(&self, start: usize, rows: usize) -> usize {
        let (first, last) = (start * self.stride, start + rows == self.heights.1);
        let end = if last { self.heights.0 } else { (first + rows * self.stride).min(self.heights.0) };
        end.saturating_sub(first)
    }

    /// Rows of a band of bytes: it has as many bytes as a band of floats.
    fn byte_rows(&self) -> usize {
        (self.rows * size_of::<f32>()).min(self.heights.1)
    }

    /// Words of a band of the expanded and of the filtered activation in bytes.
    fn byte_words(&self, bytes: &ByteDepthwise) -> [usize; 2] {
        let rows = self.byte_rows();
        let input = ((rows - 1) * self.stride + self.reach) * bytes.layout.row_len();
        [input, rows * bytes.output.row_len()]
    }

    /// As [`Self::part`], with intermediate activations in bytes.
    fn part_in_bytes(&self, to: &Band<'_>, part: Range<usize>, bytes: &ByteDepthwise, words: &mut [i32]) {
        let (isa, image, row_len) = (to.exec.isa, to.image, bytes.layout.row_len());
        let (expanded, filtered) = words.split_at_mut(self.byte_words(bytes)[0]);
        let mut kept = 0;
        for start in part.clone().step_by(self.byte_rows()) {
            let rows = self.byte_rows().min(part.end - start);
            let (needed, first) = ((rows - 1) * self.stride + self.reach, start * self.stride);
            let begin = self.top.saturating_sub(first).clamp(kept, needed);
            let end = (self.heights.0 + self.top - first).clamp(begin, needed);
            expanded[kept * row_len..begin * row_len].fill(0);
            expanded[end * row_len..needed * row_len].fill(0);
            if begin < end {
                let (row, expanded) = (first + begin - self.top, &mut expanded[begin * row_len..end * row_len]);
                if let Some((expand, _)) = &self.expand {
                    let (x, to) = (&to.x[start_of(&self.x, image, row)..], PackedRows::new(expanded, bytes.layout));
                    // SAFETY: the rows have the width of the output, and are this task's alone.
                    unsafe { expand.run_to_packed(isa, x, 0..end - begin, to) };
                } else {
                    let from = &to.x[self.x.at(image, 0, row, 0)..];
                    isa.run(PackFloats {
                        from,
                        geometry: &self.x,
                        to: expanded,
                        layout: bytes.layout,
                        rows: end - begin,
                    });
                }
            }
            isa.run(ByteDepthwiseRows { conv: bytes, from: expanded, to: filtered, rows });
            if let Some(observer) = to.observer {
                let (Geometry { c, w, .. }, own) = (self.filtered, self.own(start, rows));
                if self.expand.is_some() && own > 0 {
                    let expanded = &expanded[self.top * row_len..];
                    let codes = PackedCodes::new(expanded, bytes.layout, [c, own, self.input.w]);
                    observer.show(Intermediate::Expanded, to.worker, IntermediateValues::Bytes(codes), (image, first));
                }
                let codes = PackedCodes::new(filtered, bytes.output, [c, rows, w]);
                observer.show(Intermediate::Filtered, to.worker, IntermediateValues::Bytes(codes), (image, start));
            }
            let y = to.y.tail(start_of(&self.y, image, start));
            // SAFETY: these rows of the output are this task's.
            unsafe { self.project.0.run_from_packed(isa, filtered, y, 0..rows) };
            kept = needed - rows * self.stride;
            expanded.copy_within(rows * self.stride * row_len..needed * row_len, 0);
        }
    }

    /// Zeroes the halo columns, which no row that is computed or cleared has written.
    fn clear_sides(&self, expanded: &mut [f32]) {
        let Geometry { halo, lanes, .. } = self.input;
        for row in expanded.chunks_exact_mut(self.input.row_len()) {
            row[..halo.left * lanes].fill(0.0);
            let map = row.len() - halo.right * lanes;
            row[map..].fill(0.0);
        }
    }

    /// Zeroes rows of `expanded`.
    fn clear(&self, expanded: &mut [f32], rows: Range<usize>) {
        let row = self.input.row_len();
        for plane in expanded.chunks_exact_mut(self.input.plane_len()) {
            plane[rows.start * row..rows.end * row].fill(0.0);
        }
    }

    /// Moves rows of `expanded` to the front.
    fn carry(&self, expanded: &mut [f32], rows: Range<usize>) {
        let row = self.input.row_len();
        for plane in expanded.chunks_exact_mut(self.input.plane_len()) {
            plane.copy_within(rows.start * row..rows.end * row, 0);
        }
    }
}

impl Observer<'_> {
    fn show(&self, stage: Intermediate, worker: usize, values: IntermediateValues<'_>, origin: (usize, usize)) {
        (self.call)(Observed { stage, worker, values, origin });
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
    observer: Option<&'a Observer<'a>>,
}
