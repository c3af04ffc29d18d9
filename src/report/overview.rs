//! Several models in one table: a line of facts each, then a row each, sums over their layers.

use super::columns::{Column, default};
use super::scopes::Report;
use super::table::Grid;
use super::{quality_text, units};

/// What `report` is of.
fn name(report: &Report) -> String {
    let model = &report.provenance.model;
    let quantized = model.quantized.as_ref().map(|to| format!(" {to}")).unwrap_or_default();
    format!("{}{quantized}", model.name)
}

/// The table, for a terminal `width` columns wide or as wide as it needs.
pub fn overview(reports: &[Report], width: Option<u16>) -> String {
    let longest = reports.iter().map(|report| name(report).len()).max().unwrap_or(0);
    let mut text = String::new();
    for report in reports {
        let model = &report.provenance.model;
        let quality = report.quality.as_ref().map(|quality| format!(": {}", quality_text(quality))).unwrap_or_default();
        let parameters = units::count(model.parameters);
        text += &format!(
            "{:longest$}  {}, {parameters} parameters, {} inputs{quality}\n",
            name(report),
            model.task,
            report.inputs
        );
    }
    let Some(first) = reports.first() else { return text };
    let columns: Vec<Column> = default(super::counted(&first.provenance));
    let format = std::iter::once("model".to_owned()).chain(["numbers".to_owned()]);
    let mut grid = Grid::new(format.chain(columns.iter().map(|column| column.header.clone())), &[0, 1]);
    for report in reports {
        let facts = [name(report), report.provenance.format.name.clone()];
        grid.row(facts.into_iter().chain(columns.iter().map(|column| column.text(report.network()))));
    }
    format!("{text}\n{}", grid.render(width))
}
