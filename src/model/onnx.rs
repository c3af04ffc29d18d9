//! ONNX files: as layers of ours, or as they are.

use std::sync::Arc;

use super::{LoadOptions, Model, Parts, stem};
use crate::engine::OnnxProgram;
use crate::engine::onnx::{InputExtents, OnnxOptions};
use crate::input::{InputSpec, Preprocess, sample_shape};
use crate::kernels::Rounding;
use crate::layers::Shape;
use crate::models::{self, ImportedNetwork, Task};
use crate::weights::onnx::{Onnx, OnnxFile};
use crate::{Error, Result};

/// By which engine an ONNX file is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnnxBy {
    /// As layers of ours if it is made of these alone, else as it is.
    #[default]
    Auto,
    /// As layers of ours.
    Layers,
    /// As it is, by the onnx engine.
    File,
}

/// What lets a file run that is not made of our layers alone.
const ANY: &str = "give --backend onnx, which runs any graph";

/// The network of `file` as layers of ours, or `None` if it is to be run as it is: because that is asked for, or because it is not
/// made of our layers alone.
///
/// # Errors
/// If it is to be of our layers, those of [`models::onnx::build`].
pub(super) fn as_layers(
    file: &OnnxFile,
    preprocess: Option<&Preprocess>,
    rounding: Rounding,
    options: &LoadOptions,
) -> Result<Option<ImportedNetwork>> {
    let as_it_is = !options.extents.shapes.is_empty() || options.output.is_some();
    match options.onnx {
        OnnxBy::File => return Ok(None),
        OnnxBy::Auto if as_it_is || !models::onnx::has_known_operators(file) => return Ok(None),
        OnnxBy::Layers if as_it_is => {
            let flag = if options.output.is_some() { "--output" } else { "--shape" };
            return Err(Error::invalid(flag, "is of --backend onnx, and another engine is given"));
        }
        _ => {}
    }
    let size = preprocess.map(Preprocess::size).or(options.extents.size);
    match Onnx::of(file).and_then(|onnx| models::onnx::build(&onnx, size, rounding)) {
        Ok(network) => Ok(Some(network)),
        Err(error) if options.onnx == OnnxBy::Auto => {
            tracing::info!("{}: is run by the onnx engine, since as layers of ours {error}", file.source);
            Ok(None)
        }
        Err(Error::Unsupported { what, hint }) => Err(Error::unsupported(what, format!("{hint}; or {ANY}"))),
        Err(error) => Err(error),
    }
}

impl Model {
    /// A file that is run as it is. A card determines preprocessing, class names and task.
    pub(super) fn of_program(
        parts: Parts,
        file: OnnxFile,
        card: Option<models::Card>,
        options: &LoadOptions,
    ) -> Result<Self> {
        let source = parts.source.clone();
        let size = parts.preprocess.as_ref().map(Preprocess::size).or(options.extents.size);
        let extents = InputExtents { size, ..options.extents.clone() };
        let (output, no_fold) = (options.output.clone(), options.no_fold);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let program = OnnxProgram::load(file, &OnnxOptions { extents, output, no_fold, threads })?;
        let inputs: Vec<InputSpec> = program.inputs().cloned().collect();
        let [c, h, w] = sample_shape(&inputs);
        let task = match *program.output_shape() {
            [_, _, rows, columns] if rows * columns > 1 => Task::Segment,
            _ => Task::Classify,
        };
        let name = parts.files.first().map_or_else(|| "onnx".to_owned(), |file| stem(&file.name));
        let is_image = matches!(&inputs[..], [input] if input.is_image()) && matches!(c, 1 | 3);
        let mut notes = [parts.notes, program.notes()].concat();
        if !program.multiplies() {
            notes.push(format!("{source}: no operator multiplies and accumulates: there is nothing to measure"));
        }
        let own = |notes: &mut Vec<String>| {
            if is_image {
                let detail =
                    "does not say how images become its input: pixels go in as 0 to 1, name a card with --arch";
                notes.push(format!("{source} {detail}"));
            }
            let input = Shape::new(c, h, w);
            let network = ImportedNetwork { graph: Default::default(), input, input_codes: None, task };
            network.card(&name, "onnx")
        };
        let (card, preprocess) = match (card, parts.preprocess) {
            (Some(card), Some(stated)) => (models::Card { name, ..card }, stated),
            _ if is_image => {
                let card = own(&mut notes);
                let preprocess = Preprocess::from_table(&card.name, &card.input)?;
                (card, preprocess)
            }
            _ => (own(&mut notes), Preprocess::arrays([c, h, w])),
        };
        let got = (preprocess.channels(), preprocess.size());
        if got != (c, (h, w)) {
            let detail = format!("makes inputs [{}, {}, {}], {source} reads [{c}, {h}, {w}]", got.0, got.1.0, got.1.1);
            return Err(Error::shape(format!("card {}", card.name), detail));
        }
        let (graph, parameters, folded) = (Arc::clone(program.graph()), program.parameters(), program.folded());
        let parts = Parts { preprocess: None, source, files: parts.files, vocabulary: parts.vocabulary, notes };
        let model = Self::of_parts(parts, card, preprocess, (graph, parameters, folded), "onnx".into());
        Ok(Self { inputs, program: Some(Arc::new(program)), ..model })
    }
}
