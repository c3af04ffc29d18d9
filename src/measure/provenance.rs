//! The provenance of a measurement: model, inputs and settings.

use std::collections::BTreeMap;

use super::calibrate::Calibration;
use super::settings::Settings;
use super::wrapped::wrapped_notes;
use crate::designs::Setup;
use crate::engine::Backend;
use crate::input::Dataset;
use crate::measurement::{Design, File, Format, Model as ModelFacts, Provenance, Tool};
use crate::model::Model;
use crate::tally::Extra;
use crate::task::Quality;

/// The provenance of what `calibration` measures of `data` on `model`; classes that `quality` met are named.
pub(super) fn provenance(
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    calibration: &Calibration,
    quality: &Quality,
) -> Provenance {
    let settings = calibration.settings();
    let classes: Vec<usize> = match quality {
        Quality::Segment(areas) => (0..areas.classes.len()).filter(|&class| areas.classes[class].union() > 0).collect(),
        Quality::Label(labelling) => labelling.classes.keys().map(|&class| class as usize).collect(),
        _ => Vec::new(),
    };
    let file = |file: &crate::weights::SourceFile| File {
        name: file.name.clone(),
        bytes: file.bytes,
        sha256: file.sha256.clone(),
    };
    let mut notes = [&model.notes[..], data.notes()].concat();
    if let Some(pattern) = &settings.layers {
        notes.push(format!("network is the sum of the {} layers that {pattern} chooses", calibration.layers.len()));
    }
    notes.extend(without_extra(model, calibration));
    let mut provenance = Provenance {
        model: ModelFacts {
            name: model.card.name.clone(),
            task: model.card.task.name().to_owned(),
            note: model.note().map(str::to_owned),
            naming: model.naming.clone(),
            parameters: model.parameters as u64,
            folded: model.folded,
            quantized: model.quantized.map(str::to_owned),
            source: model.source.clone(),
            licence: model.card.licence.clone(),
            files: model.files.iter().map(file).collect(),
            classes: classes.into_iter().map(|class| (class, model.class_name(class))).collect(),
        },
        preprocessing: data.describe(),
        format: Format {
            name: settings.format.to_string(),
            precision: settings.profile.as_ref().map(|profile| File {
                name: profile.file.clone(),
                bytes: profile.bytes,
                sha256: profile.sha256.clone(),
            }),
            weight_scale: settings.format.weight_scale().map(|scale| scale.name().to_owned()),
            encoder: settings.encoder,
            min_one: settings.min_one,
            statistics: settings.statistics.name().to_owned(),
            extra: settings.extra.iter().map(|extra| extra.name().to_owned()).collect(),
            designs: settings.designs.iter().map(design).collect(),
            calibration_inputs: calibration.inputs,
            calibration_sha256: calibration.digest.to_string(),
        },
        options: options(model, backend, data, settings),
        notes,
        tool: Tool::this(backend.name()),
    };
    provenance.add_wrapped(wrapped_notes(model));
    provenance
}

/// A note where the network lacks metrics that were asked for since not every product of two activations has them.
fn without_extra(model: &Model, calibration: &Calibration) -> Option<String> {
    let products: Vec<_> = calibration.layers.iter().filter(|layer| layer.is_of_activations(&model.graph)).collect();
    let lacks = |extra: &Extra| match extra {
        // The first belongs to such products, the other to layers behind which a ReLU stands.
        Extra::Attention | Extra::Output => false,
        Extra::Outputs => products.iter().any(|layer| layer.output.is_none()),
        _ => true,
    };
    let names: Vec<&str> =
        calibration.settings().extra.iter().filter(|extra| lacks(extra)).map(|extra| extra.name()).collect();
    let (first, others) = products.split_first().filter(|_| !names.is_empty())?;
    let others = if others.is_empty() { String::new() } else { format!(" and {} others", others.len()) };
    let (names, first) = (names.join(", "), &first.name);
    Some(format!(
        "not counted in every product of two activations: {names}; so network has none of them unless --layers leaves out {first}{others}"
    ))
}

fn design(setup: &Setup) -> Design {
    let parameters = setup.parameters().map(|(name, value)| (name.to_owned(), value)).collect();
    Design { name: setup.design.name.to_owned(), parameters }
}

/// Every option that can change a number.
fn options(model: &Model, backend: &Backend, data: &Dataset, settings: &Settings) -> BTreeMap<String, String> {
    let mut options: Vec<(&str, String)> = data.options();
    let (name, value) = backend.option();
    options.push((name, value.to_owned()));
    if let Backend::Onnx(program, ..) = backend {
        options.extend(program.carried().map(|carried| ("carry", carried)));
    }
    options.push(("calibrate", settings.calibrate.to_string()));
    options.push(("skip_bad", settings.skip_bad.to_string()));
    options.extend(settings.limit.map(|limit| ("limit", limit.to_string())));
    options.extend(settings.layers.as_ref().map(|pattern| ("layers", pattern.to_string())));
    options.extend(settings.single_steps.map(|single| ("single_steps", single.to_string())));
    options.extend(settings.sample.map(|sample| ("sample", sample.to_string())));
    options.extend(settings.threshold.map(|level| ("threshold", format!("{level}%"))));
    options.extend(settings.pruned.iter().map(|how| ("pruned", how.clone())));
    if settings.decode > 0 {
        options.push(("decode", settings.decode.to_string()));
    }
    if let Some(until) = &settings.until {
        options.push(("until_ci", format!("{}%", until.share * 100.0)));
        options.push(("metric", until.name()));
        // It is asked behind each batch, of a text behind each segment.
        if data.together().is_none() {
            options.push(("batch_size", settings.batch.to_string()));
        }
    }
    // The noise level that a network with a noise map is given.
    options.extend(model.card.arch.get("sigma").map(|sigma| ("network_sigma", sigma.to_string())));
    options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
