//! Stopping a run at a given confidence interval.

use clap::Args;

use crate::kernels::count::Encoder;
use crate::measure::Until;
use crate::metrics;
use crate::report::columns;
use crate::{Error, Result};

/// The default metric.
const METRIC: &str = "potential.W+A";

/// Flags of the stopping rule.
#[derive(Args, Debug)]
pub struct UntilArgs {
    /// End the run when the 95 % interval of the network's value of --metric is within P of it on either side, after 30 inputs at
    /// the least; asked after each batch
    #[arg(long, value_name = "P%", value_parser = percent, conflicts_with = "shard")]
    pub until_ci: Option<f64>,
    /// The metric that decides, as a column names it [default: potential.W+A]
    #[arg(long, value_name = "NAME", requires = "until_ci")]
    pub metric: Option<String>,
}

/// Parses a percentage as a fraction.
fn percent(text: &str) -> Result<f64, &'static str> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let share = number.filter(|number| *number > 0.0 && *number <= 100.0).map(|number| number / 100.0);
    share.ok_or("give a percentage above 0% and up to 100%, e.g. 0.5%")
}

impl UntilArgs {
    /// The stopping rule of the flags; `has_terms` says whether the run counts terms.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown metric, or one that is not kept per input.
    pub(super) fn until(&self, encoder: Encoder, has_terms: bool) -> Result<Option<Until>> {
        let Some(share) = self.until_ci else { return Ok(None) };
        let name = self.metric.as_deref().unwrap_or(METRIC);
        let wrong = |detail: String| Error::invalid(format!("--metric {name}"), detail);
        let (metric, operand) = columns::find(name).ok_or_else(|| wrong(columns::unknown(name)))?;
        let known = metrics::Sampled::all(encoder, has_terms);
        if !known.iter().any(|known| known.metric.name == metric.name && known.operand() == operand) {
            let mut names: Vec<String> =
                known.iter().map(|known| metrics::ratio_name(known.metric, None, false)).collect();
            names.dedup();
            let names = names.join(", ");
            return Err(wrong(format!("has no confidence interval in this run; metrics that have one: {names}")));
        }
        Ok(Some(Until { metric, share }))
    }
}
