//! From tallies to the document: definitions applied, provenance beside them.

use super::document::{Data, Document, Extents, File, Format, Layer, Model as ModelInfo, Network, SCHEMA, Tool};
use super::quality::quality;
use crate::measure::{Calibration, Measurement, Statistics};
use crate::metrics;
use crate::model::Model;
use crate::tally::VARIES;

/// An extent that all inputs share.
fn same(extent: usize) -> Option<usize> {
    (extent != VARIES).then_some(extent)
}

/// The document of `measurement`, made with `calibration` on `model` by the engine `backend`.
pub fn document(model: &Model, backend: &str, calibration: &Calibration, measurement: &Measurement) -> Document {
    let settings = calibration.settings();
    let layers: Vec<Layer> = calibration
        .layers
        .iter()
        .zip(&measurement.layers)
        .map(|(layer, tally)| Layer {
            name: layer.name.clone(),
            kind: layer.kind.to_owned(),
            shape: Extents {
                input: tally.shape.input.map(same),
                output: tally.shape.output.map(same),
                weight: tally.shape.weight,
            },
            stride: tally.shape.stride,
            padding: tally.shape.padding.map(same),
            dilation: tally.shape.dilation,
            groups: tally.shape.groups,
            macs: metrics::macs(tally),
            activations: metrics::activations(tally, &layer.codings[0]),
            weights: metrics::weights(tally, &layer.codings[1]),
            potentials: metrics::potentials(tally, layer.codings.map(|coding| coding.bits), settings.min_one),
            recurrent: metrics::recurrent(tally, &layer.codings, settings.min_one),
        })
        .collect();
    let network = Network {
        macs: metrics::sum_macs(layers.iter().map(|layer| &layer.macs)),
        activations: metrics::sum_operands(layers.iter().map(|layer| &layer.activations)),
        weights: metrics::sum_operands(layers.iter().map(|layer| &layer.weights)),
        potentials: metrics::sum_potentials(layers.iter().map(|layer| &layer.potentials)),
    };
    let file = |file: &crate::weights::SourceFile| File {
        name: file.name.clone(),
        bytes: file.bytes,
        sha256: file.sha256.clone(),
    };
    Document {
        schema: SCHEMA,
        model: ModelInfo {
            name: model.card.name.clone(),
            task: model.card.task.name().to_owned(),
            note: model.note().map(str::to_owned),
            naming: model.naming.clone(),
            parameters: model.parameters as u64,
            folded: model.folded,
            quantized: model.quantized,
            notes: model.notes.clone(),
            source: model.source.clone(),
            licence: model.card.licence.clone(),
            files: model.files.iter().map(file).collect(),
        },
        data: Data {
            inputs: measurement.inputs,
            inputs_sha256: measurement.digest.to_string(),
            skipped: measurement.skipped,
            preprocessing: measurement.preprocessing.clone(),
            notes: measurement.notes.clone(),
            quality: quality(model, &measurement.quality),
        },
        format: Format {
            name: settings.format.to_string(),
            bits: calibration
                .layers
                .iter()
                .flat_map(|layer| layer.codings)
                .map(|coding| coding.bits)
                .max()
                .unwrap_or(0),
            encoder: settings.encoder.name().to_owned(),
            min_one: settings.min_one,
            statistics: (settings.statistics == Statistics::Values).then(|| settings.statistics.name()),
            calibration_inputs: calibration.inputs,
        },
        tool: Tool { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), backend: backend.to_owned() },
        layers,
        network,
    }
}
