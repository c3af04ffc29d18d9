//! Telling: documents made of tallies, and their formats.

pub mod document;
