//! The block of data of a page: the metrics that occur, and each run's names, facts and columns.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::about::{about, labels};
use super::columns::{Arrays, columns};
use super::example::Example;
use crate::metrics::{self, Kind, Show};
use crate::report::{Extents, Part, Report, Scope};

/// The data of `runs` and `examples`.
pub(super) fn data(runs: &[Report], examples: &[Example]) -> Json {
    let cells = runs.iter().flat_map(|run| &run.scopes).flat_map(|scope| scope.cells.iter());
    let used: BTreeSet<&str> = cells.map(|cell| cell.metric.name).collect();
    let metrics: Map<String, Json> = metrics::all()
        .enumerate()
        .filter(|(_, metric)| used.contains(metric.name) && metric.kind != Kind::PerChannel)
        .map(|(place, metric)| {
            let facts = json!({
                "place": place,
                "heading": metric.heading.replace('\n', " "),
                "definition": metric.definition,
                "formula": metric.formula,
                "unit": metric.unit,
                "source": metric.source,
                "allows": metric.allows.name(),
                "kind": kind(metric.kind),
                "show": show(metric.show),
            });
            (metric.name.to_owned(), facts)
        })
        .collect();
    let named = runs.iter().zip(labels(runs));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "metrics": metrics,
        "runs": named.map(|(run, label)| of_run(run, &label)).collect::<Vec<_>>(),
        "examples": examples,
    })
}

/// One run: scopes are its layers, the network, then gates and steps.
fn of_run(run: &Report, label: &str) -> Json {
    let (mut scopes, parts): (Vec<Scope>, Vec<Scope>) = run
        .scopes
        .iter()
        .filter(|scope| scope.part != Part::Network)
        .cloned()
        .partition(|scope| scope.part == Part::Layer);
    let layers = scopes.len();
    scopes.push(run.network().clone());
    scopes.extend(parts);
    let part = |scope: &Scope| json!([scope.index, scope.part.scope(), scope.part.name()]);
    let (whole, parts) = scopes.split_at(layers);
    let mut arrays = Arrays::default();
    let columns = columns(&scopes, &mut arrays);
    let mut data = about(run, label);
    data["layers"] = json!({
        "name": whole.iter().map(|scope| &scope.layer).collect::<Vec<_>>(),
        "kind": whole.iter().map(|scope| &scope.kind).collect::<Vec<_>>(),
        "shape": whole.iter().map(|scope| scope.shape.as_ref().map(shape)).collect::<Vec<_>>(),
    });
    data["parts"] = parts[1..].iter().map(part).collect();
    data["columns"] = columns;
    data["arrays"] = arrays.into_json();
    data
}

/// Extents in short: `16×32×32 → 32×16×16, 3×3 /2`.
fn shape(extents: &Extents) -> String {
    let extent = |extent: &Option<usize>| extent.map_or_else(|| "?".to_owned(), |extent| extent.to_string());
    let size = |[c, h, w]: &[Option<usize>; 3]| match [h, w] {
        [Some(1), Some(1)] => extent(c),
        _ => format!("{}×{}×{}", extent(c), extent(h), extent(w)),
    };
    let [_, _, rows, columns] = extents.weight;
    let mut text = format!("{} → {}", size(&extents.input), size(&extents.output));
    if [rows, columns] != [1, 1] {
        text += &format!(", {rows}×{columns}");
    }
    if extents.stride != [1, 1] {
        text += &format!(", stride {}", extents.stride[0]);
    }
    if extents.dilation != [1, 1] {
        text += &format!(", dilation {}", extents.dilation[0]);
    }
    if extents.groups > 1 {
        text += &format!(", {} groups", extents.groups);
    }
    text
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Count => "count",
        Kind::Ratio => "ratio",
        Kind::Work => "work",
        Kind::Histogram => "histogram",
        Kind::PerChannel => "channels",
        Kind::Number => "number",
    }
}

fn show(show: Show) -> &'static str {
    match show {
        Show::Count => "count",
        Show::Percent => "percent",
        Show::Mean => "mean",
        Show::Real => "real",
        Show::Times => "times",
    }
}
