//! Integer convolutions against plain loops in 64 bits, requantised one by one.

use proptest::prelude::*;

use super::tests::{Problem, problems};
use super::*;
use crate::kernels::requantize::Fixed31;
use crate::kernels::{Isa, Pool, Rounding};

/// Integers in `low..=high` from floats in -1..1.
fn integers(values: Vec<f32>, (low, high): (i32, i32)) -> Vec<f32> {
    let (middle, half) = (f64::from(low + high) / 2.0, f64::from(high - low) / 2.0);
    values.into_iter().map(|v| (f64::from(v) * (half + 0.4) + middle).round() as f32).collect()
}

impl Problem {
    /// Bounds of the inputs: those of bytes, or wider.
    fn input(&self) -> (i32, i32) {
        [(-3, 252), (0, 255), (-128, 127), (-255, 255)][self.seed as usize % 4]
    }

    /// Bounds of the weights: those of bytes, or wider.
    fn weights(&self) -> (i32, i32) {
        [(-128, 127), (-127, 127), (-255, 255)][self.seed as usize / 4 % 3]
    }

    fn requantize(&self, rounding: Rounding) -> Requantize {
        let filters = 0..self.shape.out_channels;
        Requantize {
            bias: filters.clone().map(|k| (k as i32 * 7919 + self.seed as i32) % 40_000 - 20_000).collect(),
            offset: Vec::new(),
            multipliers: filters.map(|k| 0.000_02 * (1.0 + k as f64)).collect(),
            rounding,
            input: self.input(),
            low: -200,
            high: 131,
            wrapped: Default::default(),
        }
    }

    /// `[N, K, P, Q]` of codes.
    fn integer_naive(&self, requantize: &Requantize) -> Vec<f32> {
        let s = &self.shape;
        let (oh, ow) = s.output(self.h, self.w);
        let (cg, kg) = (s.in_channels / s.groups, s.out_channels / s.groups);
        let (x, weight) = (integers(self.x(), self.input()), integers(self.weight(), self.weights()));
        let mut y = Vec::new();
        for (n, k) in (0..self.images).flat_map(|n| (0..s.out_channels).map(move |k| (n, k))) {
            for (p, q) in (0..oh).flat_map(|p| (0..ow).map(move |q| (p, q))) {
                let mut sum = i64::from(requantize.bias[k]);
                for (c, r, t) in
                    (0..cg).flat_map(|c| (0..s.kernel.0).flat_map(move |r| (0..s.kernel.1).map(move |t| (c, r, t))))
                {
                    let row = (p * s.stride.0 + r * s.dilation.0).wrapping_sub(s.padding.top);
                    let column = (q * s.stride.1 + t * s.dilation.1).wrapping_sub(s.padding.left);
                    if row < self.h && column < self.w {
                        let at = ((n * s.in_channels + k / kg * cg + c) * self.h + row) * self.w + column;
                        let tap = ((k * cg + c) * s.kernel.0 + r) * s.kernel.1 + t;
                        sum += x[at] as i64 * weight[tap] as i64;
                    }
                }
                let (sum, real) = (i32::try_from(sum).expect("a sum of 32 bits"), requantize.multipliers[k]);
                let code = match requantize.rounding {
                    Rounding::Float32 => (sum as f32 * real as f32).round_ties_even() as i32,
                    Rounding::Fixed31 => Fixed31::new(real).apply(sum),
                    Rounding::Fixed31Once => Fixed31::new(real).apply_once(sum),
                };
                y.push(code.clamp(requantize.low, requantize.high) as f32);
            }
        }
        y
    }
}

fn roundings() -> impl Strategy<Value = Rounding> {
    prop::sample::select(vec![Rounding::Float32, Rounding::Fixed31, Rounding::Fixed31Once])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn integers_equal_plain_loops_on_every_level(problem in problems(), rounding in roundings()) {
        let s = &problem.shape;
        let (oh, ow) = s.output(problem.h, problem.w);
        let xg = Geometry::blocked(problem.images + 1, s.in_channels, problem.h, problem.w);
        let halo = s.halo(problem.h, problem.w);
        let xg = xg.with_halo(Halo { left: halo.left + problem.extra.left, ..halo });
        let yg = Geometry::blocked(problem.images + 1, s.out_channels, oh, ow).with_halo(problem.extra);
        let requantize = problem.requantize(rounding);
        let packed = PackedConv::integer(s, &integers(problem.weight(), problem.weights()), &requantize, &xg, &yg);
        let mut x = vec![0.0; xg.len()];
        let images = |geometry: Geometry| Geometry { n: problem.images, ..geometry };
        images(xg).pack(&integers(problem.x(), problem.input()), &mut x);
        let want = problem.integer_naive(&requantize);
        for isa in Isa::available() {
            for threads in [1, 2] {
                let pool = Pool::new(threads);
                let mut y = vec![0.0; yg.len()];
                packed.run(&Exec::new(&pool, isa), problem.images, &x, &mut y, None, Activation::Identity);
                prop_assert!(images(yg).unpack(&y) == want, "{} {} on {threads} threads", packed.method(), isa.name());
                let stored = y.iter().filter(|&&v| v != 0.0).count();
                prop_assert_eq!(stored, want.iter().filter(|&&v| v != 0.0).count(), "padding lanes and halo stay zero");
            }
        }
    }
}
