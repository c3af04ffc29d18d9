//! Files as converters write them for filters that learned nothing: scales near 1e-20, biases at the ends of 32 bits. Codes are
//! those of TFLite's reference kernels, whose arithmetic is written out here.

use super::build::{File, I8, I32, Number, Operator, Tensor};
use super::{constant, integers, run, value};

/// `QuantizeMultiplier` of TFLite: `real` as a mantissa of 31 bits and a shift.
fn quantize_multiplier(real: f64) -> (i64, i32) {
    if real == 0.0 {
        return (0, 0);
    }
    let (mut fraction, mut shift) = (real, 0);
    while fraction >= 1.0 {
        (fraction, shift) = (fraction / 2.0, shift + 1);
    }
    while fraction < 0.5 {
        (fraction, shift) = (fraction * 2.0, shift - 1);
    }
    let mut mantissa = (fraction * 2f64.powi(31)).round() as i64;
    if mantissa == 1 << 31 {
        (mantissa, shift) = (mantissa / 2, shift + 1);
    }
    if shift < -31 { (0, 0) } else { (mantissa, shift) }
}

/// `MultiplyByQuantizedMultiplier`: `SaturatingRoundingDoublingHighMul`, then `RoundingDivideByPOT`.
fn multiply(x: i32, (mantissa, shift): (i64, i32)) -> i32 {
    let (left, right) = (shift.max(0), (-shift).max(0));
    let product = i64::from(x.wrapping_mul(1 << left)) * mantissa;
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    let high = (product + nudge) / (1i64 << 31);
    let (mask, sign) = ((1i64 << right) - 1, i64::from(high < 0));
    ((high >> right) + i64::from((high & mask) > (mask >> 1) + sign)) as i32
}

/// The picture of `run`, as the codes that it becomes: `[row][column][channel]`.
fn codes() -> Vec<i32> {
    let pixel = |y: i32, x: i32| [x * 60 - 128, y * 60 - 128, 0];
    (0..4).flat_map(|y| (0..4).flat_map(move |x| pixel(y, x))).collect()
}

const BIASES: [i32; 6] = [i32::MAX, i32::MIN + 1, i32::MAX, i32::MIN + 1, 7, -5000];
const SCALES: [f32; 6] = [1e-20, 3e-20, 0.01, 0.02, 1e-20, 0.015];

/// Six filters of one pixel each over the picture, two of them dead, two with saturated biases and live.
fn file() -> (File, Vec<i8>) {
    let weights: Vec<i8> = (0..18).map(|i| (i * 53 % 255 - 127) as i8).collect();
    let input = Tensor { element: I8, ..value("image", &[1, 4, 4, 3], 1.0 / 255.0, -128) };
    let bias = Tensor { element: I32, ..integers("bias", &BIASES) };
    let file = File {
        tensors: vec![
            input,
            constant("conv", &[6, 1, 1, 3], &weights, &SCALES),
            bias,
            value("out", &[1, 4, 4, 6], 0.02, -3),
        ],
        operators: vec![Operator {
            code: 3,
            inputs: vec![0, 1, 2],
            outputs: vec![3],
            options: vec![(1, Number::I32(1)), (2, Number::I32(1))],
        }],
        inputs: vec![0],
        outputs: vec![3],
        ..File::default()
    };
    (file, weights)
}

/// What the reference kernel makes of `codes`: `[row][column][filter]`; and whether a sum left 32 bits.
fn reference(weights: &[i8]) -> (Vec<f32>, bool) {
    let mut left = false;
    let mut outputs = Vec::new();
    for pixel in codes().chunks(3) {
        for (k, filter) in weights.chunks(3).enumerate() {
            let mut sum = BIASES[k];
            for (&code, &weight) in pixel.iter().zip(filter) {
                let product = (code + 128) * i32::from(weight);
                left |= sum.checked_add(product).is_none();
                sum = sum.wrapping_add(product);
            }
            let real = f64::from(1.0f32 / 255.0) * f64::from(SCALES[k]) / f64::from(0.02f32);
            let code = (multiply(sum, quantize_multiplier(real)) - 3).clamp(-128, 127);
            outputs.push((code + 3) as f32 * 0.02);
        }
    }
    (outputs, left)
}

#[test]
fn dead_filters_and_saturated_biases_give_the_reference_kernels_codes() {
    let (file, weights) = file();
    let (want, left) = reference(&weights);
    assert!(left, "the test shows nothing");
    // Dead filters are zero whatever their sums; live ones wrap.
    assert!((0..96).step_by(6).all(|i| want[i] == 0.0 && want[i + 1] == 0.0));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("net.tflite"), file.bytes()).unwrap();
    let image = image::RgbImage::from_fn(4, 4, |x, y| image::Rgb([x as u8 * 60, y as u8 * 60, 128]));
    image.save(path("image.png")).unwrap();
    let deadweight = |args: &[&str]| {
        let output = crate::binary::deadweight().args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        (output.stdout, said)
    };
    for isa in ["scalar", "avx2"] {
        let (_, said) = deadweight(&[
            "run",
            &path("net.tflite"),
            &path("image.png"),
            "--isa",
            isa,
            "--save",
            folder.path().to_str().unwrap(),
            "--save-outputs",
            &path("out.safetensors"),
        ]);
        assert_eq!(said.matches("layer conv: sums left 32 bits and wrapped").count(), 1, "{said}");
        let bytes = std::fs::read(path("out.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let view = tensors.tensor("output").unwrap();
        assert_eq!(view.shape(), [1, 6, 4, 4]);
        let got: Vec<f32> = view.data().as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
        let wanted: Vec<f32> = (0..96).map(|i| want[i % 16 * 6 + i / 16]).collect();
        assert!(got.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{isa}: {got:?}\n{wanted:?}");
    }
    let (json, said) = deadweight(&["measure", &path("net.tflite"), &path("image.png"), "--format", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert!(document["notes"].to_string().contains("layer conv: sums left 32 bits"), "{document}");
    assert_eq!(said.matches("sums left 32 bits").count(), 1, "{said}");
}

/// Sums that could leave 32 bits and do not are not warned about.
#[test]
fn only_sums_that_left_32_bits_are_warned_about() {
    let (mut file, _) = file();
    // 127 * 255 more would leave; the picture's largest pixel is 180.
    let bias = i32::MAX - 127 * 180 * 3;
    file.tensors[2] = Tensor { element: I32, ..integers("bias", &[bias; 6]) };
    let (code, _, said) = run(&file.bytes(), &["measure", "net.tflite", "image.png", "--format", "json"]);
    assert!(code == Some(0) && !said.contains("32 bits"), "{said}");
}
