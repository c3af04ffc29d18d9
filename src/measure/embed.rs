//! Embedding the partners of inputs, which the embeddings of the inputs are compared with.

use super::feed::Monitor;
use super::run::predict;
use super::settings::Settings;
use crate::Result;
use crate::engine::Backend;
use crate::input::{Dataset, Vectors};
use crate::model::Model;

/// `data` with the embeddings that `model` gives to its partners, if it has such. They are neither measured nor limited.
///
/// # Errors
/// As [`predict()`].
pub fn embed_partners(
    model: &Model,
    backend: &Backend,
    data: Dataset,
    settings: &Settings,
    monitor: &dyn Monitor,
) -> Result<Dataset> {
    let Some(partners) = data.partners() else { return Ok(data) };
    let settings = Settings { limit: None, skip_bad: false, shard: None, until: None, ..settings.clone() };
    let (mut values, mut length) = (Vec::new(), 0);
    predict(model, backend, partners, &settings, monitor, |_, output, _| {
        length = output.len();
        values.extend_from_slice(output);
        Ok(())
    })?;
    data.with_vectors("partners", Vectors::of_partners(values, length))
}
