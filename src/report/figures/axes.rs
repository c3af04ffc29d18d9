//! Axes of figures over layers: shares upwards, names of layers below.

use super::svg::{Anchor, FAINT, INK, Svg};

/// Width of a figure over a page, in points.
pub(super) const WIDE: f64 = 504.0;
/// Height of what is drawn, without names and legends.
pub(super) const HEIGHT: f64 = 150.0;
/// Room for the labels of shares.
pub(super) const LEFT: f64 = 34.0;
/// Width of what is drawn.
pub(super) const INNER: f64 = WIDE - LEFT - 6.0;
/// Letters of a name; of longer ones the end stands.
const LETTERS: usize = 22;

/// The end of a name that is longer than so many letters, which tells layers apart.
fn short(name: &str, most: usize) -> String {
    let letters = name.chars().count();
    match letters <= most {
        true => name.into(),
        false => format!("…{}", name.chars().skip(letters + 1 - most).collect::<String>()),
    }
}

/// Room that names below take.
pub(super) fn room<'a>(names: impl Iterator<Item = &'a str>) -> f64 {
    let longest = names.map(|name| name.chars().count().min(LETTERS)).max().unwrap_or(0);
    12.0 + 3.9 * longest as f64
}

/// Lines and labels of shares from 0 to `most`, whose top is at `top`.
pub(super) fn shares(svg: &mut Svg, top: f64, most: f64, label: &str) {
    for step in 0..=4 {
        let share = most * f64::from(step) / 4.0;
        let y = top + HEIGHT * (1.0 - f64::from(step) / 4.0);
        svg.line([LEFT, y], [LEFT + INNER, y], if step == 0 { INK } else { FAINT }, 0.5);
        let digits = usize::from(most < 0.2);
        svg.text([LEFT - 4.0, y + 3.0], &format!("{:.digits$} %", 100.0 * share), Anchor::End);
    }
    svg.text([0.0, top - 7.0], label, Anchor::Start);
}

/// Names of layers below, each at its place, where they do not touch.
pub(super) fn names<'a>(svg: &mut Svg, y: f64, named: impl Iterator<Item = (f64, &'a str)>) {
    let mut last = f64::NEG_INFINITY;
    for (x, name) in named {
        if x - last >= 9.0 {
            // As many letters as there is room for to the left.
            let most = ((x + 3.0) / 2.7) as usize;
            svg.aslant([x + 3.0, y + 9.0], &short(name, most.clamp(4, LETTERS)));
            last = x;
        }
    }
}
