//! What the formats are, in words: printed by `deadweight explain formats`, and the page `docs/formats.md`.

use std::fmt::Write;

/// A format's name, its baseline width, what is learned of the values, and its rule.
pub const FORMATS: &[[&str; 4]] = &[
    [
        "fixed16",
        "16",
        "largest magnitude",
        "fixed point of 16 bits, sign included, with a power-of-two scale: q = round(x·2^f) for the largest integer f with \
         max|x|·2^f ≤ 32767; the default",
    ],
    ["fixedB", "B", "largest magnitude", "the same with B bits, 2 to 16: |q| ≤ 2^(B−1) − 1"],
    [
        "int8",
        "8",
        "range",
        "linear: q = round(x·127/max|x|), within ±127; where no value is negative 0 to 255, q = round(x·255/max)",
    ],
    [
        "bf16",
        "8",
        "nothing",
        "x rounded to the type of 8 exponent and 7 fraction bits; q is the signed significand with its hidden bit",
    ],
    ["fp16", "11", "nothing", "as bf16, to IEEE half precision: 5 exponent and 10 fraction bits, at most 65504"],
    [
        "e4m3",
        "4",
        "nothing",
        "as bf16, to the 8-bit type without infinities: 4 exponent and 3 fraction bits, at most 448",
    ],
    [
        "e5m2",
        "3",
        "nothing",
        "as bf16, to the 8-bit type with infinities: 5 exponent and 2 fraction bits, at most 57344",
    ],
    [
        "stored",
        "bits of q − z",
        "nothing",
        "the codes that a quantised network carries, less their zero point z; fixed16 where it stores floats; the default of \
         such networks",
    ],
    [
        "profile",
        "16",
        "nothing",
        "for each layer and operand as `--precision FILE` says: q = round(x·2^f) within p = integer + fraction bits, sign included, \
         f the fraction bits; p is the width of the layer in `Ap.layer`, `Wp.layer`, `Wp+Ap` and `traffic.layer`",
    ],
];

/// What holds for several of them, under a title.
pub const NOTES: &[(&str, &str)] = &[
    (
        "Rounding and saturation",
        "Values are rounded to the nearest code, ties to even. What lies beyond the codes gets the nearest code and is counted \
         as `saturated`: in fixed point and int8 what lies beyond the calibrated range, in the floating-point types what rounds \
         beyond the largest finite value. A zero is `natural` where x is 0, and `rounded` where only its code is.",
    ),
    (
        "One format for each operand",
        "`a:FORMAT,w:FORMAT` gives activations and weights formats of their own: `a:int8,w:fixed4`. Each has its own baseline \
         width B, and the dense cost of a multiply-accumulate is B_a·B_w.",
    ),
    (
        "Calibration",
        "The range of activations is learned from the first `--calibrate` inputs, that of weights from the weights. Floating-point \
         types and stored codes need none.",
    ),
    (
        "Scales of weights",
        "`--weight-scale filter`, the default of int8, gives each filter (output channel, row of the stacked matrix of a recurrent layer) \
         the scale of its own largest magnitude; `tensor`, the default of fixed point, gives a layer one. The filters of a layer \
         share one range of codes: they have a sign if any weight of the layer is negative. Mean and standard deviation of the \
         weights are those of the codes, each over its filter's scale.",
    ),
    (
        "Floating point",
        "The code of a value is its significand, an integer with the hidden bit (of subnormal values without), and the sign of \
         the value. Terms are those of the significand. Widths are its bits: the sign of a float is apart and costs nothing, \
         so the width of a group is at most B, the bits of a significand, and no potential of a width falls below 1. (Fixed \
         point has its sign within B, and a negative value's width counts it.) The baseline of a multiply-accumulate is \
         (significand bits)²: exponents are added, not multiplied, and are not counted here. `entropy` and bits are those of sign \
         and significand; `negative` is counted; `scale`, mean, standard deviation and `temporal.terms` are absent, since \
         significands have no common scale; `temporal` compares the rounded values themselves. No scale is applied before \
         rounding, so small values of the 8-bit types become zeros, which are counted.",
    ),
    (
        "Profiles",
        "`deadweight precision` writes precision files; one by hand has the lines `model = \"NAME\"` and, for each layer, \
         `[layers.\"NAME\"]` with `activations = { integer = 3, fraction = 6 }` and `weights = { integer = -1, fraction = 8 }`. \
         Integer bits hold the sign, and may be negative where all values are small; both together are 2 to 16. B stays 16, so \
         that potentials stand beside those of fixed16: the baseline is a design of 16 bits. With `{ significand = 5 }` values are \
         rounded to so many bits of significand, 1 to 11, with f32's exponents; B is 11 then, and codes are as those of bf16. \
         Outputs, for which files say nothing, are counted in fixed16.",
    ),
    (
        "GGUF",
        "The stored codes of a GGUF file are the integers of its blocks that enter the multiplier: of symmetric types (Q4_0, \
         Q5_0, Q8_0, Q6_K) less their offset, signed; of affine ones (Q4_1, Q5_1, Q4_K, Q5_K) as they are stored, unsigned, \
         since their minimum is added by a second, small sum. B is the bits of a code: 4, 5, 6 or 8. Scales and minima belong \
         to blocks and are not counted. Activations, and tensors stored as floats (F32, F16, BF16), are fixed16; \
         `a:int8,w:stored` counts activations as runtimes quantise them.",
    ),
];

/// The page of the formats, in Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Number formats\n\nMade of the list in `src/format/words.rs`; `deadweight explain formats` prints it. `measure \
         --number-format FORMAT` chooses in which codes `q` the real values `x` are counted. B is the baseline width of a \
         code: what a dense design spends on it.\n\n| format | B | learned of the values | code |\n|---|---|---|---|\n",
    );
    for [name, bits, learned, rule] in FORMATS {
        let _ = writeln!(text, "| `{name}` | {bits} | {learned} | {} |", rule.replace('|', "\\|"));
    }
    for (title, note) in NOTES {
        let _ = writeln!(text, "\n## {title}\n\n{note}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::NumberFormat;

    #[test]
    fn every_format_of_the_list_is_one_and_its_width_is_told() {
        for [name, bits, learned, _] in FORMATS.iter().filter(|format| format[0] != "fixedB") {
            let format: NumberFormat = name.parse().unwrap();
            assert_eq!(format.to_string(), *name);
            assert!(format == NumberFormat::Stored || *bits == format.bits().to_string(), "{name}: {bits}");
            assert_eq!(*learned != "nothing", format.is_calibrated() && format != NumberFormat::Stored, "{name}");
        }
    }
}
