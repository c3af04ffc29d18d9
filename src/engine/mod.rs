//! Running a graph: the native engine on our kernels, the same graph with candle's operations, and any ONNX file by rten.

mod bands;
mod candle;
mod clock;
mod fused;
mod groups;
pub mod onnx;
mod op;
mod plan;
mod prepare;
mod session;
mod show;
mod state;

use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::graph::Graph;
use crate::kernels::Pool;
use crate::layers::Shape;
use crate::probe::Probe;
use crate::{Error, Result};

pub use bands::Banded;
pub use candle::CandleEngine;
pub use clock::{Clock, Ran};
pub use groups::Groups;
pub use onnx::{OnnxEngine, OnnxProgram};
pub use plan::{Plan, Storage};
pub use session::{EngineOptions, Session};

/// Which engine computes.
#[derive(Clone)]
pub enum Backend {
    /// Our kernels, on the CPU.
    Native(EngineOptions),
    /// candle's operations, on any candle device; the pool decodes inputs and counts weights.
    Candle(Device, Arc<Pool>),
    /// An ONNX file as it is, by rten; the pool counts, and operands that are held together take so many bytes.
    Onnx(Arc<OnnxProgram>, Arc<Pool>, usize),
}

impl Backend {
    /// `native`, `candle` or `onnx`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Native(_) => "native",
            Self::Candle(..) => "candle",
            Self::Onnx(..) => "onnx",
        }
    }

    /// The option, beside the engine itself, on which the last bits of its floats depend: which kernels, or which device.
    pub fn option(&self) -> (&'static str, &'static str) {
        match self {
            Self::Native(options) => ("kernels", if options.winograd { "auto" } else { "direct" }),
            Self::Candle(Device::Cpu, _) => ("device", "cpu"),
            Self::Candle(Device::Cuda(_), _) => ("device", "cuda"),
            Self::Candle(Device::Metal(_), _) => ("device", "metal"),
            Self::Onnx(..) => ("kernels", "rten"),
        }
    }

    /// Whether it carries states from one input of a sequence to the next, beside those of texts.
    pub fn carries(&self) -> bool {
        matches!(self, Self::Onnx(program, ..) if program.carries())
    }

    /// The threads.
    pub fn pool(&self) -> &Arc<Pool> {
        match self {
            Self::Native(options) => &options.pool,
            Self::Candle(_, pool) | Self::Onnx(_, pool, _) => pool,
        }
    }

    /// How many threads may show parts of one operand: each needs an accumulator of its own. The onnx engine shows an operand by one
    /// thread.
    pub fn watchers(&self) -> usize {
        match self {
            Self::Native(_) | Self::Candle(..) => self.pool().threads(),
            Self::Onnx(..) => 1,
        }
    }
}

fn stateless() -> Error {
    Error::unsupported("a text longer than one segment by the candle engine", "give --backend native")
}

/// A graph on its engine, prepared for images of one shape.
pub enum Runner {
    /// On our kernels.
    Native(Box<Session>),
    /// On our kernels, large images in bands of rows.
    Banded(Box<Banded>),
    /// On candle.
    Candle(Box<CandleEngine>, Shape),
    /// By rten.
    Onnx(Box<OnnxEngine>),
}

impl Runner {
    /// Prepares `graph` for up to `batch` images of shape `input`.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the first layer that cannot take its input; candle's own failures.
    pub fn new(graph: &Arc<Graph>, input: Shape, backend: &Backend, batch: usize) -> Result<Self> {
        Ok(match backend {
            Backend::Native(options) => match Banded::new(graph, input, options)? {
                Some(banded) => Self::Banded(Box::new(banded)),
                None => Self::Native(Box::new(Session::new(Arc::clone(graph), input, batch, options.clone())?)),
            },
            Backend::Candle(device, _) => {
                graph.shapes(input)?;
                Self::Candle(Box::new(CandleEngine::new(graph, device.clone())?), input)
            }
            Backend::Onnx(program, pool, memory) => {
                graph.shapes(input)?;
                Self::Onnx(Box::new(OnnxEngine::new(Arc::clone(program), Arc::clone(pool), *memory)))
            }
        })
    }

    /// One for up to `batch` images of shape `input` in place of this one, of the same graph and backend: the native engine shares packed
    /// weights as [`Session::resized`] does, unless images run in bands. Its states are new.
    ///
    /// # Errors
    /// As [`Runner::new`].
    pub fn resized(self, graph: &Arc<Graph>, input: Shape, backend: &Backend, batch: usize) -> Result<Self> {
        match (self, backend) {
            (Self::Native(session), Backend::Native(options)) if Banded::is_whole(graph, input, options)? => {
                Ok(Self::Native(Box::new(session.resized(input, batch)?)))
            }
            (Self::Candle(engine, _), _) => {
                graph.shapes(input)?;
                Ok(Self::Candle(engine, input))
            }
            (before, _) => {
                // What it holds goes before the other comes.
                drop(before);
                Self::new(graph, input, backend, batch)
            }
        }
    }

    /// Another one that shares the packed weights, where the engine has such.
    pub fn another(&self) -> Option<Self> {
        match self {
            Self::Native(session) => Some(Self::Native(Box::new(session.another()))),
            Self::Banded(_) | Self::Candle(..) | Self::Onnx(_) => None,
        }
    }

    /// Runs images `[N, C, H, W]` (flat, `N` at most the batch) and returns the output `[N, C', H', W']` flat.
    ///
    /// # Errors
    /// As [`Session::run`] and [`CandleEngine::run`].
    pub fn run(&mut self, images: &[f32], probe: Option<&dyn Probe>) -> Result<Vec<f32>> {
        let mut output = Vec::new();
        self.run_into(images, probe, &mut output)?;
        Ok(output)
    }

    /// [`Runner::run`] into `output`, which is resized to the output; runs of one size allocate it once.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn run_into(&mut self, images: &[f32], probe: Option<&dyn Probe>, output: &mut Vec<f32>) -> Result<()> {
        match self {
            Self::Native(session) => session.run_into(images, probe, output)?,
            Self::Banded(banded) => *output = banded.run(images, probe)?,
            Self::Candle(engine, input) => *output = engine.run(images, *input, probe)?,
            Self::Onnx(engine) => *output = engine.run(images, probe)?,
        }
        Ok(())
    }

    /// From now on each run continues from the states (of recurrent layers, or of an ONNX file that carries some) after the run before; the first from `states`, or
    /// from zeros if that is empty.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for engines without states; [`Error::Shape`] for states of another network or batch.
    pub fn carry_states(&mut self, states: &[Vec<f32>]) -> Result<()> {
        match self {
            Self::Native(session) => {
                session.carry_states();
                session.set_states(states)
            }
            Self::Onnx(engine) => engine.carry_states(states),
            _ => Err(stateless()),
        }
    }

    /// The states of recurrent layers after the last run.
    ///
    /// # Errors
    /// As [`Runner::carry_states`].
    pub fn states(&self) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Native(session) => Ok(session.states()),
            Self::Onnx(engine) => Ok(engine.states()),
            _ => Err(stateless()),
        }
    }

    /// [`Runner::run`] with candle tensors: `x` is `[N, C, H, W]` f32, the result is on its device.
    ///
    /// # Errors
    /// As [`Runner::run`]; [`Error::Shape`] if `x` is not of that rank and type.
    pub fn forward(&mut self, x: &Tensor) -> Result<Tensor> {
        let failed = |error: candle_core::Error| Error::shape("input", error.to_string());
        let (n, ..) = x.dims4().map_err(failed)?;
        let images: Vec<f32> = x.flatten_all().and_then(|x| x.to_vec1()).map_err(failed)?;
        let y = self.run(&images, None)?;
        let features = y.len() / n.max(1);
        Tensor::from_vec(y, (n, features), x.device()).map_err(failed)
    }
}
