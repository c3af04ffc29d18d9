//! The program from the outside: streams, files, exit codes.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::binary;

const INPUTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/digits_inputs.safetensors");
const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/digits.safetensors");

fn deadweight(line: &[&str]) -> Command {
    let mut command = binary::deadweight();
    command.args(line);
    command
}

fn output(line: &[&str]) -> Output {
    deadweight(line).output().unwrap()
}

/// Standard output of a run that must succeed without log messages.
fn succeed(line: &[&str]) -> String {
    succeeded(line, output(line))
}

fn succeeded(line: &[&str], Output { status, stdout, stderr }: Output) -> String {
    assert_eq!((status.code(), text(&stderr)), (Some(0), ""), "{line:?}");
    String::from_utf8(stdout).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn json(line: &[&str]) -> Value {
    serde_json::from_str(&succeed(line)).unwrap()
}

fn names(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into()).collect()
}

/// A folder with one valid and one invalid image.
fn images() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let image = image::GrayImage::from_fn(16, 16, |x, y| image::Luma([(16 * x + y) as u8]));
    image.save(folder.path().join("good.png")).unwrap();
    std::fs::write(folder.path().join("bad.png"), "no image").unwrap();
    folder
}

#[test]
fn without_arguments_the_built_in_models_are_measured() {
    // A directory that has the name of one is not what is meant.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("photos")).unwrap();
    let all = succeeded(&[], deadweight(&[]).current_dir(folder.path()).output().unwrap());
    assert!(all.is_ascii() && !all.lines().any(|line| line.ends_with(' ')), "{all}");
    let rows: Vec<&str> = all.lines().skip_while(|line| !line.starts_with("---")).skip(1).collect();
    let names: Vec<&str> = rows.iter().map(|row| row.split("  ").next().unwrap()).collect();
    assert_eq!(names, ["digits", "scenes", "photos", "verses", "chapters", "digits int8"]);
    for figure in ["top-1 100.0%", "mean IoU 72.0%", "PSNR 29.17 dB (inputs 20.53)", "1.842 bits a character"] {
        assert!(all.contains(figure), "{figure}: {all}");
    }
    // Each row is the last one of the model's own table.
    let numbers = |row: &str| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for (row, name, task) in [(0, "digits", "classify"), (4, "chapters", "language")] {
        let table = succeed(&["measure", name]);
        assert!(table.starts_with(&format!("model       {name} (built-in demo): {task}")), "{table}");
        assert_eq!(numbers(table.lines().last().unwrap())[1..], numbers(rows[row])[2..]);
    }
    let table = succeed(&["measure", "digits", "--quantize", "int8"]);
    assert_eq!(numbers(table.lines().last().unwrap())[1..], numbers(rows[5])[3..]);
}

#[test]
fn every_format_has_the_same_document() {
    let document = json(&["measure", "digits", "--limit", "3", "--format", "json"]);
    assert_eq!(document["schema"], "deadweight/measure/2");
    assert_eq!((&document["data"]["inputs"], &document["model"]["note"]), (&3.into(), &"built-in demo".into()));
    let metrics = &document["network"]["metrics"];
    let classes = ["padding", "zero_both", "zero_activation", "zero_weight", "effectual"];
    let count = |class: &str| metrics[&format!("macs.{class}")]["with_padding"]["numerator"].as_u64().unwrap();
    let macs = metrics["macs"]["value"].as_u64().unwrap();
    assert_eq!(macs, classes.into_iter().map(count).sum::<u64>());

    let csv = succeed(&["measure", "digits", "--limit", "3", "--format", "csv"]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let dense: Vec<u64> = reader
        .records()
        .map(Result::unwrap)
        .filter(|record| &record[7] == "macs")
        .map(|record| record[10].parse().unwrap())
        .collect();
    let layers = document["layers"].as_array().unwrap().iter().map(|layer| &layer["metrics"]["macs"]["value"]);
    let want: Vec<u64> = layers.map(|dense| dense.as_u64().unwrap()).chain([macs]).collect();
    assert_eq!(dense, want);
    assert_eq!(want[..want.len() - 1].iter().sum::<u64>(), macs, "rows of one scope add up");

    let line = ["measure", "digits", "--limit", "3", "--columns", "kind,W+A,w.width.layer", "--format", "md"];
    let rows = succeed(&line).lines().filter(|line| line.starts_with('|')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((rows[0].as_str(), rows.len()), ("| layer | kind | W+A | layer wt width |", want.len() + 2));
}

#[test]
fn the_json_does_not_depend_on_how_it_was_computed() {
    let of = |flags: &[&str]| succeed(&[&["measure", "digits", "--format", "json", "--bits", "9"], flags].concat());
    let one = of(&["--threads", "1", "--batch-size", "1", "--isa", "scalar"]);
    assert_eq!(one, of(&["--threads", "3", "--batch-size", "5"]));
    assert_eq!(one, of(&["-o", "-", INPUTS]));
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.json");
    let line = ["measure", "digits", "--limit", "2", "--format", "json"];
    let want = succeed(&line);
    assert_eq!(succeed(&[&line[..], &["-o", path.to_str().unwrap()]].concat()), "");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), want);
    let failed = output(&["measure", "digits", "missing.png", "-o", path.to_str().unwrap()]);
    assert_eq!(failed.status.code(), Some(3));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), want);
    assert_eq!(names(folder.path()), [Path::new("out.json")]);
}

#[test]
fn errors_have_their_exit_code_and_their_hint() {
    let images = images();
    let bad = images.path().join("bad.png");
    let folder = images.path().to_str().unwrap();
    let broken = images.path().join("nan.safetensors");
    let mut weights = std::fs::read(WEIGHTS).unwrap();
    let end = weights.len();
    weights[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&broken, weights).unwrap();
    // Of no network that is known.
    let strange = images.path().join("strange.safetensors");
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    std::fs::write(&strange, [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat()).unwrap();
    let [bad, broken, strange] = [&bad, &broken, &strange].map(|path| path.to_str().unwrap());
    let cases: &[(&[&str], i32, &str)] = &[
        (&["measure"], 2, "<MODEL>"),
        (&["measur", "digits"], 2, "similar subcommand"),
        (&["measure", "digits", "--columns", "macs,a.zeroes"], 2, "a.zeros"),
        (&["measure", "digits", "--columns", "macs", "--format", "csv"], 2, "--columns"),
        (&["measure", "digits", "--layers", "("], 2, "regex"),
        (&["measure", "digits", "--layers", "nowhere"], 2, "layer1.0.conv1"),
        (&["measure", "digits", "-o", folder], 2, "is a directory"),
        (&["measure", "digits", "-o", "/nonexistent/out"], 2, "not in an existing directory"),
        (&["measure", strange, INPUTS], 2, "--arch"),
        (&["measure", "resnet18", "--arch", "resnet18"], 3, "hint: "),
        (&["measure", "digits", "--arch", "resnet18"], 2, "names resnet18, but digits is a card itself"),
        (&["measure", "resnet18x", INPUTS], 3, "near are resnet18"),
        (&["measure", "nobody/nothing", INPUTS], 3, "offline"),
        (&["measure", "./missing.safetensors", INPUTS], 3, "hint: "),
        (&["measure", "digits", "missing.png"], 3, "missing.png: not found"),
        (&["models", "show", "resnet18x"], 3, "near are resnet18"),
        (&["models", "show", strange], 2, "--arch"),
        (&["models", "show", "digits", "--arch", "digits"], 2, "--arch"),
        (&["models", "show", "./missing.onnx"], 3, "not found"),
        (&["models", "show", bad, "--arch", "digits"], 1, "bad.png"),
        (&["measure", "digits", bad], 1, "bad.png"),
        (&["measure", "digits", folder], 1, "bad.png"),
        (&["measure", "digits", bad, "--skip-bad"], 1, "holds no input that could be decoded"),
        (&["run", "digits", bad, "--skip-bad"], 1, "holds no input that could be decoded"),
        (&["measure", bad, INPUTS, "--arch", "digits"], 1, "bad.png"),
        (&["measure", "digits", "--device", "cuda"], 4, "hint: give --backend candle"),
        (&["measure", broken, INPUTS, "--arch", "digits"], 6, "NaN or infinity"),
    ];
    let mut wrong = Vec::new();
    for (line, code, want) in cases {
        let Output { status, stdout, stderr } = output(line);
        let said = text(&stderr);
        if status.code() != Some(*code) || !said.contains(want) || !said.contains("error: ") || !stdout.is_empty() {
            wrong.push(format!("{line:?}: {:?}, {} bytes of data, {said}", status.code(), stdout.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_document_is_printed_whole_or_not_at_all() {
    let images = images();
    std::fs::rename(images.path().join("bad.png"), images.path().join("later.png")).unwrap();
    let folder = images.path().to_str().unwrap();
    let line = ["run", "digits", folder, "--batch-size", "1", "--threads", "1"];
    let Output { status, stdout, stderr } = output(&line);
    assert_eq!(status.code(), Some(1));
    assert!(text(&stdout).contains("good.png") && text(&stderr).contains("later.png"), "{}", text(&stderr));
    let failed = output(&[&line[..], &["--format", "json"]].concat());
    assert_eq!((failed.status.code(), text(&failed.stdout)), (Some(1), ""));
}

#[test]
fn bad_inputs_can_be_skipped_and_are_named() {
    let images = images();
    let folder = images.path().to_str().unwrap();
    let Output { status, stdout, stderr } = output(&["measure", "digits", folder, "--skip-bad", "--format", "json"]);
    assert_eq!(status.code(), Some(0));
    assert!(text(&stderr).contains("bad.png"), "{}", text(&stderr));
    let document: Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!((&document["data"]["inputs"], &document["data"]["skipped"]), (&1.into(), &1.into()));
    let run: Value = json(&["run", "digits", folder, "--skip-bad", "--format", "json", "-q"]);
    assert_eq!((run["inputs"].as_array().unwrap().len(), &run["skipped"]), (1, &1.into()));
}

#[test]
fn answers_come_with_probabilities() {
    let run = json(&["run", "digits", "--top", "3", "--format", "json"]);
    let inputs = run["inputs"].as_array().unwrap();
    assert_eq!(run["schema"], "deadweight/run/2");
    assert_eq!(run["quality"]["labelled"].as_u64(), Some(inputs.len() as u64));
    for input in inputs {
        let top = input["top"].as_array().unwrap();
        let shares: Vec<f64> = top.iter().map(|answer| answer["probability"].as_f64().unwrap()).collect();
        assert!(shares.len() == 3 && shares.is_sorted_by(|a, b| a >= b) && shares.iter().sum::<f64>() <= 1.0 + 1e-9);
    }
    let table = succeed(&["run", "digits", "--limit", "1", "--backend", "candle"]);
    assert_eq!(table.lines().filter(|line| line.contains('%') && line.starts_with("  ")).count(), 5, "{table}");
}

#[test]
fn models_are_listed_shown_and_timed() {
    let list = json(&["models", "--format", "json"]);
    assert!(list["models"].as_array().unwrap().iter().any(|card| card["weights"] == "built in"));
    assert!(succeed(&["models"]).contains("mobilenet_v2"));
    let shown = json(&["models", "show", "digits", "--format", "json"]);
    assert_eq!(shown["layers"][0]["kind"], "input");
    // Layers of a weights file with a card, and of a file that holds a network.
    let file = json(&["models", "show", WEIGHTS, "--arch", "digits", "--format", "json"]);
    assert_eq!((&file["weights"], &file["parameters"]), (&WEIGHTS.into(), &shown["parameters"]));
    assert_eq!((&file["macs"], &file["activation_bytes"]), (&shown["macs"], &shown["activation_bytes"]));
    let onnx = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/onnx/residual.onnx");
    let table = succeed(&["models", "show", onnx, "-q"]);
    assert!(table.contains("names of onnx\n") && table.contains("conv"), "{table}");
    let bench = json(&["bench", "digits", "--rounds", "2", "--batch-size", "2", "--threads", "1", "--format", "json"]);
    assert_eq!((&bench["schema"], &bench["random_inputs"]), (&"deadweight/bench/2".into(), &false.into()));
    assert!(bench["ratio"][1].as_f64().unwrap() > 0.0 && bench["layers"].as_array().unwrap().len() > 5);
    let line = ["bench", "resnet20-cifar", "--random-weights", "--rounds", "1", "--batch-size", "1"];
    assert!(succeed(&line).contains("random weights and inputs"));
}

#[test]
fn texts_are_timed_at_a_length_and_token_by_token() {
    let verses = ["bench", "verses", "--rounds", "1", "--batch-size", "2", "--threads", "1", "--format", "json"];
    let of = |more: &[&str]| json(&[&verses, more].concat());
    let (long, short) = (of(&["--context", "24", "--generate", "3"]), of(&["--context", "12"]));
    assert_eq!(long["macs"].as_u64().unwrap(), 2 * short["macs"].as_u64().unwrap());
    assert_eq!((&long["generated"]["context"], &long["generated"]["tokens"]), (&24.into(), &3.into()));
    assert!(long["generated"]["step_s"][1].as_f64().unwrap() > 0.0 && short.get("generated").is_none());
    for (line, says) in [
        (
            &["bench", "digits", "--context", "8"][..],
            "--context: is of networks that read texts, and digits reads images",
        ),
        (&["bench", "digits", "--generate", "8"], "is of networks that predict the next token"),
        (
            &["bench", "stories260k", "--random-weights", "--context", "500", "--generate", "20"],
            "after 500 tokens exceeds the 512 positions of stories260k",
        ),
        (&["bench", "stories260k", "--random-weights", "--context", "513"], "give --context 512"),
    ] {
        let Output { status, stderr, .. } = deadweight(line).output().unwrap();
        let said = text(&stderr);
        assert!(matches!(status.code(), Some(2 | 4)) && said.contains(says), "{line:?}: {said}");
    }
}

#[test]
fn help_is_data_and_no_error() {
    for line in [&["--help"][..], &["--version"], &["measure", "--help"], &["bench", "-h"], &["models", "show", "-h"]] {
        assert!(succeed(line).len() > 10, "{line:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_is_no_error_and_a_full_disk_is() {
    for line in [&["measure", "digits", "--format", "json"][..], &["run", "digits"], &["models"]] {
        let mut child = deadweight(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""), "{line:?}");
        if Path::new("/dev/full").exists() {
            let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
            let Output { status, stderr, .. } = deadweight(line).stdout(full).output().unwrap();
            assert_eq!(status.code(), Some(1), "{line:?}");
            assert!(text(&stderr).starts_with("error: standard output: "), "{}", text(&stderr));
        }
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_run_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.json");
    // A run of minutes.
    let inputs = [INPUTS; 4000];
    let line =
        [&["measure", "digits", "--threads", "1", "--batch-size", "1", "-o", path.to_str().unwrap()], &inputs[..]];
    let mut child = deadweight(&line.concat()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The output is opened after the Ctrl-C handler is set.
    while names(folder.path()).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let lines: Vec<String> = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{lines:?}");
    assert_eq!(lines[lines.len() - 2], "error: interrupted");
    assert_eq!(names(folder.path()), Vec::<PathBuf>::new());
}
