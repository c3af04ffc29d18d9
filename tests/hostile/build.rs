//! Builders of weight files, good and bad.

/// A safetensors file of that header and data.
pub fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

/// The start of a legacy PyTorch file: magic number, version, system.
pub const LEGACY: &[u8] =
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00X\x0d\x00\x00\x00little_endianq\x01\x88s.";

/// A legacy file with that pickle (without its stop opcode) and one storage `0` of two floats, which the pickle need not use.
pub fn legacy(pickle: &[u8]) -> Vec<u8> {
    [
        LEGACY,
        b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI2\ntQ0",
        pickle,
        b".",
        b"\x80\x02]q\x00X\x01\x00\x00\x000a.",
        &2_u64.to_le_bytes(),
        &[0; 8],
    ]
    .concat()
}

/// Text opcodes for a tensor in storage `0` with `count` claimed elements; `size`, `stride` and `offset` as Python writes
/// them.
pub fn tensor(count: &str, offset: &str, size: &[&str], stride: &[&str]) -> Vec<u8> {
    let tuple = |items: &[&str]| format!("({}t", items.iter().map(|item| format!("I{item}\n")).collect::<String>());
    let storage = format!("(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI{count}\ntQ");
    let args = format!("({storage}I{offset}\n{}{}t", tuple(size), tuple(stride));
    format!("ctorch._utils\n_rebuild_tensor\n{args}R").into_bytes()
}

/// A dict of one value.
pub fn named(name: &str, value: &[u8]) -> Vec<u8> {
    [b"}", format!("S'{name}'\n").as_bytes(), value, b"s"].concat()
}

/// One member of a zip archive as its directory describes it.
pub struct Member<'a> {
    pub name: &'a str,
    pub method: u16,
    pub flags: u16,
    pub crc: u32,
    pub size: u32,
    /// Of its local header.
    pub offset: u32,
}

/// A zip archive: `bytes`, then a directory of those members.
pub fn zip(mut bytes: Vec<u8>, members: &[Member<'_>]) -> Vec<u8> {
    let start = bytes.len();
    for m in members {
        bytes.extend_from_slice(b"PK\x01\x02\x14\0\x14\0");
        bytes.extend([m.flags, m.method, 0, 0].map(u16::to_le_bytes).concat());
        bytes.extend([m.crc, m.size, m.size].map(u32::to_le_bytes).concat());
        bytes.extend([m.name.len() as u16, 0, 0, 0, 0, 0, 0].map(u16::to_le_bytes).concat());
        bytes.extend(m.offset.to_le_bytes());
        bytes.extend(m.name.as_bytes());
    }
    let size = (bytes.len() - start) as u32;
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    bytes.extend([members.len() as u16; 2].map(u16::to_le_bytes).concat());
    bytes.extend([size, start as u32].map(u32::to_le_bytes).concat());
    bytes.extend([0, 0]);
    bytes
}

/// A local header with its data.
pub fn local(name: &str, method: u16, flags: u16, crc: u32, data: &[u8]) -> Vec<u8> {
    let size = (data.len() as u32).to_le_bytes();
    let head = [b"PK\x03\x04\x14\0".to_vec(), [flags, method, 0, 0].map(u16::to_le_bytes).concat()].concat();
    let lengths = [(name.len() as u16).to_le_bytes(), [0, 0]].concat();
    [&head[..], &crc.to_le_bytes(), &size, &size, &lengths, name.as_bytes(), data].concat()
}

/// The checksum of zip, bit by bit.
pub fn crc(data: &[u8]) -> u32 {
    !data
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1))))
}
