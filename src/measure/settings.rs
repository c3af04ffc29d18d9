//! Settings of a measurement.

use std::sync::Arc;

use crate::designs::{Sample, Setup};
use crate::format::{Formats, NumberFormat, Profile};
use crate::kernels::count::Encoder;
use crate::metrics::{self, Kind, Metric, Which};
use crate::model::Model;
use crate::tally::{Extra, Padding, Statistics};
use crate::{Error, Result};

/// The stopping rule: the run ends when the confidence interval of the network's value of a metric, padding counted, is narrow enough.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    /// A per-input metric.
    pub metric: &'static Metric,
    /// Half the width of its 95 % interval over its value.
    pub share: f64,
}

impl Until {
    /// Fewest inputs (of texts, blocks of segments) for an interval to end the run.
    pub const LEAST: u64 = 30;

    /// The name of the ratio that decides.
    pub(super) fn ratio(&self, min_one: bool) -> String {
        let padding = (self.metric.kind == Kind::Work).then_some(Padding::With);
        metrics::ratio_name(self.metric, padding, min_one)
    }

    /// The metric's name, after its operand's letter if it has a value for each operand.
    pub fn name(&self) -> String {
        let letter = if self.metric.is_of_operands() { Which::Activations.letter() } else { "" };
        format!("{letter}{}{}", if letter.is_empty() { "" } else { "." }, self.metric.name)
    }
}

/// What is measured, and in which numbers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The number formats of the operands.
    pub format: Formats,
    /// The precisions of layers, of the format profile.
    pub profile: Option<Arc<Profile>>,
    /// How much is counted.
    pub statistics: Statistics,
    /// On-demand counts, each once, in order.
    pub extra: Vec<Extra>,
    /// Designs that run the operands.
    pub designs: Arc<[Setup]>,
    /// Which windows they run, if not all.
    pub sample: Option<Sample>,
    /// Whose terms the potentials count.
    pub encoder: Encoder,
    /// Whether a MAC that is not skipped costs at least 1.
    pub min_one: bool,
    /// Inputs that the ranges of activations are learned from.
    pub calibrate: usize,
    /// Inputs at a time; no count depends on it.
    pub batch: usize,
    /// Whether fewer run together where the values of so many would outgrow the caches; that takes less memory.
    pub batch_may_be_less: bool,
    /// Only the first so many inputs.
    pub limit: Option<usize>,
    /// Only part `i` of `n` (from 1) of these.
    pub shard: Option<(usize, usize)>,
    /// Stop before the last where this is reached.
    pub until: Option<Until>,
    /// How many first steps of each sequence are counted one by one, if given.
    pub single_steps: Option<u64>,
    /// How many of the last tokens of each sequence are taken as generated one at a time.
    pub decode: usize,
    /// The level of the thresholds that the network's activations were cut by, in percent.
    pub threshold: Option<u32>,
    /// How the network's weights were pruned, in words.
    pub pruned: Option<String>,
    /// Only layers whose name it matches.
    pub layers: Option<regex::Regex>,
    /// Whether inputs that cannot be decoded are left out or end the run.
    pub skip_bad: bool,
}

impl Settings {
    /// The format in which `model` is counted if `asked` is, or by default: in integers those that it stores.
    ///
    /// # Errors
    /// [`Error::Invalid`] for stored numbers of a network that stores floats.
    pub fn format_of(model: &Model, asked: Option<Formats>) -> Result<Formats> {
        let stores = model.stores_integers();
        if let Some(asked) = asked.filter(|asked| !stores && asked.both().contains(&NumberFormat::Stored)) {
            let detail = format!("stored is of quantised networks, and {} stores floats", model.card.name);
            return Err(Error::invalid(format!("--number-format {asked}"), detail));
        }
        if let Some(asked) = asked.filter(|asked| asked.both().contains(&NumberFormat::Profile)) {
            let detail =
                "a profile is read from a file: give --precision FILE instead, which `deadweight precision` makes";
            return Err(Error::invalid(format!("--number-format {asked}"), detail));
        }
        let own = if stores { NumberFormat::Stored } else { NumberFormat::default() };
        Ok(asked.unwrap_or(own.into()))
    }

    /// Whether outputs of layers are counted.
    pub(super) fn counts_outputs(&self) -> bool {
        self.extra.contains(&Extra::Outputs)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: Formats::default(),
            profile: None,
            statistics: Statistics::default(),
            extra: Vec::new(),
            designs: Arc::default(),
            sample: None,
            encoder: Encoder::default(),
            min_one: false,
            calibrate: 32,
            batch: 8,
            batch_may_be_less: true,
            limit: None,
            shard: None,
            until: None,
            single_steps: None,
            decode: 0,
            threshold: None,
            pruned: None,
            layers: None,
            skip_bad: false,
        }
    }
}
