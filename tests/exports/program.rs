//! The program: every target, what it says, and that nothing is left behind.

use std::path::Path;

use deadweight::export::TARGETS;

use crate::binary::{deadweight, fail, succeed, text};

/// Names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_program_writes_each_target_or_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (digits, verses) = (path("digits.dwm"), path("verses.dwm"));
    succeed(&["measure", "digits", "--limit", "4", "--statistics", "full", "-o", text(&digits)]);
    succeed(&["measure", "verses", "--limit", "2", "-o", text(&verses)]);
    for target in TARGETS {
        let out = path(target.name);
        let model: &[&str] = if target.name == "npy" { &["--model", "digits", "--limit", "4"] } else { &[] };
        let args = [&["export", text(&digits), "--to", target.name, "-o", text(&out)], model].concat();
        succeed(&args);
        assert!(out.exists(), "{}", target.name);
    }
    // One file goes to a pipe too.
    let piped = succeed(&["export", text(&digits), "--to", "zigzag", "-o", "-"]);
    assert_eq!(piped, std::fs::read(path("zigzag")).unwrap());
    // What is left out is told, and the rest is there.
    let output =
        deadweight().args(["export", text(&verses), "--to", "timeloop", "-o", text(&path("rest"))]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("rnn.weight_hh_l0: it is recurrent"), "{said}");
    assert_eq!(names(&path("rest")), ["00_rnn.weight_ih_l0.yaml", "02_decoder.yaml", "notes.txt"]);
    // An empty folder takes the files, the current one too.
    let empty = path("empty");
    std::fs::create_dir(&empty).unwrap();
    let args = ["export", text(&digits), "--to", "timeloop", "-o", "."];
    assert!(deadweight().current_dir(&empty).args(args).status().unwrap().success());
    assert_eq!(names(&empty), names(&path("timeloop")));
    // Batches of any size hold the same codes.
    for batch in ["1", "3"] {
        let out = path(&format!("npy{batch}"));
        let batch = ["--batch-size", batch, "--threads", "1"];
        succeed(
            &[
                &["export", text(&digits), "--to", "npy", "--model", "digits", "--limit", "4", "-o", text(&out)],
                &batch[..],
            ]
            .concat(),
        );
        let parts = |out: &Path| -> Vec<u8> {
            let files = names(out).into_iter().filter(|name| name.starts_with("act-layer1.0.conv1-"));
            files.flat_map(|name| std::fs::read(out.join(name)).unwrap().split_off(128)).collect()
        };
        assert!(parts(&out) == parts(&path("npy")), "{batch:?}");
    }
    let before = names(folder.path());
    let (out, full) = (path("new"), path("npy"));
    let model = ["--model", "digits"];
    for (args, code, want) in [
        (vec![text(&digits), "--to", "npy", "-o", text(&out)], 2, "give --model MODEL"),
        (vec![text(&digits), "--to", "npy", "-o", text(&full), "--model", "digits"], 2, "is not empty"),
        (vec![text(&digits), "--to", "npy", "-o", text(&out), "--model", "scenes"], 2, "SHA-256"),
        // Inputs beyond those of the run.
        (
            vec![text(&digits), "--to", "npy", "-o", text(&out), "--model", "digits", "--limit", "5"],
            2,
            "did not count input",
        ),
        (vec![text(&digits), "--to", "timeloop", "-o", text(&out), model[0], model[1]], 2, "is of --to npy"),
        (vec![text(&digits), "photos", "--to", "maestro", "-o", text(&out)], 2, "--model"),
        (vec![text(&digits), "--to", "stonne", "--threads", "1", "-o", text(&out)], 2, "--model"),
        (vec![text(&digits), "--to", "scalesim", "--memory", "100", "-o", text(&out)], 2, "--model"),
        (vec![text(&digits), "--to", "zigzak", "-o", text(&out)], 2, "zigzag"),
        (vec![text(&digits), "--to", "timeloop", "-o", text(&verses)], 2, "is a file, must be a folder"),
        (vec![text(&digits), "--to", "timeloop", "-o", "-"], 2, "is the standard output, must be a folder"),
        (vec![text(&digits), "--to", "zigzag", "-o", text(folder.path())], 2, "is a directory, must be a file"),
        (vec![text(&digits), "--to", "zigzag", "-o", text(&digits)], 2, "is where FILE.dwm goes too"),
        (vec![text(&path("none")), "--to", "timeloop", "-o", text(&out)], 3, "No such file"),
        (vec![text(&full), "--to", "timeloop", "-o", text(&out)], 1, "npy"),
    ] {
        let (got, said) = fail(&[&["export"], &args[..]].concat());
        assert!(got == code && said.contains(want), "{args:?}: {got} {said}");
        assert_eq!(names(folder.path()), before, "{args:?} left something");
    }
}
