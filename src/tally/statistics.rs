//! How much is counted of activations.

use crate::kernels::count::{Detail, Encoder};

/// Levels of statistics, each of which counts what those before it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statistics {
    /// Zeros, extremes, widths of groups, and what MACs and potentials follow from these.
    Values,
    /// Widths of values, ones, terms by the encoder chosen, mean and deviation as well: all potentials.
    #[default]
    Terms,
    /// How often each code is seen as well: terms by every encoder, entropy, histograms of codes.
    Full,
}

impl Statistics {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Values, Self::Terms, Self::Full];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Terms => "terms",
            Self::Full => "full",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|statistics| statistics.name() == name)
    }

    /// What is counted of codes, terms by `encoder`.
    pub fn detail(self, encoder: Encoder) -> Detail {
        match self {
            Self::Values => Detail::Values,
            Self::Terms => Detail::Terms(encoder),
            Self::Full => Detail::Codes(encoder),
        }
    }
}
