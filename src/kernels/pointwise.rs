//! Sums, gates, affine maps and activations, element by element.

use super::activation::Activation;
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use super::simd::Simd;

struct Apply<'a>(Activation, Source<'a>);

impl PixelOp for Apply<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        self.0.apply(s, self.1.load(s, at))
    }
}

/// `y = activation(x)`.
pub fn activation(
    exec: &Exec<'_>,
    images: usize,
    activation: Activation,
    x: (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    for_each_pixel(exec, images, &Apply(activation, Source::new(x.0, x.1)), y, yg);
}

struct Affine<'a> {
    scale: &'a [f32],
    shift: &'a [f32],
    x: Source<'a>,
}

impl PixelOp for Affine<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let [scale, shift] = [self.scale, self.shift].map(|values| s.load(&values[at.block * LANES..]));
        s.fma(self.x.load(s, at), scale, shift)
    }
}

/// `y = scale * x + shift`, both zero-padded to whole blocks of channels.
pub fn affine(
    exec: &Exec<'_>,
    images: usize,
    (scale, shift): (&[f32], &[f32]),
    x: (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    for_each_pixel(exec, images, &Affine { scale, shift, x: Source::new(x.0, x.1) }, y, yg);
}

struct Add<'a>(Source<'a>, Source<'a>);

impl PixelOp for Add<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        s.add(self.0.load(s, at), self.1.load(s, at))
    }
}

/// `y = a + b`.
pub fn add(
    exec: &Exec<'_>,
    images: usize,
    a: (&[f32], &Geometry),
    b: (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    for_each_pixel(exec, images, &Add(Source::new(a.0, a.1), Source::new(b.0, b.1)), y, yg);
}

struct Sub<'a>(Source<'a>, Source<'a>);

impl PixelOp for Sub<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        s.sub(self.0.load(s, at), self.1.load(s, at))
    }
}

/// `y = a - b`.
pub fn sub(
    exec: &Exec<'_>,
    images: usize,
    a: (&[f32], &Geometry),
    b: (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    for_each_pixel(exec, images, &Sub(Source::new(a.0, a.1), Source::new(b.0, b.1)), y, yg);
}

struct Fill(f32);

impl PixelOp for Fill {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, _: Pixel) -> S::V {
        s.splat(self.0)
    }
}

/// `y = value`.
pub fn fill(exec: &Exec<'_>, images: usize, value: f32, y: &mut [f32], yg: &Geometry) {
    for_each_pixel(exec, images, &Fill(value), y, yg);
}

struct Mul<'a> {
    x: Source<'a>,
    gate: Source<'a>,
    /// Whether the gate has one value per channel.
    broadcast: bool,
}

impl PixelOp for Mul<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let place = if self.broadcast { Pixel { y: 0, x: 0, ..at } } else { at };
        s.mul(self.x.load(s, at), self.gate.load(s, place))
    }

    #[inline(always)]
    fn row<S: Simd>(&self, s: S, at: Pixel, to: &mut [[f32; LANES]]) -> bool {
        let (true, Some(from)) = (self.broadcast, self.x.row(at)) else { return false };
        // Padding lanes are zero in both.
        let gate = self.gate.load(s, Pixel { y: 0, x: 0, ..at });
        for (to, from) in to.iter_mut().zip(from) {
            s.store(to, s.mul(s.load(from), gate));
        }
        true
    }
}

/// `y = x * gate`, the gate `[N, C, 1, 1]` or of the shape of `x`.
pub fn mul(
    exec: &Exec<'_>,
    images: usize,
    x: (&[f32], &Geometry),
    gate: (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    let broadcast = (gate.1.h, gate.1.w) != (x.1.h, x.1.w);
    let op = Mul { x: Source::new(x.0, x.1), gate: Source::new(gate.0, gate.1), broadcast };
    for_each_pixel(exec, images, &op, y, yg);
}
