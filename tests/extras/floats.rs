//! Values as floats of few bits, against lists of all values of the types.

use deadweight::engine::EngineOptions;
use deadweight::kernels::count::extra::floats::{add_floats, float_counts, of_types};
use deadweight::metrics::{Cells, Value, Which};
use deadweight::report::Report;

use super::runs::{Keep, load, measured};

/// All values of a type that are not negative, in rising order, with their exponent fields and significands.
fn values(exponent: i32, fraction: u32, largest: (u32, u32)) -> Vec<(f64, u32, u32)> {
    let bias = (1 << (exponent - 1)) - 1;
    let hidden = 1 << fraction;
    let below = (0..hidden).map(|low| (0, low));
    let others = (1..1 << exponent).flat_map(|field| (hidden..2 * hidden).map(move |significand| (field, significand)));
    let all = below.chain(others).filter(|&at| at <= largest);
    all.map(|(field, significand)| {
        let power = field.max(1) as i32 - bias - fraction as i32;
        (f64::from(significand) * 2_f64.powi(power), field, significand)
    })
    .collect()
}

/// The nearest of `values`, of two the even one.
fn nearest(values: &[(f64, u32, u32)], x: f32) -> (u32, u32) {
    let x = f64::from(x).abs();
    let above = values.partition_point(|(value, ..)| *value < x).min(values.len() - 1);
    let below = above.saturating_sub(1);
    let [low, high] = [below, above].map(|i| (values[i].0 - x).abs());
    let chosen = if low < high || low == high && values[below].2.is_multiple_of(2) { below } else { above };
    (values[chosen].1, values[chosen].2)
}

/// Non-zero digits of the canonical signed-digit form, digit by digit.
fn digits(mut m: i64) -> u64 {
    let mut digits = 0;
    while m != 0 {
        if m % 2 != 0 {
            m -= 2 - m.rem_euclid(4);
            digits += 1;
        }
        m /= 2;
    }
    digits
}

fn entropy(fields: &[u32]) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    fields.iter().for_each(|field| *counts.entry(field).or_insert(0_u32) += 1);
    counts.values().map(|&count| f64::from(count) * (fields.len() as f64 / f64::from(count)).log2()).sum()
}

#[track_caller]
fn check(cells: &Cells, which: Which, floats: &[f32]) {
    let n = floats.len() as f64;
    for (name, exponent, fraction, largest) in
        [("bf16", 8, 7, (254, 255)), ("fp16", 5, 10, (30, 2047)), ("e4m3", 4, 3, (15, 14)), ("e5m2", 5, 2, (30, 7))]
    {
        let values = values(exponent, fraction, largest);
        let (fields, significands): (Vec<u32>, Vec<u32>) = floats.iter().map(|&x| nearest(&values, x)).unzip();
        let ratio = |metric: &str| match cells.get(metric, Some(which)) {
            Some(Value::Ratio(ratio)) => (ratio.numerator as f64, ratio.denominator as f64),
            other => panic!("{metric}: {other:?}"),
        };
        let terms: u64 = significands.iter().map(|&significand| digits(significand.into())).sum();
        assert_eq!(ratio(&format!("float.terms.{name}")), (terms as f64, n * f64::from(fraction + 1)));
        let share =
            |bit: u32| significands.iter().filter(|&&significand| significand >> bit & 1 == 1).count() as f64 / n;
        let shares: Vec<f64> = (0..=fraction).map(share).collect();
        let likely = |pattern: u32| -> f64 {
            shares.iter().enumerate().map(|(bit, one)| if pattern >> bit & 1 == 1 { *one } else { 1.0 - one }).product()
        };
        let expected: f64 = (0..2_u32 << fraction).map(|pattern| likely(pattern) * digits(pattern.into()) as f64).sum();
        let chance = ratio(&format!("float.terms.{name}.chance")).0;
        assert!((chance - n * expected).abs() < 0.51, "{name}: {chance}, not {}", n * expected);
        let bits = entropy(&fields);
        let Some(Value::Derived(got)) = cells.get(&format!("float.exponent.{name}"), Some(which)) else {
            panic!("{name}")
        };
        assert!((got - bits / n).abs() < 1e-9, "{name}: {got}, not {}", bits / n);
        let (lossless, all) = ratio(&format!("float.lossless.{name}"));
        assert!((lossless - n * f64::from(1 + fraction) - bits.ceil()).abs() < 1.5, "{name}: {lossless}");
        assert_eq!(all, n * f64::from(1 + exponent as u32 + fraction));
        assert!(lossless <= all + 1.0, "an exponent has no more than its bits");
    }
}

#[test]
fn floats_of_operands_equal_lists_of_all_values() {
    let (model, data) = load("digits");
    let measurement = measured("digits", EngineOptions::new(2), 2);
    let samples: Vec<f32> = (0..5).flat_map(|i| data.load(i).unwrap().values.clone()).collect();
    let keep = Keep::of(&model, model.input_shape(), &samples);
    for (layer, scope) in measurement.layers.iter().zip(Report::new(&measurement).layers()) {
        let node = model.graph.handles().find(|&node| model.graph.def(node).name == layer.name).unwrap();
        check(&scope.cells, Which::Activations, &keep.read(node));
        let weights = match &model.graph.def(node).layer {
            deadweight::layers::Layer::Conv(conv) => &conv.weight.data,
            deadweight::layers::Layer::Linear(linear) => &linear.weight.data,
            _ => panic!("{}", layer.name),
        };
        check(&scope.cells, Which::Weights, weights);
    }
}

#[test]
fn what_is_stored_as_integers_is_no_float() {
    let of = |flags: &[&str]| -> serde_json::Value {
        let run = [&["measure", "digits", "--limit", "2", "--metrics", "float", "--format", "json"], flags].concat();
        serde_json::from_slice(&crate::binary::succeed(&run)).unwrap()
    };
    let has = |document: &serde_json::Value| {
        ["activations", "weights"].map(|operand| document["network"][operand].get("float.lossless.e4m3").is_some())
    };
    assert_eq!(has(&of(&[])), [true; 2]);
    assert_eq!(has(&of(&["--quantize", "int8"])), [false; 2]);
}

#[test]
fn the_examples_are_right() {
    let mut counts = vec![0; float_counts()];
    add_floats([1.0, 1.5], &mut counts);
    let terms: Vec<u64> = of_types(&counts).map(|(of, counts)| of.split(counts).2).collect();
    assert_eq!(terms, [3; 4]);
    let bits: Vec<u32> = of_types(&counts).map(|(of, _)| 2 * (of.fraction + 1)).collect();
    assert_eq!(bits, [16, 22, 8, 6]);
}
