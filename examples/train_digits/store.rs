//! Writing safetensors files whose bytes depend on their content alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Var;
use serde_json::{Map, Value, json};

use crate::data::{Digits, SIZE};

/// A tensor as it is written to a file.
pub struct Stored {
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The parameters of a network.
pub fn variables(named: &BTreeMap<String, Var>) -> Result<BTreeMap<String, Stored>> {
    let stored = named.iter().map(|(name, variable)| {
        let bytes = variable.flatten_all()?.to_vec1::<f32>()?.into_iter().flat_map(f32::to_le_bytes).collect();
        Ok((name.clone(), Stored { dtype: "F32", shape: variable.dims().to_vec(), bytes }))
    });
    stored.collect()
}

/// The first `len` samples (or all there are): `images` `[N, 32, 32, 1]` and `labels` `[N]`, both u8.
pub fn images(digits: &Digits, len: usize) -> BTreeMap<String, Stored> {
    let len = len.min(digits.len());
    let pixels = (0..len).flat_map(|sample| digits.image(sample).iter().copied()).collect();
    let images = Stored { dtype: "U8", shape: vec![len, SIZE, SIZE, 1], bytes: pixels };
    let labels = Stored { dtype: "U8", shape: vec![len], bytes: digits.labels[..len].to_vec() };
    BTreeMap::from([("images".into(), images), ("labels".into(), labels)])
}

/// Writes the file. The safetensors crate keeps metadata in a hash map, so that the same run would write different bytes each
/// time.
pub fn write(path: &Path, tensors: &BTreeMap<String, Stored>, card: &[(&str, String)]) -> Result<()> {
    let card = card.iter().map(|(key, text)| ((*key).to_owned(), Value::from(text.as_str()))).collect::<Map<_, _>>();
    let mut header = Map::from_iter([("__metadata__".to_owned(), Value::from(card))]);
    let mut data = Vec::new();
    for (name, tensor) in tensors {
        let begin = data.len();
        data.extend_from_slice(&tensor.bytes);
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, data.len()]});
        header.insert(name.clone(), entry);
    }
    let mut head = serde_json::to_vec(&header)?;
    head.resize(head.len().next_multiple_of(8), b' ');
    let mut file = (head.len() as u64).to_le_bytes().to_vec();
    file.extend(head);
    file.extend(data);
    fs::write(path, file).with_context(|| format!("{}: cannot be written", path.display()))
}
