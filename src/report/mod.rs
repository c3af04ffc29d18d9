//! Telling: the document made of tallies, and its formats.

mod build;
pub mod document;

pub use build::document;
