//! What the values of flags are read by, with the word for those that are none.

use std::fmt;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::Error;
use crate::error::near_or;
use crate::format::{Formats, WeightScale};
use crate::gate::{Assertion, Tolerance};
use crate::graph::pruned::Sparsity;
use crate::kernels::count::Encoder;
use crate::metrics::{self, Selection};
use crate::report::columns::{self, Column};
use crate::tally::Statistics;

/// A percentage, as a fraction.
pub fn share(text: &str) -> Result<f64, &'static str> {
    let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
    let share = number.filter(|number| number.is_finite() && *number >= 0.0).map(|number| number / 100.0);
    share.ok_or("give a percentage, e.g. 1%")
}

/// A temperature, or the spread of noise in grey levels.
pub fn up_to_thousand(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|value| (0.0..=1000.0).contains(value)).ok_or("give a number of 0 to 1000")
}

/// A probability above 0.
pub fn probability(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|value| *value > 0.0 && *value <= 1.0).ok_or("give a number above 0, at most 1")
}

/// A level of thresholds: a percentage.
pub fn level(text: &str) -> Result<u32, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
    let fits = percent.filter(|percent| (1..100).contains(percent));
    fits.ok_or_else(|| "give whole percents of 1% to 99%".into())
}

/// Levels of thresholds: one, or the tens from one to another: `10%..90%`. 0, the network as it is, is none: it comes first anyway.
pub fn levels(text: &str) -> Result<Vec<u32>, String> {
    if text == "0" {
        return Ok(Vec::new());
    }
    let Some((first, last)) = text.split_once("..") else { return Ok(vec![level(text)?]) };
    let (first, last) = (level(first)?, level(last)?);
    if first > last {
        return Err("give the lower level first".into());
    }
    Ok((first..=last).step_by(10).collect())
}

/// A level of pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneLevel {
    /// So many of ten thousand weights.
    Share(u32),
    /// At most so many of each block.
    Blocks([usize; 2]),
}

impl PruneLevel {
    /// Which weights become zero; none for the network as it is.
    pub fn sparsity(self) -> Option<Sparsity> {
        match self {
            Self::Share(0) => None,
            Self::Share(share) => Some(Sparsity::Share(share)),
            Self::Blocks([keep, of]) => Some(Sparsity::Blocks { keep, of }),
        }
    }
}

impl fmt::Display for PruneLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(0) => f.write_str("0"),
            Self::Share(share) => write!(f, "{}%", f64::from(*share) / 100.0),
            Self::Blocks([keep, of]) => write!(f, "{keep}:{of}"),
        }
    }
}

/// Most weights of a block.
const LARGEST_BLOCK: usize = 1024;

/// A level of pruning: `0`, a percentage with up to two decimals, or `N:M`.
pub fn prune_level(text: &str) -> Result<PruneLevel, &'static str> {
    let wrong = "give 0, a percentage of 0% to 100%, at most two decimals, or N:M, N below M, M at most 1024";
    if let Some((keep, of)) = text.split_once(':') {
        let both = keep.parse().ok().zip(of.parse().ok());
        let fits = both.filter(|(keep, of)| (1..*of).contains(keep) && *of <= LARGEST_BLOCK);
        return fits.map(|(keep, of)| PruneLevel::Blocks([keep, of])).ok_or(wrong);
    }
    if text == "0" {
        return Ok(PruneLevel::Share(0));
    }
    let (whole, decimals) =
        text.strip_suffix('%').map(|text| text.split_once('.').unwrap_or((text, "0"))).ok_or(wrong)?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 2 {
        return Err(wrong);
    }
    let decimals: u32 = format!("{decimals:0<2}").parse().map_err(|_| wrong)?;
    let share = whole.parse::<u32>().ok().and_then(|whole| whole.checked_mul(100)?.checked_add(decimals));
    share.filter(|share| *share <= 10_000).map(PruneLevel::Share).ok_or(wrong)
}

/// A number format by its name, or one for each operand.
pub fn number_format(text: &str) -> Result<Formats, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

/// How many scales weights have, by its name.
pub fn weight_scale() -> impl TypedValueParser<Value = WeightScale> {
    PossibleValuesParser::new(WeightScale::ALL.map(WeightScale::name)).map(|name| {
        let named = WeightScale::ALL.into_iter().find(|scale| scale.name() == name);
        named.expect("possible values are names of scales")
    })
}

/// How much is counted, by its name.
pub fn statistics() -> impl TypedValueParser<Value = Statistics> {
    PossibleValuesParser::new(Statistics::ALL.map(Statistics::name)).map(|name| {
        let named = Statistics::ALL.into_iter().find(|statistics| statistics.name() == name);
        named.expect("possible values are names of levels")
    })
}

/// An encoder by its name.
pub fn encoder() -> impl TypedValueParser<Value = Encoder> {
    PossibleValuesParser::new(Encoder::ALL.map(Encoder::name))
        .map(|name| Encoder::from_name(&name).expect("possible values are names of encoders"))
}

/// The metrics that a name selects.
pub fn selection(name: &str) -> Result<Selection, String> {
    let selection = metrics::select(name);
    if selection.metrics.is_empty() {
        let groups = metrics::all().flat_map(|metric| [metric.name, metric.name.split('.').next().unwrap_or_default()]);
        let known = columns::names().chain(groups.map(str::to_owned)).chain(["all".into()]);
        let near = near_or(name, known, "`deadweight explain` lists them");
        return Err(format!("is no metric and no group of them; {near}"));
    }
    Ok(selection)
}

/// A column of tables by its name.
pub fn column(name: &str) -> Result<Column, String> {
    Column::parse(name)
}

/// A demand on a figure.
pub fn assertion(text: &str) -> Result<Assertion, String> {
    Assertion::parse(text)
}

/// How far figures may be from a baseline's.
pub fn tolerance(text: &str) -> Result<Tolerance, &'static str> {
    Tolerance::parse(text)
}
