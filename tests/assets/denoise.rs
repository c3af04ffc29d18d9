//! Image restoration: outputs within 1e-3 of PyTorch's, PSNR within 0.01 dB of the verified figures.

use deadweight::engine::{CandleEngine, EngineOptions, Session};
use deadweight::input::Dataset;
use deadweight::layers::Shape;
use deadweight::model::Model;
use deadweight::task::restore::{part, psnr};

use crate::binary::deadweight;

use super::{asset, json, load, stored};

/// Runs the network on an image `[1, C, H, W]`.
fn restore(model: &Model, image: &[f32], shape: &[usize]) -> (Vec<f32>, Shape) {
    let [1, c, h, w] = *shape else { panic!("one image: {shape:?}") };
    let input = Shape::new(c, h, w);
    let mut session = Session::new(model.graph.clone(), input, 1, EngineOptions::new(2)).unwrap();
    let output = session.run(image, None).unwrap();
    (output, model.graph.shapes(input).unwrap()[model.graph.output().index()])
}

fn close(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let apart = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-3, "{what}: {apart} apart");
}

#[test]
fn set12_is_denoised_as_by_pytorch() {
    for (name, card) in [
        ("dncnn-s25", "dncnn_gray_bn"),
        ("dncnn-b", "dncnn_gray_blind_bn"),
        ("dncnn-kair25", "dncnn_gray"),
        ("ffdnet-gray", "ffdnet_gray"),
    ] {
        let model = load(&format!("denoise/{name}.safetensors"), card);
        let reference = json(&format!("denoise/{name}.ref.json"));
        let mut mean = 0.0;
        for i in 1..=12 {
            let image = format!("{i:02}");
            let (noisy, shape) = stored("data/set12-noisy-sigma25.safetensors", &image);
            let clean = Dataset::open(&[asset(&format!("data/set12/{image}.png"))], &model.preprocess).unwrap();
            let clean = clean.load(0).unwrap().values;
            let (output, _) = restore(&model, &noisy, &shape);
            let [got, want] = [psnr(&output, &clean), reference["psnr_db"][&image].as_f64().unwrap()];
            assert!((got - want).abs() < 0.01, "{name} {image}: {got} dB, PyTorch {want}");
            mean += got / 12.0;
            if i == 1 || i == 5 {
                let (want, _) = stored(&format!("denoise/{name}.ref.safetensors"), &format!("out.{image}"));
                close(&format!("{name} {image}"), &output, &want);
            }
        }
        let want = reference["mean_psnr_db"].as_f64().unwrap();
        assert!((mean - want).abs() < 0.01, "{name}: {mean} dB, PyTorch {want}");
    }
}

/// The middle of an image `[C, H, W]`.
fn centre(image: &[f32], [c, rows, columns]: [usize; 3], [h, w]: [usize; 2]) -> Vec<f32> {
    part(image, [c, rows, columns], [(rows - h) / 2, (columns - w) / 2], [h, w])
}

#[test]
fn colours_and_mosaics_are_restored_as_by_pytorch() {
    for (name, card, image) in
        [("ircnn-color25", "ircnn_color_bn", "kodim08"), ("demosaicnet-bayer", "demosaicnet_bayer", "kodim19")]
    {
        let model = load(&format!("denoise/{name}.safetensors"), card);
        let reference = format!("denoise/{name}.ref.safetensors");
        let tensor = |part: &str| stored(&reference, &format!("{image}.{part}"));
        let (input, shape) = tensor("in");
        let (output, size) = restore(&model, &input, &shape);
        close(name, &output, &tensor("out").0);
        let clean = centre(&tensor("gt").0, [shape[1], shape[2], shape[3]], [size.h, size.w]);
        let figures = json(&format!("denoise/{name}.ref.json"));
        let figure = &figures["psnr_db"][image];
        let want = figure.as_f64().or_else(|| figure["out"].as_f64()).unwrap();
        let got = psnr(&output, &clean);
        assert!((got - want).abs() < 0.01, "{name}: {got} dB, PyTorch {want}");
        // The candle engine, with its own operations.
        let candle = CandleEngine::new(&model.graph, candle_core::Device::Cpu).unwrap();
        let input_shape = Shape::new(shape[1], shape[2], shape[3]);
        close(&format!("{name} by candle"), &candle.run(&input, input_shape, None).unwrap(), &tensor("out").0);
    }
}

#[test]
fn enlarged_images_are_sharpened_as_by_pytorch() {
    let model = load("denoise/vdsr.safetensors", "vdsr");
    let figures = json("denoise/vdsr.ref.json");
    for (image, border) in [("butterfly_x2", 2), ("butterfly_x3", 3), ("head_x4", 4)] {
        let tensor = |part: &str| stored("denoise/vdsr.ref.safetensors", &format!("{image}.{part}"));
        let (input, shape) = tensor("in");
        let (output, size) = restore(&model, &input, &shape);
        close(image, &output, &tensor("out").0);
        let inner = |image: &[f32]| centre(image, [1, size.h, size.w], [size.h - 2 * border, size.w - 2 * border]);
        let [got, before] = [&output, &input].map(|image| psnr(&inner(image), &inner(&tensor("gt").0)));
        let [want, bicubic] = ["vdsr", "bicubic"].map(|name| figures["psnr_db"][image][name].as_f64().unwrap());
        assert!((got - want).abs() < 0.01, "{image}: {got} dB, PyTorch {want}");
        assert!((before - bicubic).abs() < 0.01, "{image}: {before} dB before, stored {bicubic}");
    }
}

#[test]
fn answers_of_odd_sizes_are_compared_with_the_pixels_that_they_are_of() {
    let folder = tempfile::tempdir().unwrap();
    let photo = image::open(asset("data/photos/grace_hopper.bmp")).unwrap();
    let psnr = |rows: u32, columns: u32| {
        let file = folder.path().join(format!("{rows}.png"));
        photo.crop_imm(0, 0, columns, rows).save(&file).unwrap();
        let model = asset("denoise/demosaicnet-bayer.safetensors");
        let [model, image] = [&model, &file].map(|path| path.to_str().unwrap());
        let line = ["run", model, "--arch", "demosaicnet_bayer", image, "--format", "json", "-q"];
        let output = deadweight().args(line).current_dir(&folder).output().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        document["quality"]["psnr_db"].as_f64().unwrap()
    };
    let (even, odd) = (psnr(160, 120), psnr(159, 119));
    assert!((even - odd).abs() < 1.0, "{even} dB, {odd} dB");
}
