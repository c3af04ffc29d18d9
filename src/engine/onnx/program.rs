//! A file's graph, prepared: loaded by rten, its extents known, its operators that multiply described as layers of ours.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use rten::{ThreadPool, Value, ValueView};
use rten_onnx::onnx::GraphProto;
use rten_tensor::TensorView;

use super::carry::{self, Carry, State};
use super::find::{Finder, Found, Known, Shared, Shown, tensors_of};
use super::inputs::{self, GraphInput, InputExtents};
use super::operators;
use super::parts::{Flow, Part};
use super::rewrite;
use super::rten_model::RtenModel;
use super::saturation;
use super::tensors::{ask_for_shapes, constants, large_floats, names, parameters, shapes};
use crate::graph::Graph;
use crate::input::{InputSpec, sample_shape};
use crate::layers::{Layer, Shape};
use crate::weights::onnx::{OnnxFile, name_of, operator as kind};
use crate::{Error, Result};

/// Versions of ONNX's own operators that are run as they are meant.
const VERSIONS: std::ops::RangeInclusive<i64> = 7..=24;

/// How a file is prepared.
#[derive(Clone, Debug, Default)]
pub struct OnnxOptions {
    /// What fixes open extents.
    pub extents: InputExtents,
    /// Which of the graph's outputs, if not the first.
    pub output: Option<String>,
    /// Whether batch norm stays a layer of its own.
    pub no_fold: bool,
    /// Inputs that read what outputs gave for the input before.
    pub carry: Vec<Carry>,
    /// Threads of the preparation.
    pub threads: usize,
}

/// A prepared graph.
pub struct OnnxProgram {
    source: String,
    model: RtenModel,
    inputs: Vec<GraphInput>,
    states: Vec<State>,
    output: String,
    shapes: HashMap<String, Vec<usize>>,
    graph: Arc<Graph>,
    shown: Vec<Shown>,
    flow: Flow,
    /// Constants that rten is given as the layers hold them.
    shared: Vec<Shared>,
    others: Vec<(String, String, Option<u64>)>,
    parameters: usize,
    folded: Option<bool>,
    /// What is to be known of this CPU.
    of_cpu: Option<String>,
}

impl OnnxProgram {
    /// Prepares `file`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] listing every operator that cannot be run; [`Error::Invalid`] for extents that are open or outputs
    /// that do not exist; [`Error::Malformed`] for damaged graphs; [`Error::NotFinite`] for weights.
    pub fn load(file: OnnxFile, options: &OnnxOptions) -> Result<Self> {
        let opset = file.opset();
        let OnnxFile { source, mut model, .. } = file;
        if !VERSIONS.contains(&opset) {
            let what = format!("{source}: version {opset} of ONNX's operators");
            let hint =
                format!("convert it to one of {} to {} (onnx.version_converter)", VERSIONS.start(), VERSIONS.end());
            return Err(Error::unsupported(what, hint));
        }
        let mut graph = model.graph.take().ok_or_else(|| Error::malformed(&source, "it holds no graph"))?;
        check_operators(&source, &graph, opset)?;
        rewrite::store_literals(&mut graph);
        let mut inputs = inputs::read(&source, &mut graph, &options.extents)?;
        let outputs: Vec<String> = graph.output.iter().map(|output| name_of(output).to_owned()).collect();
        let states = carry::states(&source, &mut inputs, &outputs, &options.carry)?;
        let output = output(&source, &graph, options.output.as_deref())?;
        let parameters = parameters(&graph);
        let has_norm = graph.node.iter().any(|node| kind(node) == "BatchNormalization");
        if !options.no_fold {
            rewrite::fold_norm(&mut graph);
        }
        let (mut graph, measured) = rewrite::rewritten(graph, opset)?;
        for value in &mut graph.output {
            // Extents as stated may be others than those of this run.
            if let Some(tensor) = value.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut()) {
                tensor.shape = None;
            }
        }
        let constants = constants(&graph);
        let flow = Flow::new(&graph, constants.clone());
        let given = states.iter().map(|state| &state.output).chain([&output]);
        let sized = ask_for_shapes(&mut graph, &measured, given);
        let wanted: Vec<String> = names(&graph).into_iter().collect();
        model.ir_version.get_or_insert(8);
        let weights = large_floats(&graph);
        let (first, reload) = RtenModel::load(&source, model, graph, wanted, &weights)?;
        let threads = Arc::new(ThreadPool::with_num_threads(options.threads.max(1)));
        let all: Vec<&GraphInput> = inputs.iter().chain(states.iter().map(|state| &state.input)).collect();
        let shapes = shapes(&first, &all, &sized, &threads)?;
        carry::check(&states, &shapes)?;
        let specs: Vec<InputSpec> = inputs.iter().map(|input| input.spec.clone()).collect();
        let [c, h, w] = sample_shape(&specs);
        let value = |name: &str| {
            let mut values = first.run(vec![], vec![], &[name], &threads)?;
            values.pop().ok_or_else(|| Error::malformed(&source, format!("{name}: has no value")))
        };
        let known = Known {
            source: &source,
            nodes: &measured,
            shapes: &shapes,
            weights: &weights,
            constants: &constants,
            outputs: &outputs,
            value: &value,
        };
        let given = shapes.get(&output).map(Vec::as_slice).unwrap_or_default();
        let Found { graph, shown, shared, others } = Finder::find(known, Shape::new(c, h, w), given)?;
        if shown.is_empty() && others.is_empty() {
            tracing::warn!("{source}: no operator multiplies and accumulates");
        }
        // Weights are held once: from here on rten reads those of the layers.
        let given: HashSet<&str> = shared.iter().map(|shared| shared.tensor.as_str()).collect();
        let model = if given.is_empty() {
            first
        } else {
            let reload = reload.without(&given, value)?;
            drop(first);
            reload.load()?
        };
        let of_cpu = saturation::note(&source, &measured, saturation::can_saturate());
        let folded = has_norm.then_some(!options.no_fold);
        let graph = Arc::new(graph);
        Ok(Self {
            source,
            model,
            inputs,
            states,
            output,
            shapes,
            graph,
            shown,
            flow,
            shared,
            others,
            parameters,
            folded,
            of_cpu,
        })
    }

    /// The file, as in messages.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The layers that are measured: what each reads is an [`crate::layers::Operand`].
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Its inputs, but those that are states.
    pub fn inputs(&self) -> impl Iterator<Item = &InputSpec> {
        self.inputs.iter().map(|input| &input.spec)
    }

    /// Extents of the output.
    pub fn output_shape(&self) -> &[usize] {
        self.shape_of(&self.output)
    }

    /// Learned values, before folding.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Whether batch norm was folded, if there is any.
    pub fn folded(&self) -> Option<bool> {
        self.folded
    }

    /// Multiply-accumulates for one input of all operators, measured or not, whose extents tell.
    pub fn macs(&self) -> u64 {
        let [c, h, w] = sample_shape(&self.inputs().cloned().collect::<Vec<_>>());
        let measured = self.graph.macs(Shape::new(c, h, w)).unwrap_or(0);
        measured + self.others.iter().filter_map(|(_, _, macs)| *macs).sum::<u64>()
    }

    /// A sentence for each operator that multiplies and is not measured, with its share of the MACs where extents tell, and one if this
    /// CPU multiplies integers otherwise than others.
    pub fn notes(&self) -> Vec<String> {
        let all = self.macs();
        let note = |(name, why, macs): &(String, String, Option<u64>)| {
            let share = match macs {
                Some(macs) => format!("{:.2} % of the MACs", *macs as f64 / all.max(1) as f64 * 100.0),
                None => "its share of the MACs is not known".to_owned(),
            };
            format!("{name} multiplies and is not measured ({share}): it {why}")
        };
        self.others.iter().map(note).chain(self.of_cpu.clone()).collect()
    }

    /// Whether any operator multiplies and accumulates.
    pub fn multiplies(&self) -> bool {
        !self.shown.is_empty() || !self.others.is_empty()
    }

    /// Values of a sample.
    pub(super) fn sample_len(&self) -> usize {
        self.inputs().map(InputSpec::elements).sum()
    }

    pub(super) fn output(&self) -> &str {
        &self.output
    }

    pub(super) fn output_len(&self) -> usize {
        self.output_shape().iter().product()
    }

    pub(super) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// Extents of a tensor that is shown.
    pub(super) fn shape_of(&self, tensor: &str) -> &[usize] {
        self.shapes.get(tensor).map(Vec::as_slice).unwrap_or_default()
    }

    /// Bytes of a tensor while it is held.
    pub(super) fn bytes_of(&self, tensor: &str) -> usize {
        self.shape_of(tensor).iter().product::<usize>() * size_of::<f32>()
    }

    /// Whether it has states, which inputs of a sequence carry to the next.
    pub fn carries(&self) -> bool {
        !self.states.is_empty()
    }

    /// Its states as text, for reports, if it has any: which input reads which output, and where they start.
    pub fn carried(&self) -> Option<String> {
        self.carries().then(|| self.states.iter().map(State::describe).collect::<Vec<_>>().join(" "))
    }

    /// What the first input of a sequence reads of its states.
    pub(super) fn first_states(&self) -> Vec<Vec<f32>> {
        self.states.iter().map(|state| state.start.clone()).collect()
    }

    /// The outputs that are states.
    pub(super) fn state_outputs(&self) -> impl Iterator<Item = &str> {
        self.states.iter().map(|state| state.output.as_str())
    }

    /// The inputs of one sample, which reads `states`.
    pub(super) fn inputs_of(&self, sample: &[f32], states: &[Vec<f32>]) -> Result<Vec<(String, Value)>> {
        let mut rest = sample;
        let value = |input: &GraphInput| {
            let (own, others) = rest.split_at(input.spec.elements());
            rest = others;
            let value =
                input.value(own).ok_or_else(|| Error::shape(&input.spec.name, "is of a type that is not known"))?;
            Ok((input.spec.name.clone(), value))
        };
        let states = self.states.iter().zip(states).map(|(state, values)| state.value(values));
        self.inputs.iter().map(value).chain(states).collect()
    }

    /// The runs after which each list of `shown` can be shown; the last gives the output.
    pub(super) fn runs(&self, shown: &[Vec<&Shown>]) -> Vec<Part> {
        let tensors =
            |part: &Vec<&Shown>| part.iter().flat_map(|shown| tensors_of(&shown.source)).map(str::to_owned).collect();
        let mut wanted: Vec<BTreeSet<String>> = shown.iter().map(tensors).collect();
        let given = self.state_outputs().chain([self.output()]).map(str::to_owned);
        wanted.last_mut().expect("there is a part").extend(given);
        let states = self.states.iter().map(|state| &state.input.spec);
        let inputs: Vec<&str> = self.inputs().chain(states).map(|input| input.name.as_str()).collect();
        self.flow.parts(&inputs, &wanted)
    }

    /// A constant of the file, as the layer of it holds it.
    fn weight<'a>(&'a self, shared: &'a Shared) -> Option<(&'a str, ValueView<'a>)> {
        let weight = match &self.graph.def(shared.node).layer {
            Layer::Conv(conv) => &conv.weight,
            Layer::ConvTranspose(conv) => &conv.weight,
            Layer::Linear(linear) => &linear.weight,
            _ => return None,
        };
        let view = TensorView::from_slice_with_strides(&shared.dims, &weight.data, &shared.strides).ok()?;
        Some((&shared.tensor, view.into()))
    }

    /// As [`RtenModel::run`].
    pub(super) fn run(
        &self,
        inputs: Vec<(String, Value)>,
        wanted: &[&str],
        threads: &Arc<ThreadPool>,
    ) -> Result<Vec<Value>> {
        let weights: Vec<(&str, ValueView<'_>)> = self.shared.iter().filter_map(|shared| self.weight(shared)).collect();
        self.model.run(inputs, weights, wanted, threads)
    }
}

fn check_operators(source: &str, graph: &GraphProto, opset: i64) -> Result<()> {
    if let Some(detail) = operators::absurd(graph) {
        return Err(Error::malformed(source, detail));
    }
    let unsupported = operators::unsupported(graph, opset);
    if unsupported.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = unsupported
        .iter()
        .map(|(op, count)| if *count == 1 { op.clone() } else { format!("{op} ({count} times)") })
        .collect();
    let what = if list.len() == 1 { "this operator" } else { "each of these operators" };
    let hint = "docs/networks.md names the operators that run; an export with other settings may do without";
    Err(Error::unsupported(format!("{source}: {}: {what}", list.join(", ")), hint))
}

/// The output that is given.
fn output(source: &str, graph: &GraphProto, wanted: Option<&str>) -> Result<String> {
    let names: Vec<&str> = graph.output.iter().map(name_of).collect();
    match wanted {
        None => match names.first() {
            Some(first) => Ok((*first).to_owned()),
            None => Err(Error::malformed(source, "has no output")),
        },
        Some(name) if names.contains(&name) => Ok(name.to_owned()),
        Some(name) => {
            let detail = format!("is none of the outputs of {source}: {}", names.join(", "));
            Err(Error::invalid(format!("--graph-output {name}"), detail))
        }
    }
}
