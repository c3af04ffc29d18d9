//! Language: log-probabilities within 1e-3 of PyTorch's, bits per character within 0.1 %, the tagger's classes all equal.

use deadweight::engine::{Backend, CandleEngine, EngineOptions, Session};
use deadweight::input::{Cut, Dataset, Vocabulary};
use deadweight::kernels::Isa;
use deadweight::layers::Shape;
use deadweight::measure::{Quiet, Settings, calibrate, measure, predict};
use deadweight::report::{self, Report};
use deadweight::task::Quality;
use deadweight::task::language::{Likelihood, surprise};

use super::{asset, json, load, stored};

#[test]
fn shakespeare_is_as_likely_as_to_pytorch() {
    let model = load("lstm/charrnn-shakespeare.safetensors", "charrnn");
    let reference = "lstm/charrnn-shakespeare.ref.safetensors";
    let (ids, _) = stored(reference, "ids");
    let vocabulary = Vocabulary::open(&asset("lstm/charrnn-shakespeare.vocab.json")).unwrap();
    let text = std::fs::read_to_string(asset("data/text/shakespeare-10k.txt")).unwrap();
    let tokens = vocabulary.encode("text", &text).unwrap();
    assert!(tokens.iter().map(|token| token.id as f32).eq(ids.iter().copied()), "other tokens");
    // In segments whose state goes on, and whole.
    let steps = 333;
    let mut session = Session::new(model.graph.clone(), Shape::new(1, 1, steps), 1, EngineOptions::new(2)).unwrap();
    session.carry_states();
    let nll = stored(reference, "nll").0;
    let (first, _) = stored(reference, "logits_first64");
    let mut worst = 0.0f64;
    for (segment, inputs) in ids.chunks(steps).take(30).enumerate() {
        let logits = session.run(inputs, None).unwrap();
        for step in 0..steps {
            let at = segment * steps + step;
            let of: Vec<f32> = (0..65).map(|class| logits[class * steps + step]).collect();
            if at < 64 {
                let apart = of.iter().zip(&first[at * 65..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart < 1e-3, "logits of step {at} are {apart} apart");
            }
            worst = worst.max((surprise(&of, ids[at + 1] as usize) - f64::from(nll[at])).abs());
        }
    }
    assert!(worst < 1e-3, "log-probabilities are {worst} apart");
    let candle = CandleEngine::new(&model.graph, candle_core::Device::Cpu).unwrap();
    let by_candle = candle.run(&ids[..64], Shape::new(1, 1, 64), None).unwrap();
    let apart = (0..64 * 65).map(|i| (by_candle[i % 65 * 64 + i / 65] - first[i]).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-3, "candle's logits are {apart} apart");
}

/// Removes what depends on the number of inputs of a text: means per input, and intervals.
fn strip(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            ["macs.per_input", "low", "high", "std"].iter().for_each(|name| drop(fields.remove(*name)));
            fields.values_mut().for_each(strip);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[test]
fn a_measurement_has_the_bits_per_character_for_any_segments() {
    let model = load("lstm/charrnn-shakespeare.safetensors", "charrnn");
    let vocabulary = Vocabulary::open(&asset("lstm/charrnn-shakespeare.vocab.json")).unwrap();
    let figures = json("lstm/charrnn-shakespeare.ref.json");
    let measured = |steps: usize, streams: usize, threads: usize, isa: Isa| {
        let cut = Cut::Streams { streams, steps };
        let data =
            Dataset::text(&[asset("data/text/shakespeare-10k.txt")], &vocabulary, &cut, &model.preprocess).unwrap();
        let backend = Backend::Native(EngineOptions { isa, ..EngineOptions::new(threads) });
        // Ranges over the whole text, so that the formats do not depend on the segments.
        let settings = Settings { calibrate: usize::MAX, ..Settings::default() };
        let calibration = calibrate(&model, &backend, &data, &settings, &Quiet).unwrap();
        let measurement = measure(&model, &backend, &data, &calibration, &Quiet).unwrap();
        let mut document = report::document(&Report::new(&measurement));
        document["layers"].as_array_mut().unwrap().iter_mut().for_each(strip);
        strip(&mut document["network"]);
        (measurement.quality, serde_json::to_string(&[&document["layers"], &document["network"]]).unwrap())
    };
    let (quality, counts) = measured(64, 1, 2, Isa::best());
    let Quality::Language(likelihood) = &quality else { panic!("it predicts") };
    let bits = likelihood.bits_per_character().unwrap();
    let want = figures["bits_per_char"].as_f64().unwrap();
    assert!((bits / want - 1.0).abs() < 1e-3, "{bits} bits a character, PyTorch {want}");
    let perplexity = figures["perplexity"].as_f64().unwrap();
    assert!((likelihood.perplexity() / perplexity - 1.0).abs() < 1e-3, "perplexity {}", likelihood.perplexity());
    let right = likelihood.correct as f64 / likelihood.tokens as f64;
    assert!((right - figures["next_char_accuracy"].as_f64().unwrap()).abs() < 2e-4, "{right} right");
    let of_segments = regex::Regex::new(r#""(input|output)":\[[^\]]*\]"#).unwrap();
    for (steps, threads, isa) in [(1000, 1, Isa::best()), (64, 1, Isa::SCALAR), (64, 3, Isa::best())] {
        let (other, again) = measured(steps, 1, threads, isa);
        assert_eq!(quality, other, "{steps} steps");
        // Extents are those of the segments; everything else is of the whole text.
        let plain = |text: &str| of_segments.replace_all(text, "").into_owned();
        assert!(plain(&counts) == plain(&again), "{steps} steps, {threads} threads, {}: other counts", isa.name());
    }
    let (of_streams, _) = measured(50, 4, 2, Isa::best());
    let Quality::Language(of_streams) = of_streams else { panic!("it predicts") };
    assert_eq!(of_streams.tokens, 4 * 2499);
    assert!((of_streams.bits_per_character().unwrap() / want - 1.0).abs() < 0.01);
}

#[test]
fn polyphones_are_tagged_as_by_pytorch() {
    let model = load("lstm/g2pm-bilstm.safetensors", "g2pm");
    let figures = json("lstm/g2pm-bilstm.ref.json");
    let vocabulary = Vocabulary::open(&asset("lstm/g2pm-vocab.json")).unwrap();
    let (logits16, shape) = stored("lstm/g2pm-bilstm.ref.safetensors", "logits_first16");
    let mut other = 0;
    for (number, case) in figures["cases"].as_array().unwrap().iter().enumerate() {
        let ids: Vec<f32> = case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as f32).collect();
        let steps = ids.len();
        let place = case["position"].as_u64().unwrap() as usize + 1;
        let mut session = Session::new(model.graph.clone(), Shape::new(1, 1, steps), 1, EngineOptions::new(1)).unwrap();
        let output = session.run(&ids, None).unwrap();
        let logits: Vec<f32> = (0..876).map(|class| output[class * steps + place]).collect();
        let best = (1..876).fold(0, |best, class| if logits[class] > logits[best] { class } else { best });
        other += usize::from(best as u64 != case["predicted"].as_u64().unwrap());
        if number < shape[0] {
            let want = &logits16[number * 876..][..876];
            let apart = logits.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-3, "case {number}: {apart} apart");
        }
        // The line as the program reads it.
        if number < 20 {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("line.txt");
            std::fs::write(&file, case["sentence"].as_str().unwrap()).unwrap();
            let cut = Cut::Lines { begin: Some("시".into()), end: Some("끝".into()) };
            let data = Dataset::text(&[file], &vocabulary, &cut, &model.preprocess).unwrap();
            assert_eq!(data.load(0).unwrap().values, ids, "case {number}");
        }
    }
    assert_eq!(other, 0, "{other} of 500 cases are of another class than PyTorch's");
}

#[test]
fn windows_of_a_text_are_as_likely_as_to_pytorch() {
    let model = load("lstm/textgenrnn-default.safetensors", "textgenrnn");
    let reference = "lstm/textgenrnn-default.ref.safetensors";
    let figures = json("lstm/textgenrnn-default.ref.json");
    let [(ids, _), (logits, _), (all, shape), (targets, _), (nll, _)] =
        ["ids", "logits", "ids_all", "target_all", "nll_all"].map(|tensor| stored(reference, tensor));
    let mut session = Session::new(model.graph.clone(), Shape::new(1, 1, 40), 64, EngineOptions::new(2)).unwrap();
    let got = session.run(&ids, None).unwrap();
    let apart = got.iter().zip(&logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-3, "logits are {apart} apart");
    let candle = CandleEngine::new(&model.graph, candle_core::Device::Cpu).unwrap();
    let got = candle.run(&ids[..40 * 8], Shape::new(1, 1, 40), None).unwrap();
    let apart = got.iter().zip(&logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-3, "candle's logits are {apart} apart");
    let mut sum = Likelihood::default();
    let mut worst = 0.0f64;
    for (batch, windows) in all.chunks(40 * 64).enumerate() {
        for (i, logits) in session.run(windows, None).unwrap().chunks(465).enumerate() {
            let target = targets[batch * 64 + i] as usize;
            worst = worst.max((surprise(logits, target) - f64::from(nll[batch * 64 + i])).abs());
            sum.add(logits, target, [1, 1]);
        }
    }
    assert!(worst < 1e-3, "log-probabilities are {worst} apart");
    assert_eq!(sum.tokens, shape[0] as u64);
    let want = figures["bits_per_char"].as_f64().unwrap();
    assert!((sum.bits_per_character().unwrap() / want - 1.0).abs() < 1e-3);
    let right = sum.correct as f64 / sum.tokens as f64;
    assert!((right - figures["next_char_accuracy"].as_f64().unwrap()).abs() < 4e-4, "{right} right");
    // The windows as the program splits the text: the first line's, reconstructed from its targets, up to a character that
    // the model's authors had no id for: they read it as 0, and left out its prediction.
    let vocabulary = Vocabulary::open(&asset("lstm/textgenrnn-vocab.json")).unwrap();
    let end = all.chunks(40).position(|window| window[39] == 0.0).unwrap() - 1;
    assert!(end > 45, "the line is longer than a window");
    let line: String = targets[..end].iter().map(|&target| vocabulary.decode(target as u32)).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("line.txt");
    std::fs::write(&file, line).unwrap();
    let cut = Cut::Windows { length: 40, mark: "<s>".into() };
    let data = Dataset::text(&[file], &vocabulary, &cut, &model.preprocess).unwrap();
    assert_eq!(data.len(), end + 1);
    for i in 0..=end {
        assert_eq!(data.load(i).unwrap().values, all[i * 40..][..40], "window {i}");
    }
}

#[test]
fn a_voice_detector_gives_the_probabilities_of_onnx_runtime() {
    let model = load("lstm/silero-vad-16k.safetensors", "silero_vad_16k");
    let (audio, _) = stored("lstm/silero-vad-16k.ref.safetensors", "audio");
    let (want, _) = stored("lstm/silero-vad-16k.ref.safetensors", "prob");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("speech.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16000,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    audio.iter().for_each(|&sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
    let data = Dataset::open(&[path], &model.preprocess).unwrap();
    let mut outputs = Vec::new();
    let native = Backend::Native(EngineOptions::new(2));
    predict(&model, &native, &data, &Settings::default(), &Quiet, |_, output, _| {
        outputs.extend_from_slice(output);
        Ok(())
    })
    .unwrap();
    assert_eq!((outputs.len(), want.len()), (128, 128));
    let apart = outputs.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-4, "{apart} apart");
    let heard = outputs.iter().filter(|&&p| p >= 0.5).count();
    assert_eq!(heard, want.iter().filter(|&&p| p >= 0.5).count());
    assert!((20..120).contains(&heard), "speech and pauses: {heard}");
}
