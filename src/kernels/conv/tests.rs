//! Convolutions against plain loops: in f64 for the value, in fused f32 of the same order for the bits.

use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::kernels::simd::Scalar;
use crate::kernels::{Isa, Pool, Share};

/// Uniform in -1..1. A plain multiplicative hash does not serve: its neighbours are correlated, and their sums cancel.
fn value(i: usize, seed: u32) -> f32 {
    let mut mixed = i as u32 ^ seed.wrapping_mul(0x9e37_79b9);
    for factor in [0x7feb_352d, 0x846c_a68b] {
        mixed = (mixed ^ (mixed >> 16)).wrapping_mul(factor);
    }
    ((mixed ^ (mixed >> 16)) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

pub(super) fn values(count: usize, seed: u32) -> Vec<f32> {
    (0..count).map(|i| value(i, seed)).collect()
}

#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) shape: ConvShape,
    pub(super) images: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) planar: bool,
    pub(super) extra: Halo,
    pub(super) residual: bool,
    pub(super) activation: Activation,
    pub(super) seed: u32,
}

impl Problem {
    pub(super) fn x(&self) -> Vec<f32> {
        values(self.images * self.shape.in_channels * self.h * self.w, self.seed)
    }

    pub(super) fn weight(&self) -> Vec<f32> {
        let s = &self.shape;
        values(s.out_channels * (s.in_channels / s.groups) * s.kernel.0 * s.kernel.1, self.seed + 1)
    }

    fn bias(&self) -> Vec<f32> {
        values(self.shape.out_channels, self.seed + 2)
    }

    fn residual(&self) -> Vec<f32> {
        let (oh, ow) = self.shape.output(self.h, self.w);
        values(self.images * self.shape.out_channels * oh * ow, self.seed + 3)
    }

    /// `[N, K, P, Q]` before the activation, in f64.
    fn naive(&self) -> Vec<f64> {
        let s = &self.shape;
        let (oh, ow) = s.output(self.h, self.w);
        let (cg, kg) = (s.in_channels / s.groups, s.out_channels / s.groups);
        let (x, weight, bias, residual) = (self.x(), self.weight(), self.bias(), self.residual());
        let mut y = Vec::new();
        for n in 0..self.images {
            for k in 0..s.out_channels {
                for p in 0..oh {
                    for q in 0..ow {
                        let mut sum = f64::from(bias[k]);
                        for c in 0..cg {
                            for r in 0..s.kernel.0 {
                                for t in 0..s.kernel.1 {
                                    let row = (p * s.stride.0 + r * s.dilation.0).wrapping_sub(s.padding.top);
                                    let column = (q * s.stride.1 + t * s.dilation.1).wrapping_sub(s.padding.left);
                                    if row < self.h && column < self.w {
                                        let channel = k / kg * cg + c;
                                        let at = ((n * s.in_channels + channel) * self.h + row) * self.w + column;
                                        let tap = ((k * cg + c) * s.kernel.0 + r) * s.kernel.1 + t;
                                        sum += f64::from(x[at]) * f64::from(weight[tap]);
                                    }
                                }
                            }
                        }
                        let at = y.len();
                        y.push(if self.residual { sum + f64::from(residual[at]) } else { sum });
                    }
                }
            }
        }
        y
    }

    /// The same in fused f32 from the bias on, in the order of every kernel but Winograd: channels in blocks (of one if the
    /// input is planar), then row, column, channel of the block. Residual and activation included.
    fn fused(&self) -> Vec<f32> {
        let s = &self.shape;
        let (oh, ow) = s.output(self.h, self.w);
        let (cg, kg) = (s.in_channels / s.groups, s.out_channels / s.groups);
        let (x, weight, bias, residual) = (self.x(), self.weight(), self.bias(), self.residual());
        let lanes = if self.planar { 1 } else { LANES };
        let mut y = Vec::new();
        for n in 0..self.images {
            for k in 0..s.out_channels {
                let channels = k / kg * cg..(k / kg + 1) * cg;
                for (p, q) in (0..oh).flat_map(|p| (0..ow).map(move |q| (p, q))) {
                    let mut sum = bias[k];
                    for block in channels.start / lanes..channels.end.div_ceil(lanes) {
                        for (r, t) in (0..s.kernel.0).flat_map(|r| (0..s.kernel.1).map(move |t| (r, t))) {
                            let row = (p * s.stride.0 + r * s.dilation.0).wrapping_sub(s.padding.top);
                            let column = (q * s.stride.1 + t * s.dilation.1).wrapping_sub(s.padding.left);
                            for channel in block * lanes..(block + 1) * lanes {
                                if row < self.h && column < self.w && channels.contains(&channel) {
                                    let at = ((n * s.in_channels + channel) * self.h + row) * self.w + column;
                                    let tap = ((k * cg + channel - channels.start) * s.kernel.0 + r) * s.kernel.1 + t;
                                    sum = x[at].mul_add(weight[tap], sum);
                                }
                            }
                        }
                    }
                    let at = y.len();
                    y.push(if self.residual { sum + residual[at] } else { sum });
                }
            }
        }
        activate_f32(&y, self.activation)
    }

    /// Output buffer and method at one level, with sentinels in the halo.
    pub(super) fn run(&self, isa: Isa, threads: usize, winograd: bool) -> (Vec<f32>, Geometry, &'static str) {
        let s = &self.shape;
        let (oh, ow) = s.output(self.h, self.w);
        let xg = match self.planar {
            true => Geometry::planar(self.images, s.in_channels, self.h, self.w),
            false => Geometry::blocked(self.images, s.in_channels, self.h, self.w),
        };
        let halo = s.halo(self.h, self.w);
        let xg =
            xg.with_halo(Halo { bottom: halo.bottom + self.extra.bottom, left: halo.left + self.extra.left, ..halo });
        let yg = Geometry::blocked(self.images, s.out_channels, oh, ow).with_halo(self.extra);
        let rg = Geometry::blocked(self.images, s.out_channels, oh, ow);
        // The buffers hold one image more than is run.
        let more = |geometry: Geometry| Geometry { n: self.images + 1, ..geometry };
        let mut x = vec![0.0; more(xg).len()];
        xg.pack(&self.x(), &mut x);
        let mut residual = vec![0.0; rg.len()];
        rg.pack(&self.residual(), &mut residual);
        let mut y = vec![SENTINEL; more(yg).len()];
        let packed = PackedConv::new(
            s,
            &self.weight(),
            Some(&self.bias()),
            &more(xg),
            &more(yg),
            winograd.then_some((yg.h, yg.w)),
        );
        let pool = Pool::new(threads);
        let shares = Mutex::new(Vec::new());
        let look = |share: Share| shares.lock().unwrap().push((share.task, share.tasks));
        let exec = Exec { alongside: Some(&look), ..Exec::new(&pool, isa) };
        let residual = self.residual.then_some((&residual[..], &rg));
        packed.run(&exec, self.images, &x, &mut y, residual, self.activation);
        let mut shares = shares.into_inner().unwrap();
        shares.sort_unstable();
        let tasks = shares.len();
        assert_eq!(shares, (0..tasks).map(|task| (task, tasks)).collect::<Vec<_>>(), "one round of tasks");
        (y, yg, packed.method())
    }
}

const SENTINEL: f32 = 1234.5;

/// The activation as the scalar level computes it.
fn activate_f32(values: &[f32], activation: Activation) -> Vec<f32> {
    let pixel = |value: f32| activation.apply(Scalar, [value; LANES])[0];
    values.iter().map(|&value| pixel(value)).collect()
}

fn activate(x: f64, activation: Activation) -> f64 {
    let hard = |x: f64| (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::LeakyRelu(slope) => {
            if x > 0.0 {
                x
            } else {
                x * f64::from(slope)
            }
        }
        Activation::HardSwish => x * hard(x),
        Activation::HardSigmoid => hard(x),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Sqrt => x.max(0.0).sqrt(),
        Activation::Gelu
        | Activation::GeluTanh
        | Activation::QuickGelu
        | Activation::Threshold(_)
        | Activation::Round(_) => {
            unreachable!("not among those tested here")
        }
    }
}

pub(super) fn problems() -> impl Strategy<Value = Problem> {
    let filters = prop_oneof![3 => 1usize..70, 1 => 70usize..150];
    let extents = (1usize..40, filters, 1usize..8, 1usize..8, 0usize..5);
    let steps = (1usize..4, 1usize..4, 1usize..4, 1usize..4);
    let halo = (0usize..4, 0usize..4, 0usize..4, 0usize..4).prop_map(|(top, bottom, left, right)| Halo {
        top,
        bottom,
        left,
        right,
    });
    let activations = prop::sample::select(vec![
        Activation::Identity,
        Activation::Relu,
        Activation::Relu6,
        Activation::LeakyRelu(0.1),
        Activation::HardSwish,
        Activation::HardSigmoid,
        Activation::Sigmoid,
        Activation::Silu,
        Activation::Tanh,
    ]);
    let rest = (1usize..3, 1usize..20, 1usize..34, any::<bool>(), any::<bool>(), activations, 0u32..1000);
    (extents, steps, halo.clone(), halo, rest).prop_filter_map(
        "the padded input holds a window",
        |(
            (c, k, r, s, grouping),
            (sh, sw, dh, dw),
            padding,
            extra,
            (images, h, w, planar, residual, activation, seed),
        )| {
            let (in_channels, out_channels, groups) = match grouping {
                0 => (c, c, c),
                1 => (2 * c, 2 * k, 2),
                2 => (3 * (c % 8 + 1), 3 * (k % 8 + 1), 3),
                _ => (c, k, 1),
            };
            let shape = ConvShape {
                in_channels,
                out_channels,
                kernel: (r, s),
                stride: (sh, sw),
                dilation: (dh, dw),
                padding,
                groups,
            };
            let fits =
                h + padding.top + padding.bottom > dh * (r - 1) && w + padding.left + padding.right > dw * (s - 1);
            let planar = planar && in_channels < 8;
            fits.then_some(Problem { shape, images, h, w, planar, extra, residual, activation, seed })
        },
    )
}

/// Against f64, relative to the output's root mean square: no error above `largest`, and the root mean square of the errors at
/// most a fifth of it. Then bits and invariants.
pub(super) fn check(problem: &Problem, winograd: bool, largest: f64) -> Result<(), TestCaseError> {
    let want: Vec<f64> = problem.naive();
    let rms = (want.iter().map(|v| v * v).sum::<f64>() / want.len() as f64).sqrt().max(1.0);
    let (first, yg, method) = problem.run(Isa::SCALAR, 1, winograd);
    let mut squares = 0.0;
    for (i, (got, want)) in yg.unpack(&first).into_iter().zip(&want).enumerate() {
        let want = activate(*want, problem.activation);
        let error = (f64::from(got) - want) / rms;
        squares += error * error;
        prop_assert!(error.abs() <= largest, "{method} at {i}: {got}, {want}");
    }
    prop_assert!((squares / want.len() as f64).sqrt() <= largest / 5.0, "{method}: mean error");
    // If sums have another order, or are of transforms, only f64 serves as reference.
    if matches!(method, "direct" | "depthwise") {
        for (i, (got, want)) in yg.unpack(&first).into_iter().zip(problem.fused()).enumerate() {
            prop_assert!(got.to_bits() == want.to_bits(), "{method} at {i}: bits of {got}, {want}");
        }
    }
    let mut inside = vec![false; first.len()];
    for n in 0..yg.n {
        for block in 0..yg.blocks() {
            for y in 0..yg.h {
                let at = yg.at(n, block, y, 0);
                inside[at..at + yg.w * LANES].fill(true);
                let used = (yg.c - block * LANES).min(LANES);
                let filling =
                    first[at..at + yg.w * LANES].chunks(LANES).all(|pixel| pixel[used..].iter().all(|&v| v == 0.0));
                prop_assert!(filling, "{method}: padding lanes are zero");
            }
        }
    }
    let halo = first.iter().zip(&inside).filter(|(_, inside)| !**inside).all(|(&v, _)| v == SENTINEL);
    prop_assert!(halo, "{method}: the halo is left alone");
    for isa in Isa::available() {
        for threads in [1, 2] {
            let (again, ..) = problem.run(isa, threads, winograd);
            let same = again.iter().zip(&first).all(|(a, b)| a.to_bits() == b.to_bits());
            prop_assert!(same, "{method}: {} with {threads} threads has other bits", isa.name());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn direct_and_depthwise_equal_plain_loops(mut problem in problems(), of_pixels in prop::bool::weighted(0.3)) {
        if of_pixels { (problem.shape.kernel, problem.shape.stride, problem.extra.left) = ((1, 1), (1, 1), 0); }
        check(&problem, false, 2e-5)?;
    }

    #[test]
    fn winograd_equals_plain_loops(
        (c, k) in (17usize..50, 17usize..70),
        (large, small, images) in ((12usize..19, 12usize..22), (3usize..14, 3usize..14), 1usize..3),
        (tiles_of_four, zeros_around) in any::<(bool, bool)>(),
        dilation in (1usize..7, 1usize..7),
        padding in (0usize..3, 0usize..3, 0usize..3, 0usize..3),
        (residual, sigmoid) in any::<(bool, bool)>(),
        seed in 0u32..1000,
    ) {
        let dilation = if tiles_of_four { (dilation.0.min(3), dilation.1.min(3)) } else { dilation };
        let (down, across) = dilation;
        let (top, bottom, left, right) = if zeros_around { (down, down, across, across) } else { padding };
        // Smaller tiles are used with many filters.
        let ((h, w), c, k) = if tiles_of_four { (large, c, k) } else { (small, 2 * c + 64, k + 64) };
        let (h, w) = if tiles_of_four { (h * down, w * across) } else { (h, w) };
        prop_assume!(h + top + bottom > 2 * down && w + left + right > 2 * across);
        let shape = ConvShape {
            in_channels: c, out_channels: k, kernel: (3, 3), stride: (1, 1), dilation,
            padding: Halo { top, bottom, left, right }, groups: 1,
        };
        let extra = Halo { top: 1, bottom: 0, left: 1, right: 2 };
        let activation = if sigmoid { Activation::Sigmoid } else { Activation::Identity };
        let problem = Problem { shape, images, h, w, planar: false, extra, residual, activation, seed };
        check(&problem, true, 5e-5)?;
    }
}

#[test]
fn methods_follow_from_the_shape() {
    let shape = |c: usize, k: usize, kernel: usize, stride: usize, groups: usize| ConvShape {
        in_channels: c,
        out_channels: k,
        kernel: (kernel, kernel),
        stride: (stride, stride),
        dilation: (1, 1),
        padding: Halo { top: kernel / 2, bottom: kernel / 2, left: kernel / 2, right: kernel / 2 },
        groups,
    };
    let method = |shape: ConvShape, size: usize, winograd: bool| {
        let (h, w) = shape.output(size, size);
        let x = Geometry::blocked(1, shape.in_channels, size, size).with_halo(shape.halo(size, size));
        let y = Geometry::blocked(1, shape.out_channels, h, w);
        let weight = vec![0.0; shape.out_channels * shape.in_channels / shape.groups * shape.kernel.0.pow(2)];
        PackedConv::new(&shape, &weight, None, &x, &y, winograd.then_some((y.h, y.w))).method()
    };
    assert_eq!(method(shape(64, 64, 3, 1, 1), 56, true), "winograd4");
    assert_eq!(method(shape(64, 64, 3, 1, 1), 56, false), "direct");
    assert_eq!(method(shape(64, 64, 3, 2, 1), 56, true), "direct");
    assert_eq!(method(shape(64, 64, 3, 1, 1), 7, true), "winograd2");
    assert_eq!(method(shape(64, 32, 3, 1, 1), 7, true), "direct");
    assert_eq!(method(shape(64, 64, 3, 1, 1), 4, true), "direct");
    assert_eq!(method(shape(64, 64, 3, 1, 64), 7, true), "depthwise");
    assert_eq!(method(shape(64, 3, 3, 1, 1), 56, true), "narrow");
    assert_eq!(method(shape(3, 3, 3, 1, 1), 56, true), "direct");
    // Phases of 6, 3, 2, 1 and 12 rows and columns.
    for (dilation, want) in [(6, "winograd3"), (12, "winograd3"), (17, "karatsuba"), (40, "direct"), (3, "winograd4")] {
        let padding = Halo { top: dilation, bottom: dilation, left: dilation, right: dilation };
        let dilated = ConvShape { dilation: (dilation, dilation), padding, ..shape(64, 64, 3, 1, 1) };
        assert_eq!(method(dilated, 34, true), want, "{dilation}");
    }
}

#[test]
fn large_outputs_bypass_the_caches_and_are_the_same() {
    let (kernel, padding) = ((3, 3), Halo { top: 1, bottom: 1, left: 1, right: 1 });
    let (stride, dilation) = ((1, 1), (1, 1));
    let shape = ConvShape { in_channels: 16, out_channels: 64, kernel, stride, dilation, padding, groups: 1 };
    let weight = values(64 * 16 * 9, 1);
    let pool = Pool::new(2);
    for winograd in [None, Some((450, 450))] {
        let x = Geometry::blocked(1, 16, 450, 450).with_halo(padding);
        let y = Geometry::blocked(1, 64, 450, 450);
        assert!(y.len() * size_of::<f32>() >= epilogue::STREAMED);
        let mut input = Buffer::zeroed(x.len());
        x.pack(&values(x.elements(), 2), &mut input);
        let packed = PackedConv::new(&shape, &weight, None, &x, &y, winograd);
        let outputs = [Isa::best(), Isa::SCALAR].map(|isa| {
            // A buffer aligned to 64 bytes, and one that is not and takes ordinary stores.
            let mut buffer = Buffer::zeroed(y.len() + 1);
            let y = &mut buffer[usize::from(isa == Isa::SCALAR)..][..y.len()];
            packed.run(&Exec::new(&pool, isa), 1, &input, y, None, Activation::Relu);
            y.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        });
        assert!(outputs[0] == outputs[1], "{}", packed.method());
    }
}
