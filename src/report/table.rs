//! The default output: facts, then a table with a row a layer, the network last.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

use super::columns::Column;
use super::scopes::{Part, Report};

/// The first column wraps to fit the terminal, down to this width.
const NARROWEST: u16 = 40;

/// Columns under headings, a rule below the headings and one above the last row if it is a sum.
pub struct Grid {
    table: Table,
    total: bool,
}

impl Grid {
    /// An empty grid with these headings. Columns of `left` stand on the left, all others on the right.
    pub fn new<H: Into<String>>(headers: impl IntoIterator<Item = H>, left: &[usize]) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_style(comfy_table::TableComponent::HeaderLines, '-');
        let align = |i: usize| if left.contains(&i) { CellAlignment::Left } else { CellAlignment::Right };
        let cells = headers.into_iter().enumerate().map(|(i, text)| Cell::new(text.into()).set_alignment(align(i)));
        table.set_header(cells.collect::<Vec<_>>());
        for (i, column) in table.column_iter_mut().enumerate() {
            column.set_cell_alignment(align(i));
            column.set_padding((u16::from(i > 0), 1));
        }
        Self { table, total: false }
    }

    /// Adds a row.
    pub fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.table.add_row(cells.into_iter().map(Into::into).collect::<Vec<String>>());
    }

    /// Adds the last row, a sum.
    pub fn total<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.row(cells);
        self.total = true;
    }

    /// Lays it out for a terminal `width` columns wide, where the first column's texts wrap if they must; or as wide
    /// as it needs.
    pub fn render(mut self, width: Option<u16>) -> String {
        match width {
            Some(width) => {
                self.table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.max(NARROWEST));
                let numbers = self.table.column_iter_mut().skip(1);
                numbers.for_each(|column| {
                    column.set_constraint(ColumnConstraint::ContentWidth);
                });
            }
            None => {
                self.table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        let text = self.table.trim_fmt();
        let mut lines: Vec<&str> = text.lines().collect();
        let rule = lines.iter().position(|line| !line.is_empty() && line.bytes().all(|byte| byte == b'-'));
        if let (true, Some(rule)) = (self.total, rule) {
            lines.insert(lines.len() - 1, lines[rule]);
        }
        lines.iter().flat_map(|line| [*line, "\n"]).collect()
    }
}

/// The whole table.
pub(super) fn render(report: &Report, columns: &[Column], width: Option<u16>) -> String {
    let mut text = String::new();
    for (key, fact) in super::facts(report) {
        text += &format!("{key:<11} {fact}\n");
    }
    let left: Vec<usize> =
        std::iter::once(0).chain((1..).zip(columns).filter(|(_, column)| column.is_text()).map(|(i, _)| i)).collect();
    let headers = std::iter::once("layer").chain(columns.iter().map(|column| column.header.as_str()));
    let mut grid = Grid::new(headers, &left);
    for scope in &report.scopes {
        let cells = std::iter::once(scope.layer.clone()).chain(columns.iter().map(|column| column.text(scope)));
        match scope.part {
            Part::Layer => grid.row(cells),
            Part::Network => grid.total(cells),
            Part::Gate(_) | Part::Steps(..) => {}
        }
    }
    format!("{text}\n{}", grid.render(width))
}

#[cfg(test)]
mod tests {
    use super::super::columns;
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_default_table() {
        let report = sample::report();
        let text = render(&report, &columns::default(super::super::counted(&report.provenance)), None);
        insta::assert_snapshot!(text, @r"
        model       tiny (built-in demo): classify, names of torchvision, batch norm folded
        size        12.35 k parameters; 2 layers measured, 9.216 k MACs an input
        inputs      4 inputs, 1 skipped; top-1 75.0%, top-5 100.0% of 4 with a label
        format      fixed16, ranges of 4 inputs, native engine
        potentials  dense work / work left, padding counted, terms by naf

        layer             MACs    zero   zero  effectual  g16 act  terms     A   W+A  Ap.g16    Ae  We+Ae
                        /input     act     wt       MACs    width    act
        --------------------------------------------------------------------------------------------------
        conv1          4.608 k   50.0%  16.7%      34.4%    15.00   1.68  2.38  2.91    1.27  11.4    129
        layer1.0|conv  4.608 k  100.0%  16.7%       0.0%     0.00   0.00   inf   inf     inf   inf    inf
        --------------------------------------------------------------------------------------------------
        network        9.216 k   75.0%  16.7%      17.2%     7.50   0.84  4.76  5.82    2.54  22.8    258
        ");
    }

    #[test]
    fn a_narrow_terminal_breaks_names_not_numbers() {
        let mut report = sample::report();
        report.scopes[0].layer = "backbone.features.stage3.block12.expand.convolution".into();
        let columns: Vec<Column> = ["kind", "macs.per_input", "A"].map(|name| Column::parse(name).unwrap()).into();
        let text = render(&report, &columns, Some(50));
        insta::assert_snapshot!(text.lines().skip(6).collect::<Vec<_>>().join("\n"), @r"
        layer                         kind     MACs     A
                                             /input
        --------------------------------------------------
        backbone.features.stage3.blo  conv  4.608 k  2.38
        ck12.expand.convolution
        layer1.0|conv                 conv  4.608 k   inf
        --------------------------------------------------
        network                             9.216 k  4.76
        ");
    }

    #[test]
    fn a_grid_without_a_sum_has_one_rule() {
        let mut grid = Grid::new(["name", "n"], &[0]);
        grid.row(["a", "1"]);
        assert_eq!(grid.render(None), "name  n\n--------\na     1\n");
    }
}
