//! Runs that survive and spread: files of counts, shards, merging, checkpoints.

use deadweight::measurement::Measurement;

use crate::binary::{self, fail, succeed, text};

/// A classifier, an LSTM, a transformer and a network of integers, each with flags of its own.
const RUNS: [&[&str]; 4] = [
    &["digits"],
    &["verses", "--streams", "3", "--steps", "5", "--single-steps", "9"],
    &["chapters", "--context", "20", "--stride", "18"],
    &["digits", "--quantize", "int8"],
];

#[test]
fn every_format_is_made_of_the_file_as_it_is_made_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.dwm");
    for run in RUNS {
        let run = [run, &["--limit", "12"]].concat();
        assert!(succeed(&[&["measure"], &run[..], &["-o", text(&file)]].concat()).is_empty());
        for format in [
            &["--format", "json"][..],
            &["--format", "csv"],
            &["--format", "md"],
            &["--format", "parquet"],
            &[],
            &["--columns", "kind,macs,w.width"],
        ] {
            let at_once = succeed(&[&["measure"], &run[..], format].concat());
            assert!(succeed(&[&["report", text(&file)], format].concat()) == at_once, "{run:?} {format:?}");
        }
        let min_one = succeed(&[&["measure"], &run[..], &["--min-one", "--format", "json"]].concat());
        assert!(succeed(&["report", text(&file), "--min-one", "--format", "json"]) == min_one, "{run:?}");
    }
    let (code, message) = fail(&["report", text(&file), "--encoder", "popcount"]);
    assert!(code == 2 && message.contains("measure again with --encoder popcount"), "{message}");
    succeed(&["measure", "digits", "--limit", "2", "--statistics", "values", "-o", text(&file)]);
    let (code, message) = fail(&["report", text(&file), "--columns", "a.entropy"]);
    assert!(code == 2 && message.contains("needs --statistics full"), "{message}");
}

#[test]
fn shards_merge_to_the_whole_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for run in RUNS {
        let whole = path("whole.dwm");
        succeed(&[&["measure"], run, &["-o", text(&whole)]].concat());
        let parts: Vec<_> = (1..=7).map(|part| path(&format!("{part}.dwm"))).collect();
        for (i, part) in parts.iter().enumerate() {
            let shard = format!("{}/7", i + 1);
            // Some learn the ranges, some take them from the whole.
            let ranges = if i % 2 == 0 { vec![] } else { vec!["--calibration", text(&whole)] };
            succeed(&[&["measure"], run, &["--shard", &shard, "-o", text(part)], &ranges].concat());
        }
        let inputs: Vec<u64> = parts.iter().map(|part| Measurement::load(part).unwrap().inputs).collect();
        assert!(inputs.iter().filter(|&&inputs| inputs > 0).count() >= 4, "{run:?}: {inputs:?}");
        for order in [[0, 1, 2, 3, 4, 5, 6], [6, 2, 4, 0, 5, 1, 3], [3, 6, 5, 4, 2, 1, 0]] {
            let merged = path("merged.dwm");
            let files: Vec<&str> = order.iter().map(|&part| text(&parts[part])).collect();
            succeed(&[&["merge"], &files[..], &["-o", text(&merged)]].concat());
            assert!(std::fs::read(&merged).unwrap() == std::fs::read(&whole).unwrap(), "{run:?} {order:?}");
        }
    }
}

#[test]
fn what_is_no_part_of_the_run_is_refused_with_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (first, other, out) = (path("first.dwm"), path("other.dwm"), path("out.dwm"));
    succeed(&["measure", "digits", "--shard", "1/2", "-o", text(&first)]);
    let cases: [(&[&str], &str); 7] = [
        (&["digits", "--shard", "1/2"], "16 inputs that were counted already"),
        (&["digits", "--shard", "2/2", "--bits", "9"], "its format is fixed9, not fixed16"),
        (&["digits", "--shard", "2/2", "--encoder", "runs"], "its encoder is runs, not naf"),
        (&["digits", "--shard", "2/2", "--statistics", "values"], "its level of statistics is values, not terms"),
        (&["digits", "--shard", "2/2", "--calibrate", "3"], "its calibration is of 3 inputs"),
        (&["digits", "--shard", "2/2", "--layers", "conv1"], "its list of options is"),
        (&["scenes"], "its model is scenes, not digits"),
    ];
    for (run, want) in cases {
        succeed(&[&["measure"], run, &["-o", text(&other)]].concat());
        let (code, message) = fail(&["merge", text(&first), text(&other), "-o", text(&out)]);
        assert!(code == 2 && message.contains(want) && message.contains("other.dwm"), "{run:?}: {code} {message}");
        assert!(!out.exists());
    }
    let (code, message) = fail(&["measure", "digits", "--bits", "9", "--calibration", text(&first), "-o", text(&out)]);
    assert!(code == 2 && message.contains("its format is fixed16, not fixed9"), "{message}");
    for (flags, want) in
        [(&["--shard", "0/3"][..], "give I/N"), (&["--shard", "4/3"], "give I/N"), (&["--resume"], "--checkpoint")]
    {
        let (code, message) = fail(&[&["measure", "digits"], flags].concat());
        assert!(code == 2 && message.contains(want), "{message}");
    }
}

#[test]
fn broken_files_are_one_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.dwm");
    succeed(&["measure", "verses", "--limit", "2", "-o", text(&file)]);
    let bytes = std::fs::read(&file).unwrap();
    let whole = Measurement::from_bytes("run.dwm", &bytes).unwrap();
    assert!(whole.to_bytes() == bytes, "read and written again");
    // Cut at every length of the header and at many behind it.
    let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    for length in (0..header.min(3000)).chain((header..bytes.len()).step_by(bytes.len() / 300)) {
        let error = Measurement::from_bytes("run.dwm", &bytes[..length]).unwrap_err().to_string();
        assert!(error.starts_with("run.dwm: "), "{length}: {error}");
    }
    // A changed byte anywhere.
    for at in (0..bytes.len()).step_by(bytes.len() / 400) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x11;
        assert!(Measurement::from_bytes("run.dwm", &changed).is_err(), "byte {at}");
    }
    // The first eight bytes are the header's length.
    let other = std::str::from_utf8(&bytes[8..header]).unwrap().replace("deadweight/counts/1", "deadweight/counts/9");
    let other = [&bytes[..8], other.as_bytes(), &bytes[header..]].concat();
    let error = Measurement::from_bytes("run.dwm", &other).unwrap_err().to_string();
    assert!(error.contains("deadweight/counts/9") && error.contains("reads deadweight/counts/1"), "{error}");
    std::fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
    let (code, message) = fail(&["report", text(&file)]);
    assert!(code == 1 && message.contains("run.dwm: is no whole measurement file"), "{message}");
}

/// Kills `measure run` with SIGKILL at moments that differ from attempt to attempt, and resumes it each time, until it ends. Its file
/// must have the bytes of an uninterrupted run. Returns how often it was killed, and how often with a checkpoint to resume from.
#[cfg(unix)]
fn killed_until_it_ends(run: &[&str], seed: u64) -> [u64; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (whole, out, checkpoint) = (path("whole.dwm"), path("out.dwm"), path("checkpoint"));
    succeed(&[&["measure"], run, &["-o", text(&whole)]].concat());
    let saving = ["--checkpoint", text(&checkpoint), "--checkpoint-every", "1", "--resume", "-o", text(&out)];
    let command = [&["measure"], run, &["--batch-size", "1"], &saving[..]].concat();
    let (mut kills, mut resumed) = (0, 0);
    for attempt in 0..200_u64 {
        let mut child = binary::deadweight().args(&command).spawn().unwrap();
        // Later and later, so that the run ends at last, on a busy machine too.
        let moment = (attempt * 7919 + seed * 31) % 67 + attempt * 3 + attempt.pow(3) / 1000;
        std::thread::sleep(std::time::Duration::from_millis(moment));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        resumed += u64::from(checkpoint.exists());
    }
    assert!(kills >= 4, "{run:?}: killed {kills} times only");
    assert!(std::fs::read(&out).unwrap() == std::fs::read(&whole).unwrap(), "{run:?} after {kills} kills");
    assert!(!checkpoint.exists(), "a run that has ended leaves no checkpoint");
    [kills, resumed]
}

#[cfg(unix)]
#[test]
fn runs_that_are_killed_go_on_and_end_with_the_same_bytes() {
    let kills: u64 = (0..).zip(RUNS).map(|(seed, run)| killed_until_it_ends(run, seed)[0]).sum();
    assert!(kills >= 20, "killed {kills} times only");
}

#[cfg(unix)]
#[test]
fn killed_runs_keep_the_counts_of_metrics_on_demand() {
    for (seed, run) in [
        &["digits", "--metrics", "all"][..],
        &["verses", "--streams", "3", "--steps", "5", "--metrics", "delta,temporal,planes,output,repetition"],
        &["verses", "--streams", "2", "--steps", "9", "--metrics", "all"],
    ]
    .into_iter()
    .enumerate()
    {
        let [kills, resumed] = killed_until_it_ends(run, seed as u64);
        assert!(resumed >= 2, "{run:?}: resumed {resumed} times only after {kills} kills");
    }
}

#[test]
fn checkpoints_of_other_runs_are_refused() {
    use deadweight::measurement::Checkpoint;

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (checkpoint, out) = (path("checkpoint"), path("out.dwm"));
    // A checkpoint made of a measurement: as if the run had been stopped in the middle.
    let stopped = |flags: &[&str]| {
        let half = path("half.dwm");
        succeed(&[&["measure", "digits", "--shard", "1/2", "-o", text(&half)], flags].concat());
        let measurement = Measurement::load(&half).unwrap();
        let sequences = measurement.layers.iter().map(|_| None).collect();
        let stopped = Checkpoint { measurement, next: 16, inputs: 0..32, states: vec![], sequences, open: vec![] };
        let bytes = stopped.to_bytes();
        assert!(Checkpoint::from_bytes("checkpoint", &bytes).unwrap() == stopped, "read as it was written");
        std::fs::write(&checkpoint, &bytes).unwrap();
        bytes
    };
    let flags = ["--checkpoint", text(&checkpoint), "-o", text(&out)];
    let run = |more: &[&str]| fail(&[&["measure", "digits", "--statistics", "full"], &flags[..], more].concat());
    stopped(&["--statistics", "full", "--metrics", "o.zeros,delta"]);
    for (flags, want) in [
        (&["--resume"][..], "is delta, outputs, not none"),
        (&["--resume", "--metrics", "delta"], "is delta, outputs, not delta"),
        (&["--resume", "--metrics", "all"], "is delta, outputs, not traffic, nm, trailing"),
    ] {
        let (code, message) = run(flags);
        let want = format!("its list of on-demand counts (--metrics) {want}");
        assert!(code == 2 && message.contains(&want), "{flags:?}: {message}");
    }
    let bytes = stopped(&["--statistics", "full"]);
    let (code, message) = run(&[]);
    assert!(code == 2 && message.contains("is there already: give --resume"), "{message}");
    let (code, message) = fail(&["measure", "digits", "--checkpoint", "/dev/null", "--resume"]);
    assert!(code == 2 && message.contains("is no regular file"), "{message}");
    for (flags, want) in [
        (&["--resume", "--encoder", "runs"][..], "its encoder is naf, not runs"),
        (&["--resume", "--calibrate", "5"], "its list of options is calibrate 32"),
        (&["--resume", "--limit", "20"], "its list of options is"),
        (&["--resume", "--shard", "2/2"], "its inputs are 0..32, not 16..32"),
        (&["--resume", "--bits", "9"], "its format is fixed16, not fixed9"),
        (&["--resume", "--number-format", "a:fixed16,w:bf16"], "its format is fixed16, not a:fixed16,w:bf16"),
        (&["--resume", "--weight-scale", "filter"], "its weight scale is tensor, not filter"),
        (&["--resume", "--metrics", "delta,planes"], "list of on-demand counts (--metrics) is none, not planes, delta"),
        (&["--resume", "--metrics", "o.zeros"], "it has no ranges of outputs; make it with the same --metrics"),
    ] {
        let (code, message) = run(flags);
        assert!(code == 2 && message.contains(want), "{flags:?}: {message}");
    }
    assert!(std::fs::read(&checkpoint).unwrap() == bytes, "the checkpoint stays");
    let (code, message) = fail(&["report", text(&checkpoint)]);
    assert!(code == 1 && message.contains("end it with --resume"), "{message}");
    succeed(&[&["measure", "digits", "--statistics", "full", "--resume"], &flags[..]].concat());
    let whole = path("whole.dwm");
    succeed(&["measure", "digits", "--statistics", "full", "-o", text(&whole)]);
    assert!(std::fs::read(&out).unwrap() == std::fs::read(&whole).unwrap());
}
