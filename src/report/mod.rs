//! Telling: documents made of tallies, and their formats.
//!
//! Every format is a pure function of the [`Document`]; none of them sees a network or a tensor.

mod build;
pub mod columns;
mod csv;
pub mod document;
mod json;
mod markdown;
mod overview;
pub mod quality;
mod recurrent;
#[cfg(test)]
mod sample;
mod table;
pub mod units;

use clap::ValueEnum;

use columns::Column;
pub use document::Document;

pub use build::document;
pub use json::to_json;
pub use overview::overview;
pub use quality::{quality, told};
pub use table::Grid;

/// How a measurement is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: a row a layer.
    #[default]
    Table,
    /// The whole document.
    Json,
    /// Every number of the document, one a line.
    Csv,
    /// The table in Markdown.
    Md,
}

impl Format {
    /// `document` as text that ends with a newline. `columns` and `width` (of the terminal, if it is one) concern
    /// the table, `columns` Markdown too.
    pub fn render(self, document: &Document, columns: &[&Column], width: Option<u16>) -> String {
        match self {
            Self::Table => table::render(document, columns, width),
            Self::Json => to_json(document),
            Self::Csv => csv::render(document),
            Self::Md => markdown::render(document, columns),
        }
    }
}

/// What stands above the rows for people: a keyword and what it says.
fn facts(document: &Document) -> Vec<(&'static str, String)> {
    let Document { model, data, format, tool, network, .. } = document;
    let note = model.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    let norm = match model.folded {
        Some(true) => ", batch norm folded",
        Some(false) => ", batch norm not folded",
        None => "",
    };
    let parameters = units::count(model.parameters);
    let per_input = network.macs.dense.checked_div(data.inputs).map(units::count);
    let macs = per_input.map(|macs| format!(", {macs} MACs an input")).unwrap_or_default();
    let measured = document.layers.len();
    let mut inputs = format!("{} inputs", data.inputs);
    if data.skipped > 0 {
        inputs += &format!(", {} skipped", data.skipped);
    }
    if let Some(quality) = &data.quality {
        inputs += &format!("; {}", told(quality));
    }
    let quantized = model.quantized.map(|to| format!(", quantised to {to}")).unwrap_or_default();
    let ranges = match format.calibration_inputs {
        0 => String::new(),
        inputs => format!(", ranges of {inputs} inputs"),
    };
    let least = if format.min_one { ", at least 1 a MAC that is not skipped" } else { "" };
    let terms = match format.statistics {
        None => format!(", terms by {}", format.encoder),
        Some(_) => ", terms not counted".into(),
    };
    let name = format!("{}{note}: {}, names of {}{norm}{quantized}", model.name, model.task, model.naming);
    let mut facts = vec![("model", name)];
    facts.extend(model.notes.iter().map(|note| ("note", note.clone())));
    facts.extend([("size", format!("{parameters} parameters; {measured} layers measured{macs}")), ("inputs", inputs)]);
    facts.extend(data.notes.iter().map(|note| ("note", note.clone())));
    facts.extend([
        ("format", format!("{}{ranges}, {} engine", format.name, tool.backend)),
        ("potentials", format!("dense work / work left, padding counted{terms}{least}")),
    ]);
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_tell_what_is_known_and_nothing_else() {
        let mut document = sample::document();
        let text = |document: &Document| {
            facts(document).iter().map(|(key, fact)| format!("{key}: {fact}")).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(text(&document), @r"
        model: tiny (built-in demo): classify, names of torchvision, batch norm folded
        size: 12.35 k parameters; 2 layers measured, 375 MACs an input
        inputs: 4 inputs, 1 skipped; top-1 75.0%, top-5 100.0% of 4 with a label
        format: fixed16, ranges of 4 inputs, native engine
        potentials: dense work / work left, padding counted, terms by naf, at least 1 a MAC that is not skipped
        ");
        document.model.note = None;
        document.model.notes = vec!["averaged weights are read".into()];
        document.model.folded = Some(false);
        document.data.quality = None;
        document.data.skipped = 0;
        document.data.inputs = 0;
        document.format.min_one = false;
        document.data.notes = vec!["photos: its 3 folders are named as classes".into()];
        insta::assert_snapshot!(text(&document), @r"
        model: tiny: classify, names of torchvision, batch norm not folded
        note: averaged weights are read
        size: 12.35 k parameters; 2 layers measured
        inputs: 0 inputs
        note: photos: its 3 folders are named as classes
        format: fixed16, ranges of 4 inputs, native engine
        potentials: dense work / work left, padding counted, terms by naf
        ");
    }
}
