//! Arrays of codes: they are those that were counted, to the integer, or are refused.

use deadweight::Error;
use deadweight::engine::{Backend, EngineOptions};
use deadweight::export::{Arrays, Codes, Dtype, Images, Run};
use deadweight::input::Dataset;
use deadweight::kernels::count::Encoder;
use deadweight::measure::{Capture, Quiet, Settings, calibrate_and_measure};

use super::{full, inputs, native, network};

#[test]
fn codes_are_those_that_were_counted() {
    let model = network();
    let data = inputs(&model);
    for format in ["fixed16", "int8", "fixed5", "a:int8,w:fixed16"] {
        let settings = Settings { format: format.parse().unwrap(), ..full() };
        let (_, run) = calibrate_and_measure(&model, &native(), &data, &settings, &Quiet).unwrap();
        let mut whole: Option<Vec<Vec<i16>>> = None;
        for (threads, batch) in [(1, 1), (2, 3)] {
            let backend = Backend::Native(EngineOptions::new(threads));
            let settings = Settings { batch, ..settings.clone() };
            let capture = Capture::new(&model, &backend, &data, &settings, (&run, "run.dwm")).unwrap();
            let mut codes = vec![Vec::new(); run.layers.len()];
            capture
                .activations(&Quiet, |layer| {
                    // Three inputs, one or three a batch, and each batch whole.
                    assert_eq!((layer.batch < 3 / batch, layer.images.len()), (true, batch));
                    codes[layer.index].extend(layer.images.concat());
                    Ok(())
                })
                .unwrap();
            for (index, (layer, codes)) in run.layers.iter().zip(&codes).enumerate() {
                let sums = &layer.tally.activations.values;
                same_counts(&layer.name, codes, &sums.codes, layer.codings[0].map.lo);
                let weights = capture.weights(index).unwrap().unwrap();
                same_counts(&layer.name, &weights, &layer.tally.weights.values.codes, layer.codings[1].map.lo);
            }
            assert_eq!(*whole.get_or_insert(codes.clone()), codes, "{format}: threads or batch change a code");
        }
        // Layout and type of the arrays.
        let arrays = Arrays::new(Run { measurement: &run, file: "run.dwm" }, Dtype::Int).unwrap();
        let image: Vec<i16> = (0..200).map(|i| (i % 7) - 3).collect();
        let (name, bytes) =
            arrays.activations(6, 3, Images { extents: [5, 4, 10], codes: &[image.clone(), image.clone()] });
        assert_eq!(name, "act-fc_head-3.npy");
        let header = String::from_utf8_lossy(&bytes[..128]).into_owned();
        let activations = run.layers[6].codings[0].map;
        let fits = activations.lo >= -128 && activations.hi <= 127;
        assert!(header.contains("(2, 200)") && header.contains(if fits { "|i1" } else { "<i2" }), "{format}: {header}");
        assert_eq!(bytes.len(), 128 + 400 * if fits { 1 } else { 2 });
        let floats = Arrays::new(Run { measurement: &run, file: "run.dwm" }, Dtype::Float32).unwrap();
        let (name, bytes) = floats.weights(1, Codes(&[3; 8 * 16 * 9]));
        assert!(name == "wgt-dilated.npy" && bytes.len() == 128 + 8 * 16 * 9 * 4);
        assert_eq!(bytes[128..132], 3f32.to_le_bytes());
    }
}

/// How often each code is there is what was counted; zeros and terms follow.
fn same_counts(name: &str, codes: &[i16], counted: &[u64], lowest: i32) {
    let mut counts = vec![0; counted.len()];
    codes.iter().for_each(|code| counts[(i32::from(*code) - lowest) as usize] += 1);
    assert!(counts == counted, "{name}");
    let terms = |counts: &[u64]| -> u64 {
        let of = |(count, code): (&u64, i32)| count * u64::from(Encoder::Naf.terms(code.unsigned_abs() as u16));
        counts.iter().zip(lowest..).map(of).sum()
    };
    assert_eq!(terms(&counts), terms(counted));
}

#[test]
fn codes_of_other_runs_are_refused() {
    let model = network();
    let (backend, data, settings) = (native(), inputs(&model), full());
    let (_, run) = calibrate_and_measure(&model, &backend, &data, &settings, &Quiet).unwrap();
    let refused = |data: &Dataset, settings: &Settings| -> String {
        let made = Capture::new(&model, &backend, data, settings, (&run, "run.dwm"));
        let error = made.and_then(|capture| capture.activations(&Quiet, |_| Ok(()))).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    let other = Dataset::random_numbers(&[], 3, 6, &model.preprocess);
    assert!(refused(&other, &settings).contains("its list of options is"), "{}", refused(&other, &settings));
    let int8 = Settings { format: "int8".parse().unwrap(), ..full() };
    assert!(refused(&data, &int8).contains("its format is fixed16, not int8"));
    // What is handed on may fail, and is not handed on again.
    let capture = Capture::new(&model, &backend, &data, &settings, (&run, "run.dwm")).unwrap();
    let mut handed = 0;
    let failing = capture.activations(&Quiet, |layer| {
        handed += 1;
        if layer.index == 1 { Err(Error::Interrupted) } else { Ok(()) }
    });
    assert!(matches!(failing, Err(Error::Interrupted)) && handed == 2, "{handed}");
    // Counts that are not those of the codes.
    let mut wrong = run.clone();
    wrong.layers[1].tally.activations.channel_nonzeros[0] += 1;
    let capture = Capture::new(&model, &backend, &data, &settings, (&wrong, "run.dwm")).unwrap();
    let error = capture.activations(&Quiet, |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("of dilated") && error.contains("others"), "{error}");
    wrong.layers[2].tally.weights.filter_nonzeros[0] += 1;
    let capture = Capture::new(&model, &backend, &data, &settings, (&wrong, "run.dwm")).unwrap();
    assert!(capture.weights(1).is_ok() && capture.weights(2).is_err());
    let mut keys = run.clone();
    keys.keys = vec![0; 3];
    let capture = Capture::new(&model, &backend, &data, &settings, (&keys, "run.dwm")).unwrap();
    let error = capture.activations(&Quiet, |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("did not count input"), "{error}");
    let few = Dataset::random_numbers(&[], 2, 5, &model.preprocess);
    assert!(refused(&few, &settings).contains("counted 3 inputs, and 2 are given"));
}
