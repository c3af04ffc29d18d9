//! Studies from the command line: networks that are pruned, or whose activations are cut, level by level.

use std::path::Path;

use deadweight::Error;
use deadweight::engine::{Backend, EngineOptions};
use deadweight::input::Dataset;
use deadweight::measure::{Monitor, Quiet, Settings};
use deadweight::model::{LoadOptions, Model};
use deadweight::study::{Figure, Judge};
use serde_json::Value;

use crate::binary::{fail, succeed, text};

fn study(args: &[&str]) -> Value {
    serde_json::from_slice(&succeed(&[&["study"], args, &["--format", "json"]].concat())).unwrap()
}

fn report(path: &Path) -> Value {
    serde_json::from_slice(&succeed(&["report", text(path), "--format", "json"])).unwrap()
}

/// Elements and zeros of the weights of each layer.
fn weights(document: &Value) -> Vec<[u64; 2]> {
    let layers = document["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            let zeros = &layer["weights"]["zeros"];
            [&zeros["denominator"], &zeros["numerator"]].map(|count| count.as_u64().unwrap())
        })
        .collect()
}

#[test]
fn levels_of_pruning_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let prune = |more: &[&str]| {
        study(
            &[
                &[
                    "prune",
                    "digits",
                    "--limit",
                    "8",
                    "-o",
                    text(folder.path()),
                    "--columns",
                    "a.zeros,w.zeros,W+A,w.nm.2of4,w.nm.4of8",
                ],
                more,
            ]
            .concat(),
        )
    };
    let document = prune(&["--levels", "0,50%,87.5%,2:4,4:8"]);
    let levels = document["levels"].as_array().unwrap();
    let names: Vec<&str> = levels.iter().map(|level| level["level"].as_str().unwrap()).collect();
    assert_eq!(names, ["0", "50%", "87.5%", "2:4", "4:8"]);
    for (name, share) in [("50", 0.5), ("87.5", 0.875)] {
        let run = report(&folder.path().join(format!("prune-{name}.dwm")));
        for [all, zeros] in weights(&run) {
            // Some that stay round to zero in 16 bits.
            let wanted = (all as f64 * share).round() as u64;
            assert!(zeros >= wanted && zeros <= wanted + all / 100 + 1, "{zeros} of {all} at {name}");
        }
        assert!(run["options"]["pruned"].as_str().unwrap().contains("of each layer"));
        assert!(run["notes"].to_string().contains("not the network as it is"));
    }
    let metric = |level: usize, name: &str| levels[level]["metrics"][name].as_f64().unwrap();
    assert_eq!([metric(3, "w.nm.2of4"), metric(4, "w.nm.4of8")], [1.0, 1.0]);
    assert!(metric(4, "w.nm.2of4") < 1.0 && metric(1, "w.nm.2of4") < 1.0);
    assert!(metric(2, "W+A") > metric(1, "W+A") && metric(1, "W+A") > metric(0, "W+A"));
    // Level 0 is the network as it is.
    let plain = folder.path().join("plain.dwm");
    succeed(&["measure", "digits", "--limit", "8", "--metrics", "w.nm", "-o", text(&plain)]);
    assert!(std::fs::read(&plain).unwrap() == std::fs::read(folder.path().join("prune-0.dwm")).unwrap());
    assert_eq!(levels[0]["figure"]["name"], "accuracy");
    let global = prune(&["--levels", "70%", "--scope", "global"]);
    let counts = weights(&report(&folder.path().join("prune-70.dwm")));
    let [all, zeros] = [0, 1].map(|i| counts.iter().map(|of| of[i]).sum::<u64>());
    let wanted = (all as f64 * 0.7).round() as u64;
    assert!(zeros >= wanted && zeros <= wanted + all / 100, "{zeros} of {all}");
    let share = |of: &[u64; 2]| of[1] as f64 / of[0] as f64;
    assert!(counts.iter().any(|of| share(of) > 0.75) && counts.iter().any(|of| share(of) < 0.6), "{counts:?}");
    assert_eq!(global["levels"].as_array().unwrap().len(), 1);
}

#[test]
fn thresholds_are_those_of_measure() {
    let folder = tempfile::tempdir().unwrap();
    let document = study(&["threshold", "verses", "--limit", "4", "--levels", "30%,60%", "-o", text(folder.path())]);
    let levels = document["levels"].as_array().unwrap();
    assert_eq!(levels.len(), 3);
    let perplexity = |i: usize| levels[i]["figure"]["value"].as_f64().unwrap();
    assert!(perplexity(2) > perplexity(0) && levels[0]["figure"]["name"] == "perplexity");
    let plain = folder.path().join("plain.dwm");
    succeed(&[
        "measure",
        "verses",
        "--limit",
        "4",
        "--threshold",
        "60%",
        "--metrics",
        "a.traffic.rlc",
        "-o",
        text(&plain),
    ]);
    assert!(std::fs::read(&plain).unwrap() == std::fs::read(folder.path().join("threshold-60.dwm")).unwrap());
    let csv = String::from_utf8(succeed(&[
        "study",
        "threshold",
        "verses",
        "--limit",
        "4",
        "--levels",
        "60%",
        "--format",
        "csv",
        "--columns",
        "A,Ae",
    ]))
    .unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "level,A,Ae,figure,value"));
    assert!(lines[2].starts_with("60%,") && lines[2].contains(",perplexity,"), "{csv}");
    let (code, said) =
        fail(&["study", "threshold", "verses", "--limit", "4", "--levels", "20%,60%", "-o", text(folder.path())]);
    assert!(code == 2 && said.contains("has threshold-0.dwm already: give another directory"), "{code}: {said}");
    assert!(!folder.path().join("threshold-20.dwm").exists());
    let table =
        String::from_utf8(succeed(&["study", "threshold", "verses", "--limit", "4", "--levels", "60%"])).unwrap();
    assert!(table.contains("level") && table.contains("answers") && table.contains("perplexity"), "{table}");
}

#[test]
fn without_labels_answers_are_compared_with_those_of_the_network_as_it_is() {
    let document = study(&["prune", "digits", "--random-inputs", "6", "--levels", "0,30%"]);
    let figure = |i: usize| &document["levels"][i]["figure"];
    assert_eq!(
        (figure(0)["name"].as_str(), figure(0)["value"].as_f64()),
        (Some("agreement with the float network"), Some(1.0))
    );
    assert!(figure(1)["value"].as_f64().unwrap() <= 1.0);
}

/// Stopped from the start.
struct Stopped;

impl Monitor for Stopped {
    fn stop(&self) -> bool {
        true
    }
}

#[test]
fn where_there_is_no_figure_there_is_none_but_a_run_that_is_stopped_fails() {
    // Nobody knows the clean images of random ones.
    let document = study(&["prune", "photos", "--random-inputs", "1", "--levels", "0,50%", "--columns", "W"]);
    assert!((0..2).all(|level| document["levels"][level]["figure"].is_null()), "{document}");
    let backend = Backend::Native(EngineOptions::new(1));
    let judge = |name: &str, monitor: &dyn Monitor| {
        let model = Model::load(name, &LoadOptions::default()).unwrap();
        let data = Dataset::random_numbers(&[], 2, 0, &model.preprocess);
        let judge = Judge::if_any(&model, &backend, &data, &Settings::default(), monitor);
        judge.map(|judge| judge.map(|judge| (judge.figure(), judge.full(), judge.count())))
    };
    assert!(matches!(judge("photos", &Quiet), Ok(None)));
    assert_eq!(judge("digits", &Quiet).unwrap(), Some((Figure::Agreement, 1.0, 2)));
    for name in ["photos", "digits"] {
        assert!(matches!(judge(name, &Stopped), Err(Error::Interrupted)), "{name}");
    }
}

#[test]
fn every_note_is_told_once_and_infinite_potentials_as_such() {
    let line = |more: &[&str]| {
        let line = ["study", "prune", "digits", "--random-inputs", "2", "--layers", "conv1", "--columns", "W,A"];
        String::from_utf8(succeed(&[&line[..], more].concat())).unwrap()
    };
    let table = line(&["--levels", "0,50%"]);
    assert_eq!(
        table.matches("\nnote        network is the sum of the 4 layers that conv1 chooses\n").count(),
        1,
        "{table}"
    );
    assert_eq!(
        table.matches("\nnote        50%: weights of small magnitude were set to zero, 50% of each layer").count(),
        1,
        "{table}"
    );
    assert_eq!(table.matches("network is the sum of").count(), 1, "{table}");
    // Every weight is zero.
    let csv = line(&["--levels", "100%", "--format", "csv"]);
    assert!(csv.lines().nth(1).unwrap().starts_with("100%,inf,"), "{csv}");
    let document: Value = serde_json::from_str(&line(&["--levels", "100%", "--format", "json"])).unwrap();
    assert_eq!(document["levels"][0]["metrics"]["W"], Value::Null);
}

#[test]
fn counts_of_an_earlier_study_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let levels = folder.path().join("levels");
    let run = |names: &str| {
        let line =
            ["study", "prune", "digits", "--limit", "1", "--columns", "A", "--levels", names, "-o", text(&levels)];
        succeed(&line)
    };
    let refused = |output: &str| {
        fail(&["study", "prune", "digits", "--limit", "1", "--columns", "A", "--levels", "0,2:4", "-o", output])
    };
    let (code, said) = refused("-");
    assert!(code == 2 && said.contains("-o -: is the standard output, must be a directory"), "{code}: {said}");
    assert!(!Path::new("-").exists() && !levels.exists());
    run("2:4,50%");
    let first = std::fs::read(levels.join("prune-2of4.dwm")).unwrap();
    let (code, said) = refused(text(&levels));
    assert!(code == 2 && said.contains("has prune-2of4.dwm already: give another directory"), "{code}: {said}");
    assert!(std::fs::read(levels.join("prune-2of4.dwm")).unwrap() == first && !levels.join("prune-0.dwm").exists());
    run("0");
}

#[test]
fn levels_that_are_none_are_refused() {
    for levels in ["50", "101%", "1.234%", "4:2", "4:4", "0:0", "x:4", "1:2000", "5.%", ""] {
        let (code, said) = fail(&["study", "prune", "digits", "--levels", levels]);
        assert!(code == 2 && said.contains("--levels"), "{levels}: {code}: {said}");
    }
    let (code, said) = fail(&["study", "prune", "digits", "--layers", "^none$"]);
    assert!(code == 2 && said.contains("--layers"), "{code}: {said}");
    let (code, said) = fail(&["study", "prune", "digits", "--quantize", "int8"]);
    assert!(code == 4 && said.contains("floats"), "{code}: {said}");
    for levels in ["2:4", "0,2:4,4:8", "0"] {
        let (code, said) = fail(&["study", "prune", "digits", "--levels", levels, "--scope", "global"]);
        assert!(code == 2 && said.contains("--scope: is of shares"), "{levels}: {code}: {said}");
    }
    let (code, said) = fail(&["study", "threshold", "digits", "--levels", "0%"]);
    assert!(code == 2 && said.contains("--levels"), "{code}: {said}");
    // 0, the network as it is, is what comes first anyway.
    let line = |levels| succeed(&["study", "threshold", "digits", "--limit", "2", "--levels", levels]);
    assert_eq!(line("0,50%"), line("50%"));
}
