//! The table in Markdown, for papers and pull requests.

use super::columns::Column;
use super::scopes::{Part, Report};

/// Facts as a list, then the table.
pub(super) fn render(report: &Report, columns: &[Column]) -> String {
    let mut text = String::new();
    for (key, fact) in super::facts(report) {
        text += &format!("- {key}: {fact}\n");
    }
    text.push('\n');
    let headers = columns.iter().map(|column| column.header.replace('\n', " "));
    line(&mut text, std::iter::once("layer".into()).chain(headers));
    let rules = columns.iter().map(|column| if column.is_text() { ":--" } else { "--:" }.to_owned());
    line(&mut text, std::iter::once(":--".into()).chain(rules));
    for scope in report.scopes.iter().filter(|scope| matches!(scope.part, Part::Layer | Part::Network)) {
        let cells = columns.iter().map(|column| column.text(scope));
        line(&mut text, std::iter::once(scope.layer.clone()).chain(cells));
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
        let columns = ["kind", "macs.effectual", "A"].map(|name| Column::parse(name).unwrap());
        insta::assert_snapshot!(render(&sample::report(), &columns), @r"
        - model: tiny (built-in demo): classify, names of torchvision, batch norm folded
        - size: 12.35 k parameters; 2 layers measured, 9.216 k MACs an input
        - inputs: 4 inputs, 1 skipped; top-1 75.0%, top-5 100.0% of 4 with a label
        - format: fixed16, ranges of 4 inputs, native engine
        - potentials: dense work / work left, padding counted, terms by naf

        | layer | kind | effectual MACs | A |
        | :-- | :-- | --: | --: |
        | conv1 | conv | 34.4% | 2.38 |
        | layer1.0\|conv | conv | 0.0% | inf |
        | network |  | 17.2% | 4.76 |
        ");
    }
}
