//! Measurements of a network changed level by level: what studies have in common.

use super::args::{Common, InputArgs};
use super::progress::Progress;
use super::setup;
use crate::Result;
use crate::engine::Backend;
use crate::measure::{Settings, calibrate_and_measure, embed_partners};
use crate::measurement::Measurement;
use crate::model::Model;

/// With what every level is measured.
pub(super) struct Levels<'a> {
    pub(super) backend: &'a Backend,
    pub(super) inputs: &'a InputArgs,
    pub(super) common: Common,
    pub(super) progress: &'a Progress,
    /// How many there are.
    pub(super) count: usize,
}

impl Levels<'_> {
    /// Calibrates and measures `model`, which is level `which` (from 0) and called `name`; each has its own ranges.
    ///
    /// # Errors
    /// Those of measuring; [`crate::Error::Malformed`] if no input could be decoded.
    pub(super) fn measure(&self, model: &Model, settings: &Settings, which: usize, name: &str) -> Result<Measurement> {
        self.progress.part(which + 1, self.count, name);
        let data = setup::inputs(model, self.inputs, self.common)?;
        // The partners of a network's embeddings are its own.
        let data = embed_partners(model, self.backend, data, settings, self.progress)?;
        let (_, measurement) = calibrate_and_measure(model, self.backend, &data, settings, self.progress)?;
        match measurement.inputs {
            0 => Err(setup::none_decoded(&self.inputs.inputs)),
            _ => Ok(measurement),
        }
    }
}
