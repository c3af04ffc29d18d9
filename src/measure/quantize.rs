//! Post-training quantisation of a model: ranges of all its values from its first inputs, then integers.

use super::executor::{Batch, Executor};
use super::feed::{Feed, Monitor, Stage};
use super::record::{PerWorker, Watchers};
use super::settings::Settings;
use crate::engine::Backend;
use crate::graph::quantize::{observed, quantize, split_epilogue};
use crate::input::Dataset;
use crate::kernels::count::Range;
use crate::model::Model;
use crate::{Error, Result};

/// `model` in 8-bit integers: one scale a filter, and one scale and zero point a value, of the ranges that the first
/// [`Settings::calibrate`] inputs give.
///
/// # Errors
/// [`Error::Unsupported`] for a network that stores integers already or reads texts; [`Error::NotFinite`] naming the
/// value; those of reading inputs.
pub fn quantized(
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    settings: &Settings,
    monitor: &dyn Monitor,
) -> Result<Model> {
    let Backend::Native(options) = backend else {
        let what = format!("quantising by the {} engine", backend.name());
        return Err(Error::unsupported(what, "give --backend native"));
    };
    if model.stores_integers() || model.embedding_rows().is_some() {
        let what = format!("quantising {}", model.card.name);
        return Err(Error::unsupported(what, "float networks that read images are quantised"));
    }
    let split = split_epilogue(&model.graph);
    let (graph, observers) = observed(&split);
    let mut probe = Watchers::none(graph.nodes.len());
    for &node in &observers {
        *probe.place(node, false) = Some(PerWorker::new(options.isa, options.pool.threads(), Range::default));
    }
    let observing = model.with_graph(graph);
    // Ranges of large images in bands are those of the bands: all are seen.
    let batch = Batch { most: settings.batch.min(data.len()).max(1), may_be_less: settings.batch_may_be_less };
    let mut executor = Executor::alone(&observing, backend, batch);
    let limit = settings.calibrate.max(1).min(settings.limit.unwrap_or(usize::MAX));
    let feed = Feed { data, pool: backend.pool(), limit, batch: settings.batch, skip_bad: settings.skip_bad };
    feed.all(Stage::Calibrate, monitor, |samples| {
        executor.run(samples, Some(&probe), |samples| probe.check(&observing.graph, samples)).map(|_| ())
    })?;
    let range = |node| {
        let mut range = Range::default();
        probe.take(node, false).into_parts().for_each(|part| range.merge(part));
        // Of a value that was never seen: nothing but zero.
        if range.min <= range.max { (range.min, range.max) } else { (0.0, 0.0) }
    };
    let ranges: Vec<(f32, f32)> = observers.into_iter().map(range).collect();
    Ok(Model { quantized: Some("int8"), ..model.with_graph(quantize(&split, &ranges)) })
}
