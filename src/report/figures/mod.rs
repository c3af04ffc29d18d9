//! Figures for papers, as SVG files: written without a browser, and print-ready.

use super::scopes::Report;

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The name of its file.
    pub name: String,
    /// The file.
    pub svg: String,
}

/// The figures of `runs`.
pub fn figures(_: &[Report]) -> Vec<Figure> {
    Vec::new()
}
