//! Loops over every MAC.

use deadweight::kernels::count::{CodeMap, bits};

use super::problem::Problem;

/// MACs by class; the last five sum to the first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Macs {
    pub dense: u64,
    pub padding: u64,
    pub zero_both: u64,
    pub zero_activation: u64,
    pub zero_weight: u64,
    pub effectual: u64,
}

/// Names of the potentials, in the order of the sums of [`brute_force`].
pub const POTENTIALS: [&str; 19] = [
    "A", "W", "W+A", "Ap.layer", "Ap.g16", "Ap.g64", "Ap.g256", "Ap.value", "Wp.layer", "Wp.g16", "Wp.value", "Wp+Ap",
    "Ae", "We", "We+Ae", "W+Ap", "W+Ae", "W+A+Ap", "W+A+Ae",
];

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
pub fn brute_force(problem: &Problem) -> (Macs, Vec<[(u128, u128); 2]>) {
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
