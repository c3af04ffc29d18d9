//! A line an input: `measure --per-input`.

use std::path::Path;

use serde_json::Value;

use crate::binary::{self, fail, succeed, text};

const RUNS: [&[&str]; 7] = [
    &["digits"],
    &["digits", "--quantize", "int8", "--min-one"],
    &["scenes", "--statistics", "values"],
    &["photos", "--limit", "3"],
    &["verses", "--streams", "3", "--steps", "5"],
    &["verses", "--limit", "9"],
    &["chapters", "--limit", "5"],
];

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The ratios of `numbers` by operand, name and mode of padding: numerators and denominators.
fn ratios(numbers: &Value) -> Vec<(String, [u128; 2])> {
    let mut found = Vec::new();
    for operand in ["metrics", "activations"] {
        for (name, value) in numbers[operand].as_object().into_iter().flatten() {
            for (mode, ratio) in
                [("", Some(value)), ("with", value.get("with_padding")), ("without", value.get("without_padding"))]
            {
                let integer = |field: &str| {
                    let number = ratio?.get(field)?;
                    number.as_u64().map(u128::from).or_else(|| number.as_str()?.parse().ok())
                };
                if let (Some(numerator), Some(denominator)) = (integer("numerator"), integer("denominator")) {
                    found.push((format!("{operand}.{name}.{mode}"), [numerator, denominator]));
                }
            }
        }
    }
    found
}

#[test]
fn lines_add_up_to_the_network_however_they_are_computed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for run in RUNS {
        let (file, whole) = (path("run.json"), path("whole.jsonl"));
        let to_file = ["--format", "json", "-o", text(&file)];
        let all = "macs.effectual,macs.padding,a.zeros,a.zeros.natural,a.saturated,a.width.g16,W+A,Ap.g256";
        let columns = if run.contains(&"values") { all.to_owned() } else { format!("{all},a.terms,Ae,We+Ae,Wp.value") };
        let run = [&["measure"], run, &["--columns", &columns]].concat();
        succeed(&[&run[..], &to_file, &["--per-input", text(&whole)]].concat());
        let document: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let inputs = lines(&whole);
        assert_eq!(inputs.len() as u64, document["data"]["inputs"].as_u64().unwrap(), "{run:?}");
        assert!(inputs.iter().enumerate().all(|(place, line)| line["index"] == place), "{run:?}");
        let network = ratios(&document["network"]);
        let mut sums = ratios(&inputs[0]);
        assert!(sums.len() > 10, "{run:?}: {sums:?}");
        for line in &inputs[1..] {
            for ((name, sum), (other, [n, d])) in sums.iter_mut().zip(ratios(line)) {
                assert_eq!(*name, other);
                *sum = [sum[0] + n, sum[1] + d];
            }
        }
        for sum in sums {
            assert!(network.contains(&sum), "{run:?}: {sum:?} is not the network's");
        }
        // Neither does it matter how many run together, on how many threads, and whether somebody takes lines.
        for flags in [&["--threads", "1", "--batch-size", "1"][..], &["--threads", "3", "--batch-size", "7"]] {
            let (other, lines) = (path("other.json"), path("other.jsonl"));
            let to_other = ["--format", "json", "-o", text(&other), "--per-input", text(&lines)];
            succeed(&[&run[..], flags, &to_other].concat());
            assert!(std::fs::read(&lines).unwrap() == std::fs::read(&whole).unwrap(), "{run:?} {flags:?}");
            assert!(std::fs::read(&other).unwrap() == std::fs::read(&file).unwrap(), "{run:?} {flags:?}");
        }
        let plain = succeed(&[&run[..run.len() - 2], &["--format", "json"]].concat());
        assert!(plain == std::fs::read(&file).unwrap(), "{run:?}");
        // Lines of parts follow one another.
        let parts: Vec<Vec<u8>> = (1..=4)
            .map(|part| {
                let (shard, lines) = (format!("{part}/4"), path("part.jsonl"));
                let to_part =
                    ["--shard", &shard, "-o", text(&path("part.dwm")), "--per-input", text(&lines)].map(str::to_owned);
                let to_part: Vec<&str> = to_part.iter().map(String::as_str).collect();
                succeed(&[&run[..], &to_part].concat());
                std::fs::read(&lines).unwrap()
            })
            .collect();
        assert!(parts.concat() == std::fs::read(&whole).unwrap(), "{run:?}");
    }
}

#[test]
fn lines_tell_the_input_and_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let out = path("inputs.jsonl");
    let table = succeed(&["measure", "digits", "--per-input", text(&out)]);
    let (inputs, table) = (lines(&out), String::from_utf8(table).unwrap());
    assert!(table.contains("top-1 100.0%"), "{table}");
    let run: Value = serde_json::from_slice(&succeed(&["run", "digits", "--format", "json", "--top", "1"])).unwrap();
    for (line, told) in inputs.iter().zip(run["inputs"].as_array().unwrap()) {
        assert_eq!((&line["id"], &line["label"]), (&told["id"], &told["label"]));
        assert_eq!(line["prediction"]["class"], told["top"][0]["class"]);
        assert_eq!(line["prediction"]["name"], told["top"][0]["name"]);
        assert_eq!(line["quality"]["top1"]["numerator"], u64::from(told["label"] == told["top"][0]["class"]));
        assert_eq!(line["sha256"].as_str().unwrap().len(), 64);
        // The columns of the table that one input has.
        let names: Vec<&String> = line["metrics"].as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            ["macs.effectual", "potential.A", "potential.Ae", "potential.Ap.g16", "potential.W+A", "potential.We+Ae"]
        );
        assert_eq!(line["activations"].as_object().unwrap().len(), 3);
    }
    assert_eq!(inputs.len(), run["inputs"].as_array().unwrap().len());
    succeed(&["measure", "verses", "--limit", "2", "--per-input", text(&out)]);
    let segments = lines(&out);
    assert_eq!((&segments[1]["id"], &segments[1]["quality"]["tokens"]), (&"tokens 64 to 127".into(), &64.into()));
    // What is left out leaves its place free.
    let images = path("images");
    std::fs::create_dir(&images).unwrap();
    for name in ["a.png", "c.png"] {
        image::RgbImage::from_pixel(8, 8, image::Rgb([90, 7, 200])).save(images.join(name)).unwrap();
    }
    std::fs::write(images.join("b.png"), "no image").unwrap();
    succeed(&["-q", "measure", "scenes", text(&images), "--skip-bad", "--per-input", text(&out)]);
    assert_eq!(lines(&out).iter().map(|line| line["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn lines_that_would_not_be_whole_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (out, lines, checkpoint) = (path("run.dwm"), path("inputs.jsonl"), path("checkpoint"));
    for (flags, want) in [
        (&["--per-input", text(&lines), "--checkpoint", text(&checkpoint)][..], "measure parts by --shard"),
        (&["--per-input", text(&lines), "--checkpoint", text(&checkpoint), "--resume"], "measure parts by --shard"),
        (&["--per-input", "-"], "give another file"),
        (&["--per-input", text(&out), "-o", text(&out)], "give another file"),
        (&["--per-input", text(folder.path())], "is a directory"),
        (&["--per-input", text(&path("no/inputs.jsonl"))], "is not in an existing directory"),
        (&["--per-input", text(&lines), "--columns", "a.entropy"], "is known of no single input"),
        (&["--per-input", text(&lines), "--columns", "w.zeros"], "is known of no single input"),
    ] {
        let (code, message) = fail(&[&["measure", "digits", "--limit", "2"], flags].concat());
        assert!(code == 2 && message.contains("--per-input") && message.contains(want), "{flags:?}: {message}");
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is left");
    let both = succeed(&["measure", "digits", "--limit", "2", "-o", text(&out), "--per-input", "-"]);
    assert_eq!(String::from_utf8(both).unwrap().lines().count(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_and_an_interrupt_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (out, lines) = (folder.path().join("run.dwm"), folder.path().join("inputs.jsonl"));
    // A device that is full takes no line.
    let (code, message) = fail(&["measure", "digits", "--limit", "2", "--per-input", "/dev/full", "-o", text(&out)]);
    assert!(code == 1 && message.contains("/dev/full") && !out.exists(), "{message}");
    let run = ["measure", "photos", "--batch-size", "1", "--per-input", text(&lines), "-o", text(&out)];
    let mut ended = 0;
    for moment in [150, 400, 700] {
        let mut child = binary::deadweight().args(run).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(moment));
        let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let code = child.wait().unwrap().code();
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        match code {
            Some(130) if killed.success() => assert_eq!(names(), 0, "after {moment} ms"),
            _ => ended += names(),
        }
    }
    assert!(ended % 2 == 0, "both files are there, or none");
}
