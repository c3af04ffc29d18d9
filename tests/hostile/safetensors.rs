//! Malicious safetensors files, and files that hold no weights.

use super::build::safetensors;

fn entry(dtype: &str, shape: &str, from: u64, to: u64) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
}

mod refused {
    use super::super::refused;
    use super::*;

    #[test]
    fn safetensors_headers() {
        let good = entry("F32", "[2]", 0, 8);
        let one = |dtype: &str, shape: &str, from, to| {
            safetensors(&format!(r#"{{"a":{}}}"#, entry(dtype, shape, from, to)), 8)
        };
        let two = |b: String| safetensors(&format!(r#"{{"a":{good},"b":{b}}}"#), 16);
        let claim = |length: u64| [&length.to_le_bytes()[..], b"{\"a\":1}"].concat();
        let many = |text: &str, count: usize| {
            format!(r#"{{"a":{{"dtype":"F32","shape":[{}1],"data_offsets":[0,4]}}}}"#, text.repeat(count))
        };
        let entries: String = (0..100_000).map(|i| format!(r#""{i}":{},"#, entry("F32", "[0]", 0, 0))).collect();
        refused([
            ("header of 2^60 bytes", claim(1 << 60), "claims a header of 1152921504606846976 bytes"),
            ("header of 2^64 - 1 bytes", claim(u64::MAX), "claims a header"),
            ("header longer than the file", claim(8), "claims a header of 8 bytes"),
            ("header shorter than its JSON", claim(3), "no valid safetensors header"),
            ("overlapping tensors", two(entry("F32", "[2]", 4, 12)), "invalid offset"),
            ("the same bytes twice", two(good.clone()), "invalid offset"),
            ("a gap", two(entry("F32", "[1]", 12, 16)), "invalid offset"),
            ("data left over", two(entry("F32", "[1]", 8, 12)), "header"),
            ("data missing", two(entry("F32", "[4]", 8, 24)), "header"),
            (
                "a name twice",
                safetensors(&format!(r#"{{"a":{good},"a":{}}}"#, entry("F32", "[2]", 8, 16)), 16),
                "header",
            ),
            ("backwards", one("F32", "[2]", 8, 0), "header"),
            ("offsets of 2^62", one("F32", "[2]", 1 << 62, (1 << 62) + 8), "header"),
            ("wrong dtype", one("I64", "[2]", 0, 8), "header"),
            ("unknown dtype", one("F33", "[2]", 0, 8), "unknown variant"),
            ("wrong shape", one("F32", "[3]", 0, 8), "header"),
            ("shape that overflows", one("F32", "[4294967296,4294967296,4]", 0, 8), "header"),
            ("shape that overflows beside 0", one("F32", "[0,4294967296,4294967296]", 0, 0), "header"),
            ("negative extent", one("F32", "[-2]", 0, 8), "header"),
            ("deeply nested", safetensors(&format!("{{\"a\":{}", "[".repeat(1 << 20)), 0), "header"),
            ("many dimensions", safetensors(&many("1,", 100), 4), "dimensions"),
            ("millions of dimensions", safetensors(&many("1,", 3 << 20), 4), "longer than any network needs"),
            ("a million dimensions", safetensors(&many("1,", (1 << 20) - 9), 4), "dimensions"),
            ("a huge header", safetensors(&format!(r#"{{"{}":{good}}}"#, "a".repeat(17 << 20)), 8), "longer than any"),
            ("no tensors", safetensors("{}", 0), "holds no tensors"),
            ("many tensors and data left over", safetensors(&format!(r#"{{{entries}"a":{good}}}"#), 9), "header"),
            ("complex numbers", one("C64", "[1]", 0, 8), "dtype C64 is not supported"),
            (
                "NaN",
                [one("F32", "[2]", 0, 8)[..].strip_suffix(&[0; 4]).unwrap(), &f32::NAN.to_le_bytes()].concat(),
                "a: holds NaN",
            ),
        ]);
    }

    #[test]
    fn files_that_are_no_weights() {
        let mut tar = vec![0; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        refused([
            ("empty", Vec::new(), "empty file"),
            ("text", b"hello, world".to_vec(), "not recognised"),
            ("a page of HTML", b"<!DOCTYPE html><html></html>".to_vec(), "not recognised"),
            ("Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:".to_vec(), "git lfs pull"),
            ("tar", tar, "not supported"),
            ("HDF5", b"\x89HDF\r\n\x1a\n0000".to_vec(), "HDF5"),
            ("TFLite", b"\x1c\0\0\0TFL3\0\0".to_vec(), "TFLite"),
            ("ONNX", b"\x08\x08\x12\x07pytorch".to_vec(), "ONNX"),
            ("gzip", b"\x1f\x8b\x08\0\0".to_vec(), "gzip"),
            ("an index", br#"{"weight_map": {}}"#.to_vec(), "index of shards"),
            ("zeros", vec![0; 1 << 20], "not recognised"),
        ]);
    }
}

#[test]
fn a_sparse_file_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = deadweight::weights::Weights::open(&path).unwrap_err();
    assert!(error.to_string().contains("not recognised"), "{error}");
}
