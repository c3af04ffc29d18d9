//! The examples of the metrics, which people worked by hand, are what the program computes.

use std::sync::Arc;

use deadweight::format::{Coding, Stored};
use deadweight::kernels::Isa;
use deadweight::kernels::count::{CodeMap, Encoder, count_reference};
use deadweight::metrics::{self, Cells, Kind, Metric, Options, Subject, Value, Which};
use deadweight::tally::{ActivationSums, LayerShape, LayerTally, WeightSums};

/// All metrics of a linear layer that `activations` enter, one input of codes of `coding`.
fn linear(activations: &[f32], filters: &[f32], coding: Coding) -> Cells {
    let channels = activations.len();
    let shape = LayerShape::linear([channels, 1, 1], filters.len() / channels);
    let map = coding.map;
    let classes = Arc::new(shape.classes());
    let sums = count_reference(map, Encoder::Naf, shape.grouping(), &classes, [1, channels, 1, 1], activations);
    let mut tally = LayerTally {
        images: 0,
        lowest: [map.lo; 2],
        activations: ActivationSums::new(&shape, map.codes()),
        weights: WeightSums::count(Isa::best(), &shape, filters, &[map], Encoder::Naf),
        outputs: None,
        recurrent: None,
        pairs: None,
        designs: Vec::new(),
        shape: shape.clone(),
    };
    tally.add(&shape, 1, &sums);
    let options = Options { encoder: Encoder::Naf, min_one: false };
    Cells::of(&Subject::layer(&tally, &[coding; 2], options), &metrics::all().collect::<Vec<_>>(), 1)
}

fn coding(stored: Option<Stored>) -> Coding {
    Coding {
        map: CodeMap::linear(1.0, -32767, 32767),
        bits: 16,
        unit: Some(1.0),
        stored,
        per_filter: false,
        width: None,
    }
}

/// Numbers of a value: of a ratio the quotient, of a histogram the counts up to the last that is not 0.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Histogram(counts) | Value::PerChannel(counts) => {
            let len = counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
            counts[..len].iter().map(|&count| count as f64).collect()
        }
        other => vec![other.number().unwrap()],
    }
}

/// The numbers that the example ends with; of an operand those behind its letter.
fn worked(metric: &Metric, which: Option<Which>) -> Vec<f64> {
    let part = which.map_or(metric.example, |which| {
        let letter = format!("{} ", which.letter());
        let is_its = |part: &&str| part.starts_with(&letter) || part.contains(&format!(": {letter}"));
        metric.example.split(", ").find(is_its).unwrap_or_else(|| panic!("{}: no {letter}", metric.name))
    });
    let numbers = part.rsplit(" = ").next().unwrap();
    let numbers = match metric.kind {
        Kind::Histogram | Kind::PerChannel => part.rsplit(['a', 'w', ':']).next().unwrap(),
        _ => numbers.rsplit(' ').next().unwrap(),
    };
    numbers.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Metrics whose examples name values of their own.
const OWN: [&str; 4] = ["traffic.", "trailing", "trimmed", "threshold."];

#[test]
fn examples_are_what_is_computed() {
    let cells = linear(&[0.0, 3.0, -5.0, 7.0], &[1.0, 0.0, -2.0, 15.0, 0.0, 4.0, 0.0, -1.0], coding(None));
    let mut wrong = Vec::new();
    let mut compared = 0;
    for metric in metrics::all() {
        assert!(!metric.example.is_empty(), "{} has no example", metric.name);
        let operands: &[Option<Which>] =
            if metric.is_of_operands() { &[Some(Which::Activations), Some(Which::Weights)] } else { &[None] };
        for &which in operands {
            // What the layer does not have has an example of its own, and so have the metrics that `extras` works.
            if OWN.iter().any(|own| metric.name.starts_with(own)) {
                continue;
            }
            let Some(value) = cells.get(metric.name, which) else { continue };
            let (got, want) = (numbers(value), worked(metric, which));
            compared += 1;
            let near = |(got, want): (&f64, &f64)| (got - want).abs() <= 0.0006 * want.abs().max(1.0);
            if got.len() != want.len() || !got.iter().zip(&want).all(near) {
                wrong.push(format!("{} {which:?}: {got:?}, and the example has {want:?}", metric.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 80, "only {compared}");
}

#[test]
fn examples_of_stored_codes_are_what_is_computed() {
    let map = CodeMap::linear(1.0, -128, 127);
    let stored = Stored { scale: Some(1.0), zero_point: 128, range: (0, 255), bits: 8 };
    let coding = Coding { map, bits: 9, unit: Some(1.0), stored: Some(stored), per_filter: false, width: None };
    let cells = linear(&[-128.0, 0.0, 2.0], &[1.0; 3], coding);
    for name in ["raw.zeros", "raw.zero_bits", "zero_point"] {
        let value = cells.get(name, Some(Which::Activations)).unwrap();
        let want = worked(metrics::find(name).unwrap(), None);
        assert!((value.number().unwrap() - want[0]).abs() < 0.0006, "{name}: {value:?}, and the example has {want:?}");
    }
}
