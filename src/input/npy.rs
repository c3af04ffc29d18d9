//! Types of stored numbers, and the header of NumPy's `.npy` files (versions 1 to 3).

use std::io::Read;

use half::{bf16, f16};
use safetensors::Dtype;

use crate::{Error, Result};

/// Longest header: NumPy writes a few hundred bytes.
const LONGEST: usize = 1 << 20;

/// First bytes of a `.npy` file.
const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The type of the numbers of an array, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

impl Element {
    /// The type that a `.npy` header calls `descr`.
    fn of_descr(descr: &str) -> Option<Self> {
        Some(match descr {
            "|b1" => Self::Bool,
            "|u1" | "<u1" => Self::U8,
            "|i1" | "<i1" => Self::I8,
            "<u2" => Self::U16,
            "<i2" => Self::I16,
            "<u4" => Self::U32,
            "<i4" => Self::I32,
            "<u8" => Self::U64,
            "<i8" => Self::I64,
            "<f2" => Self::F16,
            "<f4" => Self::F32,
            "<f8" => Self::F64,
            _ => return None,
        })
    }

    /// The type of a safetensors file.
    pub(super) fn of_dtype(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::BOOL => Self::Bool,
            Dtype::U8 => Self::U8,
            Dtype::I8 => Self::I8,
            Dtype::U16 => Self::U16,
            Dtype::I16 => Self::I16,
            Dtype::U32 => Self::U32,
            Dtype::I32 => Self::I32,
            Dtype::U64 => Self::U64,
            Dtype::I64 => Self::I64,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::Bf16,
            Dtype::F32 => Self::F32,
            Dtype::F64 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The numbers in `bytes`, rounded to f32.
    pub(super) fn floats(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            Self::Bf16 => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
            Self::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Self::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
            Self::U64 => bytes.as_chunks().0.iter().map(|&b| u64::from_le_bytes(b) as f32).collect(),
            _ => self.integers(bytes).unwrap_or_default().into_iter().map(|v| v as f32).collect(),
        }
    }

    /// The numbers in `bytes`, if they are integers; those beyond 64 signed bits become the largest.
    pub(super) fn integers(self, bytes: &[u8]) -> Option<Vec<i64>> {
        Some(match self {
            Self::Bool | Self::U8 => bytes.iter().map(|&b| b.into()).collect(),
            Self::I8 => bytes.iter().map(|&b| (b as i8).into()).collect(),
            Self::U16 => bytes.as_chunks().0.iter().map(|&b| u16::from_le_bytes(b).into()).collect(),
            Self::I16 => bytes.as_chunks().0.iter().map(|&b| i16::from_le_bytes(b).into()).collect(),
            Self::U32 => bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b).into()).collect(),
            Self::I32 => bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b).into()).collect(),
            Self::U64 => {
                let number = |&b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX);
                bytes.as_chunks().0.iter().map(number).collect()
            }
            Self::I64 => bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect(),
            Self::F16 | Self::Bf16 | Self::F32 | Self::F64 => return None,
        })
    }
}

/// What the header of a `.npy` file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub element: Element,
    /// Whether the first index varies fastest.
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// Bytes before the numbers.
    pub len: usize,
    /// Bytes of the numbers.
    pub data_len: usize,
}

impl Header {
    /// Reads the header at the start of `source`; `name` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none; [`Error::Unsupported`] for numbers of other types.
    pub(super) fn read(name: &str, source: &mut impl Read) -> Result<Self> {
        let broken = |detail: &str| Error::malformed(name, format!("is no .npy file: {detail}"));
        let mut exact = |bytes: &mut [u8]| source.read_exact(bytes).map_err(|_| broken("its header is cut off"));
        let mut start = [0; 8];
        exact(&mut start)?;
        if !start.starts_with(MAGIC) {
            return Err(broken("it does not begin as one"));
        }
        let prefix = match start[6] {
            1 => 2,
            2 | 3 => 4,
            version => return Err(broken(&format!("version {version} of the format is not known"))),
        };
        let mut len = [0; 4];
        exact(&mut len[..prefix])?;
        let len = u32::from_le_bytes(len) as usize;
        if len > LONGEST {
            return Err(broken(&format!("its header claims {len} bytes")));
        }
        let mut text = vec![0; len];
        exact(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let missing = |key: &str| broken(&format!("its header has no {key} that can be read"));
        let descr = field(&text, "descr").ok_or_else(|| missing("descr"))?;
        let quoted = descr.strip_prefix(['\'', '"']).and_then(|rest| rest.split(['\'', '"']).next());
        let Some(element) = quoted.and_then(Element::of_descr) else {
            let what = quoted.unwrap_or("several fields");
            let hint = "store it as little-endian floats or integers, e.g. array.astype(\"<f4\")";
            return Err(Error::unsupported(format!("{name}: an array of {what}"), hint));
        };
        let fortran = match field(&text, "fortran_order") {
            Some(order) if order.starts_with("True") => true,
            Some(order) if order.starts_with("False") => false,
            _ => return Err(missing("fortran_order")),
        };
        let extents = field(&text, "shape").and_then(|shape| shape.strip_prefix('(')?.split_once(')'));
        let extents = extents.ok_or_else(|| missing("shape"))?.0.split(',').map(str::trim);
        let extents = extents.filter(|extent| !extent.is_empty()).map(str::parse);
        let shape: Vec<usize> = extents.collect::<Result<_, _>>().map_err(|_| missing("shape"))?;
        let bytes = shape.iter().try_fold(element.size(), |bytes: usize, &extent| bytes.checked_mul(extent));
        let data_len = bytes.ok_or_else(|| broken(&format!("an array of {shape:?}")))?;
        Ok(Self { element, fortran, shape, len: 8 + prefix + len, data_len })
    }
}

/// What follows `key` in the dictionary `text`.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let (_, rest) = quoted.iter().find_map(|quoted| text.split_once(quoted.as_str()))?;
    rest.trim_start().strip_prefix(':').map(str::trim_start)
}

/// The header of a `.npy` file of numbers `descr` (`<f4`, `<U20`) in C order of extents `shape`.
pub fn npy_header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let extents = if shape.len() > 1 { extents.trim_end_matches(", ") } else { extents.trim_end() };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    // The numbers begin at a multiple of 64 bytes.
    let padded = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text = format!("{text:<width$}\n", width = padded - 1);
    let mut header = [&MAGIC[..], &[1, 0]].concat();
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(version: u8, text: &str) -> Vec<u8> {
        let len = text.len() as u32;
        let len = if version == 1 { (len as u16).to_le_bytes().to_vec() } else { len.to_le_bytes().to_vec() };
        [&MAGIC[..], &[version, 0], &len, text.as_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Result<Header> {
        Header::read("x.npy", &mut &bytes[..])
    }

    #[test]
    fn headers_of_all_versions_are_read() {
        let text = "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 4), }   \n";
        for (version, prefix) in [(1, 2), (2, 4), (3, 4)] {
            let header = read(&of(version, text)).unwrap();
            let len = 8 + prefix + text.len();
            assert_eq!(header, Header { element: Element::F64, fortran: true, shape: vec![3, 4], len, data_len: 96 });
        }
        for (shape, want) in [("()", vec![]), ("(7,)", vec![7]), ("(0, 2)", vec![0, 2])] {
            let text = format!("{{\"shape\": {shape}, \"fortran_order\": False, \"descr\": \"|u1\"}}");
            assert_eq!(read(&of(1, &text)).unwrap().shape, want);
        }
    }

    #[test]
    fn written_headers_are_read_back() {
        for shape in [vec![], vec![5], vec![2, 3, 4], vec![1_000_000_000; 2]] {
            let bytes = npy_header("<f4", &shape);
            assert_eq!(bytes.len() % 64, 0);
            let header = read(&bytes).unwrap();
            assert_eq!((header.element, header.fortran, header.len), (Element::F32, false, bytes.len()));
            assert_eq!(header.shape, shape);
        }
    }

    #[test]
    fn what_is_no_header_is_an_error_that_names_the_file() {
        let cases = [
            (b"\x93NUMPX\x01\x00".to_vec(), 1, "does not begin"),
            (of(4, "{}"), 1, "version 4"),
            (of(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}"), 4, "array of >f4"),
            (of(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}"), 4, "several fields"),
            (of(1, "{'descr': '<f4', 'fortran_order': 3, 'shape': (1,)}"), 1, "no fortran_order"),
            (of(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, -2)}"), 1, "no shape"),
            (of(1, "{'descr': '<f4', 'fortran_order': False}"), 1, "no shape"),
            (of(1, &format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({0}, {0})}}", u64::MAX)), 1, "array"),
        ];
        for (bytes, code, part) in cases {
            let error = read(&bytes).unwrap_err();
            let text = error.to_string();
            assert!(error.exit_code() == code && text.starts_with("x.npy: ") && text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn numbers_of_every_type_are_read() {
        let one = [1.0f32, -2.0];
        let halves: Vec<u8> = one.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        let brains: Vec<u8> = one.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
        let doubles: Vec<u8> = one.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
        for (element, bytes) in [(Element::F16, halves), (Element::Bf16, brains), (Element::F64, doubles)] {
            assert_eq!((element.floats(&bytes), element.integers(&bytes)), (one.to_vec(), None));
        }
        assert_eq!(Element::I64.floats(&(-3i64).to_le_bytes()), [-3.0]);
        assert_eq!(Element::I16.integers(&(-3i16).to_le_bytes()), Some(vec![-3]));
        assert_eq!(Element::U64.integers(&u64::MAX.to_le_bytes()), Some(vec![i64::MAX]));
        assert_eq!(Element::I8.floats(&[255, 1]), [-1.0, 1.0]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(cut in 0usize..90, at in 0usize..90, byte in any::<u8>()) {
            let mut bytes = npy_header("<f4", &[3, 4]);
            bytes[at] = byte;
            bytes.truncate(cut);
            let _ = read(&bytes);
        }
    }
}
