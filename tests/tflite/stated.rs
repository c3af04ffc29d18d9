//! What a file states of its operators and tensors is obeyed or refused.

use std::sync::Arc;

use deadweight::engine::{EngineOptions, Session};
use deadweight::format::NumberFormat;
use deadweight::input::Dataset;
use deadweight::kernels::Rounding;
use deadweight::measure::{Quiet, Settings, calibrate, measure};
use deadweight::metrics::Value;
use deadweight::model::Model;
use deadweight::models;
use deadweight::report::Report;
use deadweight::tally::Statistics;
use deadweight::weights::tflite::Tflite;
use half::f16;

use super::build::{F16, F32, File, I8, Number, Operator, Tensor};
use super::{constant, integers, small, value};

fn floats(name: &str, shape: &[i32], values: &[f32]) -> Tensor {
    let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Tensor { name: name.into(), shape: shape.to_vec(), element: F32, data, ..Tensor::default() }
}

fn run(file: &File, x: &[f32]) -> deadweight::Result<Vec<f32>> {
    let network = models::tflite::build(&Tflite::from_bytes("net.tflite", &file.bytes())?, Rounding::Fixed31)?;
    Session::new(Arc::new(network.graph), network.input, 1, EngineOptions::new(2))?.run(x, None)
}

/// Runs `file` on a test image.
fn answer(file: &File) -> deadweight::Result<Vec<f32>> {
    let elements: i32 = file.tensors[file.inputs[0] as usize].shape.iter().product();
    run(file, &(0..elements).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect::<Vec<_>>())
}

/// Asserts that the file is refused as unsupported, with its name and `part` in the message.
fn assert_refused(file: &File, part: &str) {
    let error = answer(file).expect_err(part);
    let said = format!("{error}; {}", error.hint().unwrap_or_default());
    assert!(error.exit_code() == 4 && said.contains(part) && said.contains("net.tflite"), "{part}: {said}");
}

/// A float layer over `[1, 4, 4, 3]` with the output `output`; its weights are tensor 1.
fn layer(code: i32, weights: Tensor, output: &[i32], options: Vec<(u16, Number)>) -> File {
    let filters = *output.last().unwrap();
    let bias = floats("bias", &[filters], &(0..filters).map(|i| i as f32 / 8.0).collect::<Vec<_>>());
    File {
        tensors: vec![floats("image", &[1, 4, 4, 3], &[]), weights, bias, floats("out", output, &[])],
        operators: vec![Operator { code, inputs: vec![0, 1, 2], outputs: vec![3], options }],
        inputs: vec![0],
        outputs: vec![3],
        ..File::default()
    }
}

/// Float layers of each kind, with weights made of bytes.
fn layers(weights: impl Fn(&[i32]) -> Tensor) -> Vec<File> {
    let one = |field| (field, Number::I32(1));
    vec![
        layer(3, weights(&[2, 3, 3, 3]), &[1, 4, 4, 2], vec![one(1), one(2), (3, Number::I8(1))]),
        layer(4, weights(&[1, 3, 3, 6]), &[1, 4, 4, 6], vec![one(1), one(2), (3, Number::I32(2))]),
        layer(9, weights(&[5, 48]), &[1, 5], vec![(0, Number::I8(1))]),
    ]
}

fn code(i: i32) -> i8 {
    (i * 89 % 255 - 127) as i8
}

fn codes(shape: &[i32]) -> Vec<i8> {
    (0..shape.iter().product()).map(code).collect()
}

/// An LSTM with two hidden values over four steps of three features; `weights` makes its matrices.
fn lstm(weights: impl Fn(&str, &[i32]) -> Tensor) -> File {
    let mut tensors = vec![floats("steps", &[1, 4, 3], &[])];
    tensors.extend((0..4).map(|gate| weights(&format!("input{gate}"), &[2, 3])));
    tensors.extend((0..4).map(|gate| weights(&format!("hidden{gate}"), &[2, 2])));
    tensors.extend((0..4).map(|gate| floats(&format!("bias{gate}"), &[2], &[0.1, -0.2])));
    let state = |name: &str| Tensor { variable: true, ..floats(name, &[1, 2], &[]) };
    tensors.extend([state("h"), state("c"), floats("out", &[1, 4, 2], &[])]);
    let mut inputs: Vec<i32> = (0..9).collect();
    inputs.extend([-1, -1, -1, 9, 10, 11, 12, -1, -1, 13, 14, -1, -1, -1, -1]);
    let operators = vec![Operator { code: 44, inputs, outputs: vec![15], options: vec![(0, Number::I8(4))] }];
    File { tensors, operators, inputs: vec![0], outputs: vec![15], ..File::default() }
}

#[test]
fn bytes_that_multiply_floats_are_refused_in_every_operator() {
    for file in layers(|shape| constant("weights", shape, &codes(shape), &[0.01])) {
        assert_refused(&file, "dynamic range, weights");
        assert_refused(&file, "representative data set");
    }
    let recurrent = lstm(|name, shape| constant(name, shape, &codes(shape), &[0.01]));
    assert_refused(&recurrent, "dynamic range, input0");
    let hidden = |name: &str, shape: &[i32]| match name.starts_with("hidden") {
        true => constant(name, shape, &codes(shape), &[0.01]),
        false => floats(name, shape, &[0.25; 6]),
    };
    assert_refused(&lstm(hidden), "dynamic range, hidden0");
    assert!(answer(&lstm(|name, shape| floats(name, shape, &[0.25; 6][..(shape[0] * shape[1]) as usize]))).is_ok());
}

#[test]
fn half_floats_and_dequantised_integers_are_the_floats_they_stand_for() {
    let float = |i: i32| f16::from_f32(f32::from(code(i)) / 97.0);
    let plain = layers(|shape| {
        let values: Vec<f32> = (0..shape.iter().product()).map(|i| float(i).to_f32()).collect();
        floats("weights", shape, &values)
    });
    let halves = layers(|shape| Tensor {
        element: F16,
        data: (0..shape.iter().product()).flat_map(|i| float(i).to_le_bytes()).collect(),
        ..floats("weights", shape, &[])
    });
    // One scale per filter, several zero points.
    let filters = |shape: &[i32]| if shape[0] == 1 { shape[3] } else { shape[0] };
    let scale = |filter: i32| (filter + 1) as f32 / 64.0;
    let stored = layers(|shape| Tensor {
        scales: (0..filters(shape)).map(scale).collect(),
        zero_points: (0..filters(shape)).map(i64::from).collect(),
        ..constant("weights", shape, &codes(shape), &[])
    });
    let multiplied = layers(|shape| {
        let elements: i32 = shape.iter().product();
        let filter = |i: i32| if shape[0] == 1 { i % shape[3] } else { i / (elements / shape[0]) };
        let float = |i: i32| (i32::from(code(i)) - filter(i)) as f32 * scale(filter(i));
        floats("weights", shape, &(0..elements).map(float).collect::<Vec<_>>())
    });
    for (made, want) in halves.into_iter().zip(&plain).chain(stored.into_iter().zip(&multiplied)) {
        let mut made = made;
        // Tensor 1 is computed from tensor 4.
        made.tensors.push(made.tensors[1].clone());
        made.tensors[1] = floats("floats", &made.tensors[4].shape, &[]);
        made.operators.insert(0, Operator { code: 6, inputs: vec![4], outputs: vec![1], options: vec![] });
        let (got, want) = (answer(&made).unwrap(), answer(want).unwrap());
        assert!(got.len() > 4 && got.iter().any(|&v| v != 0.0));
        assert_eq!(got, want);
    }
}

#[test]
fn what_an_operator_or_a_tensor_states_is_refused_where_it_is_not_obeyed() {
    let plain = || layers(|shape| floats("weights", shape, &vec![0.5; shape.iter().product::<i32>() as usize]));
    let [conv, depthwise, dense] = <[File; 3]>::try_from(plain()).ok().unwrap();
    for file in [&conv, &depthwise, &dense] {
        answer(file).unwrap();
    }
    let with = |file: &File, change: &dyn Fn(&mut File)| {
        let mut file = file.clone();
        change(&mut file);
        file
    };
    let option = |file: &File, field, number| with(file, &|f| f.operators[0].options.push((field, number)));
    let small = small();
    let pooled = File {
        tensors: vec![value("image", &[1, 4, 4, 3], 0.5, 0), value("out", &[1, 2, 2, 3], 0.5, 0)],
        operators: vec![Operator {
            code: 17,
            inputs: vec![0],
            outputs: vec![1],
            options: [1, 2, 3, 4].map(|field| (field, Number::I32(2))).to_vec(),
        }],
        inputs: vec![0],
        outputs: vec![1],
        ..File::default()
    };
    answer(&pooled).unwrap();
    // Reshaped to a vector first, and then read by another layer than a fully connected one.
    let reshaped = |code: i32, inputs: &[i32], shape: &[i32]| File {
        tensors: vec![
            floats("image", &[1, 4, 4, 3], &[]),
            floats("vector", &[1, 48], &[]),
            floats("out", shape, &[]),
            integers("axis", &[1]),
        ],
        operators: vec![
            Operator { code: 22, inputs: vec![0], outputs: vec![1], options: vec![] },
            Operator { code, inputs: inputs.to_vec(), outputs: vec![2], options: vec![(0, Number::F32(1.0))] },
        ],
        inputs: vec![0],
        outputs: vec![2],
        ..File::default()
    };
    let largest = |axis: i32| File {
        tensors: vec![floats("image", &[1, 4, 4, 3], &[]), integers("axis", &[axis]), integers("out", &[])],
        operators: vec![Operator { code: 56, inputs: vec![0, 1], outputs: vec![2], options: vec![] }],
        inputs: vec![0],
        outputs: vec![2],
        ..File::default()
    };
    answer(&largest(3)).unwrap();
    let refused = [
        (option(&dense, 1, Number::I8(1)), "FULLY_CONNECTED with shuffled weights"),
        (option(&dense, 2, Number::I8(1)), "that keeps extents"),
        (option(&dense, 5, Number::I8(1)), "option number 5, which is not known"),
        (option(&conv, 0, Number::I8(2)), "padding number 2"),
        (option(&conv, 7, Number::I32(1)), "option number 7, which is not known"),
        (option(&lstm(|name, shape| floats(name, shape, &[0.25; 6])), 5, Number::I8(1)), "diagonal recurrent weights"),
        (with(&conv, &|f| f.tensors[1].sparse = true), "weights: a sparse tensor"),
        (with(&conv, &|f| f.tensors[1].details = true), "scales of blocks"),
        (with(&conv, &|f| f.tensors[0].signature = vec![-1, -1, -1, 3]), "leaves open"),
        (with(&conv, &|f| f.version = Some(2)), "version 2 of the format"),
        (with(&conv, &|f| f.tensors[3] = value("out", &[1, 4, 4, 2], 0.1, 0)), "whose result is stated as"),
        (with(&pooled, &|f| f.tensors[1].scales = vec![0.25]), "whose result is stated as"),
        (
            with(&small, &|f| f.tensors[1] = floats("conv", &[2, 3, 3, 3], &[0.5; 54])),
            "8-bit integers with weights of F32",
        ),
        (with(&small, &|f| f.tensors[1].element = 3), "of signed and unsigned integers"),
        (reshaped(25, &[1], &[1, 48]), "SOFTMAX of [3, 4, 4] reshaped to [1, 48]"),
        (reshaped(2, &[1, 1], &[1, 96]), "CONCATENATION of [3, 4, 4] reshaped"),
        (
            with(&reshaped(25, &[1], &[1, 48]), &|f| (f.outputs[0], f.operators) = (1, f.operators[..1].to_vec())),
            "an output",
        ),
        (largest(1), "ARG_MAX along axis [1]"),
    ];
    for (file, part) in &refused {
        assert_refused(file, part);
    }
    let damaged = [
        (with(&depthwise, &|f| f.operators[0].options[2].1 = Number::I32(1)), "6 filters, 1 for each of 3 channels"),
        (
            with(&conv, &|f| f.tensors[3].shape = vec![1, 2, 2, 2]),
            "out: is [1, 2, 2, 2] in the file, CONV_2D makes [2, 4, 4]",
        ),
        (with(&small, &|f| f.tensors[1].axis = Some(3)), "has scales along dimension 3"),
        (with(&small, &|f| f.tensors[1].zero_points = vec![3, 3]), "signed filters have zero point 0"),
    ];
    for (file, part) in &damaged {
        let error = answer(file).expect_err(part);
        assert!(error.exit_code() == 1 && error.to_string().contains(part), "{part}: {error}");
    }
    let bias = |scale: f32| {
        with(&small, &|f| {
            f.tensors[1].scales = vec![0.01];
            f.tensors[1].zero_points = vec![0];
            (f.tensors[2].scales, f.tensors[2].zero_points) = (vec![scale], vec![0]);
        })
    };
    answer(&bias(0.01 / 255.0)).unwrap();
    assert!(answer(&bias(0.5)).unwrap_err().to_string().contains("bias: its scale is 0.5"));
    let weights = constant("weights", &[5, 48], &codes(&[5, 48]), &[]);
    let unscaled = layer(9, Tensor { element: I8, ..weights }, &[1, 5], vec![]);
    assert_refused(&unscaled, "dynamic range");
}

/// 32-bit sums wrap on overflow, as in every 32-bit accumulator; no file is refused because that could happen.
#[test]
fn sums_wrap() {
    let of = |bias: i32| {
        let mut file = small();
        file.tensors[2].data = integers("", &[bias; 2]).data;
        file.operators[0].options.truncate(2);
        file
    };
    let image = [0.5; 48];
    let (high, low) = (run(&of(i32::MAX), &image).unwrap(), run(&of(i32::MIN), &image).unwrap());
    let plain = run(&of(0), &image).unwrap();
    let (top, bottom) = (255.0 * 0.05, 0.0);
    let mut wrapped = 0;
    for ((high, low), plain) in high.into_iter().zip(low).zip(plain) {
        // The largest bias turns a positive sum into a negative one, which is the lowest code.
        if plain > 0.05 {
            assert!((high, low) == (bottom, bottom), "{high} {low}");
            wrapped += 1;
        } else if plain == 0.0 {
            // A negative sum, or one that rounds to zero.
            assert!(high == top || high == bottom);
            wrapped += usize::from(low == top);
        }
    }
    assert!(wrapped > 4, "{wrapped} sums left 32 bits");
}

/// Groups of features have the file's order row, column, channel; the outputs stay the same.
#[test]
fn features_of_a_flattened_value_are_grouped_as_the_file_orders_them() {
    let (h, w, c, filters) = (5usize, 7, 3, 7usize);
    let features = h * w * c;
    let at = |i: usize, prime: usize| (i * prime + i / 7 * 13) % 251;
    // Small codes whose widths differ between groups.
    let pixel = |i: usize| if at(i, 61).is_multiple_of(3) { 0 } else { (at(i, 61) >> (i / 16 % 6)) as u8 };
    let weight = |i: usize| (at(i, 97) as i32 - 125) as i8 >> (i / 16 % 5);
    let weights: Vec<i8> = (0..filters * features).map(weight).collect();
    let shape = |extents: &[usize]| extents.iter().map(|&extent| extent as i32).collect::<Vec<_>>();
    let file = File {
        tensors: vec![
            value("image", &shape(&[1, h, w, c]), 1.0 / 255.0, -128),
            value("vector", &shape(&[1, features]), 1.0 / 255.0, -128),
            constant("dense", &shape(&[filters, features]), &weights, &[0.01]),
            value("out", &shape(&[1, filters]), 0.25, 3),
        ],
        operators: vec![
            Operator { code: 22, inputs: vec![0], outputs: vec![1], options: vec![] },
            Operator { code: 9, inputs: vec![1, 2, -1], outputs: vec![3], options: vec![] },
        ],
        inputs: vec![0],
        outputs: vec![3],
        ..File::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.tflite");
    std::fs::write(&path, file.bytes()).unwrap();
    let model = Model::load(path.to_str().unwrap(), &Default::default()).unwrap();
    let pixels: Vec<u8> = (0..features).map(pixel).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::U8, vec![1, h, w, c], &pixels).unwrap();
    let images = folder.path().join("images.safetensors");
    std::fs::write(&images, safetensors::serialize([("images", view)], None).unwrap()).unwrap();
    let data = Dataset::open(&[images], &model.preprocess).unwrap();
    let backend = deadweight::engine::Backend::Native(EngineOptions::new(2));
    let settings =
        Settings { format: NumberFormat::Stored.into(), statistics: Statistics::Full, ..Settings::default() };
    let calibration = calibrate(&model, &backend, &data, &settings, &Quiet).unwrap();
    let measurement = measure(&model, &backend, &data, &calibration, &Quiet).unwrap();
    let report = Report::new(&measurement);
    let work = |name: &str| match report.scopes[0].cells.get(&format!("potential.{name}"), None) {
        Some(Value::Work([with, _])) => with.denominator,
        other => panic!("{name}: {other:?}"),
    };
    // Widths of groups of 16 in the file's own order.
    let bits = |code: i32| u128::from(32 - code.unsigned_abs().leading_zeros());
    let width = |group: &[i32]| {
        let most = group.iter().map(|&code| bits(code)).max().unwrap_or(0);
        most + u128::from(group.iter().any(|&code| code < 0))
    };
    let total = |codes: &[i32]| codes.chunks(16).map(|group| width(group) * group.len() as u128 * 8).sum::<u128>();
    let activations: Vec<i32> = pixels.iter().map(|&pixel| pixel.into()).collect();
    let rows: Vec<Vec<i32>> =
        weights.chunks(features).map(|row| row.iter().map(|&code| code.into()).collect()).collect();
    assert_eq!(work("Ap.g16"), total(&activations) * filters as u128);
    assert_eq!(work("Wp.g16"), rows.iter().map(|row| total(row)).sum());
    // The other order has another result, so the check can fail.
    let mixed: Vec<i32> = (0..features).map(|i| activations[i % (h * w) * c + i / (h * w)]).collect();
    assert_ne!(total(&activations), total(&mixed));
    let mut session = Session::new(model.graph.clone(), model.input_shape(), 1, EngineOptions::new(2)).unwrap();
    let got = session.run(&data.load(0).unwrap().values, None).unwrap();
    for (got, row) in got.iter().zip(&rows) {
        let sum: i32 = row.iter().zip(&activations).map(|(w, a)| w * a).sum();
        let want = (f64::from(sum) * 0.01 / 255.0 / 0.25).round().clamp(-131.0, 124.0) * 0.25;
        assert!((f64::from(*got) - want).abs() <= 0.2501, "{got}, {want}");
    }
}
