//! What a measurement is asked for.

use crate::format::NumberFormat;
use crate::kernels::count::Encoder;

/// How much is counted of the operands that enter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statistics {
    /// Zeros, extremes, widths of groups, and what MACs and potentials follow from these.
    Values,
    /// Terms as well, and how often each code is seen.
    #[default]
    Full,
}

impl Statistics {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Values, Self::Full];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Full => "full",
        }
    }
}

/// What is measured, and in which numbers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The number format of both operands.
    pub format: NumberFormat,
    /// How much is counted.
    pub statistics: Statistics,
    /// Whose terms the potentials count.
    pub encoder: Encoder,
    /// Whether a MAC that is not skipped costs at least 1.
    pub min_one: bool,
    /// Inputs that the ranges of activations are learned from.
    pub calibrate: usize,
    /// Images at a time; no count depends on it.
    pub batch: usize,
    /// Only the first so many inputs.
    pub limit: Option<usize>,
    /// Only layers whose name it matches.
    pub layers: Option<regex::Regex>,
    /// Whether inputs that cannot be decoded are left out or end the run.
    pub skip_bad: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: NumberFormat::default(),
            statistics: Statistics::default(),
            encoder: Encoder::default(),
            min_one: false,
            calibrate: 32,
            batch: 8,
            limit: None,
            layers: None,
            skip_bad: false,
        }
    }
}
