//! CiMLoop: a problem a layer over the base that its models share, with histograms of what the operands hold.

use std::fmt::Write as _;

use super::layer::Loops;
use super::names::number;
use super::yaml::quoted;
use super::{Form, Run, Target, Written};
use crate::format::Coding;
use crate::kernels::count::ValueSums;
use crate::measurement::LayerCounts;
use crate::{Error, Result};

pub(super) const TARGET: Target = Target {
    name: "cimloop",
    tool: "CiMLoop",
    writes: "a folder to put below its `workspace/models/workloads`: a problem a layer, `NN.yaml`",
    takes: "extents, strides, dilations, groups; histograms of inputs, weights and counted outputs",
    leaves: "transposed convolutions, recurrent layers, products of two activations",
    source: "`workloads/problem_base.yaml`, `workloads/alexnet/0.yaml` of mit-emze/cimloop",
    form: Form::Folder(write),
};

/// Most bins on either side of the one of zero: 2^8 - 1 in all.
const HALF: usize = 127;

fn write(run: &Run<'_>) -> Result<Written> {
    run.check_integers(&TARGET)?;
    let uncounted = |counts: &LayerCounts| counts.tally.activations.values.codes.is_empty();
    if run.measurement.layers.iter().any(|counts| counts.tally.pairs.is_none() && uncounted(counts)) {
        let detail = format!(
            "needs how often each code is seen, and {} does not say it of activations; measure with --statistics full",
            run.file
        );
        return Err(Error::invalid("--to cimloop", detail));
    }
    let model = &run.measurement.provenance.model.name;
    let (made, left_out) = run.each(|counts| Ok(problem(counts, &Loops::of(counts)?.not_transposed()?, model)));
    let count = run.measurement.layers.len();
    let file = |(index, text): (usize, String)| (format!("{}.yaml", number(index, count)), text.into_bytes());
    let mut notes = vec![
        "R, P are rows and S, Q columns; Wstride and Wdilation are of rows, Hstride and Hdilation of columns, as the base's projections say".into(),
        "the centre of a histogram is the share of zeros (of inputs without their padding), its ends the largest codes of the number format, either sign; other codes are rounded to the nearest bin, and to the first beside the centre where that would be the centre".into(),
    ];
    notes.extend(run.note_of_outputs("histogram"));
    Ok(Written { files: made.into_iter().map(file).collect(), left_out, notes })
}

fn problem(counts: &LayerCounts, loops: &Loops, model: &str) -> String {
    let Loops { groups, filters, channels, kernel: [r, s], windows: [p, q], stride, dilation, linear, .. } = *loops;
    let mut text = format!(
        "\
{{{{include_text('../problem_base.yaml')}}}}
problem:
  <<<: *problem_base
  instance: {{C: {channels}, M: {filters}, G: {groups}, P: {p}, Q: {q}, R: {r}, S: {s}, Wstride: {}, Hstride: {}, Wdilation: {}, Hdilation: {}}}

  name: {}
  dnn_name: {}
  notes: {}
  histograms:
",
        stride[0],
        stride[1],
        dilation[0],
        dilation[1],
        if linear { "Linear" } else { "Conv2d" },
        quoted(model),
        quoted(&counts.name),
    );
    let tally = &counts.tally;
    let outputs = tally.outputs.as_ref().map(|sums| &sums.values).zip(counts.output.as_ref());
    let operands = [
        ("Inputs", Some((&tally.activations.values, &counts.codings[0]))),
        ("Weights", Some((&tally.weights.values, &counts.codings[1]))),
        ("Outputs", outputs),
    ];
    for (name, operand) in operands {
        let Some((values, coding)) = operand.filter(|(values, _)| values.elements > 0) else { continue };
        let bins = histogram(values, coding);
        let shares: Vec<String> =
            bins.iter().map(|count| (*count as f64 / values.elements as f64).to_string()).collect();
        writeln!(text, "    {name}: [{}]", shares.join(",")).expect("a string takes what is written to it");
    }
    text
}

/// Counts of codes in 2^N - 1 bins, the middle one of zero alone: one a code, or where that would be more than 255, each code rounded to
/// the nearest, halves away from zero, and codes that would fall into the middle to the one beside it.
fn histogram(values: &ValueSums, coding: &Coding) -> Vec<u64> {
    let most = coding.map.hi.unsigned_abs().max(coding.map.lo.unsigned_abs()) as usize;
    let half = ((most + 1).next_power_of_two() - 1).min(HALF);
    // The format's largest code is the last bin.
    let full = if most > half { most } else { half };
    let mut bins = vec![0; 2 * half + 1];
    for (count, code) in values.codes.iter().zip(coding.map.lo..) {
        let nearest = (2 * code.unsigned_abs() as usize * half + full) / (2 * full);
        let away = nearest.max(usize::from(code != 0));
        let bin = if code < 0 { half - away } else { half + away };
        bins[bin] += count;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::count::CodeMap;

    fn of(lo: i32, hi: i32, seen: &[(i32, u64)]) -> Vec<u64> {
        let map = CodeMap::linear(1.0, lo, hi);
        let mut values = ValueSums::new(map.codes());
        for &(code, count) in seen {
            values.codes[(code - lo) as usize] = count;
        }
        histogram(&values, &Coding { map, bits: 8, unit: Some(1.0), per_filter: false, width: None, stored: None })
    }

    #[test]
    fn the_centre_is_of_zeros_and_the_ends_of_the_largest_codes() {
        assert_eq!(of(-3, 3, &[(-3, 1), (0, 5), (2, 2)]), [1, 0, 0, 5, 0, 2, 0]);
        // One bin a code up to 127.
        let bins = of(-127, 127, &[(-127, 1), (-1, 2), (0, 3), (1, 4), (127, 5)]);
        assert_eq!((bins.len(), bins[0], bins[126], bins[127], bins[128], bins[254]), (255, 1, 2, 3, 4, 5));
        // Of more codes none but zero falls into the centre. A bin is 258.008 codes: 387 is nearer to one, 388 to two.
        let bins =
            of(-32767, 32767, &[(-32767, 1), (-1, 2), (0, 3), (1, 4), (387, 6), (388, 9), (32638, 7), (32767, 5)]);
        assert_eq!((bins.len(), bins[0], bins[126], bins[127], bins[128]), (255, 1, 2, 3, 4 + 6));
        assert_eq!((bins[129], bins[253], bins[254], bins.iter().sum::<u64>()), (9, 0, 7 + 5, 37));
        // Without a sign the lower half is empty. A bin is 2.008 codes: 3 is nearer to one, 4 to two.
        let bins = of(0, 255, &[(0, 3), (1, 1), (3, 8), (4, 4), (255, 2)]);
        assert_eq!((bins.len(), bins[127], bins[128], bins[129], bins[254]), (255, 3, 1 + 8, 4, 2));
        assert_eq!(bins[..127].iter().sum::<u64>(), 0);
    }
}
