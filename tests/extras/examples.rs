//! The examples that `explain` tells, worked by the program.

use std::sync::Arc;

use deadweight::format::Coding;
use deadweight::kernels::count::extra::floats::{add_floats, float_counts};
use deadweight::kernels::count::sequence::{Buckets, Sequence, StepSums};
use deadweight::kernels::count::{CodeMap, Encoder, count_reference};
use deadweight::kernels::{Geometry, Isa};
use deadweight::metrics::{self, Cells, Fraction, Options, Subject, Value, Which};
use deadweight::tally::{ActivationSums, Extra, ExtraSums, LayerShape, LayerTally, OperandSpec, WeightSums};

use super::modes;

/// All metrics of the weights `codes`, `[K, C, R, S]` of extents `weight`, in fixed point of `bits` bits.
fn of_weights(weight: [usize; 4], bits: u32, codes: &[i32]) -> Cells {
    let shape = LayerShape { weight, features: false, ..LayerShape::linear([weight[1], 1, 1], weight[0]) };
    let most = (1 << (bits - 1)) - 1;
    let map = CodeMap::linear(1.0, -most, most);
    let coding = Coding { map, bits, unit: Some(1.0), per_filter: false, width: None, stored: None };
    let values: Vec<f32> = codes.iter().map(|&code| code as f32).collect();
    let mut weights = WeightSums::count(Isa::best(), &shape, &values, &[map], Encoder::Naf);
    weights.extra = ExtraSums::new(&Extra::ALL, &shape, 1);
    weights.extra.add_filters(&OperandSpec::new(shape.clone(), map, coding.word(), Encoder::Naf), codes);
    let mut floats = vec![0; float_counts()];
    add_floats(values, &mut floats);
    weights.extra.add_counts(Extra::Float, &floats);
    let activations = ActivationSums::new(&shape, map.codes());
    let tally = LayerTally {
        images: 0,
        lowest: [map.lo; 2],
        activations,
        weights,
        outputs: None,
        recurrent: None,
        pairs: None,
        designs: Vec::new(),
        shape,
    };
    let options = Options { encoder: Encoder::Naf, min_one: false };
    let codings = [coding; 2];
    Cells::of(&Subject::layer(&tally, &codings, options), &metrics::all().collect::<Vec<_>>(), 0)
}

#[track_caller]
fn told(cells: &Cells, name: &str, numerator: u128, denominator: u128) {
    let want = Value::Ratio(Fraction { numerator, denominator });
    assert_eq!(cells.get(name, Some(Which::Weights)), Some(&want), "{name}");
}

#[test]
fn they_are_right() {
    let filled = |codes: &[i32], len: usize| [codes, &vec![0; len - codes.len()]].concat();
    let one_group = of_weights([1, 16, 1, 1], 16, &filled(&[3], 16));
    for (name, bits) in
        [("dense", 256), ("layer", 36), ("group", 36), ("shapeshifter", 22), ("zvc", 32), ("entropy", 6)]
    {
        told(&one_group, &format!("traffic.{name}"), bits, 256);
    }
    told(&of_weights([1, 40, 1, 1], 16, &filled(&[3], 40)), "traffic.rlc", 60, 640);
    told(&of_weights([1, 1, 1, 3], 16, &[5, 5, 6]), "traffic.delta", 64, 48);
    told(&of_weights([1, 9, 1, 1], 16, &[1, 0, 0, 2, 3, 1, 0, 5, 7]), "nm.2of4", 1, 2);
    told(&of_weights([1, 8, 1, 1], 16, &[1, 0, 0, 2, 3, 1, 0, 0]), "nm.4of8", 1, 1);
    // Half of the values are zero: 11 of 16 blocks, and 163 of 256.
    let half: Vec<i32> = (0..1024 * 8).map(|i| i % 2).collect();
    told(&of_weights([1, 1024 * 8, 1, 1], 16, &half), "nm.2of4.chance", 2048 * 11 / 16, 2048);
    told(&of_weights([1, 1024 * 8, 1, 1], 16, &half), "nm.4of8.chance", 1024 * 163 / 256, 1024);
    let codes = of_weights([1, 3, 1, 1], 16, &[0, 4, -6]);
    told(&codes, "trailing", 3, 2);
    told(&codes, "trimmed", 4, 3);
    let groups = filled(&[4, 12], 16).into_iter().chain(filled(&[4, 6], 16)).collect::<Vec<_>>();
    told(&of_weights([1, 32, 1, 1], 16, &groups), "trailing.g16", 3, 2);
    told(&of_weights([1, 16, 1, 1], 16, &groups[..16]), "trimmed.g16", 2, 1);
    told(&of_weights([1, 16, 1, 1], 8, &filled(&[4, 6], 16)), "planes", 6, 8);
    let negative: Vec<i32> = (0..16).map(|i| -1 - i % 2).collect();
    told(&of_weights([1, 16, 1, 1], 8, &negative), "planes.tc", 7, 8);
    // Each position is all zero in all groups, or at the lowest a one in half of them: 2^16 such groups, one of which is zero.
    let bits: Vec<i32> = (0..1 << 20).map(|i| i % 2).collect();
    told(&of_weights([1, 1 << 20, 1, 1], 2, &bits), "planes.chance", (1 << 16) + 1, 1 << 17);
    told(&of_weights([1, 1 << 20, 1, 1], 2, &bits), "planes.tc.chance", (1 << 16) + 2, 1 << 17);
    told(&of_weights([1, 4, 1, 1], 16, &[3, 3, 0, -1]), "repetition", 2, 4);
    let magnitudes = of_weights([1, 5, 1, 1], 16, &[0, 0, 0, 1, -2]);
    told(&magnitudes, "threshold.60", 3, 5);
    told(&magnitudes, "threshold.70", 4, 5);
    let floats = of_weights([1, 2, 1, 1], 16, &[2, 3]);
    for (name, bits) in [("bf16", 8), ("fp16", 11), ("e4m3", 4), ("e5m2", 3)] {
        told(&floats, &format!("float.terms.{name}"), 3, 2 * bits);
        let exponents = of_weights([1, 4, 1, 1], 16, &[2, 3, 8, 10]);
        let entropy = exponents.get(&format!("float.exponent.{name}"), Some(Which::Weights));
        assert_eq!(entropy, Some(&Value::Derived(1.0)), "{name}");
        let powers = of_weights([1, 3, 1, 1], 16, &[1, 2, 4]);
        told(&powers, &format!("float.terms.{name}.chance"), 3, 3 * bits);
    }
    let exponents = of_weights([1, 4, 1, 1], 16, &[2, 3, 8, 10]);
    told(&exponents, "float.lossless.e4m3", 4 * (1 + 1 + 3), 4 * 8);
}

/// All metrics of a layer of one filter over one image, `[C, H, W]` of extents `input`, of fixed16 codes, with these zeroed MACs.
fn of_layer(input: [usize; 3], weights: &[i32], codes: &[i32], zeroed: [u64; 2]) -> Cells {
    let [channels, rows, columns] = input;
    let shape = LayerShape {
        input,
        output: [1, rows, columns],
        weight: [1, channels, 1, 1],
        features: false,
        ..LayerShape::linear([channels, 1, 1], 1)
    };
    let map = CodeMap::linear(1.0, -32767, 32767);
    let coding = Coding { map, bits: 16, unit: Some(1.0), per_filter: false, width: None, stored: None };
    let values = |codes: &[i32]| codes.iter().map(|&code| code as f32).collect::<Vec<f32>>();
    let classes = Arc::new(shape.classes());
    let read = [1, channels, rows, columns];
    let sums = count_reference(map, Encoder::Naf, shape.grouping(), &classes, read, &values(codes));
    let mut tally = LayerTally {
        images: 0,
        lowest: [map.lo; 2],
        activations: ActivationSums::new(&shape, map.codes()),
        weights: WeightSums::count(Isa::best(), &shape, &values(weights), &[map], Encoder::Naf),
        outputs: None,
        recurrent: None,
        pairs: None,
        designs: Vec::new(),
        shape: shape.clone(),
    };
    tally.add(&shape, 1, &sums);
    let extra = &mut tally.activations.extra;
    *extra = ExtraSums::new(&Extra::ALL, &shape, 0);
    extra.add_image(&OperandSpec::new(shape.clone(), map, coding.word(), Encoder::Naf), codes);
    extra.add_counts(Extra::Output, &zeroed);
    let options = Options { encoder: Encoder::Naf, min_one: false };
    Cells::of(&Subject::layer(&tally, &[coding; 2], options), &metrics::all().collect::<Vec<_>>(), 1)
}

#[test]
fn those_of_layers_are_right() {
    let of = |cells: &Cells, name: &str| modes(cells, name)[0];
    let row = of_layer([1, 1, 3], &[3], &[7, 8, 8], [0; 2]);
    assert_eq!(of(&row, "delta.Ae"), (3 * 16 * 16, 3 * 16));
    assert_eq!(of(&row, "potential.Ae"), (3 * 16 * 16, 4 * 16));
    assert_eq!(of(&row, "delta.We+Ae"), (768, 6));
    // 16 MACs for each of four outputs, of which two are not above zero.
    let outputs = of_layer([16, 2, 2], &[1; 16], &[1; 64], [32; 2]);
    assert_eq!(modes(&outputs, "output"), [(32, 64); 2]);
}

#[test]
fn those_of_steps_are_right() {
    let map = CodeMap::linear(1.0, -32767, 32767);
    let mut sequence = Sequence::new(map, Encoder::Naf, Buckets::default());
    sequence.begin();
    // 3 0, then 3 1, then 4 1.
    sequence.add(Isa::best(), &[3.0, 3.0, 4.0, 0.0, 1.0, 1.0], &Geometry::planar(1, 2, 1, 3), 0);
    let mut steps = StepSums::default();
    sequence.take_sums().iter().for_each(|sums| steps.merge(sums));
    let codings = [Coding { map, bits: 16, unit: Some(1.0), per_filter: false, width: None, stored: None }; 2];
    let subject = Subject::steps(&steps, &codings, Options { encoder: Encoder::Naf, min_one: false });
    let cells = Cells::of(&subject, &metrics::all().collect::<Vec<_>>(), 1);
    for name in ["temporal", "temporal.terms"] {
        assert_eq!(cells.get(name, None), Some(&Value::Ratio(Fraction { numerator: 2, denominator: 4 })), "{name}");
    }
    assert_eq!(cells.get("steps", None), Some(&Value::Count(3)));
}
