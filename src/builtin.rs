//! The models embedded in the program, with inputs for each; see `models/demo/README.md`.

use crate::input::{Cut, Dataset, Degradation, Preprocess, Vocabulary};
use crate::{Error, Result};

/// A model with its inputs.
pub struct Builtin {
    /// Name of its card.
    pub name: &'static str,
    /// Its weights, a safetensors file.
    pub weights: &'static [u8],
    inputs: Inputs,
}

enum Inputs {
    /// Images with labels or class maps: a safetensors file.
    Images(&'static [u8]),
    /// Clean images, to which noise of this standard deviation (of 255) is added.
    Noisy(&'static [u8], f64),
    Text {
        text: &'static str,
        vocabulary: &'static str,
    },
}

/// The text that the language models are for, and its characters.
const VERSES: Inputs = Inputs::Text {
    text: include_str!("../models/demo/verses_text.txt"),
    vocabulary: include_str!("../models/demo/verses_vocab.json"),
};

/// All of them, one per kind of network; the two language models read the same text.
pub static BUILTINS: [Builtin; 5] = [
    Builtin {
        name: "digits",
        weights: include_bytes!("../models/demo/digits.safetensors"),
        inputs: Inputs::Images(include_bytes!("../models/demo/digits_inputs.safetensors")),
    },
    Builtin {
        name: "scenes",
        weights: include_bytes!("../models/demo/scenes.safetensors"),
        inputs: Inputs::Images(include_bytes!("../models/demo/scenes_inputs.safetensors")),
    },
    Builtin {
        name: "photos",
        weights: include_bytes!("../models/demo/photos.safetensors"),
        inputs: Inputs::Noisy(include_bytes!("../models/demo/photos_inputs.safetensors"), 25.0),
    },
    Builtin { name: "verses", weights: include_bytes!("../models/demo/verses.safetensors"), inputs: VERSES },
    Builtin { name: "chapters", weights: include_bytes!("../models/demo/chapters.safetensors"), inputs: VERSES },
];

/// The built-in model of that name.
pub fn find(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

/// Their names, as a list in prose.
pub fn names() -> String {
    BUILTINS.iter().map(|builtin| builtin.name).collect::<Vec<_>>().join(", ")
}

impl Builtin {
    /// Its images, if its input is images.
    ///
    /// # Errors
    /// None in a released binary.
    pub fn images(&self, preprocess: &Preprocess) -> Option<Result<Dataset>> {
        match self.inputs {
            Inputs::Images(bytes) => Some(Dataset::embedded(bytes, preprocess)),
            Inputs::Noisy(bytes, sigma) => {
                let data = Dataset::embedded(bytes, preprocess);
                Some(data.map(|data| data.degraded(Degradation::Noise { sigma, seed: 0 })))
            }
            Inputs::Text { .. } => None,
        }
    }

    /// Its text, split as `cut` says.
    ///
    /// # Errors
    /// [`Error::Invalid`] if its input is images.
    pub fn text(&self, cut: &Cut, preprocess: &Preprocess) -> Result<Dataset> {
        match self.inputs {
            Inputs::Text { text, .. } => Dataset::embedded_text(text, &self.vocabulary()?, cut, preprocess),
            _ => Err(Error::invalid(self.name, "reads images")),
        }
    }

    /// Its vocabulary.
    ///
    /// # Errors
    /// [`Error::Invalid`] if its input is images.
    pub fn vocabulary(&self) -> Result<Vocabulary> {
        match self.inputs {
            Inputs::Text { vocabulary, .. } => Vocabulary::parse("built-in", vocabulary),
            _ => Err(Error::invalid(self.name, "reads images")),
        }
    }
}
