//! Figures over the layers of one run: MACs by class, and zeros along the depth.

use super::axes::{HEIGHT, INNER, LEFT, WIDE, names, room, shares};
use super::svg::Svg;
use crate::metrics::{Value, Which};
use crate::report::{Report, Scope};

/// Classes of MACs from the bottom of a column on, with their colours.
pub(super) const CLASSES: [(&str, &str, &str); 5] = [
    ("macs.zero_activation", "zero activation", "#e69f00"),
    ("macs.zero_weight", "zero weight", "#009e73"),
    ("macs.zero_both", "both zero", "#b5478b"),
    ("macs.padding", "padding", "#7f8a9b"),
    ("macs.effectual", "effectual", "#c9d3e4"),
];

const ZEROS: [(Which, &str, &str); 3] = [
    (Which::Activations, "activations", "#e69f00"),
    (Which::Weights, "weights", "#009e73"),
    (Which::Outputs, "outputs", "#b5478b"),
];

fn number(scope: &Scope, metric: &str, which: Option<Which>) -> Option<f64> {
    scope.cells.get(metric, which).and_then(Value::number).filter(|number| number.is_finite())
}

/// A column a layer, as wide as its share of all MACs, stacked by class; none without MACs.
pub(super) fn macs(run: &Report, label: &str) -> Option<String> {
    let layers: Vec<&Scope> = run.layers().collect();
    let widths: Vec<f64> = layers.iter().map(|layer| number(layer, "macs", None).unwrap_or(0.0)).collect();
    let total: f64 = widths.iter().sum();
    if total <= 0.0 {
        return None;
    }
    let height = 46.0 + HEIGHT + room(layers.iter().map(|layer| layer.layer.as_str()));
    let mut svg = Svg::new(&format!("{label}: MACs by class, layer by layer"), WIDE, height);
    // What lies outside is padding, and in attention pairs that a mask hides.
    let masks = layers.iter().any(|layer| layer.kind == "attention");
    let items =
        CLASSES.map(|(_, name, colour)| (if masks && name == "padding" { "masked pairs" } else { name }, colour));
    let top = svg.legend([0.0, 10.0], &items) + 12.0;
    shares(&mut svg, top, 1.0, "share of the layer's MACs; width: share of all MACs");
    let mut x = LEFT;
    let mut named = Vec::new();
    for (layer, width) in layers.iter().zip(widths) {
        let width = INNER * width / total;
        let mut y = top + HEIGHT;
        for (metric, _, colour) in CLASSES {
            let share = HEIGHT * number(layer, metric, None).unwrap_or(0.0);
            y -= share;
            if share > 0.0 {
                // A hair between columns, where they are wide enough.
                let gap = if width > 2.0 { 0.5 } else { 0.0 };
                svg.rect([x, y], [width - gap, share], colour);
            }
        }
        if width > 0.0 {
            named.push((x + width / 2.0, layer.layer.as_str()));
        }
        x += width;
    }
    names(&mut svg, top + HEIGHT, named.into_iter());
    Some(svg.finish())
}

/// The share of zeros of each layer's operands; none where none was counted.
pub(super) fn zeros(run: &Report, label: &str) -> Option<String> {
    let layers: Vec<&Scope> = run.layers().collect();
    let at = |index: usize| LEFT + INNER * (index as f64 + 0.5) / layers.len() as f64;
    let points = |which| {
        let values =
            layers.iter().enumerate().map(|(index, layer)| Some((index, number(layer, "zeros", Some(which))?)));
        values.flatten().collect::<Vec<_>>()
    };
    let lines: Vec<_> = ZEROS
        .map(|(which, name, colour)| (name, colour, points(which)))
        .into_iter()
        .filter(|line| !line.2.is_empty())
        .collect();
    let largest = lines.iter().flat_map(|line| &line.2).map(|&(_, share)| share).reduce(f64::max)?;
    // A round number above the largest.
    let most = [0.04, 0.1, 0.2, 0.4, 0.6, 0.8].into_iter().find(|&most| largest <= most).unwrap_or(1.0);
    let height = 46.0 + HEIGHT + room(layers.iter().map(|layer| layer.layer.as_str()));
    let mut svg = Svg::new(&format!("{label}: zeros along the depth"), WIDE, height);
    let items: Vec<(&str, &str)> = lines.iter().map(|&(name, colour, _)| (name, colour)).collect();
    let top = svg.legend([0.0, 10.0], &items) + 12.0;
    shares(&mut svg, top, most, "share of values that are zero");
    for (_, colour, points) in &lines {
        let places: Vec<[f64; 2]> =
            points.iter().map(|&(index, share)| [at(index), top + HEIGHT * (1.0 - share / most)]).collect();
        svg.path(&places, colour);
        let radius = if layers.len() > 60 { 1.0 } else { 1.8 };
        places.iter().for_each(|&place| svg.dot(place, radius, colour));
    }
    names(&mut svg, top + HEIGHT, layers.iter().enumerate().map(|(index, layer)| (at(index), layer.layer.as_str())));
    Some(svg.finish())
}
