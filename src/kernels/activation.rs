//! The pointwise functions after a layer, on sixteen lanes; the same bits on every level.

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
        }
    }
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

/// `tanh(x)`: `x P(x^2) / Q(x^2)` on -7.9..=7.9, where f32 tanh reaches 1 (the minimax fit of Eigen's authors).
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    const P: [f32; 7] =
        [-2.760_768_5e-16, 2.000_188e-13, -8.604_672e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619e-4, 4.893_524_6e-3];
    const Q: [f32; 4] = [1.198_258_4e-6, 1.185_347e-4, 2.268_434_6e-3, 4.893_525e-3];
    let x = s.min(s.splat(7.905_311), s.max(s.splat(-7.905_311), x));
    let square = s.mul(x, x);
    let poly = |c: &[f32]| c[1..].iter().fold(s.splat(c[0]), |p, &c| s.fma(p, square, s.splat(c)));
    s.div(s.mul(x, poly(&P)), poly(&Q))
}
