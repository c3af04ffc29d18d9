//! Pages and figures that the program writes: how they are asked for, and what is refused.

use std::path::{Path, PathBuf};

use crate::binary::{deadweight, fail, succeed, text};

/// Counts of a built-in model, in a folder.
fn counts(folder: &Path, model: &str) -> PathBuf {
    let file = folder.join(format!("{model}.dwm"));
    succeed(&["measure", model, "--limit", "2", "-q", "-o", text(&file)]);
    file
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn page(file: &Path) -> String {
    let page = std::fs::read_to_string(file).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{}", file.display());
    page
}

#[test]
fn a_page_is_written_by_its_name_or_its_format() {
    let folder = tempfile::tempdir().unwrap();
    let file = counts(folder.path(), "digits");
    let [named, formatted, measured] = ["a.html", "b.txt", "c.html"].map(|name| folder.path().join(name));
    succeed(&["report", text(&file), "-o", text(&named)]);
    succeed(&["report", text(&file), "--format", "html", "-o", text(&formatted)]);
    succeed(&["measure", "digits", "--limit", "2", "-o", text(&measured)]);
    let want = page(&named);
    assert!(page(&formatted) == want && page(&measured) == want, "the same bytes, however they are asked for");
    assert_eq!(succeed(&["report", text(&file), "--format", "html"]), want.into_bytes());
}

#[test]
fn several_runs_are_one_page_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let [digits, verses] = ["digits", "verses"].map(|model| counts(folder.path(), model));
    let both = folder.path().join("both.html");
    succeed(&["report", text(&digits), text(&verses), "-o", text(&both)]);
    let page = page(&both);
    assert!(page.contains("<title>digits, verses · deadweight</title>") && page.contains("id=\"channels-1\""));
    for format in [&["--format", "csv"][..], &[], &["-o", "both.txt"]] {
        let (code, message) = fail(&[&["report", text(&digits), text(&verses)], format].concat());
        assert_eq!(code, 2);
        assert!(message.contains("-o FILE.html") && message.contains("--svg DIR"), "{message}");
    }
    let (code, message) = fail(&["report", text(&digits), "missing.dwm", "-o", text(&both)]);
    assert!(code == 3 && message.contains("missing.dwm"), "{message}");
    let (code, message) = fail(&["report", text(&digits), "--columns", "macs", "-o", text(&both)]);
    assert!(code == 2 && message.contains("--columns"), "{message}");
    assert!(page == self::page(&both), "what was there stays");
}

#[test]
fn figures_are_files_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["digits", "chapters"].map(|model| counts(folder.path(), model));
    let figures = folder.path().join("new/figures");
    assert_eq!(succeed(&["report", text(&files[0]), text(&files[1]), "--svg", text(&figures)]), b"", "no table");
    let of = |model: &str| ["macs", "widths", "zeros"].map(|what| format!("{model}-{what}.svg"));
    assert_eq!(names(&figures), [&of("chapters")[..], &of("digits"), &["potentials.svg".to_owned()]].concat());
    // Asked for as well, the table is printed.
    let table = succeed(&["report", text(&files[0]), "--svg", text(&figures), "--format", "table"]);
    assert_eq!(table, succeed(&["report", text(&files[0])]));
    let (code, message) = fail(&["report", text(&files[0]), "--svg", text(&files[1])]);
    assert!(code == 2 && message.contains("must be a directory"), "{message}");
}

#[test]
fn answers_of_a_run_come_onto_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    let (file, answers, made) = (counts(folder.path(), "scenes"), of("answers"), of("page.html"));
    succeed(&["run", "scenes", "--limit", "2", "-q", "--examples", text(&answers)]);
    let pictures =
        ["1", "2"].map(|number| ["answer", "input", "truth"].map(|is| format!("{number}-{is}.png"))).concat();
    assert_eq!(names(&answers), [pictures, vec!["examples.json".into()]].concat());
    succeed(&["report", text(&file), "--examples", text(&answers), "-o", text(&made)]);
    assert_eq!(page(&made).matches("data:image/png;base64,").count(), 6);
    // A text has its tokens, and all but the first of them their surprise.
    let texts = of("texts");
    succeed(&["run", "verses", "--limit", "1", "-q", "--examples", text(&texts)]);
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(texts.join("examples.json")).unwrap()).unwrap();
    let tokens = list[0]["tokens"].as_array().unwrap();
    assert!(tokens.len() > 60 && tokens[0][1].is_null() && tokens[1..].iter().all(|token| token[1].is_number()));
    let (code, message) = fail(&["report", text(&file), "--examples", text(&answers)]);
    assert!(code == 2 && message.contains("-o FILE.html"), "{message}");
    let (code, message) = fail(&["report", text(&file), "--examples", text(folder.path()), "-o", text(&made)]);
    assert!(code == 3 && message.contains("hint: deadweight run MODEL INPUT --examples"), "{message}");
    for picture in ["../scenes.dwm", "/etc/passwd", "scenes.dwm", "1.png/.."] {
        let list =
            format!(r#"[{{"network": "n", "id": "i", "pictures": [{{"is": "input", "picture": "{picture}"}}]}}]"#);
        std::fs::write(answers.join("examples.json"), list).unwrap();
        let (code, message) = fail(&["report", text(&file), "--examples", text(&answers), "-o", text(&made)]);
        assert!(code == 1 && message.contains("is not the name of a .png file"), "{picture}: {message}");
    }
}

/// A browser that writes down what it is to show.
#[cfg(target_os = "linux")]
#[test]
fn a_page_is_shown_at_once() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = counts(folder.path(), "digits");
    let (browser, shown, made) =
        (folder.path().join("xdg-open"), folder.path().join("shown"), folder.path().join("a.html"));
    std::fs::write(&browser, format!("#!/bin/sh\necho \"$1\" > '{0}.part' && mv '{0}.part' '{0}'\n", shown.display()))
        .unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let show = |args: &[&str]| {
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let mut command = deadweight();
        let output = command.env("PATH", path).env("TMPDIR", folder.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // The browser is not waited for.
        let shown = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            std::fs::read_to_string(&shown).ok()
        });
        std::fs::remove_file(folder.path().join("shown")).unwrap();
        (output.stdout, PathBuf::from(shown.unwrap().trim()))
    };
    let (stdout, path) = show(&["report", text(&file), "-o", text(&made), "--open"]);
    assert_eq!((stdout.len(), path.as_path()), (0, made.as_path()));
    let (stdout, path) = show(&["report", text(&file), "--open"]);
    assert!(stdout.is_empty() && path.starts_with(folder.path()) && page(&path) == page(&made));
    let (stdout, path) = show(&["measure", "digits", "--limit", "2", "--open"]);
    assert_eq!(stdout, succeed(&["measure", "digits", "--limit", "2"]), "the table as well");
    assert!(page(&path) == page(&made));
    let mut command = deadweight();
    let output = command.env("PATH", "").env("TMPDIR", folder.path()).args(["report", text(&file), "--open"]).output();
    let output = output.unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("no browser can be started") && message.contains("open it yourself"), "{message}");
}

/// The command that a page shows is one that the program understands.
#[test]
fn the_command_of_a_page_can_be_typed() {
    use clap::Parser;
    use deadweight::cli::args::Cli;
    let folder = tempfile::tempdir().unwrap();
    let runs: [&[&str]; 5] = [
        &["digits", "--quantize", "int8", "--encoder", "popcount"],
        &["scenes", "--number-format", "a:int8,w:fixed9", "--statistics", "values", "--layers", "^conv[12]$"],
        &["photos", "--sigma", "30", "--seed", "3", "--metrics", "traffic,nm", "--calibrate", "3"],
        &["verses", "--steps", "32", "--streams", "2", "--single-steps", "4", "--min-one"],
        &["chapters", "--decode", "16", "--metrics", "attention", "--threshold", "20%"],
    ];
    for run in runs {
        let file = folder.path().join("run.html");
        succeed(&[&["measure"], run, &["--limit", "4", "-q", "-o", text(&file)]].concat());
        let page = page(&file);
        let (_, rest) = page.split_once("\"command\":\"").unwrap();
        let command = rest.split("\",\"").next().unwrap().replace("\\\\", "\\");
        let words = command.split_whitespace().map(|word| word.trim_matches('\''));
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{command}: {error}"));
        for flag in run.iter().filter(|word| word.starts_with("--")) {
            assert!(command.contains(flag), "{command} lacks {flag}");
        }
    }
}
