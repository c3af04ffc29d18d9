//! Every count against a loop over all MACs: so plain that it needs no test of its own.

mod watched;

use std::sync::Arc;

use deadweight::engine::{EngineOptions, Session};
use deadweight::format::{Coding, NumberFormat};
use deadweight::graph::{Graph, Node, Params, Scope};
use deadweight::kernels::count::{CodeMap, Counter, Encoder, Range, Sums, bits};
use deadweight::kernels::{Geometry, Halo, Isa, Region};
use deadweight::layers::{Conv, ConvTranspose, Layer, Lstm, Param, Shape};
use deadweight::metrics::{self, Cells, Fraction, Options, Subject, Value};
use deadweight::probe::{Probe, Watch};
use deadweight::tally::{ActivationSums, LayerShape, LayerTally, WeightSums};
use proptest::prelude::*;

/// MACs by class; the last five sum to the first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Macs {
    dense: u64,
    padding: u64,
    zero_both: u64,
    zero_activation: u64,
    zero_weight: u64,
    effectual: u64,
}

/// Names of the potentials, in the order of the sums of [`brute_force`].
const POTENTIALS: [&str; 19] = [
    "A", "W", "W+A", "Ap.layer", "Ap.g16", "Ap.g64", "Ap.g256", "Ap.value", "Wp.layer", "Wp.g16", "Wp.value", "Wp+Ap",
    "Ae", "We", "We+Ae", "W+Ap", "W+Ae", "W+A+Ap", "W+A+Ae",
];

/// A layer, its inputs and how they are counted.
#[derive(Clone, Debug)]
struct Problem {
    shape: LayerShape,
    images: usize,
    format: NumberFormat,
    encoder: Encoder,
    min_one: bool,
    /// How many of a hundred values are zero.
    zeros: u32,
    signed: bool,
    seed: u32,
}

impl Problem {
    fn value(&self, i: usize, salt: u32, signed: bool) -> f32 {
        let mixed = (i as u32).wrapping_add(salt).wrapping_mul(2_654_435_761) ^ self.seed.wrapping_mul(0x9e37_79b9);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x85eb_ca6b);
        let unit = (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0;
        if mixed % 100 < self.zeros {
            return 0.0;
        }
        let small = unit * 2f32.powi(-((mixed >> 3 & 7) as i32));
        if signed { small } else { small.abs() }
    }

    fn inputs(&self) -> Vec<f32> {
        let count = self.images * self.shape.input.iter().product::<usize>();
        (0..count).map(|i| self.value(i, 1, self.signed)).collect()
    }

    fn weights(&self) -> Vec<f32> {
        (0..self.shape.weight.iter().product()).map(|i| self.value(i, 1 << 20, true)).collect()
    }

    fn maps(&self) -> [CodeMap; 2] {
        // Calibrated on half of the inputs, so that some saturate.
        let inputs = self.inputs();
        let range = Range::of(&inputs[..inputs.len().div_ceil(2)]);
        [self.format.code_map(range), self.format.code_map(Range::of(&self.weights()))]
    }

    fn tally(&self, layout: Layout) -> LayerTally {
        let [activations, _] = self.maps();
        let [c, h, w] = self.shape.input;
        let classes = Arc::new(self.shape.classes());
        let mut counter =
            Counter::new(activations, self.encoder, self.shape.grouping(), classes, self.shape.channels());
        let geometry = match layout {
            Layout::Planar => Geometry::planar(self.images, c, h, w),
            Layout::Blocked => Geometry::blocked(self.images, c, h, w),
        };
        let mut x = vec![0.0; geometry.len()];
        geometry.pack(&self.inputs(), &mut x);
        for image in 0..self.images {
            assert!(counter.count(Isa::best(), &x, &geometry, image, geometry.rows(0..h), 0));
        }
        self.tally_of(&counter.into_sums(), self.images as u64)
    }

    /// All metrics of `tally`.
    fn metrics(&self, tally: &LayerTally, min_one: bool) -> Cells {
        let coding = |map| Coding { map, bits: self.format.bits(), unit: Some(1.0), stored: None };
        let codings = self.maps().map(coding);
        let subject = Subject::layer(tally, &codings, Options { encoder: self.encoder, min_one });
        Cells::of(&subject, &metrics::all().collect::<Vec<_>>(), self.images as u64)
    }

    /// The tally of `images` images that added up to `sums`.
    fn tally_of(&self, sums: &Sums, images: u64) -> LayerTally {
        let [activations, weights] = self.maps();
        let mut tally = LayerTally {
            images: 0,
            lowest: [activations.lo, weights.lo],
            activations: ActivationSums::new(&self.shape, activations.codes()),
            weights: WeightSums::count(Isa::best(), &self.shape, &self.weights(), weights, self.encoder),
            recurrent: None,
            shape: self.shape.clone(),
        };
        tally.add(&self.shape, images, sums);
        tally
    }
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    Planar,
    Blocked,
}

/// What one MAC of the loop sees of an operand.
#[derive(Clone, Copy)]
struct Seen {
    code: i32,
    /// Widths of the groups of 16, 64, 256 that hold it.
    groups: [u16; 3],
}

/// Width of a group: bits of the largest magnitude, and one for the sign if any is negative.
fn group_width(codes: impl Iterator<Item = i32> + Clone) -> u16 {
    let most = codes.clone().map(|v| bits(v.unsigned_abs() as u16)).max().unwrap_or(0);
    most + u16::from(codes.into_iter().any(|v| v < 0))
}

/// Codes and group widths of `count` planes, each `[channels][rows][columns]`, grouped along channels and columns, or along
/// features.
fn see(codes: &[i32], [count, channels, rows, columns]: [usize; 4], features: bool) -> Vec<Seen> {
    let plane = channels * rows * columns;
    let at = |n: usize, c: usize, y: usize, x: usize| n * plane + (c * rows + y) * columns + x;
    let mut seen = Vec::new();
    for n in 0..count {
        for c in 0..channels {
            for y in 0..rows {
                for x in 0..columns {
                    let groups = [1, 4, 16].map(|wide| {
                        if features {
                            let (place, size) = ((c * rows + y) * columns + x, 16 * wide);
                            let start = n * plane + place / size * size;
                            return group_width(codes[start..(start + size).min((n + 1) * plane)].iter().copied());
                        }
                        let (cs, xs) = (c / 16 * 16, x / wide * wide);
                        let members = (cs..(cs + 16).min(channels))
                            .flat_map(|c| (xs..(xs + wide).min(columns)).map(move |x| codes[at(n, c, y, x)]));
                        group_width(members.collect::<Vec<_>>().into_iter())
                    });
                    seen.push(Seen { code: codes[at(n, c, y, x)], groups });
                }
            }
        }
    }
    seen
}

/// Classes and the costs of all potentials, with padding and without, by looping over every MAC.
fn brute_force(problem: &Problem) -> (Macs, Vec<[(u128, u128); 2]>) {
    let shape = &problem.shape;
    let [activation_map, weight_map] = problem.maps();
    let code = |map: CodeMap, values: Vec<f32>| values.into_iter().map(|x| map.code(x)).collect::<Vec<_>>();
    let (a_codes, w_codes) = (code(activation_map, problem.inputs()), code(weight_map, problem.weights()));
    let [c, h, w] = shape.input;
    let [k, p, q] = shape.output;
    let [_, cg, r, s] = shape.weight;
    // Over a sequence, a fully connected layer reads the features of each step for themselves.
    let stepwise = shape.features && shape.weight[1] == c;
    let activations = if stepwise {
        let steps = (0..problem.images * w).map(|i| (i / w, i % w));
        let by_step: Vec<i32> =
            steps.flat_map(|(n, t)| (0..c).map(move |input| (n * c + input) * w + t)).map(|i| a_codes[i]).collect();
        see(&by_step, [problem.images * w, c, 1, 1], true)
    } else {
        let places = (0..problem.images * c * h * w).map(|i| match shape.channels_last {
            true => i / (c * h * w) * c * h * w + i % c * h * w + i / c % (h * w),
            false => i,
        });
        let in_order: Vec<i32> = places.map(|i| a_codes[i]).collect();
        see(&in_order, [problem.images, c, h, w], shape.features)
    };
    let weights = see(&w_codes, [k, cg, r, s], shape.features);
    let b = u128::from(problem.format.bits());
    let width = |v: i32| u128::from(bits(v.unsigned_abs() as u16)) + u128::from(v < 0);
    let terms = |v: i32| u128::from(problem.encoder.terms(v.unsigned_abs() as u16));
    // The layer's width is that of all its values as one group.
    let whole = |seen: &[Seen]| u128::from(group_width(seen.iter().map(|seen| seen.code)));
    let (pa, pw) = (whole(&activations), whole(&weights));
    let step = |cost: u128| if problem.min_one { cost.max(1) } else { cost };
    let mut macs = Macs::default();
    let mut sums = vec![[(0, 0); 2]; 19];
    let mut mac = |activation: Option<Seen>, weight: Seen| {
        let a = activation.unwrap_or(Seen { code: 0, groups: [0; 3] });
        macs.dense += 1;
        *match (activation, a.code, weight.code) {
            (None, ..) => &mut macs.padding,
            (_, 0, 0) => &mut macs.zero_both,
            (_, 0, _) => &mut macs.zero_activation,
            (_, _, 0) => &mut macs.zero_weight,
            _ => &mut macs.effectual,
        } += 1;
        let (zero_a, zero_w) = (a.code == 0, weight.code == 0);
        let unless = |skip: bool, cost: u128| if skip { 0 } else { cost };
        let [g16, g64, g256] = a.groups.map(u128::from);
        let costs = [
            unless(zero_a, b * b),
            unless(zero_w, b * b),
            unless(zero_a || zero_w, b * b),
            step(pa) * b,
            step(g16) * b,
            step(g64) * b,
            step(g256) * b,
            step(width(a.code)) * b,
            b * step(pw),
            b * step(u128::from(weight.groups[0])),
            b * step(width(weight.code)),
            step(g16 * pw),
            step(terms(a.code)) * b,
            b * step(terms(weight.code)),
            step(terms(a.code) * terms(weight.code)),
            unless(zero_w, step(g16) * b),
            unless(zero_w, step(terms(a.code)) * b),
            unless(zero_a || zero_w, g16 * b),
            unless(zero_a || zero_w, terms(a.code) * b),
        ];
        for (sum, cost) in sums.iter_mut().zip(costs) {
            for (sum, counts) in sum.iter_mut().zip([true, activation.is_some()]) {
                if counts {
                    *sum = (sum.0 + b * b, sum.1 + cost);
                }
            }
        }
    };
    if shape.transposed {
        // Every pixel of the input meets every weight of its channel.
        let pixels = problem.images * c * h * w;
        for (pixel, &activation) in activations.iter().enumerate().take(pixels) {
            let channel = pixel / (h * w) % c;
            let group = channel / cg;
            for filter in group * (k / shape.groups)..(group + 1) * (k / shape.groups) {
                for tap in 0..r * s {
                    mac(Some(activation), weights[(filter * cg + channel % cg) * r * s + tap]);
                }
            }
        }
        return (macs, sums);
    }
    for n in 0..problem.images {
        for filter in 0..k {
            for row in 0..p {
                for column in 0..q {
                    for input in 0..cg {
                        for (tap_row, tap_column) in (0..r).flat_map(|r| (0..s).map(move |s| (r, s))) {
                            let weight = weights[((filter * cg + input) * r + tap_row) * s + tap_column];
                            if shape.features {
                                let read = if stepwise { n * q + column } else { n };
                                mac(Some(activations[read * cg + input]), weight);
                                continue;
                            }
                            let channel = filter / (k / shape.groups) * cg + input;
                            let y =
                                (row * shape.stride[0] + tap_row * shape.dilation[0]).wrapping_sub(shape.padding[0]);
                            let x = (column * shape.stride[1] + tap_column * shape.dilation[1])
                                .wrapping_sub(shape.padding[2]);
                            let inside = y < h && x < w;
                            mac(inside.then(|| activations[((n * c + channel) * h + y) * w + x]), weight);
                        }
                    }
                }
            }
        }
    }
    (macs, sums)
}

fn formats() -> impl Strategy<Value = NumberFormat> {
    prop_oneof![Just(NumberFormat::Int8), (2u32..17).prop_map(NumberFormat::Fixed)]
}

fn counting() -> impl Strategy<Value = (NumberFormat, Encoder, bool, u32, bool, u32)> {
    let encoders = prop::sample::select(Encoder::ALL.to_vec());
    (formats(), encoders, any::<bool>(), prop::sample::select(vec![0, 30, 70, 100]), any::<bool>(), any::<u32>())
}

fn convolutions() -> impl Strategy<Value = Problem> {
    let extents = (1usize..20, 1usize..6, 1usize..4, 1usize..4, 0usize..4);
    let steps = (1usize..4, 1usize..4, 1usize..4, 1usize..4);
    let padding = (0usize..3, 0usize..3, 0usize..3, 0usize..3);
    (extents, steps, padding, (1usize..8, 1usize..20, 1usize..3), counting()).prop_filter_map(
        "the padded input holds a window",
        |((c, k, r, s, grouping), (sh, sw, dh, dw), (top, bottom, left, right), (h, w, images), counting)| {
            let (c, k, groups) = match grouping {
                0 => (c, c, c),
                1 => (2 * c, 2 * k, 2),
                _ => (c, k, 1),
            };
            let conv = Conv { kernel: (r, s), stride: (sh, sw), dilation: (dh, dw), ..Conv::new(k, 1).groups(groups) };
            let net = Scope::new(Params::Declared);
            let x = net.input(c);
            let y = net.at("conv").conv(x, conv.pad(Halo { top, bottom, left, right }.into()));
            let (graph, _) = net.finish(y).unwrap();
            let output = graph.shapes(Shape::new(c, h, w)).ok()?[1];
            let shape = LayerShape {
                input: [c, h, w],
                output: [k, output.h, output.w],
                weight: [k, c / groups, r, s],
                stride: [sh, sw],
                padding: [top, bottom, left, right],
                dilation: [dh, dw],
                groups,
                features: false,
                channels_last: false,
                transposed: false,
            };
            let (format, encoder, min_one, zeros, signed, seed) = counting;
            Some(Problem { shape, images, format, encoder, min_one, zeros, signed, seed })
        },
    )
}

fn transposed() -> impl Strategy<Value = Problem> {
    let extents = (1usize..20, 1usize..6, 1usize..4, 1usize..4, 1usize..4);
    (extents, (1usize..4, 1usize..4, 0usize..2), (1usize..8, 1usize..20, 1usize..3), counting()).prop_filter_map(
        "an output is left",
        |((c, k, r, s, groups), (stride, dilation, cut), (h, w, images), counting)| {
            let (c, k) = (c * groups, k * groups);
            let cut = Halo { top: cut, bottom: cut, left: cut, right: cut };
            let conv = ConvTranspose {
                kernel: (r, s),
                dilation: (dilation, dilation),
                padding: cut,
                groups,
                ..ConvTranspose::new(k, 1, stride)
            };
            let net = Scope::new(Params::Declared);
            let x = net.input(c);
            let y = net.at("up").conv_transpose(x, conv);
            let (graph, _) = net.finish(y).unwrap();
            let output = graph.shapes(Shape::new(c, h, w)).ok()?[1];
            let shape = LayerShape {
                input: [c, h, w],
                output: [k, output.h, output.w],
                weight: [k, c / groups, r, s],
                stride: [stride; 2],
                padding: [cut.top; 4],
                dilation: [dilation; 2],
                groups,
                features: false,
                channels_last: false,
                transposed: true,
            };
            // The graph's own count is the dense one.
            assert_eq!(graph.macs(Shape::new(c, h, w)).unwrap(), (c * h * w * k / groups * r * s) as u64);
            let (format, encoder, min_one, zeros, signed, seed) = counting;
            Some(Problem { shape, images, format, encoder, min_one, zeros, signed, seed })
        },
    )
}

fn linears() -> impl Strategy<Value = Problem> {
    ((1usize..9, 1usize..5, 1usize..12), 1usize..9, 1usize..4, any::<bool>(), counting()).prop_map(
        |((c, h, w), out, images, channels_last, counting)| {
            let (format, encoder, min_one, zeros, signed, seed) = counting;
            let shape = LayerShape { channels_last, ..LayerShape::linear([c, h, w], out) };
            Problem { shape, images, format, encoder, min_one, zeros, signed, seed }
        },
    )
}

/// The products of an LSTM, of its inputs and of its hidden values, over all steps of sequences.
fn sequences() -> impl Strategy<Value = Problem> {
    (1usize..300, 1usize..6, 1usize..9, 1usize..3, counting()).prop_map(
        |(features, steps, out, images, (format, encoder, min_one, zeros, signed, seed))| {
            let shape = LayerShape::steps(features, steps, 4 * out);
            Problem { shape, images, format, encoder, min_one, zeros, signed, seed }
        },
    )
}

/// Sums with padding and without of a ratio over MACs.
fn modes(cells: &Cells, name: &str) -> [(u128, u128); 2] {
    let Some(Value::Work(modes)) = cells.get(name, None) else { panic!("{name} is no ratio over MACs") };
    modes.map(|Fraction { numerator, denominator }| (numerator, denominator))
}

/// MACs by class as the metrics have them.
fn macs_by_class(cells: &Cells) -> Macs {
    let count = |class: &str| modes(cells, &format!("macs.{class}"))[0].0 as u64;
    let dense = modes(cells, "macs.effectual").map(|(_, dense)| dense as u64);
    let [zero_both, zero_activation, zero_weight, effectual] =
        ["zero_both", "zero_activation", "zero_weight", "effectual"].map(count);
    let macs = Macs { dense: dense[0], padding: count("padding"), zero_both, zero_activation, zero_weight, effectual };
    assert_eq!(cells.get("macs", None), Some(&Value::Count(dense[0].into())));
    // Without padding, only the padding MACs are left out.
    assert_eq!(dense[1], macs.dense - macs.padding);
    assert_eq!(modes(cells, "macs.padding")[1].0, 0);
    for class in ["zero_both", "zero_activation", "zero_weight", "effectual"] {
        let [with, without] = modes(cells, &format!("macs.{class}"));
        assert_eq!(with.0, without.0, "{class}");
    }
    macs
}

fn check(problem: &Problem, layout: Layout) -> Result<(), TestCaseError> {
    let tally = problem.tally(layout);
    let (macs, sums) = brute_force(problem);
    let cells = problem.metrics(&tally, problem.min_one);
    prop_assert_eq!(macs_by_class(&cells), macs);
    prop_assert_eq!(sums.len(), POTENTIALS.len());
    for (name, want) in POTENTIALS.into_iter().zip(sums) {
        prop_assert_eq!(modes(&cells, &format!("potential.{name}")), want, "{}", name);
    }
    invariants(problem, &tally, &macs)
}

/// The inequalities of METRICS section 5, in both padding modes.
fn invariants(problem: &Problem, tally: &LayerTally, macs: &Macs) -> Result<(), TestCaseError> {
    let parts = macs.padding + macs.zero_both + macs.zero_activation + macs.zero_weight + macs.effectual;
    prop_assert_eq!(parts, macs.dense);
    let [k, p, q] = problem.shape.output;
    let per_window = k * problem.shape.weight[1..].iter().product::<usize>();
    let [_, h, w] = problem.shape.input;
    let dense = problem.images * per_window * if problem.shape.transposed { h * w } else { p * q };
    prop_assert_eq!(macs.dense, dense as u64);
    let cells = problem.metrics(tally, false);
    for mode in 0..2 {
        let work = |name: &str| modes(&cells, &format!("potential.{name}"))[mode].1;
        // A larger potential is less work.
        for (more, less) in [
            ("W+A", "A"),
            ("W+A", "W"),
            ("Ae", "A"),
            ("W+Ae", "W+A"),
            ("W+Ae", "Ae"),
            ("We+Ae", "W+Ae"),
            ("Ae", "Ap.value"),
            ("Ap.value", "Ap.g16"),
            ("Ap.g16", "Ap.g64"),
            ("Ap.g64", "Ap.g256"),
            ("Ap.g256", "Ap.layer"),
            ("Wp.value", "Wp.g16"),
            ("Wp.g16", "Wp.layer"),
            ("Wp+Ap", "Ap.g16"),
            ("W+Ap", "Ap.g16"),
            ("W+A+Ap", "W+Ap"),
        ] {
            prop_assert!(work(more) <= work(less), "{} {} > {} {}", more, work(more), less, work(less));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_equal_the_loop_over_macs(problem in convolutions()) {
        check(&problem, Layout::Blocked)?;
    }

    #[test]
    fn planar_inputs_equal_the_loop_over_macs(problem in convolutions()) {
        check(&problem, Layout::Planar)?;
    }

    #[test]
    fn transposed_convolutions_equal_the_loop_over_macs(problem in transposed()) {
        check(&problem, Layout::Blocked)?;
    }

    #[test]
    fn linear_layers_equal_the_loop_over_macs(problem in linears()) {
        check(&problem, Layout::Blocked)?;
    }

    #[test]
    fn products_over_sequences_equal_the_loop_over_macs(problem in sequences(), planar in any::<bool>()) {
        check(&problem, if planar { Layout::Planar } else { Layout::Blocked })?;
    }

    #[test]
    fn tallies_merge_in_any_order_and_grouping(problem in convolutions(), seeds in any::<[u32; 3]>()) {
        // Three parts of a data set: other inputs, the same layer, weights and formats.
        let maps = problem.maps();
        let parts = seeds.map(|seed| {
            let other = Problem { seed, ..problem.clone() };
            let mut counter = Counter::new(
                maps[0], problem.encoder, problem.shape.grouping(), Arc::new(problem.shape.classes()), problem.shape.channels(),
            );
            let [c, h, w] = problem.shape.input;
            let geometry = Geometry::blocked(problem.images, c, h, w);
            let mut x = vec![0.0; geometry.len()];
            geometry.pack(&other.inputs(), &mut x);
            for image in 0..problem.images {
                counter.count(Isa::best(), &x, &geometry, image, geometry.rows(0..h), 0);
            }
            problem.tally_of(&counter.into_sums(), problem.images as u64)
        });
        let merged = |order: [usize; 3]| {
            let mut sum = parts[order[0]].clone();
            sum.merge(&parts[order[1]]);
            sum.merge(&parts[order[2]]);
            sum
        };
        let want = merged([0, 1, 2]);
        for order in [[0, 2, 1], [1, 0, 2], [2, 1, 0]] {
            prop_assert_eq!(&merged(order), &want);
        }
        let mut tail = parts[1].clone();
        tail.merge(&parts[2]);
        let mut nested = parts[0].clone();
        nested.merge(&tail);
        prop_assert_eq!(nested, want);
    }
}
