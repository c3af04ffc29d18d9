//! From tallies to the document: definitions applied, provenance beside them.

use super::document::{
    Accuracy, ClassOverlap, Data, Document, Extents, Fidelity, File, Format, Layer, Model as ModelInfo, Network,
    Overlap, Quality, SCHEMA, Tool,
};
use crate::measure::{Calibration, Measurement};
use crate::metrics;
use crate::model::Model;
use crate::tally::VARIES;
use crate::task;

/// An extent that all inputs share.
fn same(extent: usize) -> Option<usize> {
    (extent != VARIES).then_some(extent)
}

/// How good the answers were; nothing where no truth is known.
pub fn quality(model: &Model, quality: &task::Quality) -> Option<Quality> {
    match quality {
        task::Quality::Classify(sums) => {
            let accuracy = Accuracy { labelled: sums.labelled, top1: sums.top1, top5: sums.top5 };
            (sums.labelled > 0).then_some(Quality::Classify(accuracy))
        }
        task::Quality::Segment(sums) => (sums.images > 0).then(|| {
            let [correct, pixels] = sums.pixels();
            let classes = sums.classes.iter().enumerate().filter(|(_, area)| area.union() > 0);
            let overlap = |(class, area): (usize, &task::segment::Area)| ClassOverlap {
                class,
                name: model.class_name(class),
                intersection: area.intersection,
                union: area.union(),
                iou: Some(area.intersection as f64 / area.union() as f64),
            };
            let classes = classes.map(overlap).collect();
            Quality::Segment(Overlap { images: sums.images, pixels, correct, mean_iou: sums.mean_iou(), classes })
        }),
        task::Quality::Restore(sums) => (sums.images > 0).then(|| {
            let [psnr_db, input_psnr_db] = sums.mean_psnr();
            Quality::Restore(Fidelity { images: sums.images, psnr_db, input_psnr_db, ssim: sums.mean_ssim() })
        }),
    }
}

/// The document of `measurement`, made with `calibration` on `model` by the engine `backend`.
pub fn document(model: &Model, backend: &str, calibration: &Calibration, measurement: &Measurement) -> Document {
    let settings = calibration.settings();
    let bits = settings.format.bits();
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
            activations: metrics::activations(tally, layer.maps[0], bits),
            weights: metrics::weights(tally, layer.maps[1], bits),
            potentials: metrics::potentials(tally, [bits; 2], settings.min_one),
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
            source: model.source.clone(),
            licence: model.card.licence.clone(),
            files: model.files.iter().map(file).collect(),
        },
        data: Data {
            inputs: measurement.inputs,
            inputs_sha256: measurement.digest.to_string(),
            skipped: measurement.skipped,
            preprocessing: model.preprocess.describe(),
            quality: quality(model, &measurement.quality),
        },
        format: Format {
            name: settings.format.to_string(),
            bits,
            encoder: settings.encoder.name().to_owned(),
            min_one: settings.min_one,
            calibration_inputs: calibration.inputs,
        },
        tool: Tool { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), backend: backend.to_owned() },
        layers,
        network,
    }
}
