//! Weights under pruning by `torch.nn.utils.prune`: each is its original, masked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tensor::{Content, Tensor};
use crate::{Error, Result};

/// Replaces every `<name>_orig` that has a `<name>_mask` by the masked `<name>`.
pub(super) fn mask(tensors: &mut BTreeMap<String, Tensor>, source: &str) -> Result<()> {
    let original = |name: &String| name.strip_suffix("_orig").map(str::to_owned);
    let pruned: Vec<String> = tensors.keys().filter_map(original).collect();
    for name in pruned {
        let (of, by) = (format!("{name}_orig"), format!("{name}_mask"));
        if !tensors.contains_key(&by) || tensors.contains_key(&name) {
            continue;
        }
        let (Some(original), Some(mask)) = (tensors.remove(&of), tensors.remove(&by)) else { continue };
        let wrong = |detail: &str| Error::malformed(format!("{source}: {by}"), detail);
        if original.shape != mask.shape {
            return Err(wrong(&format!("is {:?}, what it masks {:?}", mask.shape, original.shape)));
        }
        let read = |tensor: &Tensor| tensor.read().map_err(|_| wrong("it or the weight it masks is not finite"));
        let values: Arc<[f32]> =
            read(&original)?.iter().zip(&*read(&mask)?).map(|(value, mask)| value * mask).collect();
        tensors.insert(name, Tensor { shape: original.shape, content: Content::Values(values) });
    }
    Ok(())
}
