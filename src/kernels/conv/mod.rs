//! Convolution: what is asked for, which method computes it, and the packed weights.

mod bytes;
#[cfg(test)]
mod coded_tests;
mod cover;
mod depthwise;
mod direct;
mod epilogue;
mod integer;
#[cfg(test)]
mod integer_tests;
pub mod inverted;
#[cfg(test)]
mod inverted_tests;
mod narrow;
mod packed;
#[cfg(test)]
mod sharing_tests;
#[cfg(test)]
mod tests;
mod transforms;
mod vector;
mod winograd;
#[cfg(test)]
mod winograd_tests;
mod wrapping;

use std::ops::Range;
use std::sync::Arc;

use depthwise::Depthwise;
use direct::Direct;
use integer::Integer;
use narrow::Narrow;
use winograd::Winograd;
pub use winograd::winograd_tile;
use wrapping::Wrapping;
pub use wrapping::{Wrapped, sums_could_wrap};

use super::activation::Activation;
use super::buffer::Buffer;
use super::coded::CodedMatrix;
use super::exec::Exec;
use super::geometry::{Geometry, Halo, LANES};
use super::isa::Isa;
use super::requantize::{Requantize, Requantizer};
use super::shared::Shared;

/// Extents and attributes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// C.
    pub in_channels: usize,
    /// K.
    pub out_channels: usize,
    /// R, S.
    pub kernel: (usize, usize),
    /// Rows and columns from one window to the next.
    pub stride: (usize, usize),
    /// Rows and columns from one tap to the next.
    pub dilation: (usize, usize),
    /// Zeros around the input.
    pub padding: Halo,
    /// Groups of channels, each convolved on its own.
    pub groups: usize,
}

impl ConvShape {
    /// Rows and columns of the output for an input of `h` x `w`, which must be at least as large as a filter once padded.
    pub fn output(&self, h: usize, w: usize) -> (usize, usize) {
        let extent = |size: usize, kernel: usize, stride: usize, dilation: usize| {
            (size - dilation * (kernel - 1) - 1) / stride + 1
        };
        let p = self.padding;
        (
            extent(h + p.top + p.bottom, self.kernel.0, self.stride.0, self.dilation.0),
            extent(w + p.left + p.right, self.kernel.1, self.stride.1, self.dilation.1),
        )
    }

    /// The halo that an input buffer of `h` x `w` needs so that every window lies in it.
    pub fn halo(&self, h: usize, w: usize) -> Halo {
        let (oh, ow) = self.output(h, w);
        let reach = |outputs: usize, kernel: usize, stride: usize, dilation: usize| {
            (outputs - 1) * stride + dilation * (kernel - 1) + 1
        };
        let (top, left) = (self.padding.top, self.padding.left);
        let bottom = reach(oh, self.kernel.0, self.stride.0, self.dilation.0).saturating_sub(h + top);
        let right = reach(ow, self.kernel.1, self.stride.1, self.dilation.1).saturating_sub(w + left);
        Halo { top, bottom, left, right }
    }

    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }
}

enum Method {
    Direct(Direct),
    Winograd(Arc<Winograd>),
    Depthwise(Depthwise),
    Narrow(Narrow),
    Integer(Box<Integer>),
}

/// A convolution with its weights packed for the layouts of its input and output.
pub struct PackedConv {
    method: Method,
    /// Bias, zero-padded to whole blocks.
    bias: Buffer,
    /// For depthwise integer convolutions, whose sums are exact in f32.
    requantizer: Option<Box<Requantizer>>,
    /// For integer convolutions with sums that could wrap.
    wrapping: Option<Box<Wrapping>>,
    x: Geometry,
    y: Geometry,
}

/// What every method's tasks read and write.
#[derive(Clone, Copy)]
struct Job<'a> {
    x: &'a [f32],
    xg: &'a Geometry,
    y: Shared<'a>,
    yg: &'a Geometry,
    bias: &'a [f32],
    residual: Option<(&'a [f32], &'a Geometry)>,
    activation: Activation,
    /// Makes codes of the sums, if these are integers.
    requantizer: Option<&'a Requantizer>,
    images: usize,
}

impl PackedConv {
    /// Packs `weight` `[K, C/groups, R, S]` and `bias` `[K]`. The method follows from the layer's shape alone. `winograd`
    /// allows Winograd's; it gives the rows and columns of the whole output, of which `y` may be a part.
    ///
    /// # Panics
    /// If the sizes contradict one another or the halo of `x` is too small.
    pub fn new(
        shape: &ConvShape,
        weight: &[f32],
        bias: Option<&[f32]>,
        x: &Geometry,
        y: &Geometry,
        winograd: Option<(usize, usize)>,
    ) -> Self {
        Self::sharing(None, shape, weight, bias, (x, y), winograd)
    }

    /// [`PackedConv::new`] from the first to the second geometry, which shares the packed weights of `before`, the same layer for maps
    /// of another size, if their layout is the same.
    ///
    /// # Panics
    /// As [`PackedConv::new`].
    pub fn sharing(
        before: Option<&Self>,
        shape: &ConvShape,
        weight: &[f32],
        bias: Option<&[f32]>,
        (x, y): (&Geometry, &Geometry),
        winograd: Option<(usize, usize)>,
    ) -> Self {
        check(shape, weight.len(), x, y);
        let before = before.map(|before| &before.method);
        let method = if shape.is_depthwise() && x.lanes == LANES {
            Method::Depthwise(Depthwise::new(shape, weight))
        } else if Narrow::fits(shape, x) {
            Method::Narrow(Narrow::new(shape, weight))
        } else if let Some(tile) = winograd.and_then(|whole| Winograd::tile(shape, x, whole)) {
            match before {
                Some(Method::Winograd(packed)) if packed.serves(shape, tile) => Method::Winograd(Arc::clone(packed)),
                _ => Method::Winograd(Arc::new(Winograd::new(shape, weight, tile))),
            }
        } else {
            let before = before.and_then(|before| match before {
                Method::Direct(direct) => Some(direct),
                _ => None,
            });
            Method::Direct(Direct::new(shape, weight, x, y, before))
        };
        Self { method, bias: padded(bias, y), requantizer: None, wrapping: None, x: *x, y: *y }
    }

    /// A convolution of single pixels by the rows of `matrix`, with the same bits as [`PackedConv::new`] of its elements. `None`
    /// if another method computes the layer's shape.
    ///
    /// # Panics
    /// As [`PackedConv::new`].
    pub fn coded(
        shape: &ConvShape,
        matrix: Arc<CodedMatrix>,
        bias: Option<&[f32]>,
        x: &Geometry,
        y: &Geometry,
    ) -> Option<Self> {
        if Narrow::fits(shape, x) || x.lanes != LANES {
            return None;
        }
        check(shape, matrix.rows() * matrix.columns(), x, y);
        let is_of_pixels = (shape.kernel, shape.stride, shape.groups) == ((1, 1), (1, 1), 1) && x.c == matrix.columns();
        assert!(is_of_pixels && shape.padding == Halo::default(), "a filter is a row");
        let method = Method::Direct(Direct::coded(shape, matrix, x, y));
        Some(Self { method, bias: padded(bias, y), requantizer: None, wrapping: None, x: *x, y: *y })
    }

    /// Packs a convolution of integers `q - zero_point` with integers `weight` `[K, C/groups, R, S]`; `requantize` makes the
    /// codes `q - zero_point` of its output.
    ///
    /// # Panics
    /// As [`PackedConv::new`].
    pub fn integer(shape: &ConvShape, weight: &[f32], requantize: &Requantize, x: &Geometry, y: &Geometry) -> Self {
        check(shape, weight.len(), x, y);
        let bias = Buffer::zeroed(y.blocks() * LANES);
        let wrapping = Wrapping::new(shape, weight, requantize).map(Box::new);
        if shape.is_depthwise() && shape.kernel.0 * shape.kernel.1 <= EXACT_TAPS {
            let method = Method::Depthwise(Depthwise::new(shape, weight));
            let requantizer = Some(Box::new(Requantizer::new(requantize)));
            return Self { method, bias, requantizer, wrapping, x: *x, y: *y };
        }
        let method = Method::Integer(Box::new(Integer::new(shape, weight, requantize, x, y)));
        Self { method, bias, requantizer: None, wrapping, x: *x, y: *y }
    }

    /// Name of the method.
    pub fn method(&self) -> &'static str {
        match &self.method {
            Method::Direct(_) => "direct",
            Method::Winograd(winograd) => winograd.name(),
            Method::Depthwise(_) => "depthwise",
            Method::Narrow(_) => "narrow",
            Method::Integer(_) => "integer",
        }
    }

    /// Computes the first `images` images of `y`; `residual`, of the shape of `y`, is added before `activation`.
    pub fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        x: &[f32],
        y: &mut [f32],
        residual: Option<(&[f32], &Geometry)>,
        activation: Activation,
    ) {
        assert!(x.len() >= self.x.len() && y.len() >= self.y.len() && images <= self.x.n, "buffers hold the images");
        if let Some((buffer, geometry)) = residual {
            let same = (geometry.c, geometry.h, geometry.w, geometry.lanes);
            assert_eq!(same, (self.y.c, self.y.h, self.y.w, LANES), "residual of the output's shape");
            assert!(buffer.len() >= geometry.len(), "the residual's buffer holds the images");
        }
        let y = Shared::new(y);
        let requantizer = self.requantizer.as_deref();
        let job = Job { x, xg: &self.x, y, yg: &self.y, bias: &self.bias, residual, activation, requantizer, images };
        match &self.method {
            Method::Direct(direct) => direct.run(exec, &job),
            Method::Winograd(winograd) => winograd.run(exec, &job),
            Method::Depthwise(depthwise) => depthwise.run(exec, &job),
            Method::Narrow(narrow) => narrow.run(exec, &job),
            Method::Integer(integer) => integer.run(exec, &job),
        }
        if let Some(wrapping) = &self.wrapping {
            wrapping.look(exec, images, (x, &self.x), (self.y.h, self.y.w));
        }
    }
}

impl PackedConv {
    /// Computes rows `rows` of image 0 of `y` on this thread alone, for methods that compute rows one by one.
    ///
    /// # Safety
    /// No other thread writes these rows of `y`.
    unsafe fn run_rows(
        &self,
        isa: Isa,
        x: &[f32],
        y: Shared<'_>,
        residual: Option<(&[f32], &Geometry)>,
        activation: Activation,
        rows: Range<usize>,
    ) {
        let requantizer = self.requantizer.as_deref();
        let (xg, yg, bias) = (&self.x, &self.y, &self.bias);
        let job = Job { x, xg, y, yg, bias, residual, activation, requantizer, images: 1 };
        match &self.method {
            Method::Direct(direct) => direct.rows(isa, &job, rows),
            Method::Depthwise(depthwise) => depthwise.rows(isa, &job, rows),
            Method::Narrow(narrow) => narrow.rows(isa, &job, rows),
            Method::Integer(integer) => integer.rows(isa, &job, rows),
            Method::Winograd(_) => unreachable!("{} computes tiles of rows", self.method()),
        }
    }
}

impl PackedConv {
    /// As [`PackedConv::run_rows`] for integers, into packed rows.
    ///
    /// # Safety
    /// The pixels are in the rows `to`, which are alive and written by this thread alone.
    unsafe fn run_to_packed(&self, isa: Isa, x: &[f32], rows: Range<usize>, to: bytes::PackedRows) {
        let Method::Integer(integer) = &self.method else { unreachable!("{} gives no bytes", self.method()) };
        // SAFETY: the caller's.
        unsafe { integer.rows_to_packed(isa, &self.job(x, Shared::new(&mut [])), rows, to) };
    }

    /// As [`PackedConv::run_rows`] for integers, from packed rows.
    ///
    /// # Safety
    /// No other thread writes these rows of `y`.
    unsafe fn run_from_packed(&self, isa: Isa, words: &[i32], y: Shared<'_>, rows: Range<usize>) {
        let Method::Integer(integer) = &self.method else { unreachable!("{} reads no packed codes", self.method()) };
        integer.rows_from_packed(isa, &self.job(&[], y), rows, words);
    }

    /// An integer convolution of image 0.
    fn job<'a>(&'a self, x: &'a [f32], y: Shared<'a>) -> Job<'a> {
        let (xg, yg, bias, activation) = (&self.x, &self.y, &self.bias, Activation::Identity);
        Job { x, xg, y, yg, bias, residual: None, activation, requantizer: None, images: 1 }
    }
}

/// Number of taps whose products of 9-bit integers add up to less than 2^24, so that f32 holds their sum exactly.
const EXACT_TAPS: usize = 256;

/// `bias` in whole blocks of `y`, zeros without one.
fn padded(bias: Option<&[f32]>, y: &Geometry) -> Buffer {
    let mut padded = Buffer::zeroed(y.blocks() * LANES);
    // Adding zero turns -0 into +0: skipping taps that read zeros then changes no bit of a sum.
    padded.iter_mut().zip(bias.unwrap_or_default()).for_each(|(to, bias)| *to = bias + 0.0);
    padded
}

fn check(shape: &ConvShape, weights: usize, x: &Geometry, y: &Geometry) {
    let (k, c) = (shape.out_channels, shape.in_channels);
    assert_eq!((x.c, y.c), (c, k), "channels");
    assert_eq!((y.h, y.w), shape.output(x.h, x.w), "output extents");
    assert_eq!(weights, k * (c / shape.groups) * shape.kernel.0 * shape.kernel.1, "weights");
    assert_eq!(x.halo.union(shape.halo(x.h, x.w)), x.halo, "halo of the input");
    assert_eq!(y.lanes, LANES, "outputs are blocked");
}
