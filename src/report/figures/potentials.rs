//! Potentials across networks: a panel a source, a row a network, with 95 % intervals, on logarithmic axes of one scale.

use super::axes::WIDE;
use super::svg::{Anchor, FAINT, INK, Svg};
use crate::metrics::Cell;
use crate::report::Report;
use crate::report::html::{Class, class, labels};
use crate::report::units::significant;

const SOURCES: [&str; 5] = ["A", "W+A", "Ap.g16", "Ae", "We+Ae"];
const ROW: f64 = 15.0;
/// Room for the number beside a dot.
const NUMBER: f64 = 34.0;
const TICKS: [f64; 9] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0];

fn colour(class: Class) -> &'static str {
    match class {
        Class::Images => "#0f6fb4",
        Class::Segmentation => "#00875f",
        Class::Restoration => "#d55e00",
        Class::Recurrent => "#a23b9a",
        Class::Transformer => "#9a7a00",
        Class::Quantised => "#3f9bd1",
        Class::Other => "#555e6c",
    }
}

/// A potential of a network, with its bounds.
struct Point {
    value: f64,
    bounds: Option<[f64; 2]>,
}

fn point(run: &Report, source: &str) -> Option<Point> {
    let name = format!("potential.{source}");
    let cell: &Cell = run.network().cells.iter().find(|cell| cell.metric.name == name)?;
    let value = cell.value.number().filter(|value| value.is_finite() && *value > 0.0)?;
    Some(Point { value, bounds: cell.intervals[0].map(|interval| [interval.low.max(1.0), interval.high]) })
}

/// The figure, networks by class, in each class those with the largest gain first; none where no potential is known.
pub(super) fn potentials(runs: &[Report]) -> Option<String> {
    let mut rows: Vec<(&Report, String)> = runs.iter().zip(labels(runs)).collect();
    let gain =
        |run: &Report| SOURCES.iter().rev().find_map(|source| point(run, source)).map_or(0.0, |point| point.value);
    rows.sort_by(|(one, _), (other, _)| class(one).cmp(&class(other)).then(gain(other).total_cmp(&gain(one))));
    let most = |source: &str| {
        let ends = rows.iter().filter_map(|(run, _)| point(run, source));
        ends.map(|point| point.bounds.map_or(point.value, |[_, high]| high.max(point.value))).reduce(f64::max)
    };
    let panels: Vec<(&str, f64)> =
        SOURCES.into_iter().filter_map(|source| Some((source, most(source)?.max(1.2)))).collect();
    if panels.is_empty() {
        return None;
    }
    let longest = rows.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0);
    let left = (4.6 * longest as f64 + 8.0).min(150.0);
    let decade =
        (WIDE - left - NUMBER * panels.len() as f64) / panels.iter().map(|(_, most)| most.log10()).sum::<f64>();
    let mut svg = Svg::new("Potentials: dense work over the work left", WIDE, 62.0 + ROW * rows.len() as f64);
    let mut classes: Vec<Class> = rows.iter().map(|(run, _)| class(run)).collect();
    classes.dedup();
    let items: Vec<(&str, &str)> = classes.iter().map(|&class| (class.name(), colour(class))).collect();
    let top = svg.legend([0.0, 10.0], &items) + 18.0;
    let bottom = top + ROW * rows.len() as f64;
    let fit = |label: &str| {
        let letters = ((left - 8.0) / 4.6) as usize;
        if label.chars().count() <= letters {
            label.to_owned()
        } else {
            label.chars().take(letters - 1).chain(['…']).collect()
        }
    };
    for (row, (_, label)) in rows.iter().enumerate() {
        svg.text([left - 6.0, top + ROW * (row as f64 + 0.5) + 3.0], &fit(label), Anchor::End);
    }
    let mut start = left;
    for (source, most) in panels {
        let at = |value: f64| start + decade * value.max(1.0).log10();
        svg.bold([start, top - 8.0], source, Anchor::Start);
        let mut last = f64::NEG_INFINITY;
        for tick in TICKS.into_iter().filter(|&tick| tick <= most * 1.1 && tick < 300.0) {
            svg.line([at(tick), top], [at(tick), bottom], if tick == 1.0 { INK } else { FAINT }, 0.4);
            if at(tick) - last >= 18.0 {
                svg.text([at(tick), bottom + 11.0], &format!("{tick}×"), Anchor::Middle);
                last = at(tick);
            }
        }
        for (row, (run, _)) in rows.iter().enumerate() {
            let Some(Point { value, bounds }) = point(run, source) else { continue };
            let y = top + ROW * (row as f64 + 0.5);
            let colour = colour(class(run));
            svg.line([start, y], [at(value), y], colour, 1.2);
            if let Some([low, high]) = bounds {
                svg.line([at(low), y], [at(high), y], INK, 0.8);
            }
            svg.dot([at(value), y], 2.6, colour);
            let end = bounds.map_or(value, |[_, high]| high.max(value));
            svg.text([at(end) + 5.0, y + 3.0], &significant(value, 3), Anchor::Start);
        }
        start += decade * most.log10() + NUMBER;
    }
    Some(svg.finish())
}
