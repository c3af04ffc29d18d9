//! The native engine: a planned graph with packed weights and its buffers, ready to run again and again.

use std::sync::Arc;

use super::bands::Part;
use super::clock::{Clock, Ran};
use super::op::Op;
use super::plan::{Plan, Storage};
use super::show::{show, show_own, show_read};
use super::state::{self, State};
use crate::graph::{Graph, Node};
use crate::kernels::attention::{ObserveRows, Probabilities};
use crate::kernels::{Buffer, Exec, Geometry, Isa, Pool, Share, copy};
use crate::layers::Shape;
use crate::probe::{Origin, Probe, Watch, WatchRows};
use crate::{Error, Result};

/// How the native engine computes.
#[derive(Clone)]
pub struct EngineOptions {
    /// The threads.
    pub pool: Arc<Pool>,
    /// The instruction-set level. No output bit depends on it.
    pub isa: Isa,
    /// Whether kernels that reorder arithmetic (Winograd) may be chosen; `--kernels direct` makes it false.
    pub winograd: bool,
    /// Bytes that the buffers of one image may take before it is run in bands of rows. No output bit depends on it.
    pub memory: usize,
    /// Who is told when layers run, if anybody is.
    pub clock: Option<Arc<dyn Clock>>,
}

impl EngineOptions {
    /// Default of [`EngineOptions::memory`].
    pub const MEMORY: usize = 1 << 30;

    /// `threads` threads at the best level, all kernels.
    pub fn new(threads: usize) -> Self {
        Self { pool: Arc::new(Pool::new(threads)), isa: Isa::best(), winograd: true, memory: Self::MEMORY, clock: None }
    }
}

/// A graph prepared for one input shape and batch size.
pub struct Session {
    graph: Arc<Graph>,
    plan: Plan,
    pub(super) ops: Arc<[Arc<Op>]>,
    buffers: Vec<Buffer>,
    options: EngineOptions,
    /// For each node with a state: the states of all images of the batch.
    states: Vec<State>,
    /// Whether a run starts from the states after the run before.
    carries: bool,
    times: Vec<std::time::Duration>,
}

impl Session {
    /// Plans `graph` for up to `batch` images of shape `input`, packs its weights and allocates its buffers.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the first layer that cannot take its input.
    pub fn new(graph: Arc<Graph>, input: Shape, batch: usize, options: EngineOptions) -> Result<Self> {
        let whole = graph.shapes(input)?;
        let plan = Plan::new(&graph, input, batch.max(1), true)?;
        Self::planned(graph, plan, &whole, options, None)
    }

    /// A session for up to `batch` images of shape `input` in place of this one. Floats of direct, Winograd's and linear kernels, of
    /// recurrences and tables stay packed where their layout does not depend on the size. States are new, and runs start from zeros
    /// until [`Session::carry_states`].
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn resized(self, input: Shape, batch: usize) -> Result<Self> {
        // Its buffers go before the others come.
        let Self { graph, ops, options, buffers, states, .. } = self;
        drop((buffers, states));
        let whole = graph.shapes(input)?;
        let plan = Plan::new(&graph, input, batch.max(1), true)?;
        Self::planned(graph, plan, &whole, options, Some(&ops))
    }

    /// [`Session::new`] for images that are parts of larger ones. The kernels are chosen by the extents `whole` of the larger
    /// images' values.
    pub(super) fn of_whole(graph: Arc<Graph>, input: Shape, whole: &[Shape], options: EngineOptions) -> Result<Self> {
        // Watchers observe the rows that a part owns, so nodes must run one by one.
        let plan = Plan::new(&graph, input, 1, false)?;
        Self::planned(graph, plan, whole, options, None)
    }

    fn planned(
        graph: Arc<Graph>,
        plan: Plan,
        whole: &[Shape],
        options: EngineOptions,
        before: Option<&[Arc<Op>]>,
    ) -> Result<Self> {
        let nodes: Vec<Node> = graph.handles().collect();
        let ops = options.pool.map(nodes.len(), |node| {
            let Shape { h, w, .. } = whole[node];
            let before = before.map(|ops| &ops[node]);
            Op::prepare(&graph, &plan, nodes[node], options.winograd.then_some((h, w)), before)
        });
        Ok(Self::prepared(graph, plan, ops.into(), options))
    }

    fn prepared(graph: Arc<Graph>, plan: Plan, ops: Arc<[Arc<Op>]>, options: EngineOptions) -> Self {
        let states = ops.iter().map(|op| op.state(plan.batch)).collect();
        let buffers = plan.buffers.iter().map(|geometry| Buffer::zeroed(geometry.len())).collect();
        let times = vec![std::time::Duration::ZERO; graph.nodes.len()];
        Self { graph, plan, ops, buffers, options, states, carries: false, times }
    }

    /// Another session with the same packed weights, and buffers and states of its own.
    pub fn another(&self) -> Self {
        Self::prepared(Arc::clone(&self.graph), self.plan.clone(), Arc::clone(&self.ops), self.options.clone())
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Name of the kernel that computes `node`.
    pub fn kernel(&self, node: Node) -> &'static str {
        self.ops[node.index()].name()
    }

    /// From now on each run starts from the states (of recurrent layers) after the run before, sequence by sequence in the
    /// same position of the batch; by default every run starts from zeros.
    pub fn carry_states(&mut self) {
        self.carries = true;
    }

    /// The states of all recurrent layers.
    pub fn states(&self) -> Vec<Vec<f32>> {
        self.states.iter().map(State::to_floats).collect()
    }

    /// Continues from `states`, as returned by [`Session::states`] of a session with the same graph and batch; from zeros if
    /// it is empty.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are from another graph or batch.
    pub fn set_states(&mut self, states: &[Vec<f32>]) -> Result<()> {
        let lengths =
            |of: &[usize]| of.iter().filter(|&&len| len > 0).map(usize::to_string).collect::<Vec<_>>().join(", ");
        self.states.iter_mut().for_each(State::clear);
        if states.is_empty() {
            return Ok(());
        }
        let pool = Arc::clone(&self.options.pool);
        let exec = Exec::new(&pool, self.options.isa);
        let set =
            self.states.iter_mut().zip(states).filter_map(|(state, floats)| state.set(&exec, floats).then_some(()));
        if set.count() != self.states.len() || states.len() != self.states.len() {
            let [got, want]: [Vec<usize>; 2] =
                [states.iter().map(Vec::len).collect(), self.states.iter().map(State::len).collect()];
            self.states.iter_mut().for_each(State::clear);
            let detail = format!("are of [{}] values, the network needs [{}]", lengths(&got), lengths(&want));
            return Err(Error::shape("states of layers", detail));
        }
        Ok(())
    }

    /// Time of each node in the last timed run.
    pub fn times(&self) -> &[std::time::Duration] {
        &self.times
    }

    /// Runs the images in `images`, `[N, C, H, W]` flat with `N` at most the planned batch, and returns the output
    /// `[N, C', H', W']` flat. A probe's watchers see the operands; no output bit depends on them.
    ///
    /// # Errors
    /// [`Error::Shape`] if `images` is no whole number of images or more than planned.
    pub fn run(&mut self, images: &[f32], probe: Option<&dyn Probe>) -> Result<Vec<f32>> {
        let mut output = Vec::new();
        self.run_into(images, probe, &mut output)?;
        Ok(output)
    }

    /// [`Session::run`] into `output`, which is resized to the output and reallocated only if it was smaller.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_into(&mut self, images: &[f32], probe: Option<&dyn Probe>, output: &mut Vec<f32>) -> Result<()> {
        self.run_with(images, probe, None, false, output)
    }

    /// [`Session::run_into`] with each node timed ([`Session::times`]).
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_timed(&mut self, images: &[f32], probe: Option<&dyn Probe>, output: &mut Vec<f32>) -> Result<()> {
        self.run_with(images, probe, None, true, output)
    }

    /// [`Session::run`] on one image that is part of a larger one; watchers observe the part's own rows.
    pub(super) fn run_part(&mut self, image: &[f32], probe: Option<&dyn Probe>, part: &Part) -> Result<Vec<f32>> {
        let mut output = Vec::new();
        self.run_with(image, probe, Some(part), false, &mut output)?;
        Ok(output)
    }

    fn run_with(
        &mut self,
        images: &[f32],
        probe: Option<&dyn Probe>,
        part: Option<&Part>,
        timed: bool,
        result: &mut Vec<f32>,
    ) -> Result<()> {
        let shape = self.plan.shapes[0];
        let count = images.len() / shape.elements();
        if count * shape.elements() != images.len() || count > self.plan.batch {
            let want = format!("needs up to {} images of {shape}", self.plan.batch);
            return Err(Error::shape("input", format!("has {} values, the session {want}", images.len())));
        }
        if count == 0 {
            result.clear();
            return Ok(());
        }
        if !self.carries {
            self.states.iter_mut().for_each(State::clear);
        }
        state::check_positions(&self.graph, &mut self.states, shape.w)?;
        let pool = Arc::clone(&self.options.pool);
        let row = part.map_or(0, |part| part.rows(Node(0)).start);
        let clock = self.options.clock.clone().filter(|clock| clock.begins(count, row));
        let exec = Exec::new(&pool, self.options.isa);
        let input = self.plan.geometries[0];
        result.resize(self.plan.shapes[self.graph.output().index()].elements() * count, 0.0);
        copy::pack(&exec, count, images, &mut self.buffers[self.plan.buffer(Node(0))], &input);
        for node in self.graph.handles().skip(1) {
            if self.plan.groups.is_inner(node) {
                continue;
            }
            let start = (timed || clock.is_some()).then(std::time::Instant::now);
            let watch = probe.and_then(|probe| probe.watch(node));
            let inner = probe.and_then(|probe| probe.watch_inside(node));
            let others = probe.map(|probe| [probe.watch_second(node), probe.watch_third(node)]);
            for (which, watch) in others.into_iter().flatten().enumerate() {
                // A probe watches the third input of attention alone.
                let Some((watch, &input)) = watch.zip(self.graph.def(node).inputs.get(1 + which)) else { continue };
                show_own(
                    &exec,
                    watch,
                    self.value(input),
                    count,
                    part.map(|part| (part.first[input.index()], part.owned[input.index()].clone())),
                );
            }
            match (&*self.ops[node.index()], self.plan.storage[node.index()]) {
                (Op::Fused(_), _) => self.group(node, count, probe),
                (_, Storage::Output) => self.run_to_output(node, count, result),
                _ => self.step(node, count, (watch, inner), probe.and_then(|probe| probe.watch_rows(node)), part),
            }
            if let Some(watch) = probe.and_then(|probe| probe.watch_output(node)) {
                let value = match self.plan.storage[node.index()] {
                    Storage::Output => (&result[..], &self.plan.geometries[node.index()]),
                    _ => self.value(node),
                };
                show_own(
                    &exec,
                    watch,
                    value,
                    count,
                    part.map(|part| (part.first[node.index()], part.owned[node.index()].clone())),
                );
            }
            if let Some(start) = start {
                self.times[node.index()] = start.elapsed();
                if let Some(clock) = &clock {
                    let ran = Ran::now(&self.graph, &self.plan, (node, self.kernel(node)), count, start);
                    clock.ran(&Ran { rows: part.map(|part| part.rows(node)), ..ran });
                }
            }
        }
        let output = self.graph.output();
        if let Storage::Buffer(buffer) = self.plan.storage[output.index()] {
            copy::unpack(&exec, count, &self.buffers[buffer], &self.plan.geometries[output.index()], result);
        }
        if let Some(clock) = clock {
            clock.ended();
        }
        Ok(())
    }

    /// The value of `node`, which is stored in a buffer.
    fn value(&self, node: Node) -> (&[f32], &Geometry) {
        (&self.buffers[self.plan.buffer(node)], &self.plan.geometries[node.index()])
    }

    /// Runs the last node on the first `images` images, directly into the caller's output.
    fn run_to_output(&self, node: Node, images: usize, y: &mut [f32]) {
        let inputs: Vec<_> = self.graph.def(node).inputs.iter().map(|&input| self.value(input)).collect();
        let exec = Exec::new(&self.options.pool, self.options.isa);
        self.ops[node.index()].run(
            &exec,
            images,
            &inputs,
            y,
            &self.plan.geometries[node.index()],
            &mut State::default(),
        );
    }

    /// Runs the group that ends at `last` on the first `images` images.
    fn group(&mut self, last: Node, images: usize, probe: Option<&dyn Probe>) {
        let buffer = self.plan.buffer(last);
        // As in `step`.
        let mut y = std::mem::take(&mut self.buffers[buffer]);
        let Op::Fused(fused) = &*self.ops[last.index()] else { unreachable!("the last node of a group runs it") };
        let x = self.value(self.graph.def(fused.first()).inputs[0]);
        let residual = self.graph.def(last).inputs.get(1).map(|&node| self.value(node));
        let exec = Exec::new(&self.options.pool, self.options.isa);
        fused.run(&exec, images, x, &mut y, residual, probe);
        self.buffers[buffer] = y;
    }

    /// Runs one node on the first `images` images. `watch` observes its first input, `inner` the hidden values before a
    /// projection inside it, `rows` the probabilities of attention.
    fn step(
        &mut self,
        node: Node,
        images: usize,
        (watch, inner): (Option<&dyn Watch>, Option<&dyn Watch>),
        rows: Option<&dyn WatchRows>,
        part: Option<&Part>,
    ) {
        let buffer = self.plan.buffer(node);
        // The output's buffer holds none of the inputs (by the plan), so it can be borrowed apart from them.
        let mut y = std::mem::take(&mut self.buffers[buffer]);
        let mut states = std::mem::take(&mut self.states[node.index()]);
        let inputs: Vec<_> = self.graph.def(node).inputs.iter().map(|&input| self.value(input)).collect();
        let look_at_rows = |of: &[Probabilities<'_>]| rows.into_iter().for_each(|rows| rows.look_at_rows(of));
        let observe = rows.map(|_| &look_at_rows as ObserveRows<'_>);
        let exec = Exec { rows: observe, ..Exec::new(&self.options.pool, self.options.isa) };
        let geometry = &self.plan.geometries[node.index()];
        match (watch, &*self.ops[node.index()]) {
            (None, op) if inner.is_none() => op.run(&exec, images, &inputs, &mut y, geometry, &mut states),
            (_, Op::Recurrence(packed)) => {
                let first = states.floats().to_vec();
                // The hidden values before the projection, if they are watched.
                let inner = inner.map(|watch| (watch, packed.unprojected_geometry(geometry)));
                let mut unprojected = inner.as_ref().map(|(_, geometry)| vec![0.0; geometry.len()]);
                let kept = unprojected.as_deref_mut().zip(inner.as_ref().map(|(_, geometry)| geometry));
                packed.run(&exec, images, inputs[0], (&mut y, geometry), states.floats(), kept);
                if let Some(watch) = watch {
                    let read = |image: usize| {
                        packed.read_of(&first[image * packed.state_len()..][..packed.state_len()]).collect()
                    };
                    show_read(&exec, watch, &read, packed.column(0, geometry.w), (&y, geometry, images));
                }
                if let (Some((watch, geometry)), Some(unprojected)) = (&inner, &unprojected) {
                    exec.pool.for_each_task(images, |worker, image| {
                        watch.look(worker, unprojected, geometry, image, geometry.rows(0..1), Origin::default());
                    });
                }
            }
            (Some(watch), Op::IntegerLstm(lstm)) => {
                let first = states.floats().to_vec();
                lstm.run(&exec, images, inputs[0], (&mut y, geometry), states.floats());
                let read = |image: usize| lstm.read_of(&first[image * lstm.state_len()..][..lstm.state_len()]);
                show_read(&exec, watch, &read, 0, (&y, geometry, images));
            }
            (None, _) => unreachable!("only recurrences are watched inside"),
            (Some(watch), op) => {
                let value = self.graph.def(node).inputs.first().map_or(0, |input| input.index());
                let own = part.map(|part| (part.first[value], part.owned[value].clone()));
                let look = |share: Share| show(share, watch, inputs[0].0, inputs[0].1, (images, own.as_ref()));
                let exec = Exec { alongside: Some(&look), ..exec };
                op.run(&exec, images, &inputs, &mut y, geometry, &mut states);
            }
        }
        // Attention has queries, keys and values; products of two operands have no rows to end.
        if let (Some(rows), Some(operands)) = (rows, inputs.first_chunk()) {
            rows.end(&self.options.pool, images, *operands);
        }
        self.buffers[buffer] = y;
        self.states[node.index()] = states;
    }
}
