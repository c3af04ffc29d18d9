//! Recordings: the same probabilities by both engines for any length, and errors for invalid files.

use std::path::Path;

use deadweight::engine::{Backend, EngineOptions};
use deadweight::input::Dataset;
use deadweight::kernels::Pool;
use deadweight::measure::{Quiet, Settings, predict};
use deadweight::model::{LoadOptions, Model};

fn write(path: &Path, samples: usize) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for i in 0..samples {
        let t = i as f64 / 16000.0;
        writer.write_sample((9000.0 * (1400.0 * t).sin() * (9.0 * t).sin()) as i16).unwrap();
    }
    writer.finalize().unwrap();
}

fn probabilities(model: &Model, backend: &Backend, folder: &Path, batch: usize) -> Vec<Vec<f32>> {
    let data = Dataset::open(&[folder.to_owned()], &model.preprocess).unwrap();
    let settings = Settings { batch, ..Settings::default() };
    let mut all = Vec::new();
    predict(model, backend, &data, &settings, &Quiet, |_, output, _| {
        all.push(output.to_vec());
        Ok(())
    })
    .unwrap();
    all
}

#[test]
fn recordings_of_any_length_have_equal_probabilities_by_both_engines() {
    let folder = tempfile::tempdir().unwrap();
    for (name, samples) in [("a.wav", 512 * 9), ("b.wav", 512 * 9), ("c.wav", 700), ("d.wav", 1)] {
        write(&folder.path().join(name), samples);
    }
    let options = LoadOptions { random: Some(3), ..LoadOptions::default() };
    let model = Model::load("silero_vad_16k", &options).unwrap();
    let native = |threads| Backend::Native(EngineOptions::new(threads));
    let all = probabilities(&model, &native(1), folder.path(), 1);
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [9, 9, 2, 1]);
    assert!(all[0] == all[1] && all[0][0] != all[0][8], "each recording starts anew, and the state goes on within one");
    assert_eq!(probabilities(&model, &native(2), folder.path(), 3), all);
    let candle = Backend::Candle(candle_core::Device::Cpu, Pool::new(1).into());
    let other = probabilities(&model, &candle, folder.path(), 1).concat();
    let apart = other.iter().zip(all.concat()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-5, "{apart} apart");
}

#[test]
fn invalid_recordings_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text.wav"), "hello").unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let card = "name = \"net\"\nfamily = \"silero\"\ntask = \"detect\"\ndescription = \"\"\narch = {}\n";
    for (input, words) in [
        ("{ rate = 16000, chunk = 512, context = 64, reflect = 512 }", "reflect must be less than chunk"),
        ("{ rate = 0, chunk = 512, context = 64, reflect = 64 }", "rate must be 1 to 192000"),
        ("{ rate = 16000, chunk = 512, context = 64, reflect = 64, size = 3 }", "unknown field"),
    ] {
        std::fs::write(folder.path().join("net.toml"), format!("{card}input = {input}\n")).unwrap();
        let options = LoadOptions { random: Some(1), ..LoadOptions::default() };
        let error = Model::load(folder.path().join("net.toml").to_str().unwrap(), &options).err().unwrap();
        assert!(error.to_string().contains(words), "{error}");
    }
    let model = Model::load("silero_vad_16k", &LoadOptions { random: Some(3), ..LoadOptions::default() }).unwrap();
    let error = |name: &str| {
        let data = Dataset::open(&[folder.path().join(name)], &model.preprocess);
        data.and_then(|data| data.load(0)).map(|_| ()).unwrap_err().to_string()
    };
    assert!(error("text.wav").contains("text.wav: is no WAV file that can be read"));
    assert!(error("empty").contains("holds no recording (looked for wav)"));
}
