//! What the values of flags are read by, with the word for those that are none.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::Error;
use crate::error::near_or;
use crate::format::{Formats, WeightScale};
use crate::gate::{Assertion, Tolerance};
use crate::kernels::count::Encoder;
use crate::measure::Statistics;
use crate::metrics::{self, Selection};
use crate::report::columns::{self, Column};

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

/// Levels of thresholds: one, or the tens from one to another: `10%..90%`.
pub fn levels(text: &str) -> Result<Vec<u32>, String> {
    let Some((first, last)) = text.split_once("..") else { return Ok(vec![level(text)?]) };
    let (first, last) = (level(first)?, level(last)?);
    if first > last {
        return Err("give the lower level first".into());
    }
    Ok((first..=last).step_by(10).collect())
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
