//! ONNX files: as layers of ours, or as they are.

use std::sync::Arc;

use super::{LoadOptions, Model, Parts, stem};
use crate::engine::OnnxProgram;
use crate::engine::onnx::{InputExtents, OnnxOptions};
use crate::input::{InputSpec, Layout, Preprocess, sample_shape};
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
    let flag = options.flag_of_onnx();
    match options.onnx {
        OnnxBy::File => return Ok(None),
        OnnxBy::Auto if flag.is_some() || !models::onnx::has_known_operators(file) => return Ok(None),
        _ => {}
    }
    if let Some(flag) = flag {
        return Err(Error::invalid(flag, "is of --backend onnx, and another engine is given"));
    }
    let size = size(preprocess, options);
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

impl LoadOptions {
    /// A flag among these that is of ONNX files as they are.
    pub(super) fn flag_of_onnx(&self) -> Option<&'static str> {
        let given = [
            ("--shape", !self.extents.shapes.is_empty()),
            ("--graph-output", self.output.is_some()),
            ("--carry", !self.carry.is_empty()),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }
}

/// Rows and columns of the images that go in, where anything says.
fn size(preprocess: Option<&Preprocess>, options: &LoadOptions) -> Option<(usize, usize)> {
    let stated = options.stated.size.map(|[h, w]| (h, w));
    stated.or(preprocess.map(Preprocess::size)).or(options.extents.size)
}

/// How the axes of an image of extents `shape` are ordered, if it can be one.
fn image_layout(shape: [usize; 3]) -> Option<Layout> {
    match shape {
        [1 | 3, _, _] => Some(Layout::Nchw),
        [_, _, 1 | 3] => Some(Layout::Nhwc),
        _ => None,
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
        let size = size(parts.preprocess.as_ref(), options);
        let extents = InputExtents { size, ..options.extents.clone() };
        let (output, no_fold, carry) = (options.output.clone(), options.no_fold, options.carry.clone());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let program = OnnxProgram::load(file, &OnnxOptions { extents, output, no_fold, carry, threads })?;
        let inputs: Vec<InputSpec> = program.inputs().cloned().collect();
        let shape = sample_shape(&inputs);
        let single = matches!(&inputs[..], [input] if input.is_image());
        let layout = image_layout(shape).filter(|_| single);
        let [c, h, w] = match (layout, shape) {
            (Some(Layout::Nhwc), [h, w, c]) => [c, h, w],
            _ => shape,
        };
        let task = match *program.output_shape() {
            [_, _, rows, columns] if rows * columns > 1 => Task::Segment,
            _ => Task::Classify,
        };
        let name = parts.files.first().map_or_else(|| "onnx".to_owned(), |file| stem(&file.name));
        let mut notes = [parts.notes, program.notes()].concat();
        if !program.multiplies() {
            notes.push(format!("{source}: no operator multiplies and accumulates: there is nothing to measure"));
        }
        let own = |notes: &mut Vec<String>| {
            if layout.is_some() && !options.stated.is_of_pixels() {
                let detail = "does not say how images become its input: pixels go in as 0 to 1 unless --range, --mean and --std, \
                              or a card with --arch, say otherwise";
                notes.push(format!("{source} {detail}"));
            }
            let input = Shape::new(c, h, w);
            let network = ImportedNetwork { graph: Default::default(), input, input_codes: None, task };
            network.card(&name, "onnx")
        };
        let (card, preprocess) = match (card, parts.preprocess) {
            (Some(card), Some(stated)) => (models::Card { name, ..card }, stated),
            _ if layout.is_some() => {
                let card = own(&mut notes);
                let preprocess = Preprocess::from_table(&card.name, &card.input)?;
                (card, preprocess)
            }
            _ => (own(&mut notes), Preprocess::arrays([c, h, w])),
        };
        let preprocess = preprocess.overridden(&options.stated)?.with_layout(layout.unwrap_or_default());
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
