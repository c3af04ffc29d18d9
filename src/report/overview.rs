//! Several models in one table: a line of facts each, then a row each, sums over their layers.

use super::columns::{self, Column};
use super::document::Document;
use super::table::Grid;
use super::{told, units};

/// What `document` is of.
fn name(document: &Document) -> String {
    let quantized = document.model.quantized.map(|to| format!(" {to}")).unwrap_or_default();
    format!("{}{quantized}", document.model.name)
}

/// The table, for a terminal `width` columns wide or as wide as it needs.
pub fn overview(documents: &[Document], width: Option<u16>) -> String {
    let longest = documents.iter().map(|document| name(document).len()).max().unwrap_or(0);
    let mut text = String::new();
    for document in documents {
        let quality = document.data.quality.as_ref().map(|quality| format!(": {}", told(quality))).unwrap_or_default();
        let parameters = units::count(document.model.parameters);
        text += &format!(
            "{:longest$}  {}, {parameters} parameters, {} inputs{quality}\n",
            name(document),
            document.model.task,
            document.data.inputs
        );
    }
    let Some(first) = documents.first() else { return text };
    let columns: Vec<&Column> = columns::default(first);
    let format = std::iter::once("model".to_owned()).chain(["numbers".to_owned()]);
    let mut grid = Grid::new(format.chain(columns.iter().map(|column| column.header.clone())), &[0, 1]);
    for document in documents {
        let network = columns::rows(document).last().expect("the network is the last row");
        let facts = [name(document), document.format.name.clone()];
        grid.row(facts.into_iter().chain(columns.iter().map(|column| column.text(&network))));
    }
    format!("{text}\n{}", grid.render(width))
}
