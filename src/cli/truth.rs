//! From `--truth` to what answers are compared with.

use std::path::Path;

use super::args::InputArgs;
use super::setup::text_files;
use crate::input::{Dataset, TruthSource, Vectors};
use crate::layers::Shape;
use crate::model::Model;
use crate::models::Task;
use crate::{Error, Result};

/// Steps of a text that tells whether outputs are a vector a text.
const STEPS: usize = 3;

/// `data` with the truths in `path`: a directory of images or of classes of pixels; of embeddings a file of arrays, or of texts that
/// are the partners of the inputs.
///
/// # Errors
/// [`Error::Invalid`] for a path that holds no such truths of `model`; those of reading.
pub(super) fn with_truth(model: &Model, args: &InputArgs, data: Dataset, path: &Path) -> Result<Dataset> {
    let wrong = |detail: String| Err(Error::invalid(format!("--truth {}", path.display()), detail));
    match model.card.task {
        Task::Features if path.is_dir() => {
            wrong("is a directory: give a file of vectors (.npy, .npz, .safetensors), or one of texts".into())
        }
        Task::Features => {
            let (name, reads_texts) = (&model.card.name, model.card.reads_tokens());
            let input = if reads_texts { Shape::new(1, 1, STEPS) } else { model.input_shape() };
            let Shape { c, h, w } = model.graph.shapes(input)?[model.graph.output().index()];
            if h * w != 1 {
                return wrong(format!(
                    "compares embeddings, one an input, and {name} gives a vector for each of its places"
                ));
            }
            if Dataset::holds_arrays(path) {
                return data.with_vectors(&path.display().to_string(), Vectors::open(path, c)?);
            }
            if !reads_texts {
                let detail = format!("is no file of vectors (.npy, .npz, .safetensors), and {name} reads no texts");
                return wrong(detail);
            }
            data.with_partners(path, text_files(model, args, &[path.to_owned()])?)
        }
        _ if !path.is_dir() => wrong("is not an existing directory".into()),
        Task::Segment => Ok(data.with_truths(TruthSource::Classes(path.to_owned()))),
        _ => Ok(data.with_truths(TruthSource::Images(path.to_owned()))),
    }
}
