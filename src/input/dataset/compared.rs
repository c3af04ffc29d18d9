//! What the embeddings of inputs are compared with: texts that are their partners, or vectors.

use std::path::Path;
use std::sync::Arc;

use super::Dataset;
use crate::input::texts;
use crate::input::truth::Known;
use crate::input::vectors::Vectors;
use crate::{Error, Result};

/// It, before and after partners are embedded.
pub(super) enum Compared {
    Partners(Box<Dataset>),
    Vectors(Arc<Vectors>),
}

impl Dataset {
    /// The inputs with their partners, the texts `partners` of the file `path`: the first of one is that of the other.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the line where one of the two ends, or one that is empty among lines that are partners.
    pub fn with_partners(self, path: &Path, partners: Self) -> Result<Self> {
        let (name, inputs, given) = (path.display().to_string(), self.len(), partners.len());
        if partners.tokens.as_ref().is_some_and(|tokens| tokens.is_of_lines()) {
            let read = texts::read(&[path.to_owned()])?;
            if let Some(line) = read.iter().find_map(|(_, content)| texts::gap(content)) {
                let detail = "is empty: give the partner of each input, a line each, in their order";
                return Err(Error::malformed(format!("{name}: line {line}"), detail));
            }
        }
        // Names of texts end in their line.
        let place = |index: usize| partners.tokens.as_ref().map(|tokens| tokens.name(index)).unwrap_or_default();
        let mend = "give the partner of each input, in their order";
        match given {
            _ if given < inputs => {
                let last = place(given.max(1) - 1);
                Err(Error::malformed(last, format!("is the last of {given} partners of {inputs} inputs: {mend}")))
            }
            _ if given > inputs => {
                let detail = format!("has no input: there are {inputs}, and {given} partners; {mend}");
                Err(Error::malformed(place(inputs), detail))
            }
            _ => Ok(Self { compared: Some(Compared::Partners(Box::new(partners))), ..self }),
        }
    }

    /// The partners, where they are not embedded yet.
    pub fn partners(&self) -> Option<&Self> {
        match &self.compared {
            Some(Compared::Partners(partners)) => Some(partners),
            _ => None,
        }
    }

    /// The inputs with the vectors that their embeddings are compared with, which `name` holds.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another number of vectors than inputs.
    pub fn with_vectors(self, name: &str, vectors: Vectors) -> Result<Self> {
        let (inputs, given) = (self.len(), vectors.count());
        if given != inputs {
            let detail = format!("has {given} rows, there are {inputs} inputs: give a row for each, in their order");
            return Err(Error::malformed(name, detail));
        }
        Ok(Self { compared: Some(Compared::Vectors(Arc::new(vectors))), ..self })
    }

    /// The vectors that embeddings are compared with.
    pub(super) fn vectors(&self) -> Option<&Arc<Vectors>> {
        match &self.compared {
            Some(Compared::Vectors(vectors)) => Some(vectors),
            _ => None,
        }
    }

    /// What is known of the inputs, where it is not their task alone that says so.
    pub fn known(&self) -> Option<Known> {
        let labelled = || self.tokens.as_ref().is_some_and(|tokens| tokens.is_labelled()).then_some(Known::Labels);
        self.vectors().map(|vectors| vectors.known()).or_else(labelled)
    }

    /// What comparing depends on.
    pub(super) fn compared_options(&self) -> Vec<(&'static str, String)> {
        let Some(vectors) = self.vectors() else { return Vec::new() };
        let what = if vectors.known() == Known::Partners { "partners" } else { "vectors" };
        vec![("truth", what.to_owned()), ("truth_sha256", vectors.digest())]
    }
}
