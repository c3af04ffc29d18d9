//! Loops over every MAC.

use deadweight::format::{NumberFormat, WeightScale};
use deadweight::kernels::count::bits;

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

/// Width of a group: bits of the largest magnitude, and one for the sign if any is negative (which floats have apart).
pub fn group_width(codes: impl Iterator<Item = i32> + Clone, format: NumberFormat) -> u16 {
    let most = codes.clone().map(|v| bits(v.unsigned_abs() as u16)).max().unwrap_or(0);
    let is_float = matches!(format, NumberFormat::Float(_));
    most + u16::from(!is_float && codes.into_iter().any(|v| v < 0))
}

/// The signed significand of `x` rounded to a floating-point type: of how many exponent and fraction bits, and of which largest
/// value.
fn significand(x: f32, (exponent, fraction, largest): (i32, i32, f64)) -> i32 {
    let x = f64::from(x);
    let least = 2 - (1 << (exponent - 1));
    let unit = |x: f64| 2f64.powi((x.abs().log2().floor() as i32).max(least) - fraction);
    let rounded = if x == 0.0 { 0.0 } else { (x / unit(x)).round_ties_even() * unit(x) };
    // What was rounded up to a power of two has a larger unit.
    let rounded = rounded.clamp(-largest, largest);
    if rounded == 0.0 { 0 } else { (rounded / unit(rounded)) as i32 }
}

/// The code of `x` in `format`, whose values are within `magnitude` and have a sign or none.
fn code(format: NumberFormat, magnitude: f32, signed: bool, x: f32) -> i32 {
    let linear =
        |most: i32, scale: f32| ((x * scale).round_ties_even() as i32).clamp(if signed { -most } else { 0 }, most);
    match format.to_string().as_str() {
        "bf16" => significand(x, (8, 7, 2f64.powi(128) - 2f64.powi(120))),
        "fp16" => significand(x, (5, 10, 65504.0)),
        "e4m3" => significand(x, (4, 3, 448.0)),
        "e5m2" => significand(x, (5, 2, 57344.0)),
        // The scale of an operand that was all zero in calibration is 1: others may come after.
        "int8" => {
            let most = if signed { 127 } else { 255 };
            linear(most, if magnitude == 0.0 { 1.0 } else { (f64::from(most) / f64::from(magnitude)) as f32 })
        }
        fixed => {
            let most = (1 << (fixed.strip_prefix("fixed").unwrap().parse::<i32>().unwrap() - 1)) - 1;
            let fits = |power: i32| f64::from(magnitude) * 2f64.powi(power) <= f64::from(most);
            let power = if magnitude == 0.0 { 0 } else { (-40..40).rev().find(|&power| fits(power)).unwrap() };
            linear(most, 2f32.powi(power))
        }
    }
}

/// The codes of values of which the first `calibrated` are known.
fn codes(format: NumberFormat, values: &[f32], calibrated: usize, signed: bool) -> Vec<i32> {
    let magnitude = values[..calibrated].iter().fold(0f32, |most, x| most.max(x.abs()));
    values.iter().map(|&x| code(format, magnitude, signed, x)).collect()
}

/// Whether codes of `values` have a sign: those of int8 have none where no value is negative.
fn is_signed(format: NumberFormat, values: &[f32]) -> bool {
    format != NumberFormat::Int8 || values.iter().any(|&x| x < 0.0)
}

/// Codes and group widths of `count` planes, each `[channels][rows][columns]`, grouped along channels and columns, or along
/// features.
fn see(codes: &[i32], [count, channels, rows, columns]: [usize; 4], features: bool, format: NumberFormat) -> Vec<Seen> {
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
                            return group_width(
                                codes[start..(start + size).min((n + 1) * plane)].iter().copied(),
                                format,
                            );
                        }
                        let (cs, xs) = (c / 16 * 16, x / wide * wide);
                        let members = (cs..(cs + 16).min(channels))
                            .flat_map(|c| (xs..(xs + wide).min(columns)).map(move |x| codes[at(n, c, y, x)]));
                        group_width(members.collect::<Vec<_>>().into_iter(), format)
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
    let [a_format, w_format] = problem.format.both();
    let (inputs, held) = (problem.inputs(), problem.weights());
    let known = inputs.len().div_ceil(2);
    let a_codes = codes(a_format, &inputs, known, is_signed(a_format, &inputs[..known]));
    let filter = match problem.format.weight_scale() {
        Some(WeightScale::Filter) => held.len() / shape.weight[0],
        _ => held.len(),
    };
    let signed = is_signed(w_format, &held);
    let w_codes: Vec<i32> =
        held.chunks(filter).flat_map(|filter| codes(w_format, filter, filter.len(), signed)).collect();
    let [c, h, w] = shape.input;
    let [k, p, q] = shape.output;
    let [_, cg, r, s] = shape.weight;
    // Over a sequence, a fully connected layer reads the features of each step for themselves.
    let stepwise = shape.features && shape.weight[1] == c;
    let activations = if stepwise {
        let steps = (0..problem.images * w).map(|i| (i / w, i % w));
        let by_step: Vec<i32> =
            steps.flat_map(|(n, t)| (0..c).map(move |input| (n * c + input) * w + t)).map(|i| a_codes[i]).collect();
        see(&by_step, [problem.images * w, c, 1, 1], true, a_format)
    } else {
        let places = (0..problem.images * c * h * w).map(|i| match shape.channels_last {
            true => i / (c * h * w) * c * h * w + i % c * h * w + i / c % (h * w),
            false => i,
        });
        let in_order: Vec<i32> = places.map(|i| a_codes[i]).collect();
        see(&in_order, [problem.images, c, h, w], shape.features, a_format)
    };
    let weights = see(&w_codes, [k, cg, r, s], shape.features, w_format);
    let [ba, bw] = [a_format, w_format].map(|format| u128::from(format.bits()));
    let width = |v: i32, format: NumberFormat| u128::from(group_width([v].into_iter(), format));
    let terms = |v: i32| u128::from(problem.encoder.terms(v.unsigned_abs() as u16));
    // The layer's width is that of all its values as one group.
    let whole = |seen: &[Seen], format| u128::from(group_width(seen.iter().map(|seen| seen.code), format));
    let (pa, pw) = (whole(&activations, a_format), whole(&weights, w_format));
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
            unless(zero_a, ba * bw),
            unless(zero_w, ba * bw),
            unless(zero_a || zero_w, ba * bw),
            step(pa) * bw,
            step(g16) * bw,
            step(g64) * bw,
            step(g256) * bw,
            step(width(a.code, a_format)) * bw,
            ba * step(pw),
            ba * step(u128::from(weight.groups[0])),
            ba * step(width(weight.code, w_format)),
            step(g16 * pw),
            step(terms(a.code)) * bw,
            ba * step(terms(weight.code)),
            step(terms(a.code) * terms(weight.code)),
            unless(zero_w, step(g16) * bw),
            unless(zero_w, step(terms(a.code)) * bw),
            unless(zero_a || zero_w, g16 * bw),
            unless(zero_a || zero_w, terms(a.code) * bw),
        ];
        for (sum, cost) in sums.iter_mut().zip(costs) {
            for (sum, counts) in sum.iter_mut().zip([true, activation.is_some()]) {
                if counts {
                    *sum = (sum.0 + ba * bw, sum.1 + cost);
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
