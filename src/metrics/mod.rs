//! Definitions: each metric is a pure function of a layer's counts, and has its definition and example beside it. Integers until
//! the last division.
//!
//! A metric is an entry of one file here, and the file a name in the list below. Formats, columns, `explain`, the schema and
//! the reference page are made of the list.
//!
//! Programs have metrics of their own by [`Run::with_metrics`](crate::Run::with_metrics): a function of a [`Subject`], which holds
//! the counts of a layer, and its words.
//!
//! ```
//! use deadweight::prelude::*;
//!
//! static PER_MAC: Metric = Metric {
//!     name: "activations.per_mac",
//!     heading: "act\n/MAC",
//!     definition: "activations over MACs: how little each is used again",
//!     formula: "Σ activations / Σ 1",
//!     unit: "values a MAC",
//!     source: "an example",
//!     kind: Kind::Ratio,
//!     compute: Compute::Layer(|subject| {
//!         let macs = subject.products?.dense.of(deadweight::metrics::Padding::With);
//!         Some(Value::Ratio(Fraction::new(subject.operand(Which::Activations)?.elements(), macs)))
//!     }),
//!     ..Metric::BASE
//! };
//!
//! let run = Model::load("digits").open()?.measure(Inputs::built_in()).limit(4).run()?.with_metrics(&[&PER_MAC]);
//! assert!(run.network().number("activations.per_mac")?.expect("a ratio") < 0.1);
//! # Ok::<(), deadweight::Error>(())
//! ```

mod cells;
mod interval;
mod sampled;
mod student;
mod subject;
mod value;

pub use cells::{Cell, Cells};
pub use interval::Interval;
pub use sampled::{Sampled, name as ratio_name};
pub use subject::{Operand, Options, Subject, Which};
pub use value::{Fraction, Kind, Value, pool};

#[doc(inline)]
pub use crate::tally::{Modes, Padding, Products};

use crate::tally::{Extra, Statistics};

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its dotted name, the same in every format. Where one name says operand and metric, the operand's letter stands before it:
    /// `a.zeros`, `w.zeros`.
    pub name: &'static str,
    /// Heading of its column, in up to two lines; a metric of an operand gets the operand's short name behind it.
    pub heading: &'static str,
    /// What it means.
    pub definition: &'static str,
    /// How it is computed.
    pub formula: &'static str,
    /// The unit of its value.
    pub unit: &'static str,
    /// Where the definition comes from, or which design exploits it.
    pub source: &'static str,
    /// What must be counted for it.
    pub needs: Needs,
    /// What hardware can do with it.
    pub allows: Allows,
    /// The kind of its values.
    pub kind: Kind,
    /// How people are shown it.
    pub show: Show,
    /// Whether charging at least one step for a MAC changes it.
    pub min_one: bool,
    /// An example worked by hand, if there is one.
    pub example: &'static str,
    /// The function.
    pub compute: Compute,
}

/// What must be counted for a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Zeros, extremes and widths of groups.
    Values,
    /// Widths, ones, terms by the encoder chosen and moments of values as well.
    Terms,
    /// How often each code is seen as well.
    Full,
    /// What values and terms need, and on-demand counts.
    Extra(Extra),
}

impl Needs {
    /// The least level of statistics that counts it.
    pub(crate) fn level(self) -> Statistics {
        match self {
            Self::Values => Statistics::Values,
            // What planes would be if bits were set by chance is known by codes.
            Self::Full | Self::Extra(Extra::Planes) => Statistics::Full,
            Self::Terms | Self::Extra(_) => Statistics::Terms,
        }
    }

    /// The on-demand counts, if it needs any.
    pub fn extra(self) -> Option<Extra> {
        match self {
            Self::Extra(extra) => Some(extra),
            _ => None,
        }
    }

    /// Its name: of the level of statistics, or of the on-demand counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Extra(extra) => extra.name(),
            level => level.level().name(),
        }
    }
}

/// What hardware can do with what a metric shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allows {
    /// Nothing: it describes.
    Nothing,
    /// Switch off the multiplier for a cycle: energy, no time.
    Gating,
    /// Leave the work out: energy and time.
    Skipping,
    /// Store and move fewer bits.
    Compression,
}

impl Allows {
    /// As `explain` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Gating => "gating",
            Self::Skipping => "skipping",
            Self::Compression => "compression",
        }
    }
}

/// How a value is printed for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Four digits and a prefix: `1.234 M`.
    Count,
    /// A percentage.
    Percent,
    /// Two decimals.
    Mean,
    /// Four significant digits.
    Real,
    /// Three significant digits: how many times less work.
    Times,
}

/// Finds a pooled value by the name of its metric.
pub type ByName<'a> = dyn Fn(&str) -> Option<Value> + 'a;

/// How a metric is computed.
#[derive(Clone, Copy, Debug)]
pub enum Compute {
    /// Of a layer, a gate or some steps; pooled for the network.
    Layer(fn(&Subject<'_>) -> Option<Value>),
    /// Of each operand of these; pooled for the network.
    Operand(fn(&Operand<'_>) -> Option<Value>),
    /// Of the pooled values, found by name, and the number of inputs.
    Pooled(fn(&ByName<'_>, u64) -> Option<Value>),
}

impl Metric {
    /// What most entries have in common; the rest is for each to fill in.
    pub const BASE: Self = Self {
        name: "",
        heading: "",
        definition: "",
        formula: "",
        unit: "",
        source: "after Nikolić 2019",
        needs: Needs::Values,
        allows: Allows::Nothing,
        kind: Kind::Count,
        show: Show::Count,
        min_one: false,
        example: "",
        compute: Compute::Layer(|_| None),
    };

    /// What shares of an operand that hardware can skip have in common.
    pub const SHARE: Self = Self { allows: Allows::Skipping, kind: Kind::Ratio, show: Show::Percent, ..Self::BASE };

    /// What means over an operand that bound the work of a serial design have in common.
    pub const MEAN: Self = Self { show: Show::Mean, ..Self::SHARE };

    /// Whether it has a value for each operand, rather than one for the layer.
    pub fn is_of_operands(&self) -> bool {
        matches!(self.compute, Compute::Operand(_))
    }

    /// The operands for which it has values: all, but for those of which the counts that it needs are not made. None of a layer's.
    pub fn operands(&self) -> impl Iterator<Item = Which> {
        let counted = |which: &Which| self.needs.extra().is_none_or(|extra| extra.operands()[*which as usize]);
        Which::ALL.into_iter().filter(|_| self.is_of_operands()).filter(counted)
    }
}

/// Names the files of the list, in the order in which their metrics are printed.
macro_rules! list {
    ($($file:ident),* $(,)?) => {
        $(mod $file;)*
        /// The metrics, file by file.
        const FILES: &[&[Metric]] = &[$($file::METRICS),*];
    };
}

list![
    work, values, zeros, range, widths, bits, terms, entropy, channels, potentials, temporal, delta, traffic, nm,
    attention, trailing, planes, repetition, output, threshold, float,
];

/// All metrics, in the order in which they are printed.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    FILES.iter().copied().flatten()
}

/// The metrics that a name selects.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The metrics: that of the name, all whose names begin with it and a dot, or all; none of an unknown name.
    pub metrics: Vec<&'static Metric>,
    /// Whether outputs are selected: by the letter, or by traffic without a letter.
    pub of_outputs: bool,
}

impl Selection {
    /// The on-demand counts that they need.
    pub fn extras(&self) -> impl Iterator<Item = Extra> {
        let outputs = self.of_outputs.then_some(Extra::Outputs);
        self.metrics.iter().filter_map(|metric| metric.needs.extra()).chain(outputs)
    }
}

/// The metrics that `name` selects: one metric, a group (the names that begin with it and a dot), or `all`, with the letter of an
/// operand before it or without; `n:m` is the group `nm`.
pub fn select(name: &str) -> Selection {
    let lettered = Which::ALL.into_iter().find_map(|which| {
        let rest = name.strip_prefix(which.letter())?.strip_prefix('.')?;
        Some((which, rest))
    });
    let (letter, name) = lettered.map_or((None, name), |(which, rest)| (Some(which), rest));
    let name = if name == "n:m" { "nm" } else { name };
    let exact = find(name).map(|metric| metric.name);
    let begins = |metric: &Metric, with: &str| metric.name.strip_prefix(with).is_some_and(|rest| rest.starts_with('.'));
    let is_selected = |metric: &&Metric| {
        let is_named = match exact {
            // A group may have the name of its first.
            Some(exact) => metric.name == exact || begins(metric, exact),
            None => name == "all" || begins(metric, name),
        };
        is_named && letter.is_none_or(|which| metric.operands().any(|of| of == which))
    };
    let metrics: Vec<&Metric> = all().filter(is_selected).collect();
    let of_outputs = match letter {
        Some(which) => which == Which::Outputs,
        None => metrics.iter().any(|metric| begins(metric, "traffic")),
    };
    Selection { metrics, of_outputs }
}

/// The metric of that name. A potential's may be given without its first word: `W+A`.
pub fn find(name: &str) -> Option<&'static Metric> {
    let exact = |name: &str| all().find(|metric| metric.name == name);
    exact(name).or_else(|| exact(&format!("potential.{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_own_name_and_all_its_words() {
        let mut names: Vec<&str> = all().map(|metric| metric.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for metric in all() {
            let words = [metric.heading, metric.definition, metric.formula, metric.unit, metric.source];
            assert!(words.iter().all(|word| !word.is_empty()), "{}: {words:?}", metric.name);
            assert!(metric.heading.lines().count() <= 2, "{}", metric.name);
            // What is new to a reader of the papers is worked by hand.
            let is_further = metric.source.contains("section 6") || metric.source.contains("section 7");
            assert!(!is_further || !metric.example.is_empty(), "{} has no example", metric.name);
        }
    }

    #[test]
    fn potentials_are_found_by_their_short_names() {
        assert_eq!(find("W+A").map(|metric| metric.name), Some("potential.W+A"));
        assert_eq!(find("potential.Ap.g16").map(|metric| metric.name), Some("potential.Ap.g16"));
        assert!(find("nothing").is_none());
    }
}
