//! JPEGs of all codings: complete, truncated at every length, and damaged.

use std::path::Path;

use proptest::prelude::*;

use super::bits::Bits;
use super::*;

/// The files made by tests/reference/make_inputs.py, with their names.
fn files() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/inputs");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|end| end == "jpg"));
    files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn whole_ones_pass_whatever_follows_them() {
    let files = files();
    assert_eq!(files.len(), 7);
    for (name, mut bytes) in files {
        assert_eq!(check(&bytes), Ok(()), "{name}");
        bytes.extend(b"\0\xff\xd8 the next image");
        assert_eq!(check(&bytes), Ok(()), "{name} and what follows");
    }
}

#[test]
fn what_is_cut_off_is_missed() {
    for (name, bytes) in files() {
        for cut in 0..bytes.len() {
            assert!(check(&bytes[..cut]).is_err(), "{name}: {cut}");
        }
        // With an end marker where the file is cut, as some repair programs write.
        let data = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
        for cut in data + 2..bytes.len() - 2 {
            let ended = [&bytes[..cut], &[0xff, 0xd9]].concat();
            assert!(check(&ended).is_err(), "{name}: {cut}, ended");
        }
    }
}

#[test]
fn scans_that_are_missing_are_missed() {
    let (_, bytes) = files().into_iter().find(|(name, _)| name.ends_with("/progressive.jpg")).unwrap();
    let scans: Vec<usize> = (0..bytes.len() - 1).filter(|&at| bytes[at..at + 2] == [0xff, 0xda]).collect();
    assert!(scans.len() > 5, "{scans:?}");
    for cut in &scans[1..] {
        assert_eq!(check(&[&bytes[..*cut], &[0xff, 0xd9]].concat()), Err("lacks some of its scans: it was cut off"));
    }
}

#[test]
fn a_hole_in_the_data_is_seen() {
    for (name, mut bytes) in files() {
        let last = bytes.len() - 40;
        bytes[last - 60..last].fill(0);
        assert!(check(&bytes).is_err(), "{name}");
    }
}

/// The bits of `bytes` up to a marker.
fn plain_bits(bytes: &[u8]) -> Vec<u32> {
    let (mut bits, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        if byte == 0xff && bytes.get(at + 1) != Some(&0) {
            break;
        }
        at += if byte == 0xff { 2 } else { 1 };
        bits.extend((0..8).rev().map(|bit| u32::from(byte >> bit & 1)));
    }
    bits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn bits_are_those_of_the_bytes(
        bytes in prop::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>(), 1u8..0xff], 0..60),
        counts in prop::collection::vec(0u32..=16, 0..60),
    ) {
        let (mut read, plain) = (Bits::new(&bytes, 0), plain_bits(&bytes));
        let mut rest = &plain[..];
        for count in counts {
            let Some((bits, after)) = rest.split_at_checked(count as usize) else {
                prop_assert!(read.take(count).is_err());
                break;
            };
            prop_assert_eq!(read.take(count).ok(), Some(bits.iter().fold(0, |value, bit| value << 1 | bit)));
            rest = after;
        }
        // What is left of a byte is padding; zeros and ones may follow.
        let left = rest[rest.len() % 8..].chunks(8);
        let fills = left.map(|byte| byte.iter().sum::<u32>()).all(|ones| ones == 0 || ones == 8);
        prop_assert_eq!(read.end().is_ok(), fills);
    }

    #[test]
    fn damage_does_not_make_it_panic(
        file in 0usize..7, at in any::<prop::sample::Index>(), put in prop::collection::vec(any::<u8>(), 1..6),
    ) {
        let (_, mut bytes) = files().swap_remove(file);
        let at = at.index(bytes.len());
        bytes.splice(at..(at + put.len()).min(bytes.len()), put);
        let _ = check(&bytes);
    }

    #[test]
    fn noise_does_not_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = check(&[&[0xff, 0xd8][..], &bytes].concat());
    }
}
