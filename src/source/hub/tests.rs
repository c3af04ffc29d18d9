//! The hub client against a server on the loopback interface, and against caches made by hand: what goes right.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Hub;
use super::settings::{Limits, Settings};
use crate::error::exit;
use crate::source::{Directory, DownloadMonitor, FetchOptions, Snapshot, of_snapshot};
use crate::{Error, Result};

#[path = "fault_tests.rs"]
mod faults;
#[path = "../../../tests/hub/server.rs"]
mod server;

use server::{COMMIT, Fault, LATER, Server, TOKEN, safetensors};

/// Limits under which every fault shows in a moment.
pub(super) fn limits() -> Limits {
    Limits {
        answer: Duration::from_millis(400),
        stall: Duration::from_millis(150),
        backoff: Duration::from_millis(1),
        patience: Duration::from_secs(1),
        tries: 4,
        ..Limits::default()
    }
}

pub(super) fn settings(cache: &Path, endpoint: &str, offline: bool) -> Settings {
    let variable = |name: &str| match name {
        "HF_HUB_CACHE" => Some(cache.join("hub").to_str().unwrap().to_owned()),
        "HF_ENDPOINT" => Some(endpoint.to_owned()),
        "HF_TOKEN" => Some(TOKEN.to_owned()),
        _ => None,
    };
    Settings { offline, limits: limits(), ..Settings::new(variable).unwrap() }
}

pub(super) fn hub(cache: &Path, endpoint: &str) -> Hub {
    Hub::new(settings(cache, endpoint, false), &FetchOptions::default())
}

pub(super) fn offline(cache: &Path) -> Hub {
    Hub::new(settings(cache, "http://127.0.0.1:1", true), &FetchOptions::default())
}

fn fetch(cache: &Path, server: &Server, id: &str) -> Result<Snapshot> {
    hub(cache, &server.endpoint).fetch(id)
}

/// Weights of 40 kB, whose bytes differ from place to place.
pub(super) fn weights() -> Vec<u8> {
    safetensors("w", &(0..10_000).map(|i| i as f32).collect::<Vec<_>>())
}

pub(super) fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("README.md", b"not wanted".to_vec()),
        ("config.json", br#"{"model_type": "resnet"}"#.to_vec()),
        ("preprocessor_config.json", br#"{"size": 224}"#.to_vec()),
        ("model.safetensors", weights()),
        ("pytorch_model.bin", b"not wanted".to_vec()),
    ]
}

/// Paths below `root` that end in `end`.
pub(super) fn ending(root: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(ending(&path, end)),
            path if path.to_str().unwrap().ends_with(end) => found.push(path),
            _ => {}
        }
    }
    found
}

#[test]
fn downloads_once_and_reads_offline() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    let snapshot = fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!((snapshot.name(), snapshot.part.as_deref()), (format!("org/net@{COMMIT}"), Some("model.safetensors")));
    let names: Vec<_> = snapshot.files.iter().map(|file| (file.name.as_str(), file.downloaded)).collect();
    assert_eq!(names, [("config.json", true), ("preprocessor_config.json", true), ("model.safetensors", true)]);
    assert_eq!(snapshot.files[2].bytes, weights().len() as u64);
    let directory = of_snapshot(&snapshot).unwrap();
    assert_eq!(directory.weights.read_f32("w").unwrap()[9], 9.0);
    assert_eq!(directory.weights.source(), format!("org/net@{COMMIT}"));
    assert_eq!(directory.config.as_ref().unwrap()["model_type"], "resnet");
    assert_eq!(directory.preprocessor.as_ref().unwrap()["size"], 224);
    let requests = server.requests();
    let secret = format!("Bearer {TOKEN}");
    assert!(requests.iter().all(|request| request.header("authorization") == Some(&secret)), "{requests:?}");
    assert_eq!((server.count("GET", "README"), server.count("GET", "pytorch")), (0, 0));

    // A branch is listed again, but its files are not downloaded again.
    let again = fetch(cache.path(), &server, "org/net@main").unwrap();
    assert_eq!((again.path.as_path(), again.files[2].downloaded), (snapshot.path.as_path(), false));
    assert_eq!(server.requests().len(), requests.len() + 1);
    // A commit is not even listed; offline nothing is requested.
    assert_eq!(fetch(cache.path(), &server, &format!("org/net@{COMMIT}")).unwrap().path, snapshot.path);
    assert_eq!(offline(cache.path()).fetch("org/net").unwrap().path, snapshot.path);
    assert_eq!(server.requests().len(), requests.len() + 1);
    // No server is listening: the cache is used.
    assert_eq!(hub(cache.path(), "http://127.0.0.1:1").fetch("org/net").unwrap().path, snapshot.path);
}

#[cfg(unix)]
#[test]
fn the_cache_is_laid_out_as_the_python_client_does() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    let snapshot = fetch(cache.path(), &server, "org/net@refs/pr/5").unwrap();
    let root = cache.path().join("hub/models--org--net");
    assert_eq!(snapshot.path, root.join("snapshots").join(COMMIT));
    assert_eq!(std::fs::read_to_string(root.join("refs/refs/pr/5")).unwrap(), COMMIT);
    let link = std::fs::read_link(snapshot.path.join("config.json")).unwrap();
    // `git hash-object config.json`
    assert_eq!(link, Path::new("../../blobs/8b5505dacb126f4e488f64e98e04b70f2f4b71b2"));
    let link = std::fs::read_link(snapshot.path.join("model.safetensors")).unwrap();
    assert_eq!(link.to_str().unwrap().len(), "../../blobs/".len() + 64);
    assert!(root.join(format!(".no_exist/{COMMIT}/tokenizer.json")).is_file());
    assert_eq!(ending(&cache.path().join("hub/.locks/models--org--net"), ".lock").len(), 3);
    assert_eq!(server.count("GET", "/revision/refs%2Fpr%2F5"), 1);
}

#[test]
fn a_branch_that_moved_brings_a_new_snapshot_and_keeps_the_old_one() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    let old = fetch(cache.path(), &server, "org/net").unwrap();
    server.move_to(LATER);
    server.add("models/org/net", "config.json", br#"{"model_type": "vit"}"#);
    let new = fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!((old.commit.as_str(), new.commit.as_str()), (COMMIT, LATER));
    let model_type = |snapshot| of_snapshot(snapshot).unwrap().config.unwrap()["model_type"].clone();
    assert_eq!((model_type(&old), model_type(&new)), ("resnet".into(), "vit".into()));
    // The weights did not change, and are stored once.
    assert_eq!(server.count("GET", "/stored/"), 1);
    assert_eq!(offline(cache.path()).fetch("org/net").unwrap().commit, LATER);
    assert_eq!(offline(cache.path()).fetch(&format!("org/net@{COMMIT}")).unwrap().commit, COMMIT);
}

#[test]
fn downloads_shards() {
    let cache = tempfile::tempdir().unwrap();
    let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#.to_vec();
    let server = Server::model(&[
        ("model.safetensors.index.json", index),
        ("model-1.safetensors", safetensors("a", &[1.0])),
        ("model-2.safetensors", safetensors("b", &[2.0])),
    ]);
    let snapshot = fetch(cache.path(), &server, "org/net@refs/pr/5").unwrap();
    let directory = of_snapshot(&snapshot).unwrap();
    assert_eq!(directory.weights.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(directory.weights.files().len(), 3);
    std::fs::remove_file(snapshot.path.join("model-2.safetensors")).unwrap();
    let error = offline(cache.path()).fetch("org/net@refs/pr/5").unwrap_err();
    assert!(error.to_string().contains("model-2.safetensors"), "{error}");
}

#[test]
fn downloads_how_sentences_are_pooled() {
    let cache = tempfile::tempdir().unwrap();
    let modules = br#"[{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"},
        {"type": "a.Normalize", "path": "../.."}]"#;
    let server = Server::model(&[
        ("config.json", br#"{"model_type": "bert"}"#.to_vec()),
        ("modules.json", modules.to_vec()),
        ("1_Pooling/config.json", br#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#.to_vec()),
        ("2_Other/config.json", b"not wanted".to_vec()),
        ("model.safetensors", safetensors("w", &[1.0])),
    ]);
    let snapshot = fetch(cache.path(), &server, "org/net").unwrap();
    let config = Directory::open(&snapshot.path).unwrap().config.unwrap();
    assert_eq!((&config["_pooling"], &config["_normalise"]), (&"first".into(), &true.into()));
    assert_eq!(server.count("GET", "2_Other"), 0);
}

#[test]
fn downloads_a_network_with_its_data_and_one_file_of_several() {
    let cache = tempfile::tempdir().unwrap();
    let (network, data) = (b"graph".to_vec(), b"constants".to_vec());
    let server = Server::model(&[
        ("onnx/model.onnx", network),
        ("onnx/model.onnx_data", data),
        ("onnx/model_q4.onnx", b"not wanted".to_vec()),
    ]);
    let snapshot = fetch(cache.path(), &server, "org/net").unwrap();
    assert_eq!(snapshot.part.as_deref(), Some("onnx/model.onnx"));
    assert_eq!(std::fs::read(snapshot.path.join("onnx/model.onnx_data")).unwrap(), b"constants");
    assert!(!snapshot.path.join("onnx/model_q4.onnx").exists());
    let named = fetch(cache.path(), &server, "org/net:onnx/model_q4.onnx").unwrap();
    assert_eq!(named.part.as_deref(), Some("onnx/model_q4.onnx"));
    assert_eq!(offline(cache.path()).fetch("org/net:q4").unwrap().part, named.part);
}

#[test]
fn a_data_set_is_downloaded_by_its_parts() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start();
    for name in ["data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet", "README.md"] {
        server.add("datasets/org/d", name, name.as_bytes());
    }
    for name in ["train/cat/1.png", "train/dog/2.png", "test/cat/3.png"] {
        server.add("datasets/org/i", name, name.as_bytes());
    }
    let hub = hub(cache.path(), &server.endpoint);
    let error = hub.fetch_input("datasets/org/d").unwrap_err();
    assert!(error.to_string().contains("name one: datasets/org/d/data/test, datasets/org/d/data/train"), "{error}");
    assert_eq!(server.count("GET", "/resolve/"), 0);
    let (snapshot, paths) = hub.fetch_input("datasets/org/d/data/test").unwrap();
    assert_eq!(snapshot.name(), format!("datasets/org/d@{COMMIT}"));
    assert_eq!(paths, [snapshot.path.join("data/test-00000-of-00001.parquet")]);
    assert!(paths[0].is_file() && paths[0].to_str().unwrap().contains("/datasets--org--d/"));
    let (snapshot, paths) = hub.fetch_input("datasets/org/i/train").unwrap();
    assert_eq!(paths, [snapshot.path.join("train")]);
    assert!(paths[0].join("dog/2.png").is_file() && !snapshot.path.join("test").exists());
    assert_eq!(hub.fetch("datasets/org/d").unwrap().files.len(), 2);
    let (_, offline_paths) = offline(cache.path()).fetch_input("datasets/org/i/train").unwrap();
    assert_eq!(offline_paths, paths);
    let error = offline(cache.path()).fetch_input("datasets/org/i/test").unwrap_err();
    assert!(error.hint().unwrap().ends_with("run `deadweight pull datasets/org/i/test`"), "{error:?}");
}

/// Sees what a download reports; stops it behind `stop` bytes of a file.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    pub seen: Mutex<Vec<(String, u64, Option<u64>)>>,
    pub stop: Option<u64>,
}

impl DownloadMonitor for Watcher {
    fn progress(&self, file: &str, done: u64, total: Option<u64>) {
        self.seen.lock().unwrap().push((file.to_owned(), done, total));
    }

    fn stop(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        self.stop
            .is_some_and(|stop| seen.last().is_some_and(|(file, done, _)| file.starts_with("model") && *done >= stop))
    }
}

#[test]
fn progress_is_reported_and_a_stop_keeps_what_arrived() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::model(&files());
    let length = weights().len() as u64;
    let watched = |stop| {
        let watcher = Arc::new(Watcher { stop, ..Watcher::default() });
        let options = FetchOptions { monitor: Some(watcher.clone()), ..FetchOptions::default() };
        let result = Hub::new(settings(cache.path(), &server.endpoint, false), &options).fetch("org/net");
        let seen = watcher.seen.lock().unwrap().clone();
        (result, seen.into_iter().filter(|(file, ..)| file.starts_with("model")).collect::<Vec<_>>())
    };
    let (stopped, seen) = watched(Some(1));
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    assert!(seen.iter().all(|(_, _, total)| *total == Some(length)));
    let (finished, seen) = watched(None);
    finished.unwrap();
    assert!(seen[0].1 > 0, "it goes on from where it stopped: {seen:?}");
    assert_eq!(seen.last().unwrap().1, length);
    assert!(seen.is_sorted_by_key(|(_, done, _)| *done));
}
