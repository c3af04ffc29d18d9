//! Products with matrices of codes against those with their floats, bit for bit.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::kernels::coded::random::{forms, random};
use crate::kernels::{Isa, Pool};

proptest! {
    #[test]
    fn codes_give_the_bits_of_their_floats_on_every_level_and_number_of_threads(
        form in forms(),
        (rows, groups) in (1usize..300, 1usize..4),
        (images, h, w) in (1usize..4, 1usize..3, 1usize..40),
        (one_pixel, has_bias, has_residual, has_halo) in any::<(bool, bool, bool, bool)>(),
        activation in prop::sample::select(vec![Activation::Identity, Activation::Relu, Activation::Silu, Activation::Sigmoid]),
        seed in any::<u64>(),
    ) {
        // Most of the time as tokens are generated.
        let (h, w) = if one_pixel { (1, 1) } else { (h, w) };
        let (matrix, [weight, _]) = random(rows, groups, form, seed);
        let columns = matrix.columns();
        let shape = ConvShape {
            in_channels: columns,
            out_channels: rows,
            kernel: (1, 1),
            stride: (1, 1),
            dilation: (1, 1),
            padding: Halo::default(),
            groups: 1,
        };
        let halo = if has_halo { Halo { top: 1, bottom: 0, left: 1, right: 2 } } else { Halo::default() };
        let (xg, yg) = (Geometry::blocked(images, columns, h, w).with_halo(halo), Geometry::blocked(images, rows, h, w));
        let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed as u32) >> 9) as f32 / 4_194_304.0 - 1.0;
        let values = |count: usize, from: usize| (from..from + count).map(value).collect::<Vec<f32>>();
        let (bias, residual) = (values(rows, 7), values(yg.elements(), 77));
        let bias = has_bias.then_some(&bias[..]);
        let (mut x, mut added) = (vec![0.0; xg.len()], vec![0.0; yg.len()]);
        xg.pack(&values(xg.elements(), 777), &mut x);
        yg.pack(&residual, &mut added);
        let added = has_residual.then_some((&added[..], &yg));
        let run = |packed: &PackedConv, isa: Isa, threads: usize| {
            let (pool, mut y) = (Pool::new(threads), vec![0.0; yg.len()]);
            packed.run(&Exec::new(&pool, isa), images, &x, &mut y, added, activation);
            y.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
        };
        let want = run(&PackedConv::new(&shape, &weight, bias, &xg, &yg, None), Isa::SCALAR, 1);
        let Some(coded) = PackedConv::coded(&shape, Arc::new(matrix), bias, &xg, &yg) else {
            prop_assert!(Narrow::fits(&shape, &xg));
            return Ok(());
        };
        for isa in Isa::available() {
            for threads in [1, 2] {
                prop_assert_eq!(&run(&coded, isa, threads), &want, "{} on {} threads", isa.name(), threads);
            }
        }
    }
}
