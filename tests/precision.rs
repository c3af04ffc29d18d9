//! Precision: the search from the command line, its state, what it found measured again, and the format profile that reads it.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use deadweight::Error;
use deadweight::engine::{Backend, EngineOptions};
use deadweight::measure::{Quiet, Settings};
use deadweight::model::{LoadOptions, Model};
use deadweight::study::{Hooks, Numbers, PrecisionSearch, State};
use serde_json::Value;

use crate::binary::{fail, succeed, text};

fn load(name: &str) -> Model {
    Model::load(name, &LoadOptions::default()).unwrap()
}

/// The outcome of a search over inputs of `name`, which stops after so many new networks, and the state at its end.
fn searched(
    (name, tolerance): (&str, f64),
    from: Option<State>,
    stop: Option<usize>,
) -> (Result<String, Error>, State) {
    let (model, backend) = (load(name), Backend::Native(EngineOptions::new(1)));
    let data = model.builtin_data().unwrap().unwrap();
    let settings = Settings { limit: Some(4), calibrate: usize::MAX, batch: 3, ..Settings::default() };
    let mut search = PrecisionSearch::new(&model, &backend, &data, &settings, Numbers::Fixed, &Quiet).unwrap();
    from.map_or(Ok(()), |state| search.resume(state)).unwrap();
    let new = Cell::new(0);
    let keep = |_: &State| {
        new.set(new.get() + 1);
        if stop == Some(new.get()) { Err(Error::Interrupted) } else { Ok(()) }
    };
    let outcome = search.run(tolerance, &Hooks { monitor: &Quiet, say: &|_| {}, keep: &keep });
    (outcome.map(|outcome| outcome.to_toml()), search.state().clone())
}

#[test]
fn a_resumed_search_ends_as_one_that_was_not_stopped() {
    let fine = ("digits", 0.02);
    let (whole, all) = searched(fine, None, None);
    let (stopped, state) = searched(fine, None, Some(17));
    assert!(
        matches!(stopped, Err(Error::Interrupted)) && state.len() == 17 && all.len() > 40,
        "{} of {}",
        state.len(),
        all.len()
    );
    let state = State::from_bytes("state", &state.to_bytes()).unwrap();
    let (resumed, end) = searched(fine, Some(state), None);
    assert_eq!(whole.unwrap(), resumed.unwrap());
    assert_eq!(end, all);
    // With another tolerance too: what only the first search asked for is neither used nor counted.
    let coarse = ("digits", 0.26);
    let (whole, few) = searched(coarse, None, None);
    let (resumed, both) = searched(coarse, Some(all.clone()), None);
    assert_eq!(whole.unwrap(), resumed.unwrap());
    assert!(few.len() < both.len() && all.len() < both.len(), "{} and {}: {}", few.len(), all.len(), both.len());
    let (_, other) = searched(("scenes", 0.02), None, Some(1));
    let error = other.check(&all).unwrap_err().to_string();
    assert!(error.contains("its network is scenes, not digits"), "{error}");
}

/// A search of `args` into `name` in `folder`.
fn found(folder: &Path, name: &str, args: &[&str]) -> PathBuf {
    let path = folder.join(name);
    succeed(&[&["precision"], args, &["-o", text(&path)]].concat());
    path
}

#[test]
fn what_is_found_is_within_and_every_next_bit_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let digits: &[&str] = &["digits", "--limit", "4", "--tolerance", "26%"];
    let file = found(folder.path(), "digits.toml", digits);
    let stated: toml::Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    let search = stated["search"].as_table().unwrap();
    assert!(search["loss"].as_float().unwrap() <= 0.26 && search["figure"].as_str() == Some("accuracy"));
    assert_eq!(stated["layers"].as_table().unwrap().len(), 10);
    // The same bytes for other threads, batches and levels; of a perplexity, which every bit of an output changes, too.
    let verses: &[&str] = &["verses", "--limit", "1", "--tolerance", "10%"];
    let of_verses = found(folder.path(), "verses.toml", verses);
    for (args, want, more) in [
        (digits, &file, &["--threads", "1"][..]),
        (digits, &file, &["--batch-size", "3"]),
        (verses, &of_verses, &["--isa", "scalar", "--threads", "1"]),
    ] {
        let other = found(folder.path(), "other.toml", &[args, more].concat());
        assert!(std::fs::read(want).unwrap() == std::fs::read(&other).unwrap(), "{more:?}");
    }
}

#[test]
fn a_check_measures_what_a_file_states_and_what_it_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = found(folder.path(), "digits.toml", &["digits", "--limit", "4", "--tolerance", "26%"]);
    let whole = std::fs::read_to_string(&file).unwrap();
    let path = folder.path().join("checked.toml");
    let checked = |content: &str| {
        std::fs::write(&path, content).unwrap();
        String::from_utf8(succeed(&["precision", "digits", "--limit", "4", "--check", text(&path)])).unwrap()
    };
    let refused = |limit: &str, content: &str| {
        std::fs::write(&path, content).unwrap();
        fail(&["precision", "digits", "--limit", limit, "--check", text(&path)])
    };
    let check = checked(&whole);
    assert!(check.contains("accuracy    1.0000, 0.7500 in these bits") && check.contains("conv1, weights"), "{check}");
    assert!(!check.contains("not stated"), "{check}");
    let (code, said) = refused("3", &whole);
    assert!(code == 2 && said.contains("4 other inputs"), "{code}: {said}");
    let other = whole.replace("figure = \"accuracy\"", "figure = \"mean IoU\"");
    let (code, said) = refused("4", &other);
    assert!(code == 2 && said.contains("is judged by mean IoU, these inputs by accuracy"), "{code}: {said}");
    // Another loss than the one that is stated.
    let other = whole.replacen("next = { activations = ", "next = { activations = 1", 1);
    let (code, said) = refused("4", &other);
    assert!(code == 5 && said.contains("conv1, activations: with one bit less the loss is"), "{code}: {said}");
    // Losses that are not stated are measured, and are beyond the tolerance.
    let silent: String =
        whole.lines().filter(|line| !line.starts_with("next = ")).map(|line| format!("{line}\n")).collect();
    let check = checked(&silent);
    let rows =
        |text: &str| text.lines().filter(|line| line.contains(", activations ") || line.contains(", weights ")).count();
    assert!(rows(&check) > 5 && check.matches("not stated").count() == rows(&check), "{check}");
    // A bit that costs nothing can be taken again: it is the one thing that is wrong, for the loss stays as it is stated.
    let at = silent.find("[layers.\"layer1.0.conv2\"]").unwrap();
    let (before, behind) = silent.split_at(at);
    let narrow = "activations = { integer = 4, fraction = -2 }";
    assert!(behind.lines().nth(1).unwrap().starts_with(narrow), "{behind}");
    let wider = before.to_owned() + &behind.replacen(narrow, "activations = { integer = 4, fraction = -1 }", 1);
    let (code, said) = refused("4", &wider);
    let wrong = "layer1.0.conv2, activations: with one bit less the loss is 25.0000 %, within the tolerance";
    assert!(code == 5 && said.contains(wrong) && said.matches("the loss is").count() == 1, "{code}: {said}");
    // No number, no check.
    for tolerance in ["nan", "\"26%\""] {
        let (code, said) = refused("4", &whole.replace("tolerance = 0.26", &format!("tolerance = {tolerance}")));
        assert!(code == 2 && said.contains("states no search"), "{code}: {said}");
    }
}

#[test]
fn the_format_profile_counts_in_the_bits_that_were_found() {
    let folder = tempfile::tempdir().unwrap();
    for (network, more, baseline) in
        [("verses", &[][..], 16), ("verses", &["--float"][..], 11), ("scenes", &[][..], 16)]
    {
        let file = found(folder.path(), "net.toml", &[&[network, "--limit", "2", "--tolerance", "3%"], more].concat());
        let stated: toml::Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
        let measure = |more: &[&str], to: &str| {
            let path = folder.path().join(to);
            let line =
                [&["measure", network, "--limit", "2", "--precision", text(&file), "-o", text(&path)], more].concat();
            succeed(&line);
            path
        };
        let whole = measure(&[], "whole.dwm");
        let document: Value = serde_json::from_slice(&succeed(&["report", text(&whole), "--format", "json"])).unwrap();
        assert_eq!(document["format"]["name"], "profile");
        assert_eq!(document["format"]["precision"]["name"], "net.toml");
        assert_eq!(document["format"]["calibration_inputs"], 0);
        for layer in document["layers"].as_array().unwrap() {
            let of = stated["layers"][layer["name"].as_str().unwrap()].as_table().unwrap();
            for operand in ["activations", "weights"] {
                let bits: i64 = of[operand].as_table().unwrap().values().map(|bits| bits.as_integer().unwrap()).sum();
                let metrics = &layer[operand];
                assert_eq!(metrics["width.layer"]["value"].as_f64(), Some(bits as f64), "{network} {operand}");
                assert_eq!(metrics["bits"]["value"].as_f64(), Some(f64::from(baseline)));
            }
            let potential =
                |name: &str| layer["metrics"][format!("potential.{name}")]["with_padding"]["value"].as_f64();
            let p: i64 = of["activations"].as_table().unwrap().values().map(|bits| bits.as_integer().unwrap()).sum();
            assert_eq!(potential("Ap.layer"), Some(f64::from(baseline) / p as f64));
            assert!(potential("Ap.g256") >= potential("Ap.layer"));
        }
        // Parts merge, and not with those of another file.
        let parts = ["1/2", "2/2"].map(|part| measure(&["--shard", part], &format!("{}.dwm", &part[..1])));
        let merged = folder.path().join("merged.dwm");
        succeed(&["merge", text(&parts[0]), text(&parts[1]), "-o", text(&merged)]);
        assert!(std::fs::read(&whole).unwrap() == std::fs::read(&merged).unwrap());
        std::fs::write(&file, format!("# Another.\n{}", std::fs::read_to_string(&file).unwrap())).unwrap();
        let other = measure(&["--shard", "2/2"], "other.dwm");
        let (code, said) = fail(&["merge", text(&parts[0]), text(&other), "-o", text(&merged)]);
        assert!(code == 2 && said.contains("precision file"), "{code}: {said}");
    }
}

#[test]
fn wrong_files_and_flags_are_refused_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let file = found(folder.path(), "digits.toml", &["digits", "--limit", "4", "--tolerance", "30%"]);
    let whole = std::fs::read_to_string(&file).unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let layer = whole.find("[layers.\"fc\"]").unwrap();
    let cases = [
        (
            write("model.toml", &whole.replace("model = \"digits\"", "model = \"scenes\"")),
            2,
            "is of scenes, the network is digits",
        ),
        (write("unknown.toml", &whole.replace("[layers.\"fc\"]", "[layers.\"fcc\"]")), 2, "near are fc"),
        (write("missing.toml", &whole[..layer]), 2, "states no precision of fc"),
        (write("bits.toml", &whole.replacen("integer = ", "integer = 4", 1)), 1, "may have 2 to 16"),
        (write("none.toml", "model = 1"), 1, "is no precision file: line 1"),
        (folder.path().join("absent.toml"), 3, "absent.toml"),
    ];
    for (path, code, want) in &cases {
        let (got, said) = fail(&["measure", "digits", "--limit", "1", "--precision", text(path)]);
        assert!(got == *code && said.contains(want), "{}: {got}: {said}", path.display());
    }
    // Weights that are stated must be those of the network; a file may leave them out.
    let others = write("weights.toml", &whole.replacen("weights = [\"", "weights = [\"00", 1));
    for line in
        [["measure", "digits", "--limit", "4", "--precision"], ["precision", "digits", "--limit", "4", "--check"]]
    {
        let (code, said) = fail(&[&line[..], &[text(&others)]].concat());
        assert!(code == 2 && said.contains("weights.toml: was made for other weights (SHA-256 00"), "{code}: {said}");
        assert!(said.contains("search again, or leave out its line `weights`"), "{said}");
    }
    let any: String =
        whole.lines().filter(|line| !line.starts_with("weights = [")).map(|line| format!("{line}\n")).collect();
    let any = write("any.toml", &any);
    succeed(&["measure", "digits", "--limit", "1", "--precision", text(&any)]);
    succeed(&["precision", "digits", "--limit", "4", "--check", text(&any)]);
    // A network of integers is counted in its own.
    let integers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/onnx/residual_qlinear.onnx");
    let floats =
        "model = \"residual_qlinear\"\n[layers.a]\nactivations = { significand = 4 }\nweights = { significand = 4 }\n";
    let floats = write("floats.toml", floats);
    let (code, said) = fail(&["measure", text(&integers), "--random-inputs", "1", "--precision", text(&floats)]);
    assert!(
        code == 2 && said.contains("floats.toml: is of floats, and residual_qlinear stores integers"),
        "{code}: {said}"
    );
    // An option of a file of options that does nothing is none of the line.
    let options = write("options.toml", "[measure]\ncalibrate = 3\nquantize = \"int8\"\n");
    succeed(&["measure", "digits", "--limit", "1", "--precision", text(&file), "--config", text(&options)]);
    // Ranges of outputs are learned.
    let outputs = ["--calibrate", "3", "--metrics", "o.traffic"];
    succeed(&[&["measure", "digits", "--limit", "1", "--precision", text(&file)], &outputs[..]].concat());
    // The layers that are chosen are enough.
    succeed(&["measure", "digits", "--limit", "1", "--precision", text(&cases[2].0), "--layers", "^conv|^layer"]);
    let state = write("state", "{}");
    for (line, code, want) in [
        (vec!["measure", "digits", "--number-format", "profile"], 2, "--precision FILE"),
        (vec!["measure", "digits", "--precision", text(&file), "--bits", "8"], 2, "cannot be used with"),
        (vec!["measure", "digits", "--precision", text(&file), "--quantize", "int8"], 2, "cannot be used with"),
        (vec!["measure", "digits", "--precision", text(&file), "--calibrate", "3"], 2, "--calibrate: is of ranges"),
        (
            vec!["study", "prune", "digits", "--precision", text(&file), "--calibrate", "3"],
            2,
            "--calibrate: is of ranges",
        ),
        (vec!["precision", "digits", "--float", "--calibrate", "3"], 2, "cannot be used with"),
        (vec!["precision", "digits", "--check", text(&file), "--float"], 2, "cannot be used with"),
        (vec!["precision", "digits", "--check", text(&file), "--calibrate", "3"], 2, "cannot be used with"),
        (vec!["precision", "digits", "--check", text(&file), "--tolerance", "3%"], 2, "cannot be used with"),
        (vec!["precision", "digits", "--quantize", "int8"], 2, "float networks"),
        (vec!["precision", "digits", "--tolerance", "1"], 2, "--tolerance"),
        (vec!["precision", "digits", "--checkpoint", text(&state)], 2, "--resume"),
        (vec!["precision", "digits", "--checkpoint", text(&state), "--resume"], 1, "is no state of a search"),
        (vec!["precision", "photos", "--check", text(&file)], 2, "is of digits, the network is photos"),
    ] {
        let (got, said) = fail(&line);
        assert!(got == code && said.contains(want), "{line:?}: {got}: {said}");
    }
    let path = folder.path().join("never.toml");
    let (code, said) =
        fail(&["precision", "photos", "--float", "--limit", "2", "--tolerance", "0%", "-o", text(&path)]);
    assert!(
        code == 2 && said.contains("--tolerance 0%: 11 bits of every operand lose") && said.contains("give at least"),
        "{said}"
    );
    assert!(!path.exists());
}
