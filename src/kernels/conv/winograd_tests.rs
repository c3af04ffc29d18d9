//! Dilated convolutions with the tiles that suit their phases, against plain loops.

use super::ConvShape;
use super::tests::{Problem, check};
use crate::kernels::{Activation, Halo, Isa};

fn dilated((down, across): (usize, usize), padding: Halo, (h, w): (usize, usize)) -> Problem {
    let shape = ConvShape {
        in_channels: 68,
        out_channels: 70,
        kernel: (3, 3),
        stride: (1, 1),
        dilation: (down, across),
        padding,
        groups: 1,
    };
    let (extra, activation) = (Halo { top: 1, bottom: 0, left: 1, right: 2 }, Activation::Relu);
    Problem { shape, images: 2, h, w, planar: false, extra, residual: true, activation, seed: 3 }
}

#[test]
fn small_phases_have_tiles_of_their_size_and_equal_plain_loops() {
    let same = |(down, across): (usize, usize)| Halo { top: down, bottom: down, left: across, right: across };
    for (dilation, size, want) in [
        // Phases of two rows and columns, some of one.
        ((9, 8), (18, 16), "karatsuba"),
        ((9, 8), (18, 15), "karatsuba"),
        ((8, 9), (15, 17), "karatsuba"),
        // Phases of one: only the middle tap is inside the map.
        ((9, 8), (9, 8), "direct"),
        ((6, 5), (17, 15), "winograd3"),
        ((4, 6), (24, 31), "winograd3"),
        ((3, 5), (24, 38), "winograd4"),
        ((6, 6), (24, 24), "winograd4"),
        // Only one of the two axes is dilated.
        ((1, 3), (9, 9), "winograd3"),
        ((7, 1), (14, 12), "winograd2"),
        // Too few tiles for reading the transformed filters to pay off.
        ((2, 2), (7, 7), "direct"),
    ] {
        let problem = dilated(dilation, same(dilation), size);
        assert_eq!(problem.run(Isa::best(), 1, true).2, want, "{dilation:?} {size:?}");
        check(&problem, true, 2e-5).unwrap();
    }
    // With other padding, the inputs beyond a phase of two are not zero.
    let shifted = Halo { top: 5, bottom: 11, left: 8, right: 8 };
    let problem = dilated((8, 8), shifted, (16, 16));
    assert_ne!(problem.run(Isa::best(), 1, true).2, "karatsuba");
    check(&problem, true, 2e-5).unwrap();
}
