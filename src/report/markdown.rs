//! The table in Markdown, for papers and pull requests.

use super::columns::{self, Column};
use super::document::Document;

/// Facts as a list, then the table.
pub(super) fn render(document: &Document, columns: &[&Column]) -> String {
    let mut text = String::new();
    for (key, fact) in super::facts(document) {
        text += &format!("- {key}: {fact}\n");
    }
    text.push('\n');
    let headers = columns.iter().map(|column| column.header.replace('\n', " "));
    line(&mut text, std::iter::once("layer".into()).chain(headers));
    let rules = columns.iter().map(|column| if column.is_text() { ":--" } else { "--:" }.to_owned());
    line(&mut text, std::iter::once(":--".into()).chain(rules));
    for row in columns::rows(document) {
        let cells = columns.iter().map(|column| column.text(&row));
        line(&mut text, std::iter::once(row.name.to_owned()).chain(cells));
    }
    text
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    for cell in cells {
        *text += &format!("| {} ", cell.replace('|', "\\|"));
    }
    *text += "|\n";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn bars_in_names_are_escaped_and_all_rows_have_all_cells() {
        let columns: Vec<&Column> =
            ["kind", "effectual", "A"].iter().map(|name| columns::find(name).unwrap()).collect();
        let text = render(&sample::document(), &columns);
        insta::assert_snapshot!(text, @r"
        - model: tiny (built-in demo): classify, names of torchvision, batch norm folded
        - size: 12.35 k parameters; 2 layers measured, 375 MACs an input
        - inputs: 4 inputs, 1 skipped; top-1 75.0%, top-5 100.0% of 4 with a label
        - format: fixed16, ranges of 4 inputs, native engine
        - potentials: dense work / work left, padding counted, terms by naf, at least 1 a MAC that is not skipped

        | layer | kind | effectual MACs | A |
        | :-- | :-- | --: | --: |
        | conv1 | conv | 40.0% | 2.50 |
        | layer1.0\|conv | depthwise | 0.0% | inf |
        | network |  | 26.7% | 3.75 |
        ");
    }
}
