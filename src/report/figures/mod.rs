//! Figures for papers, as SVG files: written without a browser, of one width of a page or column, with their words in themselves.

mod axes;
mod layers;
mod potentials;
mod svg;
mod widths;

use std::collections::BTreeSet;

use super::html::labels;
use super::scopes::Report;

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The name of its file.
    pub name: String,
    /// The file.
    pub svg: String,
}

/// The figures of `runs`: of each its MACs by class, zeros and widths, and the potentials of all. A figure of what was not counted
/// is left out.
pub fn figures(runs: &[Report]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut taken = BTreeSet::new();
    for (run, label) in runs.iter().zip(labels(runs)) {
        let slug = slug(&label);
        let numbered = (2..).map(|number| format!("{slug}-{number}"));
        let mut names = std::iter::once(slug.clone()).chain(numbered);
        let name = names.find(|name| taken.insert(name.clone())).expect("there are more numbers than names");
        let own = [
            ("macs", layers::macs(run, &label)),
            ("zeros", layers::zeros(run, &label)),
            ("widths", widths::widths(run, &label)),
        ];
        figures.extend(
            own.into_iter().filter_map(|(what, svg)| Some(Figure { name: format!("{name}-{what}.svg"), svg: svg? })),
        );
    }
    let potentials = potentials::potentials(runs);
    figures.extend(potentials.map(|svg| Figure { name: "potentials.svg".into(), svg }));
    figures
}

/// `label` as part of a file's name.
fn slug(label: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c.to_ascii_lowercase() } else { '-' };
    let slug: String = label.chars().map(letter).collect();
    let slug = slug.trim_matches(['-', '.']);
    if slug.is_empty() { "run".into() } else { slug.into() }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
