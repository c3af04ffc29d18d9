//! One array of a file, as floats.

use std::path::Path;

use super::arrays;
use crate::{Error, Result};

/// Extents and numbers of the only array in the file `path` (`.npy`, `.npz` or safetensors), in C order.
///
/// # Errors
/// [`Error::Malformed`] for a file of none or several; those of reading.
pub fn single_array(path: &Path) -> Result<(Vec<usize>, Vec<f32>)> {
    let mut arrays = arrays::open(path)?;
    let (Some(array), true) = (arrays.pop(), arrays.is_empty()) else {
        return Err(Error::malformed(path.display().to_string(), "holds no array, or several: give a file of one"));
    };
    Ok((array.shape.clone(), array.element.floats(&array.read(0, array.len())?)))
}
