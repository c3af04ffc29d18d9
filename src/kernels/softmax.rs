//! Softmax of floats.

use super::exec::Exec;
use super::geometry::Geometry;
use super::pixels::Source;
use super::shared::Shared;

/// Softmax of floats over the channels of each pixel, after multiplication by `beta`.
pub fn softmax(exec: &Exec<'_>, images: usize, beta: f32, (x, g): (&[f32], &Geometry), y: &mut [f32], yg: &Geometry) {
    let x = Source::new(x, g);
    let y = Shared::new(y);
    exec.for_each_task(images * g.h, |_, task| {
        let (image, row) = (task / g.h, task % g.h);
        for column in 0..g.w {
            let value = |c: usize| x.channel(image, c, row, column);
            let highest = (0..g.c).map(value).fold(f32::NEG_INFINITY, f32::max);
            let exponential = |c: usize| ((value(c) - highest) * beta).exp();
            let total: f32 = (0..g.c).map(exponential).sum();
            for c in 0..g.c {
                // SAFETY: each row of each image belongs to one task.
                unsafe { y.slice(yg.index(image, c, row, column), 1)[0] = exponential(c) / total };
            }
        }
    });
}
