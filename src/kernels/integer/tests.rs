//! Integer layers against their definitions, on every level.

use proptest::prelude::*;

use super::*;
use crate::kernels::{Halo, Isa, Pool};

/// The output of `layer` for `inputs` `[1, C, H, W]`, the same on every level.
fn run(layer: &Integer, inputs: &[(Vec<f32>, Geometry)], yg: Geometry) -> Vec<f32> {
    let packed: Vec<Vec<f32>> = inputs
        .iter()
        .map(|(values, geometry)| {
            let mut buffer = vec![0.0; geometry.len()];
            geometry.pack(values, &mut buffer);
            buffer
        })
        .collect();
    let inputs: Vec<(&[f32], &Geometry)> = packed.iter().zip(inputs).map(|(b, (_, g))| (&b[..], g)).collect();
    let results = Isa::available().into_iter().map(|isa| {
        let (pool, mut y) = (Pool::new(2), vec![0.0; yg.len()]);
        layer.run(&Exec::new(&pool, isa), 1, &inputs, &mut y, &yg);
        yg.unpack(&y)
    });
    let mut results: Vec<Vec<f32>> = results.collect();
    assert!(results.iter().all(|result| *result == results[0]), "levels differ");
    results.remove(0)
}

fn codes(scale: f32, zero_point: i32) -> Codes {
    Codes { scale, zero_point, signed: false }
}

#[test]
fn ties_of_floats_go_away_from_zero() {
    let geometry = Geometry::blocked(1, 8, 1, 1);
    let values = vec![0.5, -0.5, 1.5, -2.5, 0.499_999_97, 2.499_999_8, -0.2, 300.0];
    let got = run(&Integer::Quantize(codes(1.0, 100), Rounding::Fixed31), &[(values.clone(), geometry)], geometry);
    assert_eq!(got, [1.0, -1.0, 2.0, -3.0, 0.0, 2.0, 0.0, 155.0]);
    assert!(got[6].is_sign_positive(), "zero has one form");
    let got = run(&Integer::Quantize(codes(1.0, 100), Rounding::Float32), &[(values, geometry)], geometry);
    assert_eq!(got, [0.0, 0.0, 2.0, -2.0, 0.0, 2.0, 0.0, 155.0], "and to even in ONNX");
    assert!(got[6].is_sign_positive(), "zero has one form");
}

#[test]
fn shares_of_a_softmax_are_256ths() {
    let geometry = Geometry::blocked(1, 3, 1, 2);
    // Two pixels: with equal channels, and with one channel far above the rest.
    let values = vec![5.0, 200.0, 5.0, -55.0, 5.0, 0.0];
    let to = Codes { scale: 1.0 / 256.0, zero_point: -128, signed: true };
    let got = run(&Integer::Softmax { scale: 0.1, to }, &[(values, geometry)], geometry);
    assert_eq!(got, [85.0, 255.0, 85.0, 0.0, 85.0, 0.0]);
}

proptest! {
    #[test]
    fn sums_means_and_resizes_are_near_the_exact_results(
        c in 1usize..20, h in 1usize..6, w in 1usize..6, zero in 0i32..256, seed in any::<u32>(),
        rounding in prop_oneof![Just(Rounding::Fixed31), Just(Rounding::Float32)],
    ) {
        let value = |i: usize| {
            let mixed = (i as u32 ^ seed).wrapping_mul(2_654_435_761);
            ((mixed ^ (mixed >> 13)) >> 8) as i32 % 256 - zero
        };
        let values = |from: usize| (0..c * h * w).map(|i| value(i + from) as f32).collect::<Vec<f32>>();
        let geometry = Geometry::blocked(1, c, h, w).with_halo(Halo { top: 1, bottom: 0, left: 2, right: 0 });
        let (a, b, bounds) = (values(0), values(7919), codes(1.0, zero).bounds());
        let clamp = |real: f64| real.clamp(f64::from(bounds.0), f64::from(bounds.1));
        let near = |got: &[f32], want: &dyn Fn(usize) -> f64| {
            got.iter().enumerate().all(|(i, &got)| (f64::from(got) - clamp(want(i))).abs() < 0.7502)
        };
        let inputs = [(a.clone(), geometry), (b.clone(), geometry)];
        let got = run(&Integer::Add { scales: ([0.3, 0.7], 0.9), bounds, rounding }, &inputs, geometry);
        prop_assert!(near(&got, &|i| f64::from(0.3 * a[i] + 0.7 * b[i]) / 0.9), "{got:?}");
        let got = run(&Integer::Rescale { scales: (0.3, 0.5), bounds, rounding }, &inputs[..1], geometry);
        prop_assert!(near(&got, &|i| f64::from(a[i]) * 0.6), "{got:?}");
        let mean = |c: usize| a[c * h * w..(c + 1) * h * w].iter().map(|&v| f64::from(v)).sum::<f64>() / (h * w) as f64;
        let one = Geometry::blocked(1, c, 1, 1);
        let got = run(&Integer::Mean { scales: (0.6, 0.5), bounds, rounding }, &inputs[..1], one);
        prop_assert!(near(&got, &|c| mean(c) * 1.2), "{got:?}");
        let side = h.min(w);
        let shape = PoolShape { kernel: side, stride: 1, padding: Halo::default() };
        let pooled = Geometry::blocked(1, c, h - side + 1, w - side + 1);
        let got = run(&Integer::AveragePool { shape, codes: codes(1.0, zero), bounds }, &inputs[..1], pooled);
        let window = |i: usize| {
            let (c, y, x) = (i / (pooled.h * pooled.w), i / pooled.w % pooled.h, i % pooled.w);
            let cells = (0..side).flat_map(|dy| (0..side).map(move |dx| (y + dy, x + dx)));
            cells.map(|(y, x)| f64::from(a[(c * h + y) * w + x])).sum::<f64>() / (side * side) as f64
        };
        prop_assert!(near(&got, &window), "{got:?}");
        // A resize to the same size changes nothing.
        let got = run(&Integer::Resize { align_corners: true, codes: codes(1.0, zero) }, &inputs, geometry);
        prop_assert_eq!(got, a);
    }
}
