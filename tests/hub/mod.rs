//! The program against a hub on the loopback interface: what is pulled, run and measured, and what it prints.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

// Its faults are for the tests of the client.
#[allow(dead_code)]
mod server;

use crate::binary::{self, text};
use server::{COMMIT, Fault, Server, TOKEN};

/// Exit code, standard output and standard error of a run with the hub `server` and the cache below `folder`.
fn run(folder: &Path, server: &Server, args: &[&str]) -> (i32, String, String) {
    let mut command = binary::deadweight();
    command.env_remove("HF_HUB_OFFLINE").env("HF_HUB_CACHE", folder.join("hub"));
    command.env("HF_ENDPOINT", &server.endpoint).env("HF_TOKEN", TOKEN);
    for proxy in ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    let Output { status, stdout, stderr } = command.args(args).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(!format!("{stdout}{stderr}").contains(TOKEN), "{stdout}{stderr}");
    (status.code().unwrap(), stdout, stderr)
}

/// A repository that is the built-in classifier of digits, as timm would store it.
fn digits() -> Server {
    let config = json!({
        "architecture": "digits", "num_classes": 10, "global_pool": "avg",
        "pretrained_cfg": {"input_size": [1, 32, 32], "interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "squash",
            "mean": [0.3054], "std": [0.3228]},
    });
    let weights = include_bytes!("../../models/demo/digits.safetensors");
    Server::model(&[("config.json", config.to_string().into()), ("model.safetensors", weights.to_vec())])
}

fn parsed(document: &str) -> Value {
    serde_json::from_str(document).unwrap_or_else(|error| panic!("{error}: {document}"))
}

/// A grey PNG.
fn png(level: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(8, 8, image::Luma([level])).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn a_model_is_pulled_run_and_measured_with_its_commit() {
    let folder = tempfile::tempdir().unwrap();
    let server = digits();
    let (code, pulled, said) = run(folder.path(), &server, &["pull", "org/net"]);
    assert_eq!((code, said.as_str()), (0, ""));
    for want in
        ["name     org/net\n", &format!("commit   {COMMIT}\n"), "snapshots", "config.json", "the hub", "2 files"]
    {
        assert!(pulled.contains(want), "{pulled} lacks {want}");
    }
    let (code, document, _) = run(folder.path(), &server, &["pull", "org/net", "--format", "json", "--offline"]);
    let document = parsed(&document);
    let first = &document["pulled"][0];
    assert_eq!((code, &document["schema"], &first["commit"]), (0, &"deadweight/pull/1".into(), &COMMIT.into()));
    assert!(first["files"].as_array().unwrap().iter().all(|file| file["downloaded"] == false));
    let path = Path::new(first["path"].as_str().unwrap());
    assert!(path.starts_with(folder.path()) && path.join(first["part"].as_str().unwrap()).is_file());

    let image = folder.path().join("one.png");
    std::fs::write(&image, png(7)).unwrap();
    let args = ["measure", "org/net", text(&image), "--format", "json", "--offline"];
    let (code, document, said) = run(folder.path(), &server, &args);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(parsed(&document)["model"]["source"], format!("org/net@{COMMIT}"));
    let (code, shown, _) = run(folder.path(), &server, &["models", "show", "org/net", "--offline"]);
    assert!(code == 0 && shown.contains(&format!("org/net@{COMMIT}, names of")), "{shown}");
}

#[test]
fn a_data_set_is_an_input_with_its_commit() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    for (name, level) in [("train/0/a.png", 9), ("test/3/b.png", 10), ("test/7/c.png", 200)] {
        server.add("datasets/org/d", name, &png(level));
    }
    let measure = |input: &str| run(folder.path(), &server, &["measure", "digits", input, "--format", "json"]);
    let (code, _, said) = measure("datasets/org/d");
    assert!(code == 2 && said.contains("name one: datasets/org/d/test, datasets/org/d/train"), "{said}");
    let (code, document, said) = measure("datasets/org/d@v1/test");
    assert_eq!(code, 0, "{said}");
    let document = parsed(&document);
    assert_eq!(document["options"]["inputs"], format!("datasets/org/d@{COMMIT}/test"));
    assert_eq!(
        (&document["data"]["inputs"], &document["data"]["quality"]["labelled"]),
        (&2.into(), &2.into()),
        "{document}"
    );
    assert_eq!(server.count("GET", "train/"), 0);
    let (code, pulled, _) = run(folder.path(), &server, &["pull", "datasets/org/d"]);
    assert!(code == 0 && pulled.contains("name     datasets/org/d\n") && pulled.contains("3 files"), "{pulled}");
    let (code, _, said) = run(folder.path(), &server, &["run", "datasets/org/d", "x.png"]);
    assert!(code == 2 && said.contains("is a data set of the hub"), "{said}");
}

#[test]
fn what_fails_says_why_and_what_to_do() {
    let server = digits();
    server.fail("", "/api/models/org/gated", 1, Fault::Status(403, vec![("X-Error-Code", "GatedRepo".into())]));
    let run = |args: &[&str]| run(tempfile::tempdir().unwrap().path(), &server, args);
    for (args, code, wants) in [
        (
            &["run", "org/net", "--offline"][..],
            3,
            &["org/net@main: the revision in the cache", "run `deadweight pull org/net`"][..],
        ),
        (&["pull", "org/gated"], 3, &["is gated", "accept its terms at", "/org/gated"]),
        (&["pull", "org/none"], 3, &["org/none@main", "not found", "check the name"]),
        (&["pull", "org/net@a b"], 2, &["no hub id"]),
        (&["pull", "alexnet"], 2, &["a card without a repository"]),
        (&["pull", "resnet5"], 3, &["resnet50"]),
        (&["pull"], 2, &["<ID>"]),
        (&["measure", "digits", "datasets/org/d", "--offline"], 3, &["deadweight pull datasets/org/d"]),
    ] {
        let (got, _, said) = run(args);
        assert_eq!(got, code, "{args:?}: {said}");
        wants.iter().for_each(|want| assert!(said.contains(want), "{args:?}: {said} lacks {want}"));
    }
}
