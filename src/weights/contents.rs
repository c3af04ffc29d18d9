//! The contents of a weights file: tensors, and other information.

use super::tensor::Tensor;

/// Everything read from one file.
#[derive(Default)]
pub(super) struct FileContents {
    /// Tensors with their stored names.
    pub tensors: Vec<(String, Tensor)>,
    /// Fully pickled modules, by their path in the network.
    pub modules: Vec<(String, Module)>,
    /// Other names of tensors that are stored once, each with the name that is stored.
    pub aliases: Vec<(String, String)>,
    /// Choices made among several possibilities, for the user.
    pub notes: Vec<String>,
}

impl From<Vec<(String, Tensor)>> for FileContents {
    fn from(tensors: Vec<(String, Tensor)>) -> Self {
        Self { tensors, ..Self::default() }
    }
}

/// A fully pickled PyTorch module: what it stores besides its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Name of its class, without the package.
    pub class: String,
    /// Its attributes that affect what it computes, by name.
    pub settings: Vec<(String, Setting)>,
}

/// An attribute of a module.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A number, or one each for rows and columns.
    Numbers(Vec<f64>),
    /// A string, as in `padding="same"`.
    Word(String),
}

impl Module {
    /// The attribute of that name.
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, setting)| setting)
    }
}
