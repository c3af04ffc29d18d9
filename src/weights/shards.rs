//! Indices of checkpoints that are stored in several files.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// The shards in an index, each with the tensors it must hold.
pub(crate) fn shards(index: &str, json: &serde_json::Value) -> Result<BTreeMap<String, Vec<String>>> {
    let map = json.get("weight_map").and_then(|map| map.as_object());
    let map = map.ok_or_else(|| Error::malformed(index, "JSON without `weight_map`: no index of shards"))?;
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, shard) in map {
        let shard = shard.as_str().filter(|shard| is_plain(shard));
        let shard =
            shard.ok_or_else(|| Error::malformed(index, format!("{tensor}: its shard is no plain file name")))?;
        shards.entry(shard.to_owned()).or_default().push(tensor.clone());
    }
    if shards.is_empty() { Err(Error::malformed(index, "an index of no shards")) } else { Ok(shards) }
}

/// Whether a name stays within its directory.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}
