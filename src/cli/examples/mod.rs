//! Examples of what a network answers: a folder of pictures with a list, which `run --examples` writes and `report --examples` reads.

mod save;

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::report::html::Example;
use crate::{Error, Result};
pub(super) use save::SavedExamples;

/// Name of the list in the folder.
const LIST: &str = "examples.json";

/// The examples in `folder`, with their pictures in themselves.
///
/// # Errors
/// [`Error::NotFound`] if it has no list, [`Error::Malformed`] if this is none; [`Error::Io`] for a picture that cannot be read.
pub(super) fn load(folder: &Path) -> Result<Vec<Example>> {
    let path = folder.join(LIST);
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound {
            what: path.display().to_string(),
            hint: format!("deadweight run MODEL INPUT --examples {} writes it", folder.display()),
        },
        _ => Error::io(&path, error),
    })?;
    let malformed = |detail: String| Error::malformed(path.display().to_string(), detail);
    let mut examples: Vec<Example> = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    for picture in examples.iter_mut().flat_map(|example| &mut example.pictures) {
        let name = &picture.picture;
        // Files of the folder, and no others.
        if Path::new(name).file_name().is_none_or(|file| file != name.as_str()) || !name.ends_with(".png") {
            return Err(malformed(format!("{name} is not the name of a .png file")));
        }
        let file = folder.join(name);
        let bytes = std::fs::read(&file).map_err(|error| Error::io(&file, error))?;
        picture.picture = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes));
    }
    Ok(examples)
}
