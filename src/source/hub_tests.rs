//! The hub client against a server on the loopback interface, and against caches made by hand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{Hub, Id};
use crate::error::exit;
use crate::source::Directory;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_secretsecret";

/// How the server answers every request for a file.
#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Well,
    Status(u16),
    /// Closes the connection in the middle of a file.
    Cut,
    /// Sends a path outside the cache as etag.
    Escape,
}

struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// Serves `files` of `org/net` as the hub does, each connection once.
fn serve(files: &[(&str, Vec<u8>)], behaviour: Behaviour) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let files: HashMap<String, Vec<u8>> =
        files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &files, behaviour, &log);
        }
    });
    Server { endpoint, requests }
}

fn answer(mut stream: TcpStream, files: &HashMap<String, Vec<u8>>, behaviour: Behaviour, log: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    for line in BufReader::new(&stream).lines() {
        match line {
            Ok(line) if !line.is_empty() => head.push(line),
            _ => break,
        }
    }
    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { return };
    let header = |name: &str| {
        let of = |line: &&String| line.to_ascii_lowercase().starts_with(&format!("{name}: "));
        head.iter().find(of).map(|line| line[name.len() + 2..].to_owned())
    };
    log.lock().unwrap().push(format!("{path} {}", header("authorization").unwrap_or_default()).trim().to_owned());
    let mut reply = |status: &str, more: &str, length: usize, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n");
        drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
    };
    if let Behaviour::Status(status) = behaviour {
        return reply(&format!("{status} No"), "", 0, b"");
    }
    if path.starts_with("/api/models/org/net/revision/") {
        let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        return reply("200 OK", "Content-Type: application/json\r\n", body.len(), body.as_bytes());
    }
    let file = path.strip_prefix(&format!("/org/net/resolve/{COMMIT}/")).and_then(|name| files.get_key_value(name));
    let Some((name, bytes)) = file else { return reply("404 Not Found", "", 0, b"") };
    let range = header("range").unwrap();
    let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    let end = end.parse().map_or(bytes.len(), |end: usize| (end + 1).min(bytes.len()));
    let etag = if behaviour == Behaviour::Escape {
        "../../escaped".into()
    } else {
        format!("etag-{}", name.replace(['.', '/'], "-"))
    };
    let more = format!(
        "ETag: \"{etag}\"\r\nx-repo-commit: {COMMIT}\r\nContent-Range: bytes {start}-{}/{}\r\n",
        end - 1,
        bytes.len()
    );
    let sent = if behaviour == Behaviour::Cut && end - start > 1 { start + 1 } else { end };
    reply("206 Partial Content", &more, end - start, &bytes[start..sent]);
}

fn hub(cache: &Path, endpoint: &str, offline: bool) -> Hub {
    Hub { cache: cache.join("hub"), endpoint: endpoint.into(), token: Some(TOKEN.into()), offline }
}

/// A safetensors file of one tensor.
fn safetensors(name: &str, value: f32) -> Vec<u8> {
    let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &value.to_le_bytes()].concat()
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("README.md", b"not wanted".to_vec()),
        ("config.json", br#"{"model_type": "resnet"}"#.to_vec()),
        ("preprocessor_config.json", br#"{"size": 224}"#.to_vec()),
        ("model.safetensors", safetensors("w", 1.5)),
        ("pytorch_model.bin", b"not wanted".to_vec()),
    ]
}

#[test]
fn downloads_once_and_reads_offline() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(&files(), Behaviour::Well);
    let snapshot = hub(cache.path(), &server.endpoint, false).fetch("org/net").unwrap();
    let directory = Directory::open(&snapshot).unwrap();
    assert_eq!(&*directory.weights.read_f32("w").unwrap(), [1.5]);
    assert_eq!(directory.config.as_ref().unwrap()["model_type"], "resnet");
    assert_eq!(directory.preprocessor.as_ref().unwrap()["size"], 224);
    let requests = server.requests.lock().unwrap().clone();
    assert!(requests.iter().all(|request| request.ends_with(&format!("Bearer {TOKEN}"))), "{requests:?}");
    assert!(!requests.iter().any(|request| request.contains("README") || request.contains("pytorch")), "{requests:?}");

    // A branch is listed again, but its files are not downloaded again.
    assert_eq!(hub(cache.path(), &server.endpoint, false).fetch("org/net@main").unwrap(), snapshot);
    assert_eq!(server.requests.lock().unwrap().len(), requests.len() + 1);
    // A commit is not even listed; offline nothing is requested.
    for (id, offline) in [(format!("org/net@{COMMIT}"), false), ("org/net".into(), true)] {
        assert_eq!(hub(cache.path(), &server.endpoint, offline).fetch(&id).unwrap(), snapshot);
    }
    assert_eq!(server.requests.lock().unwrap().len(), requests.len() + 1);
    // No server is listening: the cache is used.
    assert_eq!(hub(cache.path(), "http://127.0.0.1:1", false).fetch("org/net").unwrap(), snapshot);
}

#[test]
fn downloads_shards() {
    let cache = tempfile::tempdir().unwrap();
    let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#.to_vec();
    let shards = vec![
        ("model.safetensors.index.json", index),
        ("model-1.safetensors", safetensors("a", 1.0)),
        ("model-2.safetensors", safetensors("b", 2.0)),
    ];
    let server = serve(&shards, Behaviour::Well);
    let snapshot = hub(cache.path(), &server.endpoint, false).fetch("org/net@refs/pr/5").unwrap();
    let directory = Directory::open(&snapshot).unwrap();
    assert_eq!(directory.weights.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(directory.weights.files().len(), 3);
    std::fs::remove_file(snapshot.join("model-2.safetensors")).unwrap();
    let error = hub(cache.path(), &server.endpoint, true).fetch("org/net@refs/pr/5").unwrap_err();
    assert!(error.to_string().contains("model-2.safetensors"), "{error}");
}

#[test]
fn downloads_how_sentences_are_pooled() {
    let cache = tempfile::tempdir().unwrap();
    let modules = br#"[{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"},
        {"type": "a.Normalize", "path": "../.."}]"#;
    let files = [
        ("config.json", br#"{"model_type": "bert"}"#.to_vec()),
        ("modules.json", modules.to_vec()),
        ("1_Pooling/config.json", br#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#.to_vec()),
        ("2_Other/config.json", b"not wanted".to_vec()),
        ("model.safetensors", safetensors("w", 1.0)),
    ];
    let server = serve(&files, Behaviour::Well);
    let snapshot = hub(cache.path(), &server.endpoint, false).fetch("org/net").unwrap();
    let config = Directory::open(&snapshot).unwrap().config.unwrap();
    assert_eq!((&config["_pooling"], &config["_normalise"]), (&"first".into(), &true.into()));
    assert!(!server.requests.lock().unwrap().iter().any(|request| request.contains("2_Other")));
}

#[test]
fn failures_say_what_to_do() {
    let cases = [
        (Behaviour::Status(404), "not found", "check the id"),
        (Behaviour::Status(401), "401", "HF_TOKEN"),
        (Behaviour::Status(403), "403", "HF_TOKEN"),
        (Behaviour::Status(429), "429", "wait"),
        (Behaviour::Status(503), "503", "later"),
        (Behaviour::Cut, "model.safetensors", "network"),
        (Behaviour::Escape, "unusable etag", "later"),
    ];
    let mut failures = Vec::new();
    for (behaviour, message, hint) in cases {
        let cache = tempfile::tempdir().unwrap();
        let files = [("model.safetensors", safetensors("w", 1.0))];
        let server = serve(&files, behaviour);
        let error = hub(cache.path(), &server.endpoint, false).fetch("org/net").unwrap_err();
        let given_hint = error.hint().unwrap_or_default();
        let text = format!("{error}; {given_hint}; {error:?}");
        if error.exit_code() != exit::UNAVAILABLE || !text.contains(message) || !given_hint.contains(hint) {
            failures.push(text.clone());
        }
        assert!(!text.contains(TOKEN), "{text}");
        assert!(!cache.path().join("escaped").exists() && !cache.path().join("hub/escaped").exists());
        hub(cache.path(), "", true).fetch("org/net").unwrap_err();
    }
    let error = hub(Path::new("/nonexistent"), "http://127.0.0.1:1", false).fetch("org/net").unwrap_err();
    assert_eq!(error.exit_code(), exit::UNAVAILABLE);
    assert!(error.hint().unwrap().contains("check the network"), "{error}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_cache_made_by_hand_is_read_and_a_miss_says_how_to_get_it() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(cache.path(), "", true);
    let error = hub.fetch("org/net@v2").unwrap_err();
    assert_eq!(error.exit_code(), exit::UNAVAILABLE);
    assert!(error.to_string().contains("org/net@v2: the revision in the cache"), "{error}");
    assert!(error.hint().unwrap().contains("hf download org/net --revision v2"), "{error}");

    let folder = cache.path().join("hub/models--org--net");
    let snapshot = folder.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::write(folder.join("refs/v2"), COMMIT).unwrap();
    assert!(hub.fetch("org/net@v2").unwrap_err().to_string().contains("weights in the cache"));
    std::fs::write(snapshot.join("model.safetensors"), safetensors("w", 2.0)).unwrap();
    assert_eq!(hub.fetch("org/net@v2").unwrap(), snapshot);
    std::fs::write(folder.join("refs/v2"), "../../../etc").unwrap();
    assert_eq!(hub.fetch("org/net@v2").unwrap_err().exit_code(), exit::UNAVAILABLE);
}

#[test]
fn settings_come_from_the_environment_in_order() {
    let hub = |set: &[(&str, &str)]| {
        let set: HashMap<String, String> = set.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Hub::new(|name| set.get(name).cloned())
    };
    let all = [("HF_HUB_CACHE", "/a"), ("HF_HOME", "/b"), ("XDG_CACHE_HOME", "/c"), ("HOME", "/d")];
    for (from, cache) in ["/a", "/b/hub", "/c/huggingface/hub", "/d/.cache/huggingface/hub"].iter().enumerate() {
        assert_eq!(hub(&all[from..]).unwrap().cache, Path::new(cache));
    }
    assert!(hub(&[]).is_err_and(|error| error.to_string().contains("HF_HOME")));
    for (value, offline) in [("1", true), ("TRUE", true), ("yes", true), ("on", true), ("0", false), ("no", false)] {
        assert_eq!(hub(&[("HOME", "/d"), ("HF_HUB_OFFLINE", value)]).unwrap().offline, offline, "{value}");
    }
    let set = hub(&[("HOME", "/d"), ("HF_TOKEN", " t\n"), ("HF_ENDPOINT", "http://h/")]).unwrap();
    assert_eq!((set.token.as_deref(), set.endpoint.as_str()), (Some("t"), "http://h"));
}

#[test]
fn invalid_ids_are_refused() {
    for id in [
        "net",
        "a/b/c",
        "org/..",
        "../net",
        "org/net@",
        "org/net@../x",
        "org/net@a//b",
        "o rg/net",
        "org/net@a@b",
        "/net",
    ] {
        assert!(Id::parse(id).is_err_and(|error| error.exit_code() == exit::USAGE), "{id}");
    }
    let id = Id::parse("org/net@refs/pr/5").unwrap();
    assert_eq!((id.repo, id.revision), ("org/net", "refs/pr/5"));
}
