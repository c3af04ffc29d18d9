//! The page for the browser: one file with its data, its styles, its scripts and the library that draws, which loads nothing.

mod about;
mod channels;
mod columns;
mod data;
mod example;

use super::scopes::Report;
pub use about::{Class, class, labels};
pub use example::{Example, ExamplePicture};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const PLOT: &str = include_str!("plot.min.js");

/// The scripts, in the order in which they run: each needs those before it, and only the last one acts.
const SCRIPTS: &[&str] = &[
    include_str!("page/data.js"),
    include_str!("page/words.js"),
    include_str!("page/state.js"),
    include_str!("page/dom.js"),
    include_str!("page/figure.js"),
    include_str!("page/layers.js"),
    include_str!("page/head.js"),
    include_str!("page/macs.js"),
    include_str!("page/networks.js"),
    include_str!("page/depth.js"),
    include_str!("page/widths.js"),
    include_str!("page/potentials.js"),
    include_str!("page/traffic.js"),
    include_str!("page/sequences.js"),
    include_str!("page/channels.js"),
    include_str!("page/table.js"),
    include_str!("page/examples.js"),
    include_str!("page/about.js"),
    include_str!("page/main.js"),
];

/// The page of `runs`, with `examples` of what networks answered.
pub fn page(runs: &[Report], examples: &[Example]) -> String {
    let channels: String = runs
        .iter()
        .enumerate()
        .map(|(number, run)| block(&format!("channels-{number}"), &channels::channels(run)))
        .collect();
    let parts = [
        ("title", escaped(&labels(runs).join(", "))),
        ("style", STYLE.to_owned()),
        ("data", block("data", &data::data(runs, examples))),
        ("channels", channels),
        ("plot", PLOT.to_owned()),
        ("scripts", SCRIPTS.concat()),
    ];
    let mut page = String::new();
    let mut rest = TEMPLATE;
    for (name, text) in parts {
        let (before, after) =
            rest.split_once(&format!("{{{{{name}}}}}")).expect("the template has a place for each part");
        page += before;
        page += &text;
        rest = after;
    }
    page + rest
}

/// A block of data, which no name in it can end.
fn block(id: &str, json: &serde_json::Value) -> String {
    let json = json.to_string().replace('<', "\\u003c");
    format!("<script type=\"application/json\" id=\"{id}\">{json}</script>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
