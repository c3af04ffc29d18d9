//! Malicious and damaged GGUF files.

use deadweight::Error;
use deadweight::error::exit;
use deadweight::source::Directory;
use deadweight::weights::gguf::Gguf;

use super::read_all;

const LLAMA: &[u8] = include_bytes!("../reference/gguf/llama.gguf");
const BERT: &[u8] = include_bytes!("../reference/gguf/bert.gguf");
const BLOCKS: &[u8] = include_bytes!("../reference/gguf/blocks.gguf");

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// An entry of metadata: key, type, value.
fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&string(key), &kind.to_le_bytes()[..], value].concat()
}

/// An array of `count` values of type `kind`.
fn array(kind: u32, count: u64, values: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), values].concat()
}

/// A tensor: name, extents (the innermost first), type, offset.
fn tensor(name: &str, extents: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let extents: Vec<u8> = extents.iter().flat_map(|extent| extent.to_le_bytes()).collect();
    let rank = (extents.len() / 8) as u32;
    [&string(name), &rank.to_le_bytes()[..], &extents, &kind.to_le_bytes(), &offset.to_le_bytes()].concat()
}

fn header(version: u32, tensors: u64, entries: u64) -> Vec<u8> {
    [b"GGUF", &version.to_le_bytes()[..], &tensors.to_le_bytes(), &entries.to_le_bytes()].concat()
}

/// A file with `entries` beside its architecture, `tensors`, and `data` bytes of them.
fn file(entries: &[Vec<u8>], tensors: &[Vec<u8>], data: usize) -> Vec<u8> {
    let architecture = entry("general.architecture", 8, &string("bert"));
    let head = header(3, tensors.len() as u64, 1 + entries.len() as u64);
    let mut bytes = [head, architecture, entries.concat(), tensors.concat()].concat();
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

mod refused {
    use super::super::refused;
    use super::*;

    #[test]
    fn gguf_headers() {
        let of = |entries: &[Vec<u8>]| file(entries, &[tensor("a", &[1], 0, 0)], 4);
        let one = |extents: &[u64], kind, offset, data| file(&[], &[tensor("a", extents, kind, offset)], data);
        let two = |second: Vec<u8>| file(&[], &[tensor("a", &[8], 0, 0), second], 64);
        let long = |length: u64| [&length.to_le_bytes()[..], b"x"].concat();
        let key = |length: u64| [header(3, 0, 1), long(length), vec![0; 64]].concat();
        let mut nested = Vec::new();
        (0..100).for_each(|_| nested.extend(array(9, 1, &[])));
        let bytes = vec![0; 4 << 20];
        refused([
            ("nothing behind the magic", b"GGUF".to_vec(), "its version: is 4 bytes long, 0 are left"),
            ("version 1", [header(1, 0, 0), vec![0; 8]].concat(), "version 1 is not supported"),
            ("version 9", header(9, 0, 0), "versions 2 and 3 are read"),
            ("big-endian", header(3 << 24, 0, 0), "big-endian GGUF file is not supported"),
            ("2^60 tensors", header(3, 1 << 60, 0), "claims 1152921504606846976 tensors"),
            ("2^64 - 1 entries", header(3, 0, u64::MAX), "claims 18446744073709551615 entries"),
            ("more entries than bytes", [header(3, 0, 9), vec![0; 40]].concat(), "claims 9 entries"),
            ("a key of 2^60 bytes", key(1 << 60), "is 1152921504606846976 bytes long"),
            ("a key of 2^64 - 1 bytes", key(u64::MAX), "is 18446744073709551615 bytes long"),
            ("a string of 2^60 bytes", of(&[entry("k", 8, &long(1 << 60))]), "k: is 1152921504606846976 bytes long"),
            (
                "an array of 2^60 bytes",
                of(&[entry("k", 9, &array(0, 1 << 60, &[]))]),
                "claims 1152921504606846976 values of k",
            ),
            (
                "an array of 2^64 - 1 strings",
                of(&[entry("k", 9, &array(8, u64::MAX, &[]))]),
                "claims 18446744073709551615 values",
            ),
            ("an array of 4 M bytes", of(&[entry("k", 9, &array(0, 4 << 20, &bytes))]), "k: more than 2097152 values"),
            (
                "an array of 4 M empty strings",
                of(&[entry("k", 9, &array(8, 4 << 20, &vec![0; 32 << 20]))]),
                "k: more than",
            ),
            ("nested arrays", of(&[entry("k", 9, &nested)]), "k: arrays nested too deep"),
            ("an unknown type", of(&[entry("k", 77, &[0; 8])]), "k: is of type 77"),
            ("a flag of 2", of(&[entry("k", 7, &[2])]), "k: is neither true nor false"),
            ("a key twice", of(&[entry("k", 0, &[2]), entry("k", 0, &[2])]), "k: two values"),
            (
                "a key that is no text",
                [header(3, 0, 1), [1, 0, 0, 0, 0, 0, 0, 0, 0xff].to_vec(), vec![0; 32]].concat(),
                "is not UTF-8",
            ),
            ("alignment 0", of(&[entry("general.alignment", 4, &[0; 4])]), "general.alignment: is no power of two"),
            ("alignment 2^31", of(&[entry("general.alignment", 4, &[0, 0, 0, 0x80])]), "general.alignment: is no"),
            ("alignment as text", of(&[entry("general.alignment", 8, &string("a"))]), "general.alignment: is no"),
            ("five dimensions", one(&[1; 5], 0, 0, 64), "a: has 5 dimensions, at most 4"),
            (
                "2^32 - 1 dimensions",
                file(&[], &[[string("a"), vec![0xff; 40]].concat()], 64),
                "has 4294967295 dimensions",
            ),
            ("extents that overflow", one(&[1 << 32, 1 << 32, 1 << 32], 0, 0, 64), "a: has an extent of 4294967296"),
            ("an extent of 0", one(&[0], 0, 0, 64), "a: has an extent of 0"),
            ("2^47 values", one(&[1 << 47], 0, 0, 64), "are not in the file"),
            ("a type that is not read", one(&[256], 10, 0, 128), "a: type Q2_K is not supported"),
            ("a type that does not exist", one(&[256], 999, 0, 128), "a: type 999 is not supported"),
            ("rows of half a block", one(&[16, 2], 2, 0, 64), "its rows are no whole blocks of 32"),
            (
                "a tensor beyond the file",
                one(&[32], 0, 0, 64),
                "128 bytes from byte 0 of the data on are not in the file",
            ),
            ("an offset beyond the file", one(&[1], 0, 1 << 40, 64), "are not in the file"),
            ("an offset of 2^64 - 1", one(&[1], 0, u64::MAX, 64), "are not in the file"),
            ("a tensor in another", two(tensor("b", &[8], 0, 16)), "b: begins at byte 16 of the data, where another"),
            ("a name twice", two(tensor("a", &[8], 0, 32)), "a: two tensors"),
            ("no tensor", file(&[], &[], 64), "holds no tensors"),
            ("no architecture", [header(3, 0, 0), vec![0; 64]].concat(), "general.architecture: is missing"),
            (
                "scales of infinity",
                one(&[32], 8, 0, 0).into_iter().chain([0xff; 34]).collect(),
                "a: holds NaN or infinity",
            ),
        ]);
    }

    #[test]
    fn gguf_architectures() {
        let of = |name: &str, entries: Vec<u8>, count: u64, tensor: Vec<u8>| {
            let architecture = entry("general.architecture", 8, &string(name));
            let mut bytes = [header(3, 1, 1 + count), architecture, entries, tensor].concat();
            bytes.resize(bytes.len().next_multiple_of(32) + 256, 0);
            bytes
        };
        let q = || tensor("blk.0.attn_q.weight", &[2, 6], 0, 0);
        let heads = |count: u32| entry("llama.attention.head_count", 4, &count.to_le_bytes());
        refused([
            ("an unknown architecture", of("mamba", vec![], 0, q()), "architecture mamba is not supported"),
            ("no heads", of("llama", vec![], 0, q()), "llama.attention.head_count: is missing"),
            ("heads as text", of("llama", entry("llama.attention.head_count", 8, &string("4")), 1, q()), "is no count"),
            ("0 heads", of("llama", heads(0), 1, q()), "are no pairs of 0 heads"),
            (
                "heads that do not divide",
                of("llama", heads(4), 1, q()),
                "[6, 2] of F32: its rows are no pairs of 4 heads",
            ),
            ("2^32 - 1 heads", of("llama", heads(u32::MAX), 1, q()), "are no pairs of 4294967295 heads"),
            (
                "one part of several",
                of("bert", entry("split.count", 2, &[3, 0]), 1, q()),
                "one of 3 parts of a GGUF file is not supported",
            ),
            (
                "experts",
                of("llama", entry("llama.expert_count", 4, &[8, 0, 0, 0]), 1, q()),
                "a mixture of experts is not supported",
            ),
        ]);
    }
}

#[test]
fn cut_off_gguf_files_are_errors() {
    // The header is cut everywhere, the data in some places.
    let data = LLAMA.len() - 20_000;
    for length in (0..data).step_by(3).chain((data..LLAMA.len() - 32).step_by(211)) {
        assert!(read_all(&LLAMA[..length]).is_err(), "the first {length} bytes are read");
    }
    read_all(LLAMA).unwrap();
}

/// Reads everything of a file: tensors, codes, configuration, vocabulary.
fn read_whole(bytes: Vec<u8>) -> Result<(), Error> {
    let file = Gguf::from_bytes("file", bytes)?;
    for name in file.weights.names() {
        let count: usize = file.weights.shape(name).unwrap().iter().product();
        let codes = file.weights.block_codes(name).map(|stored| stored.codes().len());
        assert!(codes.is_none_or(|codes| codes == count), "{name}");
        let _ = file.weights.read_f32(name).map(|values| assert_eq!(values.len(), count, "{name}"));
    }
    let vocabulary = Directory::of_gguf(file)?.vocabulary.map(|stored| stored.open()).transpose()?;
    vocabulary.map_or(Ok(()), |vocabulary| vocabulary.encode_whole("t", 1, "the \u{e9}<s>", None).map(|_| ()))
}

#[test]
fn damaged_gguf_files_never_panic() {
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (name, good, header) in [("llama", LLAMA, 10_000), ("bert", BERT, 4000), ("blocks", BLOCKS, 1200)] {
        read_whole(good.to_vec()).err().into_iter().for_each(|error| assert_eq!(name, "blocks", "{error}"));
        for _ in 0..1500 {
            let mut bytes = good.to_vec();
            for _ in 0..1 + next(4) {
                let end = if next(4) == 0 { bytes.len() } else { header };
                let at = next(end);
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, next(256) as u8][next(6)];
            }
            if let Err(error) = read_whole(bytes) {
                assert!([exit::FAILED, exit::UNSUPPORTED].contains(&error.exit_code()), "{error:?}");
            }
        }
    }
}
