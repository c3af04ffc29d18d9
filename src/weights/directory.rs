//! Which files of a directory, or of a repository's listing, are the weights.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{Error, Result};

/// Names searched for, in order of preference.
pub(super) const KNOWN: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
const EXTENSIONS: [&str; 8] = ["safetensors", "bin", "pt", "pth", "th", "tar", "ckpt", "pkl"];
/// Words in the names of other files that training programs write.
const OTHERS: [&str; 4] = ["optimizer", "scheduler", "training_args", "rng_state"];

/// The weights file (or index of shards) among `names`; `place` is their directory or repository in messages.
pub(super) fn choose<'a>(place: &str, names: &'a [String]) -> Result<&'a str> {
    if let Some(known) = KNOWN.iter().find_map(|known| names.iter().find(|name| name == known)) {
        return Ok(known);
    }
    let is_weights = |name: &&String| {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
            && !OTHERS.iter().any(|other| name.starts_with(other))
            && !name.contains('/')
    };
    let candidates: Vec<&String> = names.iter().filter(is_weights).collect();
    let looked = format!("looked for {}, or one file *.{{{}}}", KNOWN.join(", "), EXTENSIONS.join(","));
    match candidates.as_slice() {
        [only] => Ok(only),
        [] => {
            Err(Error::NotFound { what: format!("{place}: weights"), hint: format!("{looked}; found {}", list(names)) })
        }
        _ => {
            let several: Vec<String> = candidates.into_iter().cloned().collect();
            Err(Error::invalid(place, format!("several weights files, name one of them: {}", list(&several))))
        }
    }
}

/// The first names, and the number of further ones.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names.len() {
        0 => "nothing".into(),
        1..=SHOWN => names.join(", "),
        more => format!("{} and {} more", names[..SHOWN].join(", "), more - SHOWN),
    }
}

/// The shards in an index, each with the tensors it must hold.
pub(super) fn shards(index: &str, json: &serde_json::Value) -> Result<BTreeMap<String, Vec<String>>> {
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
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}
