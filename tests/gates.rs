//! `--assert` and `--baseline` from the outside: exit codes, what is said, and what is written.

use deadweight::error::exit;

use crate::binary::{deadweight, fail, succeed, text};

const RUN: [&str; 5] = ["measure", "digits", "--limit", "4", "-q"];

/// Exit code, standard output and message.
fn output(args: &[&str]) -> (i32, Vec<u8>, String) {
    let output = deadweight().args(args).output().unwrap();
    (output.status.code().unwrap(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

fn measure(args: &[&str]) -> (i32, Vec<u8>, String) {
    output(&[&RUN, args].concat())
}

#[test]
fn what_is_as_demanded_changes_nothing() {
    let demands = ["network.potential.W+A > 1", "layers.macs >= 1", "\"fc\".a.zeros < 50%", "quality.top1 == 100%"];
    let flags: Vec<&str> = demands.iter().flat_map(|demand| ["--assert", demand]).collect();
    assert_eq!(measure(&flags), (0, succeed(&RUN), String::new()));
    // What is demanded is counted.
    let flags = ["--statistics", "values", "--assert", "network.a.planes >= 0", "--format", "json"];
    assert_eq!(measure(&flags).0, 0);
}

#[test]
fn what_fails_is_said_and_the_document_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.dwm");
    let file = text(&path);
    let demands = [
        "--assert",
        "network.potential.W+A >= 1e3",
        "--assert",
        "layer1.*.a.zeros > 99%",
        "--assert",
        "fc.macs == 640",
    ];
    let (code, table, said) = measure(&demands);
    assert_eq!((code, table), (i32::from(exit::GATE), succeed(&RUN)));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "error: figures are not as demanded");
    assert_eq!(lines.len(), 5, "{said}");
    assert!(
        lines[1].starts_with("  network.potential.W+A is 2.") && lines[1].contains(", expected >= 1e3, off by 997.")
    );
    assert!(lines[2].starts_with("  layer1.0.conv1.a.zeros is ") && lines[2].contains("%, expected > 99%, off by "));
    assert!(lines[4].starts_with("  fc.macs is 2560, expected == 640, off by "), "{said}");
    let (code, ..) = measure(&[&demands[..], &["-o", file]].concat());
    assert_eq!(code, 5);
    assert_eq!(output(&["report", file]).0, 0, "the counts are whole");
    let (code, table, again) = output(&[&["report", file][..], &demands].concat());
    assert_eq!((code, table, again), (5, succeed(&RUN), said));
    let (code, table, said) = output(&["compare", file, file, "--assert", "network.W+A < 1"]);
    assert!(code == 5 && !table.is_empty() && said.contains("run.dwm: network.potential.W+A is 2."), "{said}");
    // An answer that nobody knows is not as demanded.
    let (code, _, said) = output(&["measure", "digits", "--random-inputs", "2", "-q", "--assert", "quality.top1 > 0"]);
    assert!(code == 5 && said.contains("no input has a truth"), "{said}");
}

#[test]
fn baselines_hold_within_their_tolerance() {
    let folder = tempfile::tempdir().unwrap();
    let [counts, document, out] = ["a.dwm", "a.json", "b.json"].map(|name| text(&folder.path().join(name)).to_owned());
    succeed(&[&RUN[..], &["-o", &counts]].concat());
    succeed(&[&RUN[..], &["--format", "json", "-o", &document]].concat());
    for baseline in [&counts, &document] {
        assert_eq!(measure(&["--baseline", baseline]), (0, succeed(&RUN), String::new()), "equal runs are equal");
    }
    let other = ["--bits", "8", "--format", "json", "-o", &out, "--baseline", &document];
    let (code, _, said) = measure(&[&other[..], &["--columns", "a.width.g16", "--tolerance", "50%"]].concat());
    let lines: Vec<&str> = said.lines().collect();
    // The network and 10 layers.
    assert!(code == 5 && lines.len() == 12, "{said}");
    assert!(lines[1].starts_with("  network.a.width.g16 is 5.") && lines[1].contains(", the baseline 13."), "{said}");
    assert!(lines[1].contains(", off by 7.") && lines[1].ends_with("%)"), "{said}");
    assert!(std::fs::read_to_string(&out).unwrap().contains("deadweight/measure/2"));
    assert_eq!(measure(&[&other[..], &["--columns", "a.width.g16", "--tolerance", "70%"]].concat()).0, 0);
    let (code, _, said) =
        measure(&["--layers", "^layer", "--baseline", &counts, "--tolerance", "100%", "--columns", "w.zeros"]);
    assert!(code == 5 && said.contains("  fc is a layer of ") && said.contains("not of the run"), "{said}");
    let warned = output(&["report", &counts, "--min-one", "--columns", "macs", "--baseline", &document]);
    assert!(warned.0 == 0 && warned.2.contains("min-one: false of "), "{}", warned.2);
}

#[test]
fn mistakes_are_found_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let [values, missing, wrong] =
        ["values.dwm", "none.dwm", "wrong.json"].map(|name| text(&folder.path().join(name)).to_owned());
    succeed(&[&RUN[..], &["--statistics", "values", "-o", &values]].concat());
    std::fs::write(&wrong, "{}").unwrap();
    // Inputs that are not there are not looked for.
    let first: [(&[&str], i32, &str); 9] = [
        (&["--assert", "network.a.zeroes > 1"], 2, "\n          ^"),
        (&["--assert", "network.W+A > two"], 2, "a number must stand here"),
        (&["--assert", "network.W+A"], 2, "a comparison must follow"),
        (&["--assert", "network.W+A > 1", "--shard", "1/2"], 2, "--assert with --shard: a part's figures"),
        (&["--baseline", &values, "--shard", "1/2"], 2, "--baseline with --shard: a part's figures"),
        (&["--baseline", &missing], 3, "hint: give a file"),
        (&["--baseline", &wrong], 1, "names no schema"),
        (&["--baseline", &values, "--columns", "a.terms"], 2, "was not counted for"),
        (&["--tolerance", "1%"], 2, "--baseline"),
    ];
    for (flags, code, want) in first {
        let (got, said) = fail(&[&["measure", "digits", "missing.png"], flags].concat());
        assert!(got == code && said.contains(want), "{flags:?}: {got}, {said}");
    }
    let out = text(&folder.path().join("out.dwm")).to_owned();
    let then: [(&[&str], &str); 3] = [
        (&["--assert", "layer9.a.zeros > 1"], "there is no layer layer9; near are layer1"),
        (&["--assert", "layer1.*.conv9.a.zeros > 1"], "no layer matches layer1.*.conv9"),
        (&["--assert", "quality.psnr_db > 1"], "task classify has no quality.psnr_db"),
    ];
    for (flags, want) in then {
        let (got, said) = fail(&[&RUN[..], flags, &["-o", &out]].concat());
        assert!(got == 2 && said.contains(want), "{flags:?}: {got}, {said}");
        let (got, said) = fail(&[&["report", &values], flags].concat());
        assert!(got == 2 && said.contains(want), "{flags:?}: {got}, {said}");
    }
    let (code, said) = fail(&["report", &values, "--assert", "network.a.terms > 1"]);
    assert!(code == 2 && said.contains("--assert: a.terms: needs --statistics terms"), "{said}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "nothing else was written");
}

#[test]
fn parts_are_asked_when_they_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two, all] = ["1.dwm", "2.dwm", "all.dwm"].map(|name| text(&folder.path().join(name)).to_owned());
    for (shard, file) in [("1/2", &one), ("2/2", &two)] {
        succeed(&[&RUN[..], &["--shard", shard, "-o", file]].concat());
    }
    succeed(&["merge", &one, &two, "-o", &all]);
    succeed(&[&RUN[..], &["--baseline", &all]].concat());
    assert_eq!(fail(&["report", &one, "--baseline", &all, "-q"]).0, 5);
    // A run that was resumed is asked as a whole, and its checkpoint is gone though it fails.
    let checkpoint = text(&folder.path().join("run.ckpt")).to_owned();
    let (code, ..) =
        measure(&["--checkpoint", &checkpoint, "--checkpoint-every", "1", "--assert", "network.W+A < 1", "--resume"]);
    assert!(code == 5 && !folder.path().join("run.ckpt").exists());
}
