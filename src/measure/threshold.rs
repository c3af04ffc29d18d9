//! Thresholds of activations by quantile of their magnitude: learned from the first inputs, set in the graph.

use std::collections::{BTreeMap, HashMap};

use super::feed::{Monitor, Stage};
use super::ranges::isa_of;
use super::record::{Accumulate, PerWorker, Watchers};
use super::run::{prepare, watched};
use super::settings::Settings;
use crate::engine::Backend;
use crate::graph::Node;
use crate::graph::threshold::{inputs, thresholded};
use crate::input::Dataset;
use crate::kernels::{Geometry, Isa, LANES, Region};
use crate::model::Model;
use crate::{Error, Result};

/// Bits of a magnitude, of 31, that the second pass tells apart; the first counts by the bits above.
const LOW: u32 = 15;

/// Thresholds of what layers of weights read, for some levels.
pub struct Thresholds {
    /// What is read, and by which layers.
    inputs: BTreeMap<Node, Vec<Node>>,
    /// Of each level, one for each of these.
    of_level: Vec<Vec<f32>>,
}

impl Thresholds {
    /// For each of `levels`, in percent, the exact quantile of the magnitudes of what each layer of weights reads, over the first
    /// [`Settings::calibrate`] inputs: the smallest magnitude such that at least that share is not above it. The layer that gives the
    /// answer keeps its inputs, and so do those that [`Settings::layers`] does not choose.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a network of integers; [`Error::Invalid`] if no layer is chosen; those of reading inputs.
    pub fn learn(
        model: &Model,
        backend: &Backend,
        data: &Dataset,
        settings: &Settings,
        levels: &[u32],
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        if model.graph.nodes.iter().any(|def| def.codes.is_some()) {
            let what = format!("thresholds in {}", model.card.name);
            return Err(Error::unsupported(what, "networks whose activations are floats take them"));
        }
        let chosen = |name: &str| settings.layers.as_ref().is_none_or(|pattern| pattern.is_match(name));
        let inputs = inputs(&model.graph, chosen);
        if inputs.is_empty() {
            return Err(Error::invalid("--threshold", "finds no layer of weights that it is of"));
        }
        let (mut feed, mut executor) = prepare(model, backend, data, settings);
        feed.limit = settings.calibrate.max(1).min(feed.limit);
        let mut pass = |made: Vec<Magnitudes>| -> Result<Vec<Magnitudes>> {
            let mut probe = Watchers::none(model.graph.nodes.len());
            for (readers, counts) in inputs.values().zip(made) {
                let watcher = PerWorker::new(isa_of(backend), backend.watchers(), || counts.clone());
                *probe.place(readers[0], false) = Some(watcher);
            }
            feed.all(Stage::Calibrate, monitor, |samples| watched(&mut executor, samples, &probe, |_| {}).map(|_| ()))?;
            executor.restart()?;
            let sums = inputs.values().map(|readers| probe.take(readers[0], false).into_parts());
            let sum = |parts: &mut dyn Iterator<Item = Magnitudes>| {
                parts.reduce(|mut all, part| {
                    all.merge(part);
                    all
                })
            };
            Ok(sums.map(|mut parts| sum(&mut parts).expect("there is a worker")).collect())
        };
        let coarse = pass(vec![Magnitudes::coarse(); inputs.len()])?;
        let places: Vec<Vec<Place>> =
            coarse.iter().map(|counts| levels.iter().map(|&level| counts.place(level)).collect()).collect();
        let fine = pass(places.iter().map(|places| Magnitudes::fine(places)).collect())?;
        let of = |level: usize| fine.iter().zip(&places).map(|(fine, places)| fine.magnitude(&places[level])).collect();
        let of_level = (0..levels.len()).map(of).collect();
        Ok(Self { inputs, of_level })
    }

    /// The values that are cut, and the layers that read each.
    pub fn inputs(&self) -> &BTreeMap<Node, Vec<Node>> {
        &self.inputs
    }

    /// The thresholds of the level `which`, one a value.
    pub fn of_level(&self, which: usize) -> &[f32] {
        &self.of_level[which]
    }

    /// `model`, in which layers read zeros for what is not above the thresholds of the level `which`: another network, with other
    /// answers.
    pub fn apply(&self, model: &Model, which: usize) -> Model {
        model.with_graph(thresholded(&model.graph, &self.inputs, &self.of_level[which]))
    }

    /// What a reader of figures of [`Self::apply`] must know.
    pub fn note(&self, level: u32) -> String {
        let layers: usize = self.inputs.values().map(Vec::len).sum();
        format!(
            "{layers} layers read zeros for inputs whose magnitude is not above its {level} % quantile: not the network as it is, \
             and its answers differ"
        )
    }
}

/// Where a quantile falls: how many values it is to have at most its magnitude, of those with the same upper bits and lower ones.
#[derive(Clone, Copy, Debug)]
struct Place {
    upper: u32,
    rank: u64,
}

/// How often magnitudes are seen.
#[derive(Clone)]
enum Magnitudes {
    /// By their upper bits.
    Coarse(Vec<u64>),
    /// Those with some upper bits, by all bits.
    Fine(HashMap<u32, HashMap<u32, u64>>),
}

impl Magnitudes {
    fn coarse() -> Self {
        Self::Coarse(vec![0; 1 << (31 - LOW)])
    }

    fn fine(places: &[Place]) -> Self {
        Self::Fine(places.iter().map(|place| (place.upper, HashMap::new())).collect())
    }

    fn count(&mut self, values: &[f32]) {
        let bits = values.iter().map(|x| x.abs().to_bits());
        match self {
            Self::Coarse(counts) => bits.for_each(|bits| counts[(bits >> LOW) as usize] += 1),
            Self::Fine(counts) => bits.for_each(|bits| {
                if let Some(counts) = counts.get_mut(&(bits >> LOW)) {
                    *counts.entry(bits).or_default() += 1;
                }
            }),
        }
    }

    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Coarse(own), Self::Coarse(other)) => {
                own.iter_mut().zip(other).for_each(|(own, other)| *own += other)
            }
            (Self::Fine(own), Self::Fine(other)) => {
                for (upper, counts) in other {
                    let own = own.entry(upper).or_default();
                    counts.into_iter().for_each(|(bits, count)| *own.entry(bits).or_default() += count);
                }
            }
            _ => unreachable!("counts of one pass"),
        }
    }

    /// Where the quantile of `percent` falls.
    fn place(&self, percent: u32) -> Place {
        let Self::Coarse(counts) = self else { unreachable!("counts by upper bits") };
        let all: u64 = counts.iter().sum();
        let mut rank = (u128::from(all) * u128::from(percent)).div_ceil(100) as u64;
        for (upper, &count) in (0..).zip(counts) {
            if rank <= count {
                return Place { upper, rank };
            }
            rank -= count;
        }
        Place { upper: 0, rank: 0 }
    }

    /// The magnitude at `place`.
    fn magnitude(&self, place: &Place) -> f32 {
        let Self::Fine(counts) = self else { unreachable!("counts by all bits") };
        let mut rising: Vec<(u32, u64)> =
            counts.get(&place.upper).into_iter().flatten().map(|(bits, count)| (*bits, *count)).collect();
        rising.sort_unstable();
        let mut seen = 0;
        let at = rising.iter().find(|(_, count)| {
            seen += count;
            seen >= place.rank
        });
        at.map_or(0.0, |(bits, _)| f32::from_bits(*bits))
    }
}

impl Accumulate for Magnitudes {
    fn add(&mut self, _: Isa, x: &[f32], geometry: &Geometry, image: usize, region: Region, _: usize) -> bool {
        let planes = LANES / geometry.lanes;
        let blocks = region.blocks.start * planes..(region.blocks.end * planes).min(geometry.blocks());
        let mut finite = true;
        for (y, block) in region.rows.flat_map(|y| blocks.clone().map(move |block| (y, block))) {
            let used = (geometry.c - block * geometry.lanes).min(geometry.lanes);
            let row = &x[geometry.at(image, block, y, 0)..][..geometry.w * geometry.lanes];
            for pixel in row.chunks_exact(geometry.lanes) {
                finite &= pixel[..used].iter().all(|x| x.is_finite());
                self.count(&pixel[..used]);
            }
        }
        finite
    }
}
