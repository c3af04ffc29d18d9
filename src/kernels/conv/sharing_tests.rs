//! Maps of another size share packed weights where the layout is the same, and give the bits of weights packed for them alone.

use std::sync::Arc;

use super::tests::values;
use super::{ConvShape, Method, PackedConv};
use crate::kernels::{Activation, Buffer, Exec, Geometry, Halo, Isa, Pool};

impl PackedConv {
    /// Whether both read the same packed weights.
    pub(crate) fn shares(&self, other: &Self) -> bool {
        match (&self.method, &other.method) {
            (Method::Direct(a), Method::Direct(b)) => Arc::ptr_eq(&a.packed, &b.packed),
            (Method::Winograd(a), Method::Winograd(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// A convolution of `channels` to 40 filters of `kernel` by `kernel` taps.
fn shape(channels: usize, kernel: usize, groups: usize) -> ConvShape {
    let padding = Halo { top: kernel / 2, bottom: kernel / 2, left: kernel / 2, right: kernel / 2 };
    let (stride, dilation) = ((1, 1), (1, 1));
    ConvShape { in_channels: channels, out_channels: 40, kernel: (kernel, kernel), stride, dilation, padding, groups }
}

#[test]
fn another_size_shares_weights_of_the_same_layout_and_packs_others() {
    let pool = Pool::new(2);
    // The extents of two maps, whether Winograd's method may be chosen, and whether the second shares the first one's weights.
    let cases = [
        (shape(48, 1, 1), (1, 9), (1, 33), false, true),
        (shape(3, 3, 1), (20, 21), (33, 12), false, true),
        (shape(40, 3, 8), (12, 11), (9, 17), false, true),
        (shape(32, 3, 1), (40, 40), (48, 44), true, true),
        // Tiles of another size, and a map that is too small for tiles.
        (shape(112, 3, 1), (40, 40), (8, 8), true, false),
        (shape(32, 3, 1), (40, 40), (4, 4), true, false),
        // Maps so narrow that many registers hold the sums of more filters.
        (shape(48, 1, 1), (1, 33), (1, 7), false, !Isa::best().has_many_registers()),
    ];
    for (shape, first, second, winograd, shared) in cases {
        let weight = values(shape.out_channels * shape.in_channels / shape.groups * shape.kernel.0.pow(2), 1);
        let bias = values(shape.out_channels, 2);
        let geometries = |(h, w): (usize, usize)| {
            let x = Geometry::blocked(1, shape.in_channels, h, w).with_halo(shape.halo(h, w));
            (x, Geometry::blocked(1, shape.out_channels, h, w))
        };
        let packed = |before: Option<&PackedConv>, size: (usize, usize)| {
            let (x, y) = geometries(size);
            PackedConv::sharing(before, &shape, &weight, Some(&bias), (&x, &y), winograd.then_some(size))
        };
        let before = packed(None, first);
        let (other, fresh) = (packed(Some(&before), second), packed(None, second));
        assert_eq!(before.shares(&other), shared, "{shape:?}, {second:?}");
        assert_eq!(other.method(), fresh.method());
        let (xg, yg) = geometries(second);
        let mut x = Buffer::zeroed(xg.len());
        xg.pack(&values(xg.elements(), 3), &mut x);
        let bits = |conv: &PackedConv, isa: Isa| {
            let mut y = Buffer::zeroed(yg.len());
            conv.run(&Exec::new(&pool, isa), 1, &x, &mut y, None, Activation::Identity);
            y.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        };
        for isa in Isa::available() {
            assert!(bits(&other, isa) == bits(&fresh, isa), "{shape:?}, {second:?}, {}", isa.name());
        }
    }
}
