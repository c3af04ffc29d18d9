//! Inverted residuals in bands against the three convolutions one after the other, bit for bit.

use std::sync::Mutex;

use proptest::prelude::*;

use super::inverted::{Intermediate, IntermediateValues, InvertedResidual, Observed, Observer, Stage};
use super::{ConvShape, PackedConv};
use crate::kernels::exec::Exec;
use crate::kernels::requantize::Requantize;
use crate::kernels::{Activation, Geometry, Halo, Isa, Pool, Rounding};

fn values(count: usize, seed: u32) -> Vec<f32> {
    let value = |i: usize| ((i as u32 ^ seed).wrapping_mul(2_654_435_761) >> 9) as f32 / (1 << 22) as f32 - 1.0;
    (0..count).map(value).collect()
}

fn pointwise(in_channels: usize, out_channels: usize) -> ConvShape {
    let (kernel, stride, dilation) = ((1, 1), (1, 1), (1, 1));
    ConvShape { in_channels, out_channels, kernel, stride, dilation, padding: Halo::default(), groups: 1 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn bands_equal_one_layer_after_the_other(
        (narrow, wide, last) in (16usize..24, 300usize..420, 1usize..40),
        (h, w, images) in (5usize..70, 5usize..40, 1usize..3),
        (side, stride, dilation, before) in (prop::sample::select(vec![3usize, 5]), 1usize..3, 1usize..3, 0usize..3),
        more in 0usize..3,
        (expands, residual, integers, bytes) in any::<(bool, bool, bool, bool)>(),
        seed in any::<u32>(),
    ) {
        // Only filters of 3 x 3 have a byte version.
        let (side, dilation) = if integers && bytes { (3, 1) } else { (side, dilation) };
        let reach = dilation * (side - 1) + 1;
        // The last bands may read padding alone.
        let after = (reach.saturating_sub(stride + before) + more).min(reach - 1);
        let padding = Halo { top: before, bottom: after, left: before, right: after };
        prop_assume!(h + before + after >= reach && w + before + after >= reach && before < reach);
        let (kernel, strides, dilations) = ((side, side), (stride, stride), (dilation, dilation));
        let (in_channels, out_channels) = (wide, wide);
        let filter = ConvShape { in_channels, out_channels, kernel, stride: strides, dilation: dilations, padding, groups: wide };
        prop_assume!(InvertedResidual::fits(&filter, h));
        let (oh, ow) = filter.output(h, w);
        let halo = Halo { top: 1, bottom: 2, left: 1, right: 0 };
        let around = filter.halo(h, w);
        let xg = if expands { Geometry::blocked(images, narrow, h, w).with_halo(halo) } else { Geometry::blocked(images, wide, h, w).with_halo(around) };
        let wg = Geometry::blocked(images, wide, h, w).with_halo(around);
        let dg = Geometry::blocked(images, wide, oh, ow);
        let yg = Geometry::blocked(images, last, oh, ow).with_halo(halo);
        let rg = Geometry::blocked(images, last, oh, ow).with_halo(around);
        let shapes = [pointwise(narrow, wide), filter, pointwise(wide, last)];
        let numbers = |count: usize, seed: u32| match integers {
            true => values(count, seed).into_iter().map(|v| (v * 100.0).round()).collect(),
            false => values(count, seed),
        };
        let weights = [numbers(narrow * wide, seed), numbers(wide * side * side, seed ^ 1), numbers(wide * last, seed ^ 2)];
        let biases = [values(wide, seed ^ 3), values(wide, seed ^ 4), values(last, seed ^ 5)];
        let activations = [Activation::Relu6, Activation::HardSwish, Activation::Identity];
        let activations = if integers { [Activation::Identity; 3] } else { activations };
        let mut x = vec![0.0; xg.len()];
        let mut first = numbers(xg.elements(), seed ^ 6);
        if bytes && integers {
            first.iter_mut().for_each(|code| *code = (*code + 100.0).min(200.0));
        }
        xg.pack(&first, &mut x);
        let mut added = vec![0.0; rg.len()];
        rg.pack(&values(rg.elements(), seed ^ 7), &mut added);
        let residual = (residual && !integers).then_some((&added[..], &rg));

        let requantize = |filters: usize, terms: usize| Requantize {
            bias: (0..filters as i32).map(|k| k * 77 % 1000 - 500).collect(),
            offset: Vec::new(),
            multipliers: vec![0.02 / terms as f64; filters],
            rounding: Rounding::Float32,
            input: if bytes { (0, 255) } else { (-100, 155) },
            low: if bytes { 0 } else { -90 },
            high: if bytes { 255 } else { 120 },
            wrapped: Default::default(),
        };
        let requantizes = [requantize(wide, narrow), requantize(wide, side * side), requantize(last, wide)];
        let requantizes = requantizes.each_ref().map(|requantize| integers.then_some(requantize));
        let (pool, isa) = (Pool::new(2), Isa::best());
        let exec = Exec::new(&pool, isa);
        let layer = |i: usize, x: &[f32], xg: &Geometry, yg: &Geometry, residual: Option<(&[f32], &Geometry)>| {
            let mut y = vec![0.0; yg.len()];
            let packed = match requantizes[i] {
                Some(requantize) => PackedConv::integer(&shapes[i], &weights[i], requantize, xg, yg),
                None => PackedConv::new(&shapes[i], &weights[i], Some(&biases[i]), xg, yg, None),
            };
            packed.run(&exec, images, x, &mut y, residual, activations[i]);
            y
        };
        let expanded = if expands { layer(0, &x, &xg, &wg, None) } else { x.clone() };
        let filtered = layer(1, &expanded, &wg, &dg, None);
        let want = layer(2, &filtered, &dg, &yg, residual);

        let stage = |i: usize| Stage { shape: shapes[i], weight: &weights[i], bias: Some(&biases[i]), activation: activations[i], requantize: requantizes[i] };
        let packed = InvertedResidual::new(expands.then(|| stage(0)).as_ref(), &stage(1), &stage(2), &xg, &yg);
        let has_bytes = InvertedResidual::has_bytes(expands.then(|| stage(0)).as_ref(), &stage(1), &stage(2), ow);
        prop_assert_eq!(has_bytes, integers && bytes && ow >= 4);
        let seen = Mutex::new(Vec::new());
        let observe = |rows: Observed<'_>| {
            let [c, h, w] = match rows.values {
                IntermediateValues::Floats(_, geometry, rows) => [geometry.c, rows, geometry.w],
                IntermediateValues::Bytes(codes) => [codes.c, codes.h, codes.w],
            };
            for row in 0..h {
                let pixels = (0..c).flat_map(|c| (0..w).map(move |column| (c, column)));
                let value = |c: usize, column: usize| match rows.values {
                    IntermediateValues::Floats(x, geometry, _) => x[geometry.index(0, c, row, column)],
                    IntermediateValues::Bytes(codes) => codes.code(c, row, column).into(),
                };
                let bits: Vec<u32> = pixels.map(|(c, column)| value(c, column).to_bits()).collect();
                seen.lock().unwrap().push((rows.stage == Intermediate::Filtered, rows.origin.0, rows.origin.1 + row, bits));
            }
        };
        let mut expected = Vec::new();
        for (narrowed, (values, geometry)) in [(false, (&expanded, &wg)), (true, (&filtered, &dg))] {
            for (image, row) in (0..images).flat_map(|image| (0..geometry.h).map(move |row| (image, row))) {
                let pixels = (0..wide).flat_map(|c| (0..geometry.w).map(move |column| (c, column)));
                let bits: Vec<u32> = pixels.map(|(c, column)| values[geometry.index(image, c, row, column)].to_bits()).collect();
                if narrowed || expands {
                    expected.push((narrowed, image, row, bits));
                }
            }
        }
        // Twice: no state of the first run is left for the second.
        for takes_bytes in [false, true, false, true] {
            let mut y = vec![0.0; yg.len()];
            packed.run(&exec, images, &x, &mut y, residual, Some(&Observer { call: &observe, takes_bytes }));
            prop_assert!(y.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()), "bits of the output");
            let mut seen = std::mem::take(&mut *seen.lock().unwrap());
            seen.sort();
            prop_assert!(seen == expected, "every row is seen once, as it is");
            for isa in Isa::available() {
                y.fill(0.0);
                packed.run(&Exec::new(&pool, isa), images, &x, &mut y, residual, None);
                prop_assert!(y.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()), "{} without an observer", isa.name());
            }
        }
    }
}
