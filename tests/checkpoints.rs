//! Safetensors checkpoints, shards and directories: names, shapes, values and provenance.

use std::path::Path;

use deadweight::error::exit;
use deadweight::source::Directory;
use deadweight::weights::{SourceFile, Weights};

/// A safetensors file: name, dtype, extents, bytes.
fn safetensors(tensors: &[(&str, &str, &str, &[u8])]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let end = data.len() + bytes.len();
        entries
            .push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{},{end}]}}"#, data.len()));
        data.extend_from_slice(bytes);
    }
    let header = format!("{{{}}}", entries.join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

fn one(name: &str, value: f32) -> Vec<u8> {
    safetensors(&[(name, "F32", "[1]", &value.to_le_bytes())])
}

#[test]
fn every_dtype_of_safetensors_becomes_f32() {
    let cases: [(&str, &[u8], &[f32]); 15] = [
        ("BOOL", &[0, 1], &[0.0, 1.0]),
        ("U8", &[0, 255], &[0.0, 255.0]),
        ("I8", &[0x80, 0x7f], &[-128.0, 127.0]),
        ("F8_E4M3", &[0x7e, 0x81], &[448.0, -0.001953125]),
        ("F8_E5M2", &[0x7b, 0x81], &[57344.0, -1.0 / 65536.0]),
        ("U16", &[0xff, 0xff], &[65535.0]),
        ("I16", &[0x00, 0x80], &[-32768.0]),
        ("F16", &[0x01, 0x00, 0x00, 0xc0], &[1.0 / 16_777_216.0, -2.0]),
        ("BF16", &[0x80, 0x3f], &[1.0]),
        ("U32", &[0xff, 0xff, 0xff, 0xff], &[4_294_967_300.0]),
        ("I32", &[1, 0, 0, 1], &[16_777_216.0]),
        ("F32", &[0, 0, 0x20, 0xc1], &[-10.0]),
        ("U64", &[0, 0, 0, 0, 0, 0, 0, 0x80], &[9_223_372_036_854_775_808.0]),
        ("I64", &[0xff; 8], &[-1.0]),
        ("F64", &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f], &[1.5]),
    ];
    let mut failures = Vec::new();
    for (dtype, bytes, values) in cases {
        let shape = format!("[{}]", values.len());
        let weights = Weights::from_bytes("w", safetensors(&[("t", dtype, &shape, bytes)])).unwrap();
        let read = weights.read_f32("t").unwrap();
        if *read != *values || weights.dtype("t") != Some(dtype) {
            failures.push(format!("{dtype}: got {read:?} as {:?}, want {values:?}", weights.dtype("t")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_file_in_memory_and_one_on_disk_are_the_same() {
    let bytes = safetensors(&[("module.b", "I8", "[]", &[7]), ("module.a", "U8", "[2, 1]", &[1, 2])]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.name");
    std::fs::write(&path, &bytes).unwrap();
    let on_disk = Weights::open(&path).unwrap();
    assert_eq!(on_disk.source(), path.display().to_string());
    // Computed by Python's hashlib on the same bytes.
    let sha256 = "c447497bfc68ef952fee78d8df82b4f6e979c8566ad4a22964be72478d537ec7";
    let file = |name: &str| SourceFile { name: name.into(), bytes: bytes.len() as u64, sha256: sha256.into() };
    assert_eq!(on_disk.files(), [file("any.name")]);
    let in_memory = Weights::from_bytes("built-in", bytes.clone()).unwrap();
    assert_eq!((in_memory.source(), in_memory.files()), ("built-in", &[file("built-in")][..]));
    for weights in [on_disk, in_memory] {
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((weights.shape("a"), weights.shape("b")), (Some(&[2, 1][..]), Some(&[][..])));
        assert_eq!((&*weights.read_f32("a").unwrap(), &*weights.read_f32("b").unwrap()), (&[1.0, 2.0][..], &[7.0][..]));
    }
}

#[test]
fn a_file_of_megabytes_is_read_and_hashed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    std::fs::write(&path, safetensors(&[("a", "U8", "[3000000]", &[5; 3_000_000])])).unwrap();
    let weights = Weights::open(&path).unwrap();
    assert!(weights.read_f32("a").unwrap().iter().all(|value| *value == 5.0));
    // Computed by Python's hashlib on the same bytes.
    assert_eq!(weights.files()[0].sha256, "f90ff201ac2980a7a1849594bfa76e9122cecd10f0f0a409ed2bb37061e55d55");
}

#[test]
fn tensors_made_in_memory() {
    let tensor = |shape: &[usize], values: &[f32]| vec![("w".to_owned(), shape.to_vec(), values.to_vec())];
    let weights = Weights::from_tensors("test", tensor(&[2, 1], &[1.0, 2.0])).unwrap();
    assert_eq!((weights.shape("w"), &*weights.read_f32("w").unwrap()), (Some(&[2, 1][..]), &[1.0, 2.0][..]));
    assert!(weights.files().is_empty());
    let error = Weights::from_tensors("test", tensor(&[3], &[1.0])).unwrap_err();
    assert_eq!(error.to_string(), "test: w: [3] of 1 values");
    let infinite = Weights::from_tensors("test", tensor(&[1], &[f32::INFINITY])).unwrap();
    assert_eq!(infinite.read_f32("w").unwrap_err().exit_code(), exit::NOT_FINITE);
}

/// Names and contents.
type Files<'a> = &'a [(&'a str, &'a [u8])];

/// Opens a directory with those files; the names of the tensors, or exit code and message.
fn open(files: Files<'_>) -> Result<Vec<String>, (u8, String)> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    match Directory::open(folder.path()) {
        Ok(Directory { weights, .. }) => {
            assert_eq!(weights.source(), folder.path().display().to_string());
            Ok(weights.names().map(str::to_owned).collect())
        }
        Err(error) => Err((error.exit_code(), format!("{error}; {}", error.hint().unwrap_or_default()))),
    }
}

#[test]
fn the_weights_of_a_directory() {
    let (a, b, c) = (&*one("a", 1.0), &*one("b", 2.0), &*one("c", 3.0));
    let index = br#"{"metadata": {}, "weight_map": {"a": "one", "b": "two"}}"#;
    let cases: [(Files<'_>, &[&str]); 6] = [
        (&[("pytorch_model.bin", a), ("model.safetensors", b), ("other.safetensors", c)], &["b"]),
        (&[("pytorch_model.bin", c), ("model.safetensors.index.json", index), ("one", a), ("two", b)], &["a", "b"]),
        (&[("pytorch_model.bin", a), ("pytorch_model.bin.index.json", index)], &["a"]),
        (&[("pytorch_model.bin.index.json", index), ("one", a), ("two", b)], &["a", "b"]),
        (&[("README.md", b"x"), ("net.pth", a), ("optimizer.pt", b), ("training_args.bin", c)], &["a"]),
        (&[("checkpoint.pth.tar", a)], &["a"]),
    ];
    for (files, names) in cases {
        assert_eq!(open(files).unwrap(), names);
    }
    assert_eq!(open(&[("model.safetensors", a), ("config.json", b"{}")]).unwrap(), ["a"]);
}

#[test]
fn a_directory_that_cannot_be_opened_says_why() {
    let (a, b) = (&*one("a", 1.0), &*one("b", 2.0));
    let map = |map: &str| format!(r#"{{"weight_map": {map}}}"#).into_bytes();
    let index = "model.safetensors.index.json";
    let cases: [(Files<'_>, u8, &str); 12] = [
        (&[], exit::UNAVAILABLE, "looked for model.safetensors"),
        (&[("notes.txt", b"x")], exit::UNAVAILABLE, "found notes.txt"),
        (&[("a.pth", a), ("b.pt", b)], exit::USAGE, "name one of them: a.pth, b.pt"),
        (&[("model.safetensors", a), ("config.json", b"{")], exit::FAILED, "config.json: no valid JSON"),
        (&[("model.safetensors", a), ("config.json", &[b' '; 5 << 20])], exit::FAILED, "bytes of JSON"),
        (&[(index, b"{}")], exit::FAILED, "without `weight_map`"),
        (&[(index, &map("{}"))], exit::FAILED, "no shards"),
        (&[(index, &map(r#"{"a": "../../etc/passwd"}"#))], exit::FAILED, "a: its shard is no plain file name"),
        (&[(index, &map(r#"{"a": "/etc/passwd"}"#))], exit::FAILED, "a: its shard is no plain file name"),
        (&[(index, &map(r#"{"a": "one"}"#))], exit::UNAVAILABLE, "one"),
        (&[(index, &map(r#"{"a": "one"}"#)), ("one", b)], exit::FAILED, "a: the index says it is here"),
        (
            &[
                (index, &map(r#"{"a": "one", "x": "two"}"#)),
                ("one", a),
                ("two", &safetensors(&[("a", "U8", "[1]", &[1]), ("x", "U8", "[1]", &[1])])),
            ],
            exit::FAILED,
            "a: two tensors of that name",
        ),
    ];
    let mut failures = Vec::new();
    for (files, code, message) in cases {
        let got = open(files);
        if !got.as_ref().is_err_and(|(got, text)| *got == code && text.contains(message)) {
            failures.push(format!("got {got:?}, want {code} {message}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let missing = Weights::open("no/such/file").unwrap_err();
    assert_eq!(missing.exit_code(), exit::UNAVAILABLE);
    assert!(missing.to_string().starts_with("no/such/file: "));
    if Path::new("/dev/zero").exists() {
        assert!(Weights::open("/dev/zero").unwrap_err().to_string().contains("no regular file"));
    }
}

/// Every safetensors file of the assets against the list of their tensors.
#[cfg(deadweight_assets)]
#[test]
fn assets_have_the_tensors_that_are_listed() {
    use std::collections::BTreeMap;

    let assets = Path::new(env!("DEADWEIGHT_ASSETS_DIR"));
    let list = std::fs::read_to_string(assets.join("KEYS.txt")).unwrap();
    let mut files: BTreeMap<&str, Vec<[&str; 3]>> = BTreeMap::new();
    for line in list.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, name, dtype, shape] = fields[..] else { panic!("{line}") };
        files.entry(file).or_default().push([name, dtype, shape]);
    }
    let mut failures = Vec::new();
    let mut read = 0;
    for (file, mut tensors) in files {
        for prefix in ["module.", "model.", "module.", "model."] {
            // A `model` of numbered layers is the network, not a wrapper.
            let numbered = tensors[0][0].starts_with("model.0.");
            if !numbered && tensors.iter().all(|[name, ..]| name.starts_with(prefix)) {
                tensors.iter_mut().for_each(|[name, ..]| *name = &name[prefix.len()..]);
            }
        }
        let mut wanted: Vec<String> =
            tensors.iter().map(|[name, dtype, shape]| format!("{name} {dtype} {shape}")).collect();
        wanted.sort();
        let weights = Weights::open(assets.join(file)).unwrap();
        let line = |name| format!("{name} {} {:?}", weights.dtype(name).unwrap(), weights.shape(name).unwrap());
        let mut got: Vec<String> = weights.names().map(line).collect();
        got.sort();
        if got != wanted {
            failures.push(format!("{file}: got {got:?}, want {wanted:?}"));
        }
        for name in weights.names() {
            let values = weights.read_f32(name).map_err(|error| failures.push(error.to_string()));
            read += values.map_or(0, |values| values.len());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(read > 10_000_000, "only {read} values");
}
