//! Builds small files that state facts about a network besides its weights.

use std::path::Path;

use deadweight::graph::{Graph, Params};
use deadweight::layers::{Layer, Param};
use deadweight::models::{self, Card};
use safetensors::tensor::{Dtype, TensorView};

use crate::hostile::build::{LEGACY, crc};

/// Name, extents, values.
pub type Tensor = (String, Vec<usize>, Vec<f32>);

/// The network of `card` with random weights.
pub fn network(card: &Card) -> Graph {
    models::build(card, Params::Random(7)).unwrap().0
}

/// The learned tensors of `graph` by their names in a checkpoint.
pub fn tensors(graph: &Graph) -> Vec<Tensor> {
    let mut all = Vec::new();
    for def in &graph.nodes {
        let mut put = |name: &str, param: &Param| {
            all.push((format!("{}.{name}", def.name), param.shape.clone(), param.data.to_vec()));
        };
        match &def.layer {
            Layer::Conv(conv) => {
                put("weight", &conv.weight);
                conv.bias_values.iter().for_each(|bias| put("bias", bias));
            }
            Layer::Linear(linear) => {
                put("weight", &linear.weight);
                linear.bias.iter().for_each(|bias| put("bias", bias));
            }
            Layer::BatchNorm(norm) => {
                put("weight", &norm.weight);
                put("bias", &norm.bias);
                put("running_mean", &norm.mean);
                put("running_var", &norm.variance);
            }
            _ => {}
        }
    }
    all
}

/// Writes a safetensors file.
pub fn write(path: &Path, tensors: &[Tensor]) {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(.., values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let view = |((name, shape, _), bytes): (&Tensor, &'static [u8])| {
        (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    };
    let bytes = bytes.into_iter().map(|bytes| &*bytes.leak());
    let views: Vec<_> = tensors.iter().zip(bytes).map(view).collect();
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A dict of those items, in text opcodes.
pub fn dict<K: AsRef<str>>(items: &[(K, Vec<u8>)]) -> Vec<u8> {
    let item = |(key, value): &(K, Vec<u8>)| [format!("S'{}'\n", key.as_ref()).as_bytes(), value, b"s"].concat();
    [b"}".to_vec(), items.iter().flat_map(item).collect()].concat()
}

/// A legacy PyTorch file with that pickle (without its stop opcode); its storage `0` has those values.
pub fn legacy(pickle: &[u8], values: &[f32]) -> Vec<u8> {
    let count = (values.len() as u64).to_le_bytes();
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let storage = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI0\ntQ0";
    [LEGACY, storage.as_bytes(), pickle, b".", b"\x80\x02]q\x00X\x01\x00\x00\x000a.", &count, &values].concat()
}

/// A tensor of storage `0`, which has `count` values.
pub fn tensor(count: usize, offset: usize, shape: &[usize]) -> Vec<u8> {
    let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
    let tuple = |items: &[usize]| format!("({}t", items.iter().map(|item| format!("I{item}\n")).collect::<String>());
    let storage = format!("(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI{count}\ntQ");
    let (shape, strides) = (tuple(shape), tuple(&strides));
    format!("ctorch._utils\n_rebuild_tensor\n({storage}I{offset}\n{shape}{strides}tR").into_bytes()
}

/// An object of a PyTorch class with that state.
pub fn object(class: &str, state: &[u8]) -> Vec<u8> {
    let (package, class) = class.rsplit_once('.').unwrap();
    [format!("(i{package}\n{class}\n").as_bytes(), state, b"b"].concat()
}

/// An archive as `torch.save` writes it to a file called `stem`: stored members, zip64 records after the directory.
pub fn torch_zip(stem: &str, members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    let words = |words: &[u16]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    for (name, data) in members {
        let (name, offset) = (format!("{stem}/{name}"), bytes.len() as u32);
        let size = (data.len() as u32).to_le_bytes();
        let common = [&words(&[0, 0, 0, 0, 0])[..], &crc(data).to_le_bytes(), &size, &size].concat();
        // Data start at multiples of 64.
        let behind = bytes.len() + 30 + name.len() + 4;
        let pad = behind.next_multiple_of(64) - behind;
        let lengths = words(&[name.len() as u16, 4 + pad as u16]);
        bytes.extend([&b"PK\x03\x04"[..], &common, &lengths, name.as_bytes(), b"FB", &words(&[pad as u16])].concat());
        bytes.extend(vec![b'Z'; pad]);
        bytes.extend_from_slice(data);
        let lengths = words(&[name.len() as u16, 0, 0, 0, 0, 0, 0]);
        let entry = [&b"PK\x01\x02\0\0"[..], &common, &lengths, &offset.to_le_bytes(), name.as_bytes()];
        directory.extend(entry.concat());
    }
    let (start, size, count) = (bytes.len() as u64, directory.len() as u64, members.len() as u64);
    bytes.extend(directory);
    let end = bytes.len() as u64;
    bytes.extend([&b"PK\x06\x06"[..], &44_u64.to_le_bytes(), &words(&[0x031e, 45]), &[0; 8]].concat());
    bytes.extend([count, count, size, start].map(u64::to_le_bytes).concat());
    bytes.extend([&b"PK\x06\x07"[..], &[0; 4], &end.to_le_bytes(), &1_u32.to_le_bytes()].concat());
    bytes.extend([&b"PK\x05\x06"[..], &[0; 4], &words(&[count as u16; 2])].concat());
    bytes.extend([size as u32, start as u32].map(u32::to_le_bytes).concat());
    bytes.extend([0, 0]);
    bytes
}
