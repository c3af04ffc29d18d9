//! In what measurements were made otherwise: what differs between them is then not of the networks alone.

use super::Side;
use crate::report::Scope;

/// The facts of a measurement that figures of one network depend on, by their names in provenances, as people read them.
const FACTS: [(&str, &str); 7] = [
    ("preprocessing", "preprocessing"),
    ("format", "number format"),
    ("weight scale", "weight scale"),
    ("encoder", "encoder"),
    ("min-one", "min-one"),
    ("calibration", "calibration"),
    ("version", "version of the definitions"),
];

/// Something that was otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which side, by place.
    pub side: usize,
    /// What was otherwise.
    pub what: String,
    /// As it was for the base.
    pub base: String,
    /// As it was for the side.
    pub other: String,
}

/// In what sides were measured otherwise than the first, whose layers are `layers`; `pairs` has of each of them those of the others.
pub(super) fn differences(sides: &[Side], layers: &[&Scope], pairs: &[Vec<Option<&Scope>>]) -> Vec<Difference> {
    let base = &sides[0].report;
    let mut found = Vec::new();
    for (side, other) in sides.iter().enumerate().skip(1).map(|(side, other)| (side, &other.report)) {
        let mut add = |what: &str, base: String, other: String| {
            if base != other {
                found.push(Difference { side, what: what.into(), base, other });
            }
        };
        let inputs = |sha256: &str, inputs: u64| format!("{inputs} ({sha256:.12})");
        add("inputs", inputs(&base.inputs_sha256, base.inputs), inputs(&other.inputs_sha256, other.inputs));
        for [name, own, others] in base.provenance.differences(&other.provenance) {
            if let Some((_, name)) = FACTS.iter().find(|(known, _)| *known == name) {
                add(name, own, others);
            }
        }
        let padding = |scope: &Scope| scope.shape.as_ref().map(|shape| shape.padding);
        let mut padded = layers.iter().zip(pairs).filter_map(|(own, others)| {
            let paddings = [padding(own)?, padding(others[side - 1]?)?];
            (paddings[0] != paddings[1]).then_some((own.layer.as_str(), paddings))
        });
        if let Some((layer, paddings)) = padded.next() {
            let more = padded.count();
            let also = if more > 0 { format!(" and {more} others") } else { String::new() };
            let text = |padding: [Option<usize>; 4]| {
                padding.map(|width| width.map_or("any".into(), |width| width.to_string())).join(", ")
            };
            add(&format!("padding of {layer}{also}"), text(paddings[0]), text(paddings[1]));
        }
    }
    found
}
