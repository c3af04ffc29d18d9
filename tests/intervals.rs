//! Intervals: moments of ratios against inputs measured one by one, and runs that end when enough is known.

use deadweight::engine::{Backend, EngineOptions};
use deadweight::input::{Cut, Dataset};
use deadweight::kernels::Isa;
use deadweight::measure::{Calibration, Quiet, Settings, calibrate, measure, quantized};
use deadweight::measurement::Measurement;
use deadweight::metrics::{self, Sampled, Which};
use deadweight::model::{LoadOptions, Model};
use deadweight::report::{Part, Report};
use deadweight::tally::Moments;

use crate::binary::{fail, succeed, text};

fn native(threads: usize, isa: Isa) -> Backend {
    Backend::Native(EngineOptions { isa, ..EngineOptions::new(threads) })
}

/// The moments of the inputs that `parts` are measurements of, one each, by scope and in the order of the ratios' names.
fn moments_of(parts: &[Measurement]) -> (Vec<String>, Vec<Vec<Moments>>) {
    let format = &parts[0].provenance.format;
    let sampled = Sampled::all(format.encoder, format.statistics != "values");
    let names = sampled.iter().flat_map(Sampled::names).collect::<Vec<_>>();
    let mut scopes = vec![vec![Moments::default(); names.len()]; parts[0].layers.len() + 1];
    for part in parts {
        let [without, with] = [false, true].map(|min_one| {
            let mut part = part.clone();
            part.provenance.format.min_one = min_one;
            Report::new(&part)
        });
        let whole = |report: &Report| {
            let scopes = report.scopes.iter().filter(|scope| matches!(scope.part, Part::Layer | Part::Network));
            scopes.map(|scope| scope.cells.clone()).collect::<Vec<_>>()
        };
        for (moments, cells) in scopes.iter_mut().zip(whole(&without).iter().zip(&whole(&with))) {
            let mut moments = moments.iter_mut();
            for Sampled { metric, min_one } in &sampled {
                let cells = if *min_one { cells.1 } else { cells.0 };
                let operand = metric.is_of_operands().then_some(Which::Activations);
                for (_, ratio) in cells.get(metric.name, operand).unwrap().fractions() {
                    let (n, d) = (ratio.numerator, ratio.denominator);
                    *moments.next().unwrap() += Moments { n, d, nn: n * n, nd: n * d, dd: d * d };
                }
            }
        }
    }
    (names, scopes)
}

/// Finds the moments of `whole` to be those of `parts`, each of which is one input (or block).
fn same(whole: &Measurement, parts: &[Measurement], what: &str) {
    let (names, scopes) = moments_of(parts);
    assert_eq!(whole.spread.inputs, parts.len() as u64, "{what}");
    assert_eq!(whole.spread.ratios, names, "{what}");
    for (scope, (got, want)) in whole.spread.scopes.iter().zip(&scopes).enumerate() {
        for ((got, want), name) in got.iter().zip(want).zip(&names) {
            assert_eq!(got, want, "{what}: {name} of scope {scope}");
        }
    }
    // The sums are those of the values, so every ratio that is kept by input has an interval.
    let report = Report::new(whole);
    let mut spreads = 0;
    for scope in report.scopes.iter().filter(|scope| matches!(scope.part, Part::Layer | Part::Network)) {
        for cell in scope.cells.iter().filter(|cell| cell.operand != Some(Which::Weights)) {
            let kept = names.iter().any(|name| *name == metrics::ratio_name(cell.metric, None, false))
                || names.iter().any(|name| name.starts_with(&format!("{}:", cell.metric.name)));
            let known = cell.value.fractions().iter().filter(|(_, ratio)| ratio.denominator > 0).count();
            let intervals = cell.intervals.iter().flatten().count();
            assert_eq!(intervals, if kept { known } else { 0 }, "{what}: {} {}", scope.layer, cell.metric.name);
            spreads += cell.intervals.iter().flatten().filter(|interval| interval.std > 0.0).count();
        }
    }
    assert!(spreads > 100, "{what}: {spreads} ratios differ from input to input");
}

fn by_one(model: &Model, data: impl Fn() -> Dataset, settings: &Settings, what: &str) {
    let all = data().len();
    let backend = native(2, Isa::best());
    let calibration = calibrate(model, &backend, &data(), settings, &Quiet).unwrap();
    let of = |calibration: &Calibration, indices: &[usize], backend: &Backend| {
        measure(model, backend, &data().select(indices), calibration, &Quiet).unwrap()
    };
    let indices: Vec<usize> = (0..all).collect();
    let whole = of(&calibration, &indices, &backend);
    let parts: Vec<Measurement> = indices.iter().map(|&index| of(&calibration, &[index], &backend)).collect();
    same(&whole, &parts, what);
    for isa in Isa::available() {
        for (threads, batch) in [(1, 1), (1, 32), (2, 3)] {
            let backend = native(threads, isa);
            let calibration = calibrate(model, &backend, &data(), &Settings { batch, ..settings.clone() }, &Quiet);
            let other = of(&calibration.unwrap(), &indices, &backend);
            assert!(other.spread == whole.spread, "{what}: {} {threads} {batch}", isa.name());
        }
    }
}

#[test]
fn moments_of_images_are_those_of_images_measured_one_by_one() {
    let model = Model::load("digits", &LoadOptions::default()).unwrap();
    let data = || model.builtin_data().unwrap().unwrap();
    by_one(&model, data, &Settings::default(), "digits");
    let settings = Settings { statistics: deadweight::tally::Statistics::Values, ..Settings::default() };
    by_one(&model, data, &settings, "values of digits");
    let backend = native(2, Isa::best());
    let int8 = quantized(&model, &backend, &data(), &Settings::default(), &Quiet).unwrap();
    let settings = Settings { format: deadweight::format::NumberFormat::Stored.into(), ..Settings::default() };
    by_one(&int8, data, &settings, "digits in integers");
}

#[test]
fn moments_of_texts_are_those_of_blocks_of_segments() {
    let model = Model::load("verses", &LoadOptions::default()).unwrap();
    let data = model.builtin_text(&Cut::Streams { streams: 1, steps: 8 }).unwrap().unwrap();
    let blocks = data.len().div_ceil(16);
    assert!(blocks > 3 && !data.len().is_multiple_of(16), "{} segments: the last block is short", data.len());
    let backend = native(2, Isa::best());
    let settings = Settings::default();
    let calibration = calibrate(&model, &backend, &data, &settings, &Quiet).unwrap();
    let whole = measure(&model, &backend, &data, &calibration, &Quiet).unwrap();
    let block = |block: usize| {
        let settings = Settings { shard: Some((block + 1, blocks)), ..settings.clone() };
        let calibration = calibrate(&model, &backend, &data, &settings, &Quiet).unwrap();
        measure(&model, &backend, &data, &calibration, &Quiet).unwrap()
    };
    let parts: Vec<Measurement> = (0..blocks).map(block).collect();
    assert!(parts[..blocks - 1].iter().all(|part| part.inputs == 16));
    same(&whole, &parts, "verses");
}

#[test]
fn each_stream_has_its_own_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Two streams of one text, and each as a text.
    let words = "the rain in spain stays mainly in the plain and so it will again, again. ";
    let letters: Vec<char> = words.repeat(20).chars().collect();
    let halves: Vec<String> = letters.chunks(letters.len() / 2).map(|half| half.iter().collect()).collect();
    std::fs::write(path("both.txt"), halves.concat()).unwrap();
    let both = path("both.dwm");
    let flags = ["--steps", "7", "-o"];
    succeed(&[&["measure", "verses", text(&path("both.txt")), "--streams", "2"], &flags[..], &[text(&both)]].concat());
    let both = Measurement::load(&both).unwrap();
    let halves = [0, 1].map(|half| {
        let (from, to) = (path(&format!("{half}.txt")), path(&format!("{half}.dwm")));
        std::fs::write(&from, &halves[half]).unwrap();
        let ranges = ["--calibration", text(&path("both.dwm")), "--calibrate", "32"].map(str::to_owned);
        let ranges: Vec<&str> = ranges.iter().map(String::as_str).collect();
        succeed(&[&["measure", "verses", text(&from)], &ranges[..], &flags[..], &[text(&to)]].concat());
        Measurement::load(&to).unwrap()
    });
    assert!(halves.iter().all(|half| half.spread.inputs > 5), "{}", halves[0].spread.inputs);
    let [mut sum, other] = halves.map(|half| half.spread);
    sum.merge(&other);
    assert!(sum == both.spread, "blocks of two streams are those of two texts");
}

#[test]
fn a_run_ends_where_the_interval_is_as_narrow_as_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let json = |flags: &[&str]| -> serde_json::Value {
        let output = succeed(&[&["measure", "digits", "--format", "json"], flags].concat());
        serde_json::from_slice(&output).unwrap()
    };
    // 30 of 32 are the fewest that are believed.
    let ended = json(&["--batch-size", "5", "--until-ci", "30%"]);
    assert_eq!(ended["data"]["inputs"], 30);
    let note = "the run ended after 30 of 32 inputs: potential.W+A was known to 30 %";
    assert_eq!(ended["notes"], serde_json::json!([note]));
    assert_eq!((&ended["options"]["until_ci"], &ended["options"]["metric"]), (&"30%".into(), &"potential.W+A".into()));
    let ratio = &ended["network"]["metrics"]["potential.W+A"]["with_padding"];
    let number = |name: &str| ratio[name].as_f64().unwrap();
    let (low, value, high) = (number("low"), number("value"), number("high"));
    assert!(low < value && value < high && high - low < 0.6 * value && number("std") > high - low, "{ratio}");
    // Narrower than that to the last input.
    let share = (high - low) / 2.0 / value;
    let narrow = format!("{}%", share * 100.0 * 0.5);
    let whole = json(&["--batch-size", "5", "--until-ci", &narrow]);
    assert_eq!((&whole["data"]["inputs"], &whole["notes"]), (&32.into(), &serde_json::json!([])));
    // Nor does it matter how the run is computed or saved.
    let run = ["measure", "digits", "--batch-size", "5", "--until-ci", "30%", "--metric", "a.zeros"];
    let plain = path("plain.dwm");
    succeed(&[&run[..], &["-o", text(&plain)]].concat());
    let measurement = Measurement::load(&plain).unwrap();
    assert_eq!((measurement.inputs, measurement.spread.inputs), (30, 30));
    for flags in [&["--threads", "1"][..], &["--checkpoint", text(&path("checkpoint")), "--checkpoint-every", "7"]] {
        let other = path("other.dwm");
        succeed(&[&run[..], flags, &["-o", text(&other)]].concat());
        assert!(std::fs::read(&other).unwrap() == std::fs::read(&plain).unwrap(), "{flags:?}");
    }
    for (flags, want) in [
        (&["--until-ci", "5"][..], "give a percentage above 0% and up to 100%"),
        (&["--until-ci", "0%"], "give a percentage above 0% and up to 100%"),
        (&["--until-ci", "5%", "--metric", "a.entropy"], "--metric a.entropy: has no confidence interval in this run"),
        (&["--until-ci", "5%", "--metric", "w.zeros"], "metrics that have one: macs.padding, macs.zero_both"),
        // Outputs, and what is counted only on demand, are not kept by input.
        (&["--until-ci", "5%", "--metrics", "all", "--metric", "o.zeros"], "a.zeros, a.zeros.natural"),
        (&["--until-ci", "5%", "--metrics", "delta", "--metric", "delta.Ae"], "--metric delta.Ae: has no confidence"),
        (&["--until-ci", "5%", "--metric", "delta.Ae"], "potential.W, potential.W+A, potential.Ap.g16"),
        (&["--until-ci", "5%", "--metric", "a.zero"], "near are a.zeros"),
        (&["--until-ci", "5%", "--metric", "Ae", "--statistics", "values"], "has no confidence interval"),
        (&["--metric", "Ae"], "--until-ci"),
        (&["--until-ci", "5%", "--shard", "1/2"], "cannot be used with"),
    ] {
        let (code, message) = fail(&[&["measure", "digits"], flags].concat());
        assert!(code == 2 && message.contains(want), "{flags:?}: {message}");
    }
}

#[test]
fn tidy_rows_have_the_bounds_beside_the_value() {
    let csv = String::from_utf8(succeed(&["measure", "digits", "--format", "csv"])).unwrap();
    let mut lines = csv.lines();
    assert!(lines.next().unwrap().ends_with(",parameter,value,numerator,denominator,low,high,unit"));
    let (mut bounded, mut wide) = (0, 0);
    for line in lines {
        let fields: Vec<&str> = line.rsplit(',').collect();
        let number = |field: &str| field.parse::<f64>().ok();
        let (Some(high), Some(low)) = (number(fields[1]), number(fields[2])) else { continue };
        let value = number(fields[5]).unwrap();
        assert!(low <= value && value <= high, "{line}");
        bounded += 1;
        wide += usize::from(low < high);
        assert!(!line.contains(",weights,") && !line.contains("Ap.layer"), "{line}");
    }
    assert!(bounded > 500 && wide > 300, "{bounded}, {wide}");
    // One input says nothing of others.
    let one = String::from_utf8(succeed(&["measure", "digits", "--limit", "1", "--format", "csv"])).unwrap();
    assert!(one.lines().skip(1).all(|line| line.rsplit(',').skip(1).take(2).all(str::is_empty)));
}
