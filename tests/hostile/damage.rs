//! Valid files, truncated and with flipped bits, and random bytes.

use std::path::PathBuf;

use deadweight::weights::Weights;
use proptest::prelude::*;

use super::build::{LEGACY, legacy, safetensors};
use super::read_all;

/// The PyTorch checkpoints of the references, and one safetensors file.
fn good_files() -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(crate::pickles::folder()).unwrap().map(|entry| entry.unwrap().path());
    let pickles = entries.filter(|path| path.extension().is_none_or(|extension| extension != "json"));
    let mut files: Vec<_> = pickles.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    let header = r#"{"__metadata__":{"k":"v"},"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},"b":{"dtype":"I8","shape":[3],"data_offsets":[8,11]}}"#;
    files.push(("good.safetensors".into(), safetensors(header, 11)));
    assert!(files.len() > 30);
    files
}

#[test]
fn truncated_at_every_length() {
    for (path, bytes) in good_files() {
        Weights::from_bytes("file", bytes.clone()).err().into_iter().for_each(|error| {
            let unsupported = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("unsupported"));
            assert!(unsupported, "{}: {error}", path.display());
        });
        for length in 0..bytes.len() {
            let result = Weights::from_bytes("file", bytes[..length].to_vec());
            assert!(result.is_err(), "{}: {length} of {} bytes were enough", path.display(), bytes.len());
        }
    }
}

/// The byte ranges that matter in a zip checkpoint; empty for other files.
fn checked(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let Ok(mut archive) = zip::ZipArchive::new(std::io::Cursor::new(bytes)) else { return Vec::new() };
    let members = (0..archive.len()).filter_map(|index| {
        let member = archive.by_index(index).unwrap();
        let name = member.name().unwrap().into_owned();
        let start = member.data_start().unwrap() as usize;
        (name.ends_with("/data.pkl") || name.contains("/data/")).then_some(start..start + member.size() as usize)
    });
    members.collect()
}

#[test]
fn a_bit_flipped_in_every_byte() {
    let mut missed = Vec::new();
    let mut noticed = 0;
    for (path, bytes) in good_files() {
        let checked = checked(&bytes);
        let mut damaged = bytes.clone();
        for at in 0..bytes.len() {
            damaged[at] ^= 1 << (at * 5 % 8);
            let refused = read_all(&damaged).is_err();
            if checked.iter().any(|range| range.contains(&at)) {
                if refused { noticed += 1 } else { missed.push(format!("{}: byte {at}", path.display())) }
            }
            damaged[at] = bytes[at];
        }
    }
    // Legacy files and safetensors have no checksum: it is enough that nothing panics.
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert!(noticed > 5000, "only {noticed} bytes were under a checksum");
}

/// Instructions with operands, mostly in a valid order, so that values are built.
fn instruction() -> impl Strategy<Value = Vec<u8>> {
    let plain = b"N0122(]})atesuldRbQo\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94";
    prop_oneof![
        8 => prop::sample::select(plain.to_vec()).prop_map(|opcode| vec![opcode]),
        3 => (prop::sample::select(b"hqK".to_vec()), 0_u8..8).prop_map(|(opcode, operand)| vec![opcode, operand]),
        2 => prop::sample::select(vec!["storage", "0", "state_dict", "_modules", "_parameters", "w"])
            .prop_map(|text| format!("S'{text}'\n").into_bytes()),
        2 => prop::sample::select(vec!["_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_qtensor"])
            .prop_map(|name| format!("ctorch._utils\n{name}\n").into_bytes()),
        1 => prop::sample::select(vec!["FloatStorage", "QInt8Storage", "Size", "per_tensor_affine", "per_channel_affine"])
            .prop_map(|name| format!("ctorch\n{name}\n").into_bytes()),
        1 => Just(super::build::tensor("2", "0", &["2"], &["1"])),
        1 => Just(b"ccollections\nOrderedDict\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..12),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn bytes_at_random(kind in 0_usize..5, tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let head = [&b""[..], b"PK\x03\x04", b"\x80\x02", LEGACY, b"\x20\0\0\0\0\0\0\0{\"a\":"][kind];
        prop_assert!(read_all(&[head, &tail].concat()).is_err());
    }

    #[test]
    fn instructions_at_random(pickle in prop::collection::vec(instruction(), 0..60)) {
        drop(read_all(&legacy(&pickle.concat())));
    }

    #[test]
    fn headers_at_random(shape in prop::collection::vec(any::<u64>(), 0..4), from in 0_u64..20, to: u64, data in 0_usize..20) {
        let header = format!(r#"{{"a":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{from},{to}]}}}}"#);
        let fits = from == 0 && to == data as u64 && shape.iter().map(|n| u128::from(*n)).product::<u128>() * 4 == u128::from(to);
        prop_assert_eq!(read_all(&safetensors(&header, data)).is_ok(), fits);
    }
}
