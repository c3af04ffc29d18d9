//! How many bits are enough: the share of activations, and of groups of them, that fit in so many bits.

use super::svg::{Anchor, FAINT, INK, Svg};
use crate::metrics::{Value, Which};
use crate::report::Report;

const GROUPS: [(&str, &str, &str); 4] = [
    ("width.histogram", "single values", "#0f6fb4"),
    ("width.g16.histogram", "groups of 16", "#d55e00"),
    ("width.g64.histogram", "groups of 64", "#00875f"),
    ("width.g256.histogram", "groups of 256", "#a23b9a"),
];

const WIDTH: f64 = 252.0;
const HEIGHT: f64 = 140.0;
const LEFT: f64 = 34.0;

/// The figure; none where widths were not counted.
pub(super) fn widths(run: &Report, label: &str) -> Option<String> {
    let cells = &run.network().cells;
    let counts = |metric| match cells.get(metric, Some(Which::Activations)) {
        Some(Value::Histogram(counts)) if counts.iter().any(|&count| count > 0) => Some(counts),
        _ => None,
    };
    let lines: Vec<_> =
        GROUPS.into_iter().filter_map(|(metric, name, colour)| Some((name, colour, counts(metric)?))).collect();
    let used = |counts: &[u64]| counts.iter().rposition(|&count| count > 0).unwrap_or(0);
    let bits = lines.iter().map(|(.., counts)| used(counts)).max()?.max(1);
    let mut svg = Svg::new(&format!("{label}: bits that activations need"), WIDTH, HEIGHT + 78.0);
    let items: Vec<(&str, &str)> = lines.iter().map(|&(name, colour, _)| (name, colour)).collect();
    let top = svg.legend([0.0, 10.0], &items) + 12.0;
    let at = |bits_of: usize, share: f64| {
        [LEFT + (WIDTH - LEFT - 8.0) * bits_of as f64 / bits as f64, top + HEIGHT * (1.0 - share)]
    };
    for step in 0..=4 {
        let share = f64::from(step) / 4.0;
        svg.line(at(0, share), at(bits, share), if step == 0 { INK } else { FAINT }, 0.5);
        svg.text([LEFT - 4.0, at(0, share)[1] + 3.0], &format!("{:.0} %", 100.0 * share), Anchor::End);
    }
    svg.text([0.0, top - 7.0], "share that fits", Anchor::Start);
    for tick in (0..=bits).step_by(if bits > 8 { 2 } else { 1 }) {
        let [x, y] = at(tick, 0.0);
        svg.text([x, y + 11.0], &tick.to_string(), Anchor::Middle);
    }
    svg.text([WIDTH - 8.0, top + HEIGHT + 22.0], "bits", Anchor::End);
    for (_, colour, counts) in &lines {
        let total: u64 = counts.iter().sum();
        let (mut fits, mut points) = (0, vec![at(0, 0.0)]);
        for width in 0..=bits {
            points.push(at(width, fits as f64 / total as f64));
            fits += counts.get(width).copied().unwrap_or(0);
            points.push(at(width, fits as f64 / total as f64));
        }
        svg.path(&points, colour);
    }
    Some(svg.finish())
}
