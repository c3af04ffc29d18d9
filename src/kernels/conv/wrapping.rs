//! Whether 32-bit sums of a convolution of integers left their range and wrapped. Only filters whose sums some input could drive
//! there are looked at: their sums are taken again in 64 bits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ConvShape;
use crate::kernels::exec::Exec;
use crate::kernels::geometry::Geometry;
use crate::kernels::integer::integer;
use crate::kernels::requantize::Requantize;

/// Whether a sum has wrapped since the network was loaded; clones are of the same layer.
#[derive(Clone, Debug, Default)]
pub struct Wrapped(Arc<AtomicBool>);

impl Wrapped {
    /// Whether one has.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that one has.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A filter whose sums could wrap.
struct Filter {
    number: usize,
    bias: i64,
    /// `[C/groups, R, S]`.
    weights: Vec<i32>,
}

/// The filters of a convolution whose sums could wrap.
pub(super) struct Wrapping {
    shape: ConvShape,
    filters: Vec<Filter>,
    wrapped: Wrapped,
}

/// Whether the sums of a filter with `weights` could leave 32 bits for inputs within `input`.
fn could_wrap(weights: &[f32], bias: i32, (low, high): (i32, i32)) -> bool {
    let extreme = |largest: bool| {
        let product = |w: &f32| {
            let ends = [low, high].map(|end| i64::from(end) * *w as i64);
            if largest { ends[0].max(ends[1]) } else { ends[0].min(ends[1]) }
        };
        i64::from(bias) + weights.iter().map(product).sum::<i64>()
    };
    extreme(true) > i32::MAX.into() || extreme(false) < i32::MIN.into()
}

/// Whether any sum of a convolution with `weight` `[K, C/groups, R, S]` could leave 32 bits.
pub fn sums_could_wrap(weight: &[f32], requantize: &Requantize) -> bool {
    let each = (weight.len() / requantize.bias.len().max(1)).max(1);
    let mut filters = weight.chunks(each).zip(&requantize.bias);
    filters.any(|(weights, &bias)| could_wrap(weights, bias, requantize.input))
}

impl Wrapping {
    /// Those of a convolution with integers `weight` `[K, C/groups, R, S]`; `None` if no sum could wrap.
    pub(super) fn new(shape: &ConvShape, weight: &[f32], requantize: &Requantize) -> Option<Self> {
        let each = (weight.len() / shape.out_channels.max(1)).max(1);
        let filters = weight.chunks(each).zip(&requantize.bias).enumerate();
        let suspects = filters.filter(|(_, (weights, bias))| could_wrap(weights, **bias, requantize.input));
        let filter = |(number, (weights, &bias)): (usize, (&[f32], &i32))| Filter {
            number,
            bias: bias.into(),
            weights: weights.iter().map(|&w| w as i32).collect(),
        };
        let filters: Vec<Filter> = suspects.map(filter).collect();
        (!filters.is_empty()).then(|| Self { shape: *shape, filters, wrapped: requantize.wrapped.clone() })
    }

    /// Looks at the sums of the first `images` images of `x`, of which there are `(h, w)` a filter, until one has wrapped.
    pub(super) fn look(&self, exec: &Exec<'_>, images: usize, (x, xg): (&[f32], &Geometry), (h, w): (usize, usize)) {
        // What is shown alongside was shown already.
        exec.pool.for_each_task(images * h, |_, task| {
            let (image, row) = (task / h, task % h);
            for filter in &self.filters {
                if self.wrapped.get() {
                    return;
                }
                let sum = |column| self.sum(filter, (x, xg), image, (row, column));
                if (0..w).map(sum).any(|sum| i32::try_from(sum).is_err()) {
                    self.wrapped.set();
                }
            }
        });
    }

    /// The sum of `filter` at an output pixel, in 64 bits.
    fn sum(&self, filter: &Filter, (x, xg): (&[f32], &Geometry), image: usize, (row, column): (usize, usize)) -> i64 {
        let ConvShape { in_channels, out_channels, kernel: (r, s), stride, dilation, padding, groups } = self.shape;
        let first = filter.number / (out_channels / groups) * (in_channels / groups);
        // Padding adds nothing.
        let place = |at: usize, stride: usize, tap: usize, dilation: usize, before: usize, size: usize| {
            (at * stride + tap * dilation).checked_sub(before).filter(|place| *place < size)
        };
        let mut sum = filter.bias;
        for (channel, weights) in filter.weights.chunks(r * s).enumerate() {
            for (tap, &weight) in weights.iter().enumerate() {
                let y = place(row, stride.0, tap / s, dilation.0, padding.top, xg.h);
                let at = place(column, stride.1, tap % s, dilation.1, padding.left, xg.w);
                if let (Some(y), Some(at)) = (y, at) {
                    sum += i64::from(weight) * i64::from(integer(x[xg.index(image, first + channel, y, at)]));
                }
            }
        }
        sum
    }
}
