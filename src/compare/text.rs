//! The comparison for people: facts, then a row a figure, as a table or in Markdown.

use super::{Change, Comparison, Row, Side, Verdict};
use crate::metrics::Show;
use crate::report::columns::Column;
use crate::report::units;
use crate::report::{Grid, quality_text};

/// Most names that a line lists.
const LISTED: usize = 12;

/// `number`, without its sign, as `column` shows differences.
pub fn amount(column: &Column, number: f64) -> String {
    let number = number.abs();
    match column.metric().map(|(metric, _)| metric.show) {
        Some(Show::Count) => units::count(number.round() as u64),
        Some(Show::Percent) => format!("{} pp", units::significant(number * 100.0, 3)),
        _ => units::significant(number, 3),
    }
}

/// `number` in six digits, or all of them where it is whole.
pub fn precise(number: f64) -> String {
    let is_whole = number.fract() == 0.0 && number.abs() < 1e15;
    if is_whole { number.to_string() } else { units::significant(number, 6) }
}

/// The same, as `column` shows numbers: a share in percent.
pub fn precise_in(column: &Column, number: f64) -> String {
    match column.metric().map(|(metric, _)| metric.show) {
        Some(Show::Percent) => format!("{}%", precise(number * 100.0)),
        _ => precise(number),
    }
}

/// A difference as `column` shows it, with its sign.
fn signed(column: &Column, difference: f64) -> String {
    let sign = if difference < 0.0 { '-' } else { '+' };
    format!("{sign}{}", amount(column, difference))
}

/// What became of a figure: its difference and its ratio.
fn change(column: &Column, change: &Change) -> [String; 2] {
    let ratio = || change.ratio.map_or("-".into(), |ratio| units::significant(ratio, 4));
    match (change.verdict, change.difference) {
        (Verdict::Same, _) => ["=".into(), "1".into()],
        (Verdict::Missing, _) => ["-".into(), "-".into()],
        (_, None) => ["-".into(), ratio()],
        (Verdict::Noise, Some(difference)) => [format!("~{}", signed(column, difference)), ratio()],
        (Verdict::Changed, Some(difference)) => [signed(column, difference), ratio()],
    }
}

/// Short names of the sides: the files' without folders and endings, or the paths where two have the same.
fn short_names(sides: &[Side]) -> Vec<String> {
    let stem = |side: &Side| {
        let stem = std::path::Path::new(&side.file).file_stem();
        stem.map_or_else(|| side.file.clone(), |stem| stem.to_string_lossy().into_owned())
    };
    let stems: Vec<String> = sides.iter().map(stem).collect();
    let is_alone = |stem: &String| stems.iter().filter(|other| *other == stem).count() == 1;
    let all = stems.iter().all(is_alone);
    sides.iter().zip(&stems).map(|(side, stem)| if all { stem.clone() } else { side.file.clone() }).collect()
}

/// The lines above the table: a keyword and its text.
fn facts(comparison: &Comparison) -> Vec<(&'static str, String)> {
    let Comparison { sides, differences, prefixes, only, .. } = comparison;
    let of_side = |(place, Side { file, report }): (usize, &Side)| {
        let (model, format) = (&report.provenance.model, &report.provenance.format);
        let quality = report.quality.as_ref().map(|quality| format!("; {}", quality_text(quality))).unwrap_or_default();
        let text = format!("{file}: {}, {}, {} inputs{quality}", model.name, format.name, report.inputs);
        (if place == 0 { "base" } else { "against" }, text)
    };
    let mut facts: Vec<_> = sides.iter().enumerate().map(of_side).collect();
    for difference in differences {
        let (base, other) = (&sides[0].file, &sides[difference.side].file);
        let text = format!("{}: {} ({base}), {} ({other})", difference.what, difference.base, difference.other);
        facts.push(("differs", text));
    }
    for (side, prefix) in sides[1..].iter().zip(prefixes) {
        if let Some(prefix) = prefix {
            let of = if prefix.of_base { &sides[0].file } else { &side.file };
            facts.push(("names", format!("those of {of} are matched without {}", prefix.text)));
        }
    }
    for (side, names) in sides.iter().zip(only).filter(|(_, names)| !names.is_empty()) {
        let more = names.len().saturating_sub(LISTED);
        let also = if more > 0 { format!(" and {more} more") } else { String::new() };
        facts.push(("only in", format!("{}: {}{also}", side.file, names[..names.len() - more].join(", "))));
    }
    let is_noisy = comparison.rows.iter().any(|row| row.changes.iter().any(|of| of.verdict == Verdict::Noise));
    if comparison.has_same_inputs() {
        facts.push(("inputs", "the same in all files: for these every difference is exact".into()));
    }
    if is_noisy {
        facts.push(("~", "within the 95 % interval of the difference: other inputs may give none".into()));
    }
    if comparison.rows.is_empty() {
        facts.push(("changes", "none".into()));
    }
    facts
}

/// Headings, then the cells of each row.
fn cells(comparison: &Comparison) -> (Vec<String>, Vec<Vec<String>>) {
    let names = short_names(&comparison.sides);
    let others = names[1..].iter().flat_map(|name| [name.clone(), "change".into(), "ratio".into()]);
    let header = ["layer".to_owned(), "metric".to_owned(), names[0].clone()].into_iter().chain(others).collect();
    let row = |row: &Row| {
        let column = &comparison.columns[row.column];
        let value = |at: usize| row.figures[at].map_or_else(|| "-".into(), |figure| column.show(figure.number));
        let others = (1..row.figures.len()).flat_map(|at| {
            let [difference, ratio] = change(column, &row.changes[at - 1]);
            [value(at), difference, ratio]
        });
        [row.layer.clone(), column.name.clone(), value(0)].into_iter().chain(others).collect()
    };
    (header, comparison.rows.iter().map(row).collect())
}

/// The table. A layer's name stands in the first of its rows.
pub(super) fn table(comparison: &Comparison, width: Option<u16>) -> String {
    let mut text = String::new();
    for (key, fact) in facts(comparison) {
        text += &format!("{key:<8} {fact}\n");
    }
    let (header, rows) = cells(comparison);
    if rows.is_empty() {
        return text;
    }
    let mut grid = Grid::new(header, &[0, 1]);
    let mut last = None;
    for (row, mut cells) in comparison.rows.iter().zip(rows) {
        if last.replace(row.index) == Some(row.index) {
            cells[0].clear();
        }
        grid.row(cells);
    }
    format!("{text}\n{}", grid.render(width))
}

/// The same in Markdown, with the layer's name in each row.
pub(super) fn markdown(comparison: &Comparison) -> String {
    let escaped = |text: &String| text.replace('|', "\\|");
    let mut text: String = facts(comparison).iter().map(|(key, fact)| format!("- {key}: {fact}\n")).collect();
    let (header, rows) = cells(comparison);
    if rows.is_empty() {
        return text;
    }
    let rules = (0..header.len()).map(|at| if at < 2 { ":--" } else { "--:" }.to_owned()).collect();
    text.push('\n');
    for cells in [header, rules].into_iter().chain(rows) {
        text += &format!("| {} |\n", cells.iter().map(escaped).collect::<Vec<_>>().join(" | "));
    }
    text
}
