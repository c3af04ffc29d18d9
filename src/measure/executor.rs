//! Running samples of any sizes: what is planned for one size stays until another is met.

use crate::engine::{Backend, Plan, Runner};
use crate::input::{Dataset, Sample};
use crate::layers::Shape;
use crate::model::Model;
use crate::probe::Probe;
use crate::{Error, Result};

/// Bytes that the values of all samples that run together may take where one a thread takes no more and nobody asked for more: beyond the
/// caches more at a time gain nothing but weights that are read less often.
const TOGETHER: usize = 32 << 20;

/// An engine that plans for a size when it meets it.
pub(super) struct Executor<'a> {
    pub model: &'a Model,
    pub backend: &'a Backend,
    batch: Batch,
    /// Whether runs start from the states that the last one left.
    goes_on: bool,
    planned: Option<Planned>,
    /// Of a text's streams, or of a graph that carries states, what goes on from one run to the next.
    states: Vec<Vec<f32>>,
    /// Of a graph that carries states, the inputs, which say where sequences begin.
    sequences: Option<&'a Dataset>,
    /// The place behind the last sample of a sequence.
    next: usize,
}

/// How many samples run together.
#[derive(Clone, Copy)]
pub(super) struct Batch {
    /// At most so many.
    pub most: usize,
    /// Whether fewer do where their values would outgrow the caches.
    pub may_be_less: bool,
}

struct Planned {
    input: Shape,
    output: Shape,
    /// How many samples run together.
    batch: usize,
    runner: Runner,
}

/// What samples of one size gave.
pub(super) struct Outputs {
    /// One after the other.
    pub values: Vec<f32>,
    /// Extents of one.
    pub shape: Shape,
}

impl Outputs {
    /// One a sample.
    pub fn each(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.shape.elements())
    }
}

/// Extents of a sample.
pub(super) fn shape_of(sample: &Sample) -> Shape {
    let [c, h, w] = sample.shape;
    Shape::new(c, h, w)
}

impl<'a> Executor<'a> {
    /// Runs samples by `backend`, `batch` at a time: each run goes on from the last one's states where `data` does, or where
    /// the graph carries states, from the last sample of the same sequence.
    pub fn new(model: &'a Model, backend: &'a Backend, batch: Batch, data: &'a Dataset) -> Self {
        let sequences = Some(data).filter(|_| backend.carries());
        let goes_on = data.goes_on() || sequences.is_some();
        Self { goes_on, sequences, ..Self::alone(model, backend, batch) }
    }

    /// Runs samples by `backend`, `batch` at a time, each by itself.
    pub fn alone(model: &'a Model, backend: &'a Backend, batch: Batch) -> Self {
        Self { model, backend, batch, goes_on: false, planned: None, states: Vec::new(), sequences: None, next: 0 }
    }

    /// Lets the next run start as the first one did.
    ///
    /// # Errors
    /// As [`Runner::carry_states`].
    pub fn restart(&mut self) -> Result<()> {
        self.states.clear();
        self.next = 0;
        match &mut self.planned {
            Some(planned) if self.goes_on => planned.runner.carry_states(&[]),
            _ => Ok(()),
        }
    }

    /// What the next run of a text's streams starts from.
    pub fn states(&self) -> &[Vec<f32>] {
        &self.states
    }

    /// Lets the next run, of sample `next`, start from `states`.
    pub fn set_states(&mut self, states: Vec<Vec<f32>>, next: usize) {
        // What was planned would go on from its own.
        self.planned = None;
        (self.states, self.next) = (states, next);
    }

    /// Frees what runs need; another run would prepare it again, and start from the same states.
    pub fn release(&mut self) {
        self.planned = None;
    }

    /// Runs `samples`, all of one size, as many together as fit, and asks `check` of those that ran.
    ///
    /// # Errors
    /// [`Error::Shape`] where a layer cannot take its input, with the sample's name; those of `check`.
    pub fn run(
        &mut self,
        samples: &[Sample],
        probe: Option<&dyn Probe>,
        mut check: impl FnMut(&[Sample]) -> Result<()>,
    ) -> Result<Outputs> {
        let input = shape_of(&samples[0]);
        let planned = match self.planned.take() {
            Some(planned) if planned.input == input => planned,
            before => self.plan(input, before).map_err(|error| error.of_input(&samples[0].id))?,
        };
        let planned = self.planned.insert(planned);
        let mut values = Vec::new();
        for samples in samples.chunks(planned.batch) {
            let images: Vec<&[f32]> = samples.iter().map(|sample| sample.values.as_slice()).collect();
            let images = images.concat();
            if let Some(data) = self.sequences {
                let place = samples[0].place;
                if !(self.next..=place).all(|place| data.follows(place)) || place < self.next {
                    planned.runner.carry_states(&[])?;
                }
                self.next = place + 1;
            }
            values.extend(planned.runner.run(&images, probe)?);
            check(samples)?;
        }
        if self.goes_on {
            self.states = planned.runner.states()?;
        }
        Ok(Outputs { values, shape: planned.output })
    }

    /// What runs samples of extents `input`, in place of `before`.
    fn plan(&self, input: Shape, before: Option<Planned>) -> Result<Planned> {
        let graph = &self.model.graph;
        let output = graph.shapes(input)?[graph.output().index()];
        let batch = self.together(input)?;
        let mut runner = match before {
            Some(before) => before.runner.resized(graph, input, self.backend, batch)?,
            None => Runner::new(graph, input, self.backend, batch)?,
        };
        if self.goes_on {
            runner.carry_states(&self.states)?;
        }
        Ok(Planned { input, output, batch, runner })
    }

    /// How many samples run together.
    fn together(&self, input: Shape) -> Result<usize> {
        match self.backend {
            // Each reads what the one before it gave.
            _ if self.sequences.is_some() => Ok(1),
            // Streams of a text run beside one another.
            Backend::Native(options) if self.batch.may_be_less && !self.goes_on => {
                let sample = Plan::new(&self.model.graph, input, 1, true)?.bytes();
                Ok((TOGETHER / sample.max(1)).max(options.pool.threads()).min(self.batch.most))
            }
            _ => Ok(self.batch.most),
        }
    }
}

/// Ends the run at an output that is NaN or infinite.
pub(super) fn check(samples: &[Sample], outputs: &Outputs) -> Result<()> {
    let Some(bad) = outputs.values.iter().position(|v| !v.is_finite()) else { return Ok(()) };
    let sample = &samples[bad / outputs.shape.elements()];
    Err(Error::NotFinite { place: "output".into(), detail: format!(", for input {}", sample.id) })
}
