//! The report: the metrics of every layer, gate and group of steps, and of the network, which is pooled of its layers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::columns::Column;
use super::phases::Phases;
use super::quality::{Quality, quality};
use crate::input::turned_note;
use crate::measurement::{Measurement, Provenance};
use crate::metrics::{self, Cells, Metric, Options, Subject};
use crate::tally::{LayerShape, VARIES, gate_names};

/// Everything that is said of a measurement, before it is text of some format.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where it comes from.
    pub provenance: Provenance,
    /// Inputs counted.
    pub inputs: u64,
    /// Digest of the inputs, hex.
    pub inputs_sha256: String,
    /// Inputs left out because they could not be decoded.
    pub skipped: u64,
    /// How good the network's answers were, where the truth is known.
    pub quality: Option<Quality>,
    /// What a token costs in each phase, where tokens were taken as generated.
    pub phases: Option<Phases>,
    /// Layers, each with its gates and steps behind it, then the network.
    pub scopes: Vec<Scope>,
}

/// What some numbers are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A whole layer.
    Layer,
    /// A gate of a product of a recurrent layer: one of the stacked parts of its filters.
    Gate(&'static str),
    /// The operand of a product of a recurrent layer over some steps, the first and the last of them, counted from where a sequence begins.
    Steps(u64, u64),
    /// All layers that were measured.
    Network,
}

impl Part {
    /// The column `scope` of machine formats.
    pub fn scope(&self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Gate(_) => "gate",
            Self::Steps(..) => "steps",
            Self::Network => "network",
        }
    }

    /// The column `part`: which gate, or which steps.
    pub fn name(&self) -> String {
        match self {
            Self::Gate(gate) => (*gate).into(),
            Self::Steps(first, last) if first == last => first.to_string(),
            Self::Steps(first, last) => format!("{first}-{last}"),
            Self::Layer | Self::Network => String::new(),
        }
    }
}

/// The numbers of one layer, gate, group of steps, or the network.
#[derive(Clone, Debug)]
pub struct Scope {
    /// What they are of.
    pub part: Part,
    /// The layer's name; `network` for the sums.
    pub layer: String,
    /// The layer's place in the network, from 0; none of the network.
    pub index: Option<usize>,
    /// The layer's kind; nothing for the network.
    pub kind: String,
    /// The layer's extents; none of parts of layers and of the network.
    pub shape: Option<Extents>,
    /// The metrics, in the order of their list.
    pub cells: Cells,
}

impl Scope {
    /// The network, of which `cells` are.
    pub(super) fn network(cells: Cells) -> Self {
        Self { part: Part::Network, layer: "network".into(), index: None, kind: String::new(), shape: None, cells }
    }
}

/// Extents and attributes of a layer: null where images differ in size; of what reads sequences step by step, those of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extents {
    /// `[C, H, W]` of one input.
    pub input: [Option<usize>; 3],
    /// `[K, P, Q]` of one input.
    pub output: [Option<usize>; 3],
    /// `[K, C/groups, R, S]`.
    pub weight: [usize; 4],
    /// Rows, columns.
    pub stride: [usize; 2],
    /// Top, bottom, left, right.
    pub padding: [Option<usize>; 4],
    /// Rows, columns.
    pub dilation: [usize; 2],
    /// Groups.
    pub groups: usize,
}

impl From<&LayerShape> for Extents {
    fn from(shape: &LayerShape) -> Self {
        let same = |extent: usize| (extent != VARIES).then_some(extent);
        let of_one = |mut extents: [usize; 3]| {
            // How many steps go together changes no count.
            if shape.is_stepwise() {
                extents[2] = 1;
            }
            extents.map(same)
        };
        Self {
            input: of_one(shape.input),
            output: of_one(shape.output),
            weight: shape.weight,
            stride: shape.stride,
            padding: shape.padding.map(same),
            dilation: shape.dilation,
            groups: shape.groups,
        }
    }
}

impl Report {
    /// All metrics of `measurement`.
    pub fn new(measurement: &Measurement) -> Self {
        Self::of(measurement, &metrics::all().collect::<Vec<_>>())
    }

    /// What `columns` show of `measurement`, and nothing else.
    pub fn of_columns(measurement: &Measurement, columns: &[Column]) -> Self {
        let mut shown: Vec<&Metric> = columns.iter().filter_map(|column| Some(column.metric()?.0)).collect();
        // Others are what the lines above the table say, and what that is computed of.
        let facts = metrics::all().filter(|metric| ["macs", "macs.per_input"].contains(&metric.name));
        shown.extend(facts);
        let mut names = BTreeSet::new();
        shown.retain(|metric| names.insert(metric.name));
        Self::of(measurement, &shown)
    }

    /// `metrics` of `measurement`: those of the list, others, or both.
    pub fn of(measurement: &Measurement, metrics: &[&'static Metric]) -> Self {
        let provenance = &measurement.provenance;
        let options = Options { encoder: provenance.format.encoder, min_one: provenance.format.min_one };
        let inputs = measurement.inputs;
        let (mut scopes, mut layers) = (Vec::new(), Vec::new());
        for (index, layer) in measurement.layers.iter().enumerate() {
            let (tally, codings) = (&layer.tally, &layer.codings);
            let scope = |part, subject: &Subject<'_>| Scope {
                shape: (part == Part::Layer).then(|| Extents::from(&tally.shape)),
                part,
                layer: layer.name.clone(),
                index: Some(index),
                kind: layer.kind.clone(),
                cells: Cells::of(subject, metrics, inputs),
            };
            let mut whole =
                scope(Part::Layer, &Subject::layer(tally, codings, options).with_outputs(layer.output.as_ref()));
            layers.push(whole.cells.clone());
            whole.cells = whole.cells.with_spread(&measurement.spread, index, options.min_one);
            scopes.push(whole);
            let Some(recurrent) = &tally.recurrent else { continue };
            let names = gate_names(recurrent.gates.len()).unwrap_or_default();
            for (gate, weights) in names.iter().zip(&recurrent.gates) {
                scopes.push(scope(Part::Gate(gate), &Subject::gate(tally, weights, codings, options)));
            }
            for (bucket, steps) in recurrent.steps.iter().enumerate() {
                let [first, next] = [bucket, bucket + 1].map(|bucket| recurrent.buckets.first(bucket));
                let part = Part::Steps(first, next - 1);
                scopes.push(scope(part, &Subject::steps(steps, codings, options)));
            }
        }
        let network = Cells::pooled(&layers, metrics, inputs);
        scopes.push(Scope::network(network.with_spread(&measurement.spread, layers.len(), options.min_one)));
        let mut provenance = provenance.clone();
        provenance.notes.extend(turned_note(measurement.turned));
        let class_name =
            |class: usize| provenance.model.classes.get(&class).cloned().unwrap_or_else(|| format!("class {class}"));
        Self {
            inputs,
            inputs_sha256: measurement.digest.to_string(),
            skipped: measurement.skipped,
            quality: quality(&measurement.quality, &class_name),
            phases: Phases::of(measurement),
            scopes,
            provenance,
        }
    }

    /// The layers.
    pub fn layers(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.iter().filter(|scope| scope.part == Part::Layer)
    }

    /// The network.
    pub fn network(&self) -> &Scope {
        self.scopes.last().expect("the network is always the last")
    }
}
