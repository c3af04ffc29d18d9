//! The pointwise functions after a layer, on sixteen lanes; the same bits on every level.

use super::count::CodeMap;
use super::geometry::LANES;
use super::simd::Simd;

/// A pointwise function; [`Activation::Identity`] where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// `x`.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` where positive, else `slope * x`.
    LeakyRelu(f32),
    /// `x * relu6(x + 3) / 6` (MobileNetV3).
    HardSwish,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x / (1 + exp(-x))` (SiLU, Swish).
    Silu,
    /// `tanh(x)`.
    Tanh,
    /// `sqrt(max(x, 0))`.
    Sqrt,
    /// `x * (1 + erf(x / sqrt(2))) / 2` (Hendrycks 2016).
    Gelu,
    /// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2`.
    GeluTanh,
    /// `x / (1 + exp(-1.702 * x))`.
    QuickGelu,
    /// `x` where its magnitude is above this one, a normal number of 1e-30 or more, else 0.
    Threshold(f32),
    /// The value of the code of `x`: the nearest that these codes stand for ([`CodeMap::nearest`]).
    Round(CodeMap),
}

impl Activation {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::LeakyRelu(_) => "leaky_relu",
            Self::HardSwish => "hard_swish",
            Self::HardSigmoid => "hard_sigmoid",
            Self::Sigmoid => "sigmoid",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
            Self::Sqrt => "sqrt",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::QuickGelu => "quick_gelu",
            Self::Threshold(_) => "threshold",
            Self::Round(_) => "round",
        }
    }

    /// Whether it maps 0 to 0. If it does not, a kernel must zero the padding lanes of the last channel block.
    pub fn keeps_zero(self) -> bool {
        !matches!(self, Self::HardSigmoid | Self::Sigmoid)
    }

    /// The function on sixteen lanes. NaN stays NaN.
    #[inline(always)]
    pub fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        let zero = s.splat(0.0);
        match self {
            Self::Identity => x,
            Self::Relu => s.max(zero, x),
            Self::Relu6 => s.min(s.splat(6.0), s.max(zero, x)),
            Self::LeakyRelu(slope) => {
                let (up, down) = (s.max(zero, x), s.min(zero, x));
                s.fma(s.splat(slope), down, up)
            }
            Self::HardSwish => s.mul(x, hard_sigmoid(s, x)),
            Self::HardSigmoid => hard_sigmoid(s, x),
            Self::Sigmoid => sigmoid(s, x),
            Self::Silu => s.mul(x, sigmoid(s, x)),
            Self::Tanh => tanh(s, x),
            Self::Sqrt => s.sqrt(s.max(zero, x)),
            Self::Gelu => half_of_one_plus(s, x, erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)))),
            Self::GeluTanh => {
                let cube = s.mul(s.mul(x, x), x);
                let inner = s.fma(s.splat(0.044715), cube, x);
                // The fit ends one rounding below 1; beyond it, the result is to be 0 or x.
                let y = s.mul(tanh(s, s.mul(inner, s.splat(SQRT_2_OVER_PI))), s.splat(1.0 + f32::EPSILON));
                half_of_one_plus(s, x, s.min(s.splat(1.0), s.max(s.splat(-1.0), y)))
            }
            Self::QuickGelu => s.mul(x, sigmoid(s, s.mul(x, s.splat(1.702)))),
            Self::Threshold(threshold) => s.mul(x, is_above(s, x, threshold)),
            Self::Round(map) => rounded(s, x, map),
        }
    }
}

const SQRT_2_OVER_PI: f32 = 0.797_884_6;

/// `x * (1 + y) / 2`.
#[inline(always)]
fn half_of_one_plus<S: Simd>(s: S, x: S::V, y: S::V) -> S::V {
    let half = s.mul(x, s.splat(0.5));
    s.fma(half, y, half)
}

/// 1 where the magnitude of x is above `threshold`, else 0.
#[inline(always)]
fn is_above<S: Simd>(s: S, x: S::V, threshold: f32) -> S::V {
    // What is beyond it: 0, or at least half the spacing of floats there.
    let clipped = s.min(s.splat(threshold), s.max(s.splat(-threshold), x));
    let beyond = s.sub(x, clipped);
    let beyond = s.max(beyond, s.sub(s.splat(0.0), beyond));
    let half_spacing = threshold * (f32::EPSILON / 4.0);
    s.min(s.splat(1.0), s.mul(beyond, s.splat(1.0 / half_spacing)))
}

/// [`CodeMap::nearest`] of each lane.
#[inline(always)]
pub(super) fn rounded<S: Simd>(s: S, x: S::V, map: CodeMap) -> S::V {
    let mut lanes = [0.0; LANES];
    s.store(&mut lanes, x);
    round_lanes(&mut lanes, map);
    s.load(&lanes)
}

/// Out of the way of kernels that never round.
#[cold]
#[inline(never)]
fn round_lanes(lanes: &mut [f32; LANES], map: CodeMap) {
    lanes.iter_mut().for_each(|lane| *lane = map.nearest(*lane));
}

#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

#[inline(always)]
fn hard_sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let clipped = s.min(s.splat(6.0), s.max(s.splat(0.0), s.add(x, s.splat(3.0))));
    s.div(clipped, s.splat(6.0))
}

/// `exp(x)`: range reduction by ln 2 in two parts, then a polynomial of degree 6; saturates outside -87..=88.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.min(s.splat(88.0), s.max(s.splat(-87.0), x));
    let k = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.fnma(k, s.splat(0.693_359_4), x);
    let r = s.fnma(k, s.splat(-2.121_944_4e-4), r);
    let mut p = s.splat(1.0 / 720.0);
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = s.fma(p, r, s.splat(c));
    }
    s.mul(p, s.exp2i(k))
}

/// `erf(x)`: `x P(x^2) / Q(x^2)` on -3.95..=3.95, where f32 erf reaches 1; a minimax fit, within 5e-7 everywhere.
#[inline(always)]
fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    const P: [f32; 7] = [
        1.993_279_3e-8,
        -1.958_024_8e-6,
        1.417_995_8e-4,
        3.698_844_7e-3,
        5.056_425_6e-2,
        0.199_855_27,
        std::f32::consts::FRAC_2_SQRT_PI,
    ];
    const Q: [f32; 5] = [9.554_192e-4, 1.434_742_5e-2, 0.114_969_894, 0.510_448_75, 1.0];
    let x = s.min(s.splat(3.95), s.max(s.splat(-3.95), x));
    let square = s.mul(x, x);
    let y = s.div(s.mul(x, polynomial(s, square, &P)), polynomial(s, square, &Q));
    s.min(s.splat(1.0), s.max(s.splat(-1.0), y))
}

/// `tanh(x)`: `x P(x^2) / Q(x^2)` on -7.9..=7.9, where f32 tanh reaches 1 (the minimax fit of Eigen's authors).
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    const P: [f32; 7] =
        [-2.760_768_5e-16, 2.000_188e-13, -8.604_672e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619e-4, 4.893_524_6e-3];
    const Q: [f32; 4] = [1.198_258_4e-6, 1.185_347e-4, 2.268_434_6e-3, 4.893_525e-3];
    let x = s.min(s.splat(7.905_311), s.max(s.splat(-7.905_311), x));
    let square = s.mul(x, x);
    s.div(s.mul(x, polynomial(s, square, &P)), polynomial(s, square, &Q))
}

/// The polynomial of the coefficients `c`, of the highest power first.
#[inline(always)]
fn polynomial<S: Simd>(s: S, x: S::V, c: &[f32]) -> S::V {
    let mut sum = s.splat(c[0]);
    for &c in &c[1..] {
        sum = s.fma(sum, x, s.splat(c));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::FloatType;
    use crate::kernels::isa::{Isa, Kernel};

    struct Apply(Activation, [f32; 16]);

    impl Kernel for Apply {
        type Output = [f32; 16];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [f32; 16] {
            let mut out = [0.0; 16];
            s.store(&mut out, self.0.apply(s, s.load(&self.1)));
            out
        }
    }

    #[test]
    fn a_threshold_keeps_what_is_above_it_and_nothing_else() {
        for threshold in [1e-30f32, 0.1, 1.0, 1.5, 7.0, 3e10] {
            let (below, above) = (threshold.next_down(), threshold.next_up());
            let x = [threshold, -threshold, below, above, -below, -above, 2.0 * above, 1e38];
            let want = x.map(|x| if x.abs() > threshold { x } else { 0.0 });
            for isa in Isa::available() {
                let got = isa.run(Apply(Activation::Threshold(threshold), std::array::from_fn(|i| x[i % 8])));
                assert_eq!(got[..8], want, "{threshold} {}", isa.name());
            }
        }
    }

    #[test]
    fn rounding_gives_the_value_of_the_code_on_every_level() {
        let x: [f32; 16] = std::array::from_fn(|i| [0.3, -0.37, 1.99, -40.0, 0.03125, -0.046875, 1e-9, 3e38][i % 8]);
        let maps = [CodeMap::linear(16.0, -31, 31), CodeMap::linear(2f32.powi(-3), -1, 1)];
        let floats = [1, 3, 8, 11].map(|bits| CodeMap::float(1.0, FloatType::of_significand(bits)));
        for map in maps.into_iter().chain(floats) {
            let want = x.map(|x| map.nearest(x));
            if map.float.is_none() {
                assert_eq!(want, x.map(|x| map.code(x) as f32 / map.scale), "{map:?}");
            }
            for isa in Isa::available() {
                assert_eq!(isa.run(Apply(Activation::Round(map), x)), want, "{map:?} {}", isa.name());
            }
        }
        assert_eq!(maps[0].nearest(0.03125), 0.0, "ties go to even codes");
        assert_eq!(maps[0].nearest(-0.09375), -0.125);
        assert_eq!([0.3, -5.0, 3e38].map(|x| floats[0].nearest(x)), [0.25, -4.0, 2f32.powi(127)]);
    }

    #[test]
    fn gelu_ends_in_zero_and_in_its_input() {
        for isa in Isa::available() {
            for activation in [Activation::Gelu, Activation::GeluTanh] {
                let [low, zero, one, high, ..] =
                    isa.run(Apply(activation, std::array::from_fn(|i| [-12.0, 0.0, 1.0, 12.0][i % 4])));
                assert_eq!((low, zero, high), (0.0, 0.0, 12.0), "{}", activation.name());
                // erf: 0.841345, tanh: 0.841192.
                assert!((one - 0.8413).abs() < 2e-4, "{one}");
            }
        }
    }
}
