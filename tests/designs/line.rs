//! The command: documents, files, wrong uses.

use serde_json::Value;

use crate::binary::{fail, succeed, text};

#[test]
fn a_file_of_counts_gives_what_the_run_gave_and_parts_add() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (whole, first, second, merged) = (path("whole.dwm"), path("1.dwm"), path("2.dwm"), path("merged.dwm"));
    let some = ["--design", "pragmatic,stripes,scnn", "--limit", "6"];
    let run = |flags: &[&str]| succeed(&[&["designs", "digits"], &some[..], flags].concat());
    let document = run(&["--format", "json", "--threads", "1", "--batch-size", "1"]);
    assert_eq!(run(&["--format", "json", "--threads", "2", "--batch-size", "4"]), document);
    run(&["-o", text(&whole)]);
    assert_eq!(succeed(&["designs", text(&whole), "--format", "json"]), document);
    run(&["-o", text(&first), "--shard", "1/2"]);
    run(&["-o", text(&second), "--shard", "2/2"]);
    succeed(&["merge", text(&first), text(&second), "-o", text(&merged)]);
    assert_eq!(std::fs::read(&merged).unwrap(), std::fs::read(&whole).unwrap());
    let document: Value = serde_json::from_slice(&document).unwrap();
    let names: Vec<&str> =
        document["designs"].as_array().unwrap().iter().map(|run| run["design"].as_str().unwrap()).collect();
    assert_eq!(names, ["scnn", "stripes", "pragmatic"]);
    // Counts of a run with designs are those of one without, beside them.
    let csv = String::from_utf8(succeed(&["designs", text(&whole), "--format", "csv"])).unwrap();
    assert_eq!(csv.lines().count(), 1 + 3 * (1 + document["designs"][0]["layers"].as_array().unwrap().len()));
    let json: Value = serde_json::from_slice(&succeed(&["report", text(&whole), "--format", "json"])).unwrap();
    let schema: Value = serde_json::from_slice(&succeed(&["schema"])).unwrap();
    assert!(jsonschema::is_valid(&schema, &json));
    assert_eq!(json["format"]["designs"][2]["parameters"]["first_stage"], 2);
    let report = |file: &str| succeed(&["report", file, "--format", "csv"]);
    let plain = path("plain.dwm");
    succeed(&["measure", "digits", "--limit", "6", "-o", text(&plain)]);
    assert_eq!(report(text(&whole)), report(text(&plain)));
    let one: Value =
        serde_json::from_slice(&succeed(&["designs", text(&whole), "--design", "scnn", "--format", "json"])).unwrap();
    assert_eq!(one["designs"], serde_json::json!([document["designs"][0]]));
    for (flags, want) in [
        (&["--design", "loom"][..], "--design loom: was not run for"),
        (&["--limit", "3"], "--limit: is of a run"),
        (&["photos"], "INPUT: is of a run"),
        (&["-o", text(&path("copy.dwm"))], "holds counts already"),
        (&["--by-layer", "--format", "csv"], "--by-layer: is of the table"),
    ] {
        let (code, message) = fail(&[&["designs", text(&whole)], flags].concat());
        assert!(code == 2 && message.contains(want), "{code} {message}");
    }
    let (code, message) = fail(&["designs", text(&plain)]);
    assert!(code == 2 && message.contains("without designs"), "{code} {message}");
}

#[test]
fn a_roofline_bounds_time_by_traffic() {
    let time = |flags: &[&str]| -> [f64; 2] {
        let line = [&["designs", "digits", "--design", "dense", "--limit", "2", "--format", "json"], flags].concat();
        let document: Value = serde_json::from_slice(&succeed(&line)).unwrap();
        let network = &document["designs"][0]["network"];
        ["seconds", "traffic_bound"].map(|name| network[name].as_f64().unwrap())
    };
    let [fast, free] = time(&["--bandwidth", "1000000"]);
    let [slow, bound] = time(&["--bandwidth", "0.001"]);
    assert!(free == 0.0 && bound == 1.0 && slow > fast, "{fast} {free} {slow} {bound}");
    // Half the frequency takes twice the cycles' time.
    let [half, _] = time(&["--bandwidth", "1000000", "--frequency", "500"]);
    assert!((half / fast - 2.0).abs() < 1e-9);
    // Fewer bits take less time.
    assert!(time(&["--bandwidth", "0.001", "--traffic", "zvc"])[0] < slow);
    assert!(time(&["--bandwidth", "0.001", "--traffic", "shapeshifter"])[0] < slow);
    assert!(time(&["--bandwidth", "0.001", "--buffer", "1"])[0] > slow);
}

#[test]
fn a_sample_says_its_error() {
    let run = |flags: &[&str]| -> Value {
        let line =
            [&["designs", "digits", "--design", "pragmatic", "--limit", "2", "--format", "json"], flags].concat();
        serde_json::from_slice(&succeed(&line)).unwrap()
    };
    let (all, some) = (run(&[]), run(&["--sample", "50%"]));
    let cycles = |of: &Value| of["designs"][0]["network"]["cycles"].as_f64().unwrap();
    let error = some["designs"][0]["network"]["standard_error"].as_f64().unwrap();
    assert!(all["sample"].is_null() && some["sample"].as_str().unwrap().contains("50 %"));
    assert!(
        error > 0.0 && (cycles(&some) - cycles(&all)).abs() < 6.0 * error,
        "{} {} {error}",
        cycles(&some),
        cycles(&all)
    );
    assert_eq!(some, run(&["--sample", "50%", "--threads", "1", "--batch-size", "1"]));
    assert_ne!(some, run(&["--sample", "50%", "--seed", "9"]));
}

#[test]
fn designs_run_in_the_precisions_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let [fixed, float] = ["fixed.toml", "float.toml"].map(|name| folder.path().join(name));
    let search = |to: &std::path::Path, more: &[&str]| {
        succeed(&[&["precision", "digits", "--limit", "4", "--tolerance", "30%", "-o", text(to)], more].concat());
    };
    search(&fixed, &[]);
    search(&float, &["--float"]);
    let mut stated: toml::Table = std::fs::read_to_string(&fixed).unwrap().parse().unwrap();
    let line = ["designs", "digits", "--limit", "4", "--design", "stripes", "--format", "json"];
    let cycles = |file: &std::path::Path| -> Vec<(String, i64)> {
        let line = [&line[..], &["--precision", text(file)]].concat();
        let document: Value = serde_json::from_slice(&succeed(&line)).unwrap();
        let layers = document["designs"][0]["layers"].as_array().unwrap().iter();
        layers.map(|of| (of["layer"].as_str().unwrap().to_owned(), of["cycles"].as_i64().unwrap())).collect()
    };
    let few = cycles(&fixed);
    // One bit more before the point of all activations: as many steps, each of a bit more.
    let mut bits = std::collections::BTreeMap::new();
    for (name, layer) in stated["layers"].as_table_mut().unwrap() {
        let of = layer["activations"].as_table_mut().unwrap();
        bits.insert(name.clone(), of.values().map(|bits| bits.as_integer().unwrap()).sum::<i64>());
        of["integer"] = (of["integer"].as_integer().unwrap() + 1).into();
    }
    std::fs::write(&fixed, stated.to_string()).unwrap();
    for ((name, few), (_, more)) in few.iter().zip(cycles(&fixed)) {
        assert!(few * (bits[name] + 1) == more * bits[name], "{name}: {few} and {more} cycles, {} bits", bits[name]);
    }
    let (code, message) = fail(&[&line[..], &["--precision", text(&float)]].concat());
    assert!(code == 2 && message.contains("is of floating point: designs multiply integers"), "{code} {message}");
}

#[test]
fn wrong_uses_have_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        text(&path).to_owned()
    };
    let cases = [
        (vec!["--design", "pragmatik"], "near are pragmatic"),
        (vec!["--number-format", "bf16"], "designs multiply integers"),
        (vec!["--sample", "100%"], "give 0.1% to 99.9%"),
        (vec!["--bandwidth", "0"], "give a number above 0"),
        (vec!["--buffer", "4"], "--bandwidth"),
        (vec!["--bandwidth", "1", "--traffic", "zvcc"], "near are zvc"),
        (vec!["--by-layer", "-o", "digits.dwm"], "--by-layer: is of what is printed"),
    ];
    for (flags, want) in cases {
        let (code, message) = fail(&[&["designs", "digits"], &flags[..]].concat());
        assert!(code == 2 && message.contains(want), "{flags:?}: {code} {message}");
    }
    let parameters = |content: &str, flags: &[&str]| {
        let path = file("parameters.toml", content);
        fail(&[&["designs", "digits", "--design-config", &path], flags].concat())
    };
    let (code, message) = parameters("[pragmatic]\nfirst_stage = 3\n[loom\n", &[]);
    assert!(code == 1 && message.contains("is no file of parameters: line 3"), "{code} {message}");
    let (code, message) = parameters("[pragmatic]\nfirst_stage = 3\n", &["--design", "dense"]);
    assert!(code == 2 && message.contains("pragmatic is not run"), "{code} {message}");
    let configs = [
        ("[loom]\ntiles = 1024\nfilters = 1024\nwindows = 1024\n", "give at most 16777216"),
        ("[pragmatic]\nfirst_stage = 5\n", "first_stage is 5: give 0 to 4"),
        ("[pragmatic]\nfirst_stages = 2\n", "near are first_stage"),
        ("[pragmatik]\nfirst_stage = 2\n", "near are pragmatic"),
        ("[pragmatic]\nfirst_stage = 2.5\n", "give a whole number"),
        ("pragmatic = 3\n", "write [pragmatic]"),
    ];
    for (content, want) in configs {
        let path = file("parameters.toml", content);
        let (code, message) = fail(&["designs", "digits", "--design-config", &path]);
        assert!(
            code == 2 && message.contains(want) && message.contains("parameters.toml"),
            "{content}: {code} {message}"
        );
    }
    let (code, message) = fail(&["designs", "digits", "--design-config", "nowhere.toml"]);
    assert!(code == 3 && message.contains("nowhere.toml"), "{code} {message}");
}

#[test]
fn explain_knows_the_designs() {
    let all = String::from_utf8(succeed(&["explain", "designs"])).unwrap();
    let one = String::from_utf8(succeed(&["explain", "laconic"])).unwrap();
    assert!(all.contains(&one) && one.contains("ISCA 2019") && one.contains("windows"), "{one}");
}
