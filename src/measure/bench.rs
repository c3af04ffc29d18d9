//! What watching costs: plain runs against watched ones, in pairs. And how long a plain run takes for one token more.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::calibrate::Calibration;
use super::counting::CountingProbe;
use super::feed::Monitor;
use crate::engine::{Backend, EngineOptions, Session};
use crate::graph::Node;
use crate::kernels::Exec;
use crate::kernels::peak::peak;
use crate::layers::Shape;
use crate::model::Model;
use crate::tally::Statistics;
use crate::timing::{Comparison, median, quartiles};
use crate::{Error, Result};

/// How long the peak is looked for.
const PEAK_TIME: Duration = Duration::from_millis(50);

/// Times of one model.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// Card name.
    pub model: String,
    /// Images a run.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Instruction-set level.
    pub isa: &'static str,
    /// Pairs of runs.
    pub rounds: usize,
    /// MACs a run.
    pub macs: u64,
    /// Multiply-adds a second that these threads do on registers alone.
    pub peak_macs_per_s: f64,
    /// Seconds of a plain run: quartiles.
    pub plain_s: [f64; 3],
    /// Seconds of a run whose terms are counted: quartiles.
    pub terms_s: [f64; 3],
    /// The same over plain, pair by pair: quartiles.
    pub terms_ratio: [f64; 3],
    /// Seconds of a watched run: quartiles.
    pub watched_s: [f64; 3],
    /// Watched over plain, pair by pair: quartiles.
    pub ratio: [f64; 3],
    /// Layer by layer.
    pub layers: Vec<BenchLayer>,
}

/// Times of one layer.
#[derive(Clone, Debug, Serialize)]
pub struct BenchLayer {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// The kernel that computes it.
    pub kernel: &'static str,
    /// MACs a run, with those of the layers that run together with it.
    pub macs: u64,
    /// Median seconds of a plain run.
    pub plain_s: f64,
    /// Median seconds of a watched run.
    pub watched_s: f64,
}

/// Runs `images` (a batch, `[N, C, H, W]` flat) plain and with their terms counted, `rounds` pairs, then plain and with all
/// statistics, then these two timed layer by layer.
///
/// # Errors
/// [`Error::Shape`] if the model cannot take the images; [`Error::Interrupted`].
pub fn bench(
    model: &Model,
    options: &EngineOptions,
    images: &[f32],
    rounds: usize,
    calibration: &Calibration,
    monitor: &dyn Monitor,
) -> Result<Bench> {
    let batch = images.len() / model.input_shape().elements();
    let session = || Session::new(model.graph.clone(), model.input_shape(), batch, options.clone());
    let (mut plain, mut watched) = (session()?, session()?);
    let backend = Backend::Native(options.clone());
    let probe = |statistics: Statistics| {
        calibration.with_statistics(statistics).probe(model, &backend, model.input_shape(), batch)
    };
    let (terms, probe) = (probe(Statistics::Terms)?, probe(Statistics::Full)?);
    let go_on = || if monitor.stop() { Err(Error::Interrupted) } else { Ok(()) };
    let (mut y, mut z) = (Vec::new(), Vec::new());
    let mut compare = |probe: &CountingProbe| {
        Comparison::run(
            rounds,
            || go_on().and_then(|()| plain.run_into(images, None, &mut y)),
            || {
                go_on()?;
                watched.run_into(images, Some(probe), &mut z)?;
                probe.end_run(&options.pool, batch);
                Ok(())
            },
        )
    };
    let (of_terms, comparison) = (compare(&terms)?, compare(&probe)?);
    let nodes = model.graph.nodes.len();
    let mut times = [vec![Vec::new(); nodes], vec![Vec::new(); nodes]];
    for _ in 0..rounds {
        go_on()?;
        plain.run_timed(images, None, &mut y)?;
        watched.run_timed(images, Some(&probe), &mut z)?;
        probe.end_run(&options.pool, batch);
        for (times, session) in times.iter_mut().zip([&plain, &watched]) {
            times.iter_mut().zip(session.times()).for_each(|(times, time)| times.push(*time));
        }
    }
    let seconds = |times: &[Duration]| median(times).as_secs_f64();
    let macs = |node: Node| model.graph.def(node).layer.macs(plain.plan().shapes[node.index()]) * batch as u64;
    // Nodes that run together are reported as the last of them.
    let nodes = model.graph.handles().skip(1).filter(|&node| !plain.plan().groups.is_inner(node));
    let layers = nodes.map(|node| {
        let def = model.graph.def(node);
        BenchLayer {
            name: def.name.clone(),
            kind: def.layer.kind(),
            kernel: plain.kernel(node),
            macs: plain.plan().groups.ending_at(node).into_iter().map(macs).sum(),
            plain_s: seconds(&times[0][node.index()]),
            watched_s: seconds(&times[1][node.index()]),
        }
    });
    let spread = |times: &[Duration]| quartiles(times.iter().map(Duration::as_secs_f64).collect());
    Ok(Bench {
        model: model.card.name.clone(),
        batch,
        threads: options.pool.threads(),
        isa: options.isa.name(),
        rounds,
        macs: model.macs()? * batch as u64,
        peak_macs_per_s: peak(&Exec::new(&options.pool, options.isa), PEAK_TIME),
        plain_s: spread(&comparison.base),
        terms_s: spread(&of_terms.other),
        terms_ratio: of_terms.ratio(),
        watched_s: spread(&comparison.other),
        ratio: comparison.ratio(),
        layers: layers.collect(),
    })
}

/// Runs `tokens`, as many sequences of the model's length as they are, and then `count` tokens more of each, one at a time, each
/// from the states and caches after those before it. Seconds of one of these steps, for all sequences: the quartiles of `rounds` rounds, each of which
/// starts again after the first tokens.
///
/// # Errors
/// [`Error::Shape`] if the model cannot take the tokens, or so many; [`Error::Interrupted`].
pub fn generation(
    model: &Model,
    options: &EngineOptions,
    tokens: &[f32],
    (count, rounds): (usize, usize),
    monitor: &dyn Monitor,
) -> Result<[f64; 3]> {
    let length = model.input_shape().w;
    let batch = tokens.len() / length;
    let carrying = |steps: usize| -> Result<Session> {
        let mut session = Session::new(model.graph.clone(), Shape::new(1, 1, steps), batch, options.clone())?;
        session.carry_states();
        Ok(session)
    };
    let mut whole = carrying(length)?;
    whole.run(tokens, None)?;
    let states = whole.states();
    drop(whole);
    let mut session = carrying(1)?;
    let (mut next, mut y) = (Vec::new(), Vec::new());
    let mut round = || {
        session.set_states(&states)?;
        let start = Instant::now();
        for step in 0..count {
            if monitor.stop() {
                return Err(Error::Interrupted);
            }
            next.clear();
            next.extend(tokens.chunks_exact(length).map(|tokens| tokens[step % length]));
            session.run_into(&next, None, &mut y)?;
        }
        Ok(start.elapsed().as_secs_f64() / count as f64)
    };
    // The first makes room in the caches.
    round()?;
    Ok(quartiles((0..rounds).map(|_| round()).collect::<Result<_>>()?))
}
