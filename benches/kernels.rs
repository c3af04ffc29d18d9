//! Speed of convolutions, linear layers and the counting of operands, on layers of real networks at every instruction-set
//! level.
//!
//! `cargo bench --bench kernels -- ' 56px/avx512'` runs the layers on maps of 56 pixels at one level. The rate counts two
//! operations per multiply-add of the definition, padding included, so Winograd and skipped taps can exceed the peak. Every
//! kernel's result is checked before it is timed. One thread; inputs as after a ReLU, half of them zero.

use std::fmt;
use std::sync::Arc;

use deadweight::kernels::conv::{ConvShape, PackedConv};
use deadweight::kernels::count::{Classes, CodeMap, Counter, Encoder, Grouping, count_reference};
use deadweight::kernels::linear::PackedLinear;
use deadweight::kernels::{Activation, Buffer, Exec, Geometry, Halo, Isa, Pool};
use deadweight::tally::Statistics;
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

/// A convolution layer of a network, on a square map.
#[derive(Clone, Copy)]
struct Layer {
    channels: usize,
    filters: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    size: usize,
    /// Filters of one channel each.
    depthwise: bool,
    /// The network's input, which is planar.
    planar: bool,
}

const fn conv(channels: usize, filters: usize, kernel: usize, stride: usize, size: usize) -> Layer {
    Layer { channels, filters, kernel, stride, dilation: 1, size, depthwise: false, planar: false }
}

const fn dilated(channels: usize, filters: usize, dilation: usize, size: usize) -> Layer {
    Layer { dilation, ..conv(channels, filters, 3, 1, size) }
}

const fn depthwise(channels: usize, kernel: usize, stride: usize, size: usize) -> Layer {
    Layer { depthwise: true, ..conv(channels, channels, kernel, stride, size) }
}

const fn stem(channels: usize, filters: usize, kernel: usize, stride: usize, size: usize) -> Layer {
    Layer { planar: true, ..conv(channels, filters, kernel, stride, size) }
}

/// ResNets, MobileNets, DeepLab's atrous layers, DnCNN.
const LAYERS: &[Layer] = &[
    stem(3, 64, 7, 2, 224),
    stem(3, 32, 3, 2, 224),
    stem(1, 64, 3, 1, 256),
    conv(64, 64, 3, 1, 56),
    conv(128, 128, 3, 1, 28),
    conv(256, 256, 3, 1, 14),
    conv(512, 512, 3, 1, 7),
    conv(64, 128, 3, 2, 56),
    conv(256, 512, 3, 2, 14),
    conv(64, 64, 1, 1, 56),
    conv(64, 256, 1, 1, 56),
    conv(256, 64, 1, 1, 56),
    conv(512, 128, 1, 1, 28),
    conv(256, 1024, 1, 1, 14),
    conv(1024, 256, 1, 1, 14),
    conv(2048, 512, 1, 1, 7),
    conv(512, 2048, 1, 1, 7),
    conv(64, 64, 3, 1, 256),
    conv(256, 256, 3, 1, 33),
    conv(16, 96, 1, 1, 112),
    conv(144, 24, 1, 1, 56),
    conv(96, 576, 1, 1, 14),
    conv(576, 96, 1, 1, 14),
    conv(960, 160, 1, 1, 7),
    dilated(320, 256, 6, 33),
    dilated(320, 256, 12, 33),
    dilated(320, 256, 18, 33),
    depthwise(32, 3, 1, 112),
    depthwise(96, 3, 2, 112),
    depthwise(144, 3, 1, 56),
    depthwise(192, 3, 1, 28),
    depthwise(384, 3, 1, 14),
    depthwise(960, 3, 1, 7),
    depthwise(120, 5, 1, 28),
];

impl Layer {
    fn shape(self) -> ConvShape {
        let p = self.kernel / 2 * self.dilation;
        ConvShape {
            in_channels: self.channels,
            out_channels: self.filters,
            kernel: (self.kernel, self.kernel),
            stride: (self.stride, self.stride),
            dilation: (self.dilation, self.dilation),
            padding: Halo { top: p, bottom: p, left: p, right: p },
            groups: if self.depthwise { self.channels } else { 1 },
        }
    }

    /// Two per multiply-add.
    fn operations(self) -> usize {
        let (h, w) = self.shape().output(self.size, self.size);
        let inputs = if self.depthwise { 1 } else { self.channels };
        2 * self.filters * h * w * inputs * self.kernel * self.kernel
    }
}

/// A layer at a level, with or without Winograd where it applies.
struct Case {
    layer: Layer,
    isa: Isa,
    winograd: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layer { channels, filters, kernel, stride, dilation, size, depthwise, planar } = self.layer;
        let kind = if planar {
            " planar"
        } else if depthwise {
            " depthwise"
        } else {
            ""
        };
        let dilation = if dilation > 1 { format!(" dilated {dilation}") } else { String::new() };
        let method = if self.winograd { " winograd" } else { "" };
        write!(
            f,
            "{channels}->{filters} {kernel}x{kernel}/{stride}{dilation}{kind}{method} {size}px/{}",
            self.isa.name()
        )
    }
}

/// The scalar level is a reference and would take minutes, so only small layers are timed on it.
const SCALAR_OPERATIONS: usize = 30_000_000;

fn cases() -> impl Iterator<Item = Case> {
    let timed = |layer: Layer, isa: Isa| isa > Isa::SCALAR || layer.operations() < SCALAR_OPERATIONS;
    let layers = Isa::available().into_iter().rev().flat_map(|isa| LAYERS.iter().map(move |&layer| (layer, isa)));
    layers.filter(move |&(layer, isa)| timed(layer, isa)).flat_map(|(layer, isa)| {
        let choice = layer.kernel == 3 && Problem::new(layer, true).packed.method() != "direct";
        (0..=usize::from(choice)).map(move |winograd| Case { layer, isa, winograd: winograd == 1 })
    })
}

/// Reproducible values in -1..1.
fn values(count: usize, seed: u32) -> impl Iterator<Item = f32> {
    let mut state = seed;
    (0..count).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

struct Problem {
    layer: Layer,
    packed: PackedConv,
    x: Buffer,
    xg: Geometry,
    yg: Geometry,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Problem {
    fn new(layer: Layer, winograd: bool) -> Self {
        let (shape, size) = (layer.shape(), layer.size);
        let (h, w) = shape.output(size, size);
        let xg = match layer.planar {
            true => Geometry::planar(1, layer.channels, size, size),
            false => Geometry::blocked(1, layer.channels, size, size),
        };
        let xg = xg.with_halo(shape.halo(size, size));
        let yg = Geometry::blocked(1, layer.filters, h, w).with_halo(Halo { top: 1, bottom: 1, left: 1, right: 1 });
        let inputs: Vec<f32> = values(xg.elements(), 1).map(|value| value.max(0.0)).collect();
        let mut x = Buffer::zeroed(xg.len());
        xg.pack(&inputs, &mut x);
        let fan_in = layer.channels / shape.groups * layer.kernel * layer.kernel;
        let weight: Vec<f32> = values(layer.filters * fan_in, 2).map(|v| v * (6.0 / fan_in as f32).sqrt()).collect();
        let bias: Vec<f32> = values(layer.filters, 3).collect();
        let packed = PackedConv::new(&shape, &weight, Some(&bias), &xg, &yg, winograd.then_some((yg.h, yg.w)));
        Self { layer, packed, x, xg, yg, weight, bias }
    }

    /// Compares some outputs with their definition in f64.
    fn check(&self, y: &[f32]) {
        let (shape, xg, yg) = (self.layer.shape(), &self.xg, &self.yg);
        let (group, taps) = (self.layer.channels / shape.groups, self.layer.kernel.pow(2));
        for index in (0..yg.elements()).step_by(yg.elements() / 200 + 1) {
            let (k, row, column) = (index / (yg.h * yg.w), index / yg.w % yg.h, index % yg.w);
            let mut sum = f64::from(self.bias[k]);
            for (c, tap) in (0..group).flat_map(|c| (0..taps).map(move |tap| (c, tap))) {
                let (r, s) = (tap / self.layer.kernel, tap % self.layer.kernel);
                let place = |at: usize, tap: usize| {
                    (at * shape.stride.0 + tap * shape.dilation.0).checked_sub(shape.padding.top).filter(|&x| x < xg.h)
                };
                if let (Some(y), Some(x)) = (place(row, r), place(column, s)) {
                    let channel = if self.layer.depthwise { k } else { c };
                    let weight = self.weight[(k * group + c) * taps + tap];
                    sum += f64::from(self.x[xg.index(0, channel, y, x)]) * f64::from(weight);
                }
            }
            let got = f64::from(y[yg.index(0, k, row, column)]);
            assert!((got - sum.max(0.0)).abs() < 1e-4, "filter {k}, row {row}, column {column}: {got}, not {sum}");
        }
    }
}

#[divan::bench(args = cases(), max_time = 0.5)]
fn convolution(bencher: Bencher<'_, '_>, case: &Case) {
    let problem = Problem::new(case.layer, case.winograd);
    let pool = Pool::new(1);
    let exec = Exec::new(&pool, case.isa);
    let mut y = Buffer::zeroed(problem.yg.len());
    let run = |y: &mut [f32]| problem.packed.run(&exec, 1, &problem.x, y, None, Activation::Relu);
    run(&mut y);
    problem.check(&y);
    bencher.counter(ItemsCount::new(case.layer.operations())).bench_local(|| run(&mut y));
}

/// Features in, features out, images.
const LINEAR: &[(usize, usize, usize)] = &[(512, 1000, 1), (1280, 1000, 1), (2048, 1000, 1), (2048, 1000, 8)];

#[divan::bench(args = LINEAR, max_time = 0.5)]
fn linear(bencher: Bencher<'_, '_>, &(inputs, outputs, images): &(usize, usize, usize)) {
    let (xg, yg) = (Geometry::blocked(images, inputs, 1, 1), Geometry::blocked(images, outputs, 1, 1));
    let features: Vec<f32> = values(images * inputs, 1).collect();
    let weight: Vec<f32> = values(inputs * outputs, 2).map(|value| value / 32.0).collect();
    let packed = PackedLinear::new(&weight, None, &xg, outputs);
    let (mut x, mut y) = (Buffer::zeroed(xg.len()), Buffer::zeroed(yg.len()));
    xg.pack(&features, &mut x);
    let pool = Pool::new(1);
    let exec = Exec::new(&pool, Isa::best());
    let run = |y: &mut [f32]| packed.run(&exec, images, &x, y, &yg, Activation::Identity);
    run(&mut y);
    for (index, got) in yg.unpack(&y).into_iter().enumerate().step_by(37) {
        let rows = (features[index / outputs * inputs..].iter(), weight[index % outputs * inputs..].iter());
        let want: f64 = rows.0.zip(rows.1).take(inputs).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
        assert!((f64::from(got) - want).abs() < 1e-4, "output {index}: {got}, not {want}");
    }
    bencher.counter(ItemsCount::new(2 * inputs * outputs * images)).bench_local(|| run(&mut y));
}

/// A map that is counted as the input of a layer with filters of `taps` x `taps`.
#[derive(Clone, Copy)]
struct Counted {
    channels: usize,
    size: usize,
    taps: usize,
    level: Statistics,
    isa: Isa,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channels, size, taps, level, isa } = *self;
        write!(f, "{} {channels} {taps}x{taps} {size}px/{}", level.name(), isa.name())
    }
}

fn counted() -> impl Iterator<Item = Counted> {
    const MAPS: [(usize, usize, usize); 5] = [(64, 56, 1), (64, 56, 3), (384, 14, 1), (384, 14, 3), (960, 7, 3)];
    let levels = Isa::available().into_iter().rev().flat_map(|isa| Statistics::ALL.map(|level| (isa, level)));
    levels.flat_map(|(isa, level)| {
        MAPS.into_iter().map(move |(channels, size, taps)| Counted { channels, size, taps, level, isa })
    })
}

/// The rate is in values.
#[divan::bench(args = counted(), max_time = 0.5)]
fn counting(bencher: Bencher<'_, '_>, &Counted { channels, size, taps, level, isa }: &Counted) {
    let geometry = Geometry::blocked(1, channels, size, size);
    let inputs: Vec<f32> = values(geometry.elements(), 1).map(|value| value.max(0.0)).collect();
    let mut x = Buffer::zeroed(geometry.len());
    geometry.pack(&inputs, &mut x);
    let map = CodeMap::linear(32767.0, -32767, 32767);
    let axis = || Classes::new(size, size, 1, 1, taps / 2, taps);
    let (grouping, classes) = (Grouping::Channels, Arc::new([axis(), axis()]));
    let make = || Counter::new(map, level.detail(Encoder::Naf), grouping, Arc::clone(&classes), channels);
    let count = |counter: &mut Counter| counter.count(isa, &x, &geometry, 0, geometry.rows(0..size), 0);
    let mut counter = make();
    assert!(count(&mut counter), "all values are finite");
    let want = count_reference(map, Encoder::Naf, grouping, &classes, [1, channels, size, size], &inputs);
    let got = counter.into_sums();
    assert!(got.groups == want.groups && got.values.natural_zeros == want.values.natural_zeros, "as value by value");
    let mut counter = make();
    bencher.counter(ItemsCount::new(inputs.len())).bench_local(|| count(&mut counter));
}

/// Lower bound for counting codes: for each of them one byte is loaded, incremented and stored; `codes` different ones.
#[divan::bench(args = [100, 32_767], max_time = 0.5)]
fn bytes_counted_up(bencher: Bencher<'_, '_>, codes: usize) {
    let list: Vec<u16> = values(100_000, 1).map(|value| (value.abs() * codes as f32) as u16).collect();
    let mut counts = [0u8; 1 << 16];
    bencher.counter(ItemsCount::new(list.len())).bench_local(|| {
        for &code in &list {
            let count = &mut counts[usize::from(code)];
            *count = count.wrapping_add(1);
        }
    });
    divan::black_box(&counts);
}
