//! What a file of weights holds: tensors, and what it says besides.

use super::tensor::Tensor;

/// Everything that was found in one file.
#[derive(Default)]
pub(super) struct Found {
    /// Names as they are stored, and tensors.
    pub tensors: Vec<(String, Tensor)>,
    /// Modules that were pickled whole, by the names of their places.
    pub modules: Vec<(String, Module)>,
    /// What was chosen among several things, for the user.
    pub notes: Vec<String>,
}

impl From<Vec<(String, Tensor)>> for Found {
    fn from(tensors: Vec<(String, Tensor)>) -> Self {
        Self { tensors, ..Self::default() }
    }
}

/// A module of PyTorch that was pickled whole: what it says of itself besides its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Name of its class, without the package.
    pub class: String,
    /// Its attributes that change what it computes, by name.
    pub settings: Vec<(String, Setting)>,
}

/// An attribute of a module.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A number, or several (of rows and columns).
    Numbers(Vec<f64>),
    /// A word, as `padding="same"`.
    Word(String),
}

impl Module {
    /// The attribute of that name.
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, setting)| setting)
    }
}
