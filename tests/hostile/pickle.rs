//! Malicious PyTorch checkpoints: pickle bombs, tensors outside their storages, inconsistent archives.

use super::build::{LEGACY, Member, crc, legacy, local, named, tensor, zip};

/// Nested lists, each referring twice to the one below (billion laughs).
fn laughs(levels: usize, leaf: &[u8]) -> Vec<u8> {
    let mut pickle = leaf.to_vec();
    pickle.extend(b"p0\n");
    for level in 1..=levels {
        pickle.extend(format!("0]p{level}\n(g{0}\ng{0}\ne", level - 1).into_bytes());
    }
    pickle
}

/// A zip checkpoint with one pickle and a storage `0` of two floats.
fn archive(pickle: &[u8], change: impl Fn(&mut Member<'_>)) -> Vec<u8> {
    let (mut bytes, mut members) = (Vec::new(), Vec::new());
    for (name, data) in [("a/data.pkl", pickle), ("a/data/0", &[0; 8]), ("a/byteorder", b"little")] {
        let mut member =
            Member { name, method: 0, flags: 0, crc: crc(data), size: data.len() as u32, offset: bytes.len() as u32 };
        change(&mut member);
        bytes.extend(local(name, member.method, member.flags, member.crc, data));
        members.push(member);
    }
    zip(bytes, &members)
}

#[test]
fn what_the_hostile_files_start_from_is_good() {
    let pickle = named("w", &tensor("2", "0", &["2"], &["1"]));
    super::read_all(&legacy(&pickle)).unwrap();
    super::read_all(&archive(&[&pickle[..], b"."].concat(), |_| ())).unwrap();
    super::read_all(&legacy(&laughs(3, &pickle))).unwrap();
}

mod refused {
    use super::super::refused;
    use super::*;

    #[test]
    fn pickles() {
        let good = tensor("2", "0", &["2"], &["1"]);
        let all = |byte: &[u8], count: usize| legacy(&byte.repeat(count));
        let text = |opcodes: &[u8]| legacy(opcodes);
        let claims = |opcode: u8, length: &[u8]| legacy(&[&[opcode], length, b"abc"].concat());
        let rebuild = b"ctorch._utils\n_rebuild_parameter\n";
        refused([
            ("three million memos", legacy(&[&b"N"[..], &b"\x94".repeat(3 << 20)].concat()), "values in the memo"),
            (
                "a million objects",
                legacy(&[&b"ca\nb\nq\x00"[..], &b"h\x00)\x81".repeat(1 << 20)].concat()),
                "more than 1048576 values",
            ),
            ("three million values", all(b"N", 3 << 20), "more than 1048576 values"),
            ("three million copies", legacy(&[b"N".to_vec(), b"2".repeat(3 << 20)].concat()), "on the stack"),
            ("three million marks", all(b"(", 3 << 20), "nested deeper"),
            ("nine million instructions", legacy(&[&b"N"[..], &b"20".repeat(9 << 19)].concat()), "instructions"),
            (
                "a million nested tuples",
                legacy(&[b")".to_vec(), b"\x85".repeat(1_000_000)].concat()),
                "nested deeper than 128",
            ),
            (
                "a million nested lists",
                legacy(&[named("w", &good), b"\x85".repeat(1_000_000)].concat()),
                "nested deeper than 128",
            ),
            ("a list within itself", text(b"]q\x00h\x00a"), "holds no tensors"),
            ("a dict within itself", text(b"}q\x00S'a'\nh\x00s"), "holds no tensors"),
            (
                "a parameter of itself",
                legacy(&[b"}S'w'\n", &rebuild[..], b"]q\x00Rq\x01h\x00h\x01a0s"].concat()),
                "wrapped too many times",
            ),
            ("2^40 names for nothing", legacy(&laughs(40, b"N")), "too entangled"),
            ("2^40 names for a tensor", legacy(&laughs(40, &good)), "more than"),
            ("2^40 dicts", legacy(&named("w", &laughs(40, b"}"))), "too entangled"),
            (
                "a million pairs, a hundred times",
                legacy(
                    &[
                        b"ccollections\nOrderedDict\np0\n0(lp1\n(",
                        &b"]NaNaa"[..0],
                        &b"(NNt".repeat(200_000)[..],
                        b"e\x85p2\n0",
                        &b"g0\ng2\nR0".repeat(100),
                        b"N",
                    ]
                    .concat(),
                ),
                "more than 1048576 items",
            ),
            ("text of 2^60 bytes", claims(0x8d, &(1_u64 << 60).to_le_bytes()), "wants 1152921504606846976 bytes"),
            ("bytes of 2^64 - 1 bytes", claims(0x8e, &u64::MAX.to_le_bytes()), "wants"),
            ("an array of 2^63 bytes", claims(0x96, &(1_u64 << 63).to_le_bytes()), "wants"),
            ("text of -1 bytes", claims(b'T', &[255; 4]), "wants"),
            ("an integer of -1 bytes", claims(0x8b, &[255; 4]), "wants"),
            ("an unknown memo", text(b"j\xff\xff\xff\xff"), "nothing in the memo"),
            ("an empty stack", text(b"0"), "the stack is empty"),
            ("below a mark", text(b"N(\x85"), "the stack is empty"),
            ("no mark", text(b"Nt"), "no mark"),
            ("a key without a value", text(b"}(Nu"), "a key without a value"),
            ("appends to an integer", text(b"I1\nNa"), "no list"),
            ("protocol 6", text(b"\x80\x06N"), "protocol 6"),
            ("an extension", text(b"\x82\x01"), "extension registry"),
            ("a foreign buffer", text(b"\x97"), "buffer"),
            ("an unknown instruction", text(b"\xff"), "unknown instruction 0xff"),
            ("no end", [LEGACY, b"N"].concat(), "wants 1 bytes"),
            ("a line without an end", [LEGACY, b"S'abc"].concat(), "a line without an end"),
            ("another pickle", b"\x80\x02K\x01.".to_vec(), "that torch.save did not write"),
            ("big-endian", [&LEGACY[..LEGACY.len() - 3], b"\x89s.N."].concat(), "big-endian"),
        ]);
    }

    #[test]
    fn tensors() {
        let make = |count: &str, offset: &str, size: &[&str], stride: &[&str]| {
            legacy(&named("w", &tensor(count, offset, size, stride)))
        };
        let patched = |from: &str, to: &str| {
            let good = String::from_utf8(named("w", &tensor("2", "0", &["2"], &["1"]))).unwrap();
            assert!(good.contains(from));
            legacy(good.replace(from, to).as_bytes())
        };
        let ones = vec!["1"; 100_000];
        let good = tensor("2", "0", &["2"], &["1"]);
        let scheme = |params: &[u8]| {
            let call = String::from_utf8(good.clone()).unwrap().replace("_rebuild_tensor", "_rebuild_qtensor");
            legacy(&named("w", &[call.strip_suffix("tR").unwrap().as_bytes(), params, b"tR"].concat()))
        };
        let channel = |axis: &str| {
            scheme(&[b"(ctorch\nper_channel_affine\n", &good[..], &good[..], format!("I{axis}\nt").as_bytes()].concat())
        };
        let mut long = legacy(&named("w", &good));
        let count = long.len() - 16;
        long[count..count + 8].copy_from_slice(&(1_u64 << 60).to_le_bytes());
        refused([
            ("a storage of 2^60 elements", long, "storage \"0\" claims 1152921504606846976 elements"),
            ("more elements than the storage", make("3", "0", &["2"], &["1"]), "claims 3 elements"),
            ("2^62 elements", make("4611686018427387904", "0", &["2"], &["1"]), "claims"),
            ("a shape beyond the storage", make("2", "0", &["3"], &["1"]), "w: shape [3]"),
            (
                "a view beyond its storage",
                patched("I2\ntQ", "I2\n(S'v'\nI1\nI2\nttQ"),
                "a storage view outside its storage",
            ),
            (
                "a view of 2^63 - 1",
                patched("I2\ntQ", "I2\n(S'v'\nI9223372036854775807\nI2\nttQ"),
                "invalid storage view",
            ),
            ("an invalid view", patched("I2\ntQ", "I2\n(S'v'\nttQ"), "an invalid storage view"),
            ("an offset beyond the storage", make("2", "1", &["2"], &["1"]), "leave the storage"),
            ("an offset of 2^63 - 1", make("2", "9223372036854775807", &["2"], &["1"]), "leave the storage"),
            ("a negative offset", make("2", "-1", &["2"], &["1"]), "no size"),
            ("a negative stride", make("2", "1", &["2"], &["-1"]), "no size"),
            ("a stride of 2^63 - 1", make("2", "0", &["3"], &["9223372036854775807"]), "leave the storage"),
            ("2^40 repetitions", make("2", "0", &["1099511627776"], &["0"]), "has 1099511627776 elements"),
            ("a shape that overflows", make("2", "0", &["9223372036854775807", "4"], &["0", "0"]), "overflows"),
            ("more extents than strides", make("2", "0", &["1", "2"], &["1"]), "2 extents and 1 strides"),
            ("a hundred thousand dimensions", make("2", "0", &ones, &ones), "100000 dimensions"),
            ("a storage that is not there", patched("S'0'", "S'1'"), "storage \"1\" is missing"),
            (
                "an unknown storage class",
                patched("FloatStorage", "FlootStorage"),
                "dtype FlootStorage is not supported",
            ),
            ("another storage class", patched("FloatStorage", "DoubleStorage"), "is of two classes"),
            ("no storage", patched("Q", ""), "a storage inside the pickle"),
            (
                "a call without arguments",
                legacy(&named("w", b"ctorch._utils\n_rebuild_tensor\n)R")),
                "a tensor made by",
            ),
            ("an invalid axis", channel("9"), "no axis 9"),
            ("no scheme", scheme(b"N"), "without a scheme"),
            ("an unknown scheme", scheme(b"(ctorch\nper_whim\nt"), "quantisation per_whim"),
            ("a float quantised", scheme(b"(ctorch\nper_tensor_affine\nF0.5\nI0\nt"), "w: dtype F32"),
            (
                "two tensors of a name",
                legacy(&[b"(S'a'\n}S'b'\n", &good[..], b"sS'a.b'\n", &good[..], b"d"].concat()),
                "two tensors",
            ),
        ]);
    }

    #[test]
    fn archives() {
        let pickle = [&named("w", &tensor("2", "0", &["2"], &["1"]))[..], b"."].concat();
        let changed = |name: &'static str, change: fn(&mut Member<'_>)| {
            archive(&pickle, |member| {
                if member.name == name {
                    change(member);
                }
            })
        };
        // A thousand members that share one megabyte.
        let data = vec![0; 1 << 20];
        let pickled = local("a/data.pkl", 0, 0, crc(&pickle), &pickle);
        let start = pickled.len() as u32;
        let names: Vec<String> = (0..1000).map(|i| format!("a/data/{i:03}")).collect();
        let mut members =
            vec![Member { name: "a/data.pkl", method: 0, flags: 0, crc: crc(&pickle), size: start - 40, offset: 0 }];
        members[0].size = pickle.len() as u32;
        let sum = crc(&data);
        members.extend(names.iter().map(|name| Member {
            name,
            method: 0,
            flags: 0,
            crc: sum,
            size: 1 << 20,
            offset: start,
        }));
        let bomb = zip([pickled, local("a/data/000", 0, 0, sum, &data)].concat(), &members);
        refused([
            ("overlapping members", bomb, "overlaps"),
            ("a compressed member", changed("a/data/0", |member| member.method = 8), "not supported"),
            ("an encrypted member", changed("a/data/0", |member| member.flags = 1), "zip"),
            ("a wrong checksum", changed("a/data/0", |member| member.crc ^= 1), "data/0: damaged"),
            ("a member longer than the file", changed("a/data/0", |member| member.size = 1 << 30), "data/0"),
            ("a member outside the file", changed("a/data/0", |member| member.offset = 1 << 30), "zip"),
            ("no pickle", changed("a/data.pkl", |member| member.name = "a/date.pkl"), "without data.pkl"),
            ("two pickles", changed("a/data/0", |member| member.name = "b/data.pkl"), "several data.pkl"),
            ("no storage", changed("a/data/0", |member| member.name = "a/data/1"), "storage \"0\" is missing"),
            ("another byte order", changed("a/data/0", |member| member.name = "a/byteorder"), ""),
            ("no directory", b"PK\x03\x04 and so on".to_vec(), "zip"),
            ("an empty archive", zip(Vec::new(), &[]), "without data.pkl"),
        ]);
    }
}
