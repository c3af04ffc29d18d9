//! Reports: the metrics of the layers and of the network, in every output format.
//!
//! Every format is a pure function of the [`Report`]; none of them sees a network or a tensor.

pub mod columns;
mod csv;
pub mod designs;
mod document;
mod figure;
pub mod figures;
pub mod html;
mod input;
mod json;
mod load;
mod markdown;
mod overview;
#[cfg(feature = "parquet")]
mod parquet;
mod phases;
pub mod quality;
mod read;
pub mod roofline;
mod rows;
#[cfg(test)]
#[path = "sample_tests.rs"]
pub(crate) mod sample;
mod schema;
mod scopes;
mod table;
pub mod trace;
pub mod units;

use clap::ValueEnum;

use crate::Result;
use crate::measurement::Provenance;
use crate::metrics::Needs;
use crate::tally::Statistics;
use columns::Column;

pub use document::{SCHEMA, document};
pub use figure::Figure;
pub use input::{InputLine, of_inputs};
pub use json::to_json;
pub use overview::overview;
pub use phases::{Phase, Phases};
pub use quality::{quality, quality_text};
pub use rows::{Field, Row, rows};
pub use schema::{explanation, input_schema, reference, schema};
pub use scopes::{Extents, Part, Report, Scope};
pub use table::Grid;

/// How a measurement is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: a row a layer
    #[default]
    Table,
    /// Everything, as one document
    Json,
    /// Every number, one a line
    Csv,
    /// The table in Markdown
    Md,
    /// One page for the browser, with figures
    Html,
    /// Every number, one a row, in typed columns
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Format {
    /// The bytes of `report`; text ends with a newline. `columns` and `width` (of the terminal, if it is one) concern the table,
    /// `columns` Markdown too.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] for a count that the format cannot hold.
    pub fn render(self, report: &Report, columns: &[Column], width: Option<u16>) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Table => table::render(report, columns, width).into_bytes(),
            Self::Json => to_json(&document(report)).into_bytes(),
            Self::Csv => csv::render(report),
            Self::Md => markdown::render(report, columns).into_bytes(),
            Self::Html => html::page(std::slice::from_ref(report), &[]).into_bytes(),
            #[cfg(feature = "parquet")]
            Self::Parquet => parquet::render(report)?,
        })
    }

    /// As the flag calls it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether `columns` concern it: other formats hold everything.
    pub fn has_columns(self) -> bool {
        matches!(self, Self::Table | Self::Md)
    }

    /// Whether it is text that a terminal can show.
    pub fn is_text(self) -> bool {
        match self {
            Self::Table | Self::Json | Self::Csv | Self::Md => true,
            Self::Html => false,
            #[cfg(feature = "parquet")]
            Self::Parquet => false,
        }
    }
}

/// The level of statistics that was counted.
pub fn counted(provenance: &Provenance) -> Statistics {
    Statistics::from_name(&provenance.format.statistics).unwrap_or(Statistics::Values)
}

/// Whether what a metric needs was counted.
pub fn has(provenance: &Provenance, needs: Needs) -> bool {
    match needs {
        Needs::Extra(extra) => provenance.format.extra.iter().any(|name| name == extra.name()),
        needs => needs.level() <= counted(provenance),
    }
}

/// The lines above the table: a keyword and its text.
fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let Report { provenance, inputs, skipped, quality, .. } = report;
    let (model, format) = (&provenance.model, &provenance.format);
    let note = model.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    let norm = match model.folded {
        Some(true) => ", batch norm folded",
        Some(false) => ", batch norm not folded",
        None => "",
    };
    let parameters = units::count(model.parameters);
    let per_input = report.network().cells.get("macs.per_input", None).and_then(|macs| macs.number());
    let macs = per_input.map(|macs| format!(", {} MACs an input", units::count(macs as u64))).unwrap_or_default();
    let measured = report.layers().count();
    let head = head_share(report).map(|share| format!(", {} of them the head's", units::share(Some(share))));
    let head = head.unwrap_or_default();
    let mut data = format!("{inputs} inputs");
    if *skipped > 0 {
        data += &format!(", {skipped} skipped");
    }
    if let Some(quality) = quality {
        data += &format!("; {}", quality_text(quality));
    }
    let quantized = model.quantized.as_ref().map(|to| format!(", quantised to {to}")).unwrap_or_default();
    let ranges = match format.calibration_inputs {
        0 => String::new(),
        inputs => format!(", ranges of {inputs} inputs"),
    };
    let file = format.precision.as_ref().map(|file| format!(" of {}", file.name)).unwrap_or_default();
    let scales = if format.weight_scale.as_deref() == Some("filter") { ", a scale for each filter" } else { "" };
    let least = if format.min_one { ", at least 1 a MAC that is not skipped" } else { "" };
    let terms = match counted(provenance) {
        Statistics::Values => ", terms not counted".into(),
        _ => format!(", terms by {}", format.encoder.name()),
    };
    let mut facts = vec![
        ("model", format!("{}{note}: {}, names of {}{norm}{quantized}", model.name, model.task, model.naming)),
        ("size", format!("{parameters} parameters; {measured} layers measured{macs}{head}")),
        ("inputs", data),
        ("format", format!("{}{file}{scales}{ranges}, {} engine", format.name, provenance.tool.backend)),
        ("potentials", format!("dense work / work left, padding counted{terms}{least}")),
    ];
    if let Some(Phases { prefill, decode }) = &report.phases {
        facts.extend([("prefill", phase_text(prefill)), ("decode", phase_text(decode))]);
    }
    facts.extend(provenance.notes.iter().map(|note| ("note", note.clone())));
    facts
}

/// Share of the MACs that the last layer of a transformer that predicts tokens has.
fn head_share(report: &Report) -> Option<f64> {
    let attends = report.layers().any(|scope| scope.kind == "attention");
    let (last, network) = (report.layers().last()?, report.network());
    let macs = |scope: &Scope| scope.cells.get("macs", None).and_then(|macs| macs.number());
    let is_whole = attends && !report.provenance.options.contains_key("layers");
    let is_head = is_whole && report.provenance.model.task == "language" && last.kind == "linear";
    is_head.then(|| Some(macs(last)? / macs(network)?)).flatten()
}

fn phase_text(phase: &Phase) -> String {
    let Phase { tokens, macs, weights, activations, cache } = *phase;
    let all = [macs, weights + activations + cache, weights, activations, cache];
    let [macs, all, weights, activations, cache] = all.map(|of| units::count(of as u64));
    format!(
        "{tokens} tokens: {macs} MACs and {all} bits a token (weights {weights}, activations {activations}, keys and values \
         {cache})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_say_what_is_known_and_nothing_else() {
        let mut report = sample::report();
        let text = |report: &Report| {
            facts(report).iter().map(|(key, fact)| format!("{key}: {fact}")).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(text(&report), @r"
        model: tiny (built-in demo): classify, names of torchvision, batch norm folded
        size: 12.35 k parameters; 2 layers measured, 9.216 k MACs an input
        inputs: 4 inputs, 1 skipped; top-1 75.0%, top-5 100.0% of 4 with a label
        format: fixed16, ranges of 4 inputs, native engine
        potentials: dense work / work left, padding counted, terms by naf
        ");
        report.provenance.model.note = None;
        report.provenance.model.folded = Some(false);
        report.quality = None;
        report.skipped = 0;
        report.provenance.format.min_one = false;
        insta::assert_snapshot!(text(&report), @r"
        model: tiny: classify, names of torchvision, batch norm not folded
        size: 12.35 k parameters; 2 layers measured, 9.216 k MACs an input
        inputs: 4 inputs
        format: fixed16, ranges of 4 inputs, native engine
        potentials: dense work / work left, padding counted, terms by naf
        ");
    }
}
