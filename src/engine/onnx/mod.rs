//! Any ONNX graph, run by rten: its operands are asked for as further outputs of the run and shown to the same watchers as those
//! of our own layers.

mod attributes;
mod carry;
mod find;
mod inputs;
mod operators;
mod parts;
mod program;
mod rewrite;
mod rten_model;
mod saturation;
mod tensors;
mod view;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rten::{ThreadPool, Value};
use rten_tensor::Layout;

pub use self::carry::Carry;
pub use self::inputs::InputExtents;
pub use self::program::{OnnxOptions, OnnxProgram};

use self::find::{Delay, Role, Shown, Source, Zero, tensors_of};
use self::parts::Part;
use crate::kernels::Pool;
use crate::probe::{Origin, Probe, Watch};
use crate::{Error, Result};

/// Bytes of operands from which on they are asked for in several runs, whatever more may be held: the values that go from one
/// run to the next cost less than those of a whole network.
const TOGETHER: usize = 32 << 20;

/// A program on its threads.
pub struct OnnxEngine {
    program: Arc<OnnxProgram>,
    pool: Arc<Pool>,
    threads: Arc<ThreadPool>,
    memory: usize,
    /// What the next sample reads of its states.
    states: Vec<Vec<f32>>,
    /// Whether samples go on from one another, or each is the first of its sequence.
    goes_on: bool,
}

/// The tensors that one run was asked for.
type Tensors = HashMap<String, Value>;

impl OnnxEngine {
    /// Runs `program` on as many threads as `pool` has; operands that take more than `memory` bytes together are asked for in
    /// several runs.
    pub fn new(program: Arc<OnnxProgram>, pool: Arc<Pool>, memory: usize) -> Self {
        let threads = Arc::new(ThreadPool::with_num_threads(pool.threads()));
        let states = program.first_states();
        Self { program, pool, threads, memory, states, goes_on: false }
    }

    /// From now on each sample reads the states that the one before it gave; the first reads `states`, or those of the first
    /// input of a sequence if they are none.
    ///
    /// # Errors
    /// [`Error::Shape`] for states of another graph.
    pub fn carry_states(&mut self, states: &[Vec<f32>]) -> Result<()> {
        let first = self.program.first_states();
        if !states.is_empty() && !states.iter().map(Vec::len).eq(first.iter().map(Vec::len)) {
            return Err(Error::shape(self.program.source(), format!("has {} states of other extents", first.len())));
        }
        self.states = if states.is_empty() { first } else { states.to_vec() };
        self.goes_on = true;
        Ok(())
    }

    /// What the next sample reads of its states.
    pub fn states(&self) -> Vec<Vec<f32>> {
        self.states.clone()
    }

    /// Runs `values`, those of whole samples one after the other, each by itself, and returns their outputs one after the other.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are no whole samples, or for what rten cannot compute.
    pub fn run(&mut self, values: &[f32], probe: Option<&dyn Probe>) -> Result<Vec<f32>> {
        let size = self.program.sample_len();
        if size == 0 || !values.len().is_multiple_of(size) {
            let detail = format!("has {} values, {} reads {size}", values.len(), self.program.source());
            return Err(Error::shape("input", detail));
        }
        let program = Arc::clone(&self.program);
        let watched = |shown: &&Shown| probe.is_some_and(|probe| watcher(probe, shown).is_some());
        let shown: Vec<&Shown> = program.shown().iter().filter(watched).collect();
        let shown = self.parts(&shown);
        let runs = program.runs(&shown);
        let mut outputs = Vec::new();
        for (image, sample) in values.chunks_exact(size).enumerate() {
            if !self.goes_on {
                self.states = program.first_states();
            }
            outputs.extend(self.sample(sample, image, (&shown, &runs), probe)?);
        }
        Ok(outputs)
    }

    /// The output for one sample, the `image`-th of its batch, of which `shown` is shown after each of `runs`.
    fn sample(
        &mut self,
        sample: &[f32],
        image: usize,
        (shown, runs): (&[Vec<&Shown>], &[Part]),
        probe: Option<&dyn Probe>,
    ) -> Result<Vec<f32>> {
        let program = Arc::clone(&self.program);
        let mut known = program.inputs_of(sample, &self.states)?;
        let (mut output, mut states) = (None, vec![None; self.states.len()]);
        for (shown, run) in shown.iter().zip(runs) {
            let asked: Vec<&str> = run.asked.iter().map(String::as_str).collect();
            let values = program.run(known, &asked, &self.threads)?;
            let mut tensors: Tensors = asked.iter().map(|name| (*name).to_owned()).zip(values).collect();
            let watched =
                |shown: &&Shown| probe.and_then(|probe| watcher(probe, shown)).expect("what is shown is watched");
            let watches: Vec<&dyn Watch> = shown.iter().map(watched).collect();
            // An operand by one thread each: what counts it is not held once a thread.
            let seen = self.pool.map(shown.len(), |i| self.show(&shown[i].source, &tensors, image, watches[i]));
            seen.into_iter().collect::<Result<()>>()?;
            output = tensors.get(program.output()).cloned().or(output);
            for (state, name) in states.iter_mut().zip(program.state_outputs()) {
                *state = tensors.get(name).cloned().or(state.take());
            }
            tensors.retain(|name, _| run.left.contains(name));
            known = tensors.into_iter().collect();
        }
        let output = output.and_then(floats).ok_or_else(|| Error::malformed(program.source(), "has no output"))?;
        for ((state, name), held) in states.into_iter().zip(program.state_outputs()).zip(&mut self.states) {
            let given = state.and_then(floats).filter(|given| given.len() == held.len());
            *held = given.ok_or_else(|| Error::shape(name, "changes its extents from input to input"))?;
        }
        match output.len() == program.output_len() {
            true => Ok(output),
            false => {
                let detail = format!("gives {} values, and {} for the first input", output.len(), program.output_len());
                let hint = "its extents depend on the values of its input";
                Err(Error::shape(program.output(), format!("{detail}: {hint}")))
            }
        }
    }

    /// What is shown, in parts whose tensors fit the memory together; at least one part, which may be empty.
    fn parts<'a>(&self, shown: &[&'a Shown]) -> Vec<Vec<&'a Shown>> {
        let mut parts: Vec<Vec<&Shown>> = vec![vec![]];
        let (mut held, mut bytes) = (HashSet::new(), 0);
        for &shown in shown {
            let new = |held: &HashSet<&str>| {
                let tensors = tensors_of(&shown.source).filter(|name| !held.contains(name));
                tensors.map(|name| self.program.bytes_of(name)).sum::<usize>()
            };
            if bytes + new(&held) > self.memory.min(TOGETHER) && parts.last().is_some_and(|part| !part.is_empty()) {
                parts.push(vec![]);
                held.clear();
                bytes = 0;
            }
            bytes += new(&held);
            held.extend(tensors_of(&shown.source));
            parts.last_mut().expect("there is a part").push(shown);
        }
        parts
    }

    /// Shows an operand to its watcher.
    fn show(&self, source: &Source, tensors: &Tensors, image: usize, watch: &dyn Watch) -> Result<()> {
        let geometry = source.view.geometry();
        let mut buffer = vec![0.0; geometry.len()];
        self.pack(source, tensors, &mut buffer)?;
        watch.look(0, &buffer, &geometry, 0, geometry.rows(0..geometry.h), Origin { image, row: 0 });
        Ok(())
    }

    /// Copies an operand out of the tensors that hold it.
    fn pack(&self, source: &Source, tensors: &Tensors, buffer: &mut [f32]) -> Result<()> {
        let value = &tensors[&source.tensor];
        if value.as_view().shape()[..] != *self.program.shape_of(&source.tensor) {
            let got = value.as_view().shape().to_vec();
            let detail = format!("is {got:?}, and was {:?} for the first input", self.program.shape_of(&source.tensor));
            return Err(Error::shape(&source.tensor, format!("{detail}: its extents depend on values")));
        }
        let zero = match &source.zero {
            Zero::None => 0.0,
            Zero::Fixed(zero) => *zero as f32,
            Zero::Tensor(name) => floats(tensors[name].clone()).and_then(|zeros| zeros.first().copied()).unwrap_or(0.0),
        };
        let wrong = || Error::shape(&source.tensor, "is of a type that cannot be counted");
        // Contiguous values, whatever the tensor's own order.
        match value.clone() {
            Value::FloatTensor(tensor) => {
                let data = tensor.into_data();
                source.view.pack(|place| data[place], buffer);
            }
            Value::UInt8Tensor(tensor) => {
                let data = tensor.into_data();
                source.view.pack(|place| f32::from(data[place]) - zero, buffer);
            }
            Value::Int8Tensor(tensor) => {
                let data = tensor.into_data();
                source.view.pack(|place| f32::from(data[place]) - zero, buffer);
            }
            Value::Int32Tensor(tensor) => {
                let data = tensor.into_data();
                source.view.pack(|place| data[place] as f32 - zero, buffer);
            }
            _ => return Err(wrong()),
        }
        if let Some(delay) = &source.delay {
            let initial = match &delay.initial {
                Some((name, place)) => Some((floats(tensors[name].clone()).ok_or_else(wrong)?, *place)),
                None => None,
            };
            delayed(delay, source, buffer, initial.as_ref().map(|(values, place)| &values[*place..]));
            if delay.quantised {
                quantise_by_step(delay.steps, source, buffer);
            }
        }
        Ok(())
    }
}

/// Makes, of the hidden values of all steps, what each step reads: those of the step before, and at the first `initial` or zeros.
fn delayed(delay: &Delay, source: &Source, buffer: &mut [f32], initial: Option<&[f32]>) {
    let geometry = source.view.geometry();
    let (steps, lanes) = (delay.steps, geometry.lanes);
    for block in 0..geometry.blocks() {
        for sequence in 0..geometry.w / steps.max(1) {
            let start = geometry.at(0, block, 0, sequence * steps);
            let columns = &mut buffer[start..start + steps * lanes];
            let first = if delay.reverse {
                columns.copy_within(lanes.., 0);
                &mut columns[(steps - 1) * lanes..]
            } else {
                columns.copy_within(..(steps - 1) * lanes, lanes);
                &mut columns[..lanes]
            };
            for (lane, value) in first.iter_mut().enumerate() {
                let channel = block * lanes + lane;
                let known = initial.filter(|_| channel < geometry.c);
                *value = known.and_then(|values| values.get(sequence * geometry.c + channel)).copied().unwrap_or(0.0);
            }
        }
    }
}

/// Makes, of what each of `steps` steps reads, the codes that it is quantised to less their zero point: all sequences of a step
/// together, as ONNX's DynamicQuantizeLinear does.
fn quantise_by_step(steps: usize, source: &Source, buffer: &mut [f32]) {
    let geometry = source.view.geometry();
    for step in 0..steps {
        let columns = (step..geometry.w).step_by(steps);
        let places: Vec<usize> = columns
            .flat_map(|column| (0..geometry.c).map(move |channel| (channel, column)))
            .map(|(channel, column)| geometry.index(0, channel, 0, column))
            .collect();
        let (low, high) = places.iter().fold((0f32, 0f32), |(low, high), &i| (low.min(buffer[i]), high.max(buffer[i])));
        let scale = (high - low) / 255.0;
        let zero = if scale > 0.0 { (-low / scale).clamp(0.0, 255.0).round_ties_even() } else { 0.0 };
        for i in places {
            let code = if scale > 0.0 { (buffer[i] / scale).round_ties_even() + zero } else { zero };
            buffer[i] = code.clamp(0.0, 255.0) - zero;
        }
    }
}

/// The watcher of what is shown, if it has one.
fn watcher<'a>(probe: &'a dyn Probe, shown: &Shown) -> Option<&'a dyn Watch> {
    match shown.role {
        Role::First => probe.watch(shown.node),
        Role::Second => probe.watch_second(shown.node),
        Role::Output => probe.watch_output(shown.node),
    }
}

/// The values of a tensor of numbers as floats.
fn floats(value: Value) -> Option<Vec<f32>> {
    Some(match value {
        Value::FloatTensor(tensor) => tensor.into_data(),
        Value::Int32Tensor(tensor) => tensor.into_data().into_iter().map(|value| value as f32).collect(),
        Value::Int8Tensor(tensor) => tensor.into_data().into_iter().map(f32::from).collect(),
        Value::UInt8Tensor(tensor) => tensor.into_data().into_iter().map(f32::from).collect(),
        _ => return None,
    })
}
