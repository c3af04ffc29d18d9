//! Sparse tensors, made dense: pruned weights that are stored as indices and values.

use std::sync::Arc;

use super::Id;
use super::rebuild::{Fault, Source};
use crate::weights::tensor::{Content, Tensor};

/// Largest ratio of the elements of a dense tensor to those of its sparse form: one value in 4,096.
const MAX_SPARSITY: usize = 4096;
/// Number of elements that any tensor may have.
const MAX_FREE: usize = 1 << 20;

impl Source<'_> {
    /// The tensor of `layout` and `(indices [rank, n], values [n], size, ...)`.
    pub(super) fn sparse(&self, layout: Id, data: Id) -> Result<Tensor, Fault> {
        let layout = match self.arena.call(layout) {
            Some(((_, "_get_layout"), [name])) => self.arena.text(*name),
            _ => None,
        };
        if layout != Some("torch.sparse_coo") {
            let name = layout.unwrap_or("no layout");
            return Err(Fault::Unsupported(format!("a sparse tensor of {name}, torch.sparse_coo is read")));
        }
        let Some([indices, values, size, ..]) = self.arena.seq(data) else {
            return Err("a sparse tensor without indices, values and size".into());
        };
        let (indices, values, shape) = (self.plain(*indices)?, self.plain(*values)?, self.extents(*size)?);
        if values.shape.len() != 1 || indices.shape != [shape.len(), values.shape[0]] {
            let detail = format!("indices {:?} and values {:?} of a sparse {shape:?}", indices.shape, values.shape);
            return Err(detail.into());
        }
        let stored = values.shape[0];
        let count = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
        let bound = stored.saturating_mul(MAX_SPARSITY).max(MAX_FREE);
        let count = count
            .filter(|&count| count <= bound)
            .ok_or_else(|| format!("a sparse {shape:?} of {stored} values is larger than any network needs"))?;
        let places = indices.wide().ok_or("indices that are no 64-bit integers")?;
        let values = values.read().map_err(|_| "values that are no finite numbers")?;
        let mut dense = vec![0.0f32; count];
        for (n, value) in values.iter().enumerate() {
            let place = shape.iter().enumerate().try_fold(0usize, |place, (axis, &extent)| {
                let index = usize::try_from(places[axis * stored + n]).ok().filter(|&index| index < extent)?;
                Some(place * extent + index)
            });
            // Values at duplicate indices are summed.
            dense[place.ok_or_else(|| format!("an index outside {shape:?}"))?] += value;
        }
        Ok(Tensor { shape, content: Content::Values(Arc::from(dense)) })
    }
}
