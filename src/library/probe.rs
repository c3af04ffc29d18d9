//! Watching a network while it runs.

use std::collections::BTreeMap;
use std::ops::BitOr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::layer::LayerInfo;
use crate::graph::Node;
use crate::kernels::attention::Probabilities;
use crate::kernels::{Geometry, LANES, Pool, Region};
use crate::probe::{self, Origin, Watch, WatchRows};

/// Watches layers while they run, tile by tile as values are in cache. It reads values and can change none.
///
/// Each thread of a run has a [`Probe::Local`] of its own, so that nothing needs a lock; they are merged when the run has ended.
///
/// ```
/// use deadweight::prelude::*;
///
/// /// Zeros among the inputs of layers that multiply and accumulate.
/// #[derive(Default)]
/// struct Zeros {
///     zeros: u64,
///     all: u64,
/// }
///
/// impl Probe for Zeros {
///     type Local = Self;
///
///     fn wants(&self, layer: &LayerInfo) -> Wants {
///         if layer.is_mac() { Wants::INPUT } else { Wants::NOTHING }
///     }
///
///     fn see(&self, local: &mut Self, tile: Tile<'_>) {
///         for (_, value) in tile.values() {
///             local.all += 1;
///             local.zeros += u64::from(value == 0.0);
///         }
///     }
///
///     fn merge(&mut self, local: Self) {
///         self.zeros += local.zeros;
///         self.all += local.all;
///     }
/// }
///
/// let model = Model::load("digits").open()?;
/// let mut zeros = Zeros::default();
/// model.session().build()?.run_with(&Tensor::zeros([1, 32, 32]), &mut zeros)?;
/// assert!(zeros.zeros >= 32 * 32 && zeros.zeros < zeros.all);
/// # Ok::<(), deadweight::Error>(())
/// ```
pub trait Probe: Sync {
    /// What one thread has seen.
    type Local: Default + Send;

    /// What is to be shown of `layer`. Asked of every layer before a run.
    fn wants(&self, layer: &LayerInfo) -> Wants;

    /// Sees a part of an operand. The tiles of a run hold each of its values once; their sizes and order, and which thread sees
    /// which, may change from run to run.
    fn see(&self, local: &mut Self::Local, tile: Tile<'_>);

    /// Takes what one thread has seen, after a run.
    fn merge(&mut self, local: Self::Local);
}

/// Which operands of a layer are shown.
///
/// ```
/// use deadweight::Wants;
///
/// assert_ne!(Wants::INPUT | Wants::OUTPUT, Wants::INPUT);
/// assert_eq!(Wants::NOTHING | Wants::SECOND, Wants::SECOND);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants(u8);

impl Wants {
    /// None.
    pub const NOTHING: Self = Self(0);
    /// Its first input: activations; of a recurrent layer, its own output of the step before; of attention, the queries.
    pub const INPUT: Self = Self(1);
    /// The second operand of a product of two activations; of attention, the keys.
    pub const SECOND: Self = Self(2);
    /// The values of attention.
    pub const THIRD: Self = Self(4);
    /// The probabilities of attention, of the keys that a query sees.
    pub const PROBABILITIES: Self = Self(8);
    /// Its output, after the activation that is fused with it.
    pub const OUTPUT: Self = Self(16);

    fn has(self, operand: Operand) -> bool {
        self.0 & operand.bit().0 != 0
    }
}

impl BitOr for Wants {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// An operand of a layer: see the constants of [`Wants`].
///
/// ```
/// use std::collections::BTreeSet;
///
/// use deadweight::prelude::*;
///
/// /// Which operands attention shows.
/// #[derive(Default)]
/// struct Shown(BTreeSet<Operand>);
///
/// impl Probe for Shown {
///     type Local = BTreeSet<Operand>;
///
///     fn wants(&self, layer: &LayerInfo) -> Wants {
///         match layer.kind {
///             "attention" => Wants::INPUT | Wants::SECOND | Wants::THIRD | Wants::PROBABILITIES,
///             _ => Wants::NOTHING,
///         }
///     }
///
///     fn see(&self, local: &mut Self::Local, tile: Tile<'_>) {
///         local.insert(tile.operand());
///     }
///
///     fn merge(&mut self, local: Self::Local) {
///         self.0.extend(local);
///     }
/// }
///
/// let mut shown = Shown::default();
/// Model::load("chapters").open()?.session().build()?.run_with(&Tensor::tokens(&[1, 2, 3]), &mut shown)?;
/// assert_eq!(shown.0.len(), 4);
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operand {
    /// First input, or queries.
    Input,
    /// Second operand, or keys.
    Second,
    /// Values of attention.
    Third,
    /// Probabilities of attention.
    Probabilities,
    /// Output.
    Output,
}

impl Operand {
    const ALL: [Self; 5] = [Self::Input, Self::Second, Self::Third, Self::Probabilities, Self::Output];

    fn bit(self) -> Wants {
        match self {
            Self::Input => Wants::INPUT,
            Self::Second => Wants::SECOND,
            Self::Third => Wants::THIRD,
            Self::Probabilities => Wants::PROBABILITIES,
            Self::Output => Wants::OUTPUT,
        }
    }
}

/// Some values of an operand. Networks of 8-bit integers show the integer less its zero point, exactly: the value is that times
/// the scale ([`LayerInfo::input_codes`]).
///
/// ```
/// use deadweight::prelude::*;
///
/// /// The first row of an image.
/// #[derive(Default)]
/// struct FirstRow(Vec<f32>);
///
/// impl Probe for FirstRow {
///     type Local = Vec<([usize; 3], f32)>;
///
///     fn wants(&self, layer: &LayerInfo) -> Wants {
///         if layer.index == 1 { Wants::INPUT } else { Wants::NOTHING }
///     }
///
///     fn see(&self, local: &mut Self::Local, tile: Tile<'_>) {
///         local.extend(tile.values().filter(|([channel, row, _], _)| (*channel, *row) == (0, 0)));
///     }
///
///     fn merge(&mut self, mut local: Self::Local) {
///         local.sort_by_key(|(place, _)| *place);
///         self.0.extend(local.into_iter().map(|(_, value)| value));
///     }
/// }
///
/// let mut row = FirstRow::default();
/// Model::load("digits").open()?.session().threads(1).build()?.run_with(&Tensor::zeros([1, 32, 32]), &mut row)?;
/// assert_eq!(row.0, vec![0.0; 32]);
/// # Ok::<(), deadweight::Error>(())
/// ```
pub struct Tile<'a> {
    layer: &'a LayerInfo,
    operand: Operand,
    image: usize,
    values: Values<'a>,
}

enum Values<'a> {
    /// Rows of blocks of channels; `row` is that of the whole image that is row 0 here, and the image is the buffer's.
    Region { x: &'a [f32], geometry: &'a Geometry, image: usize, region: &'a Region, row: usize },
    /// A row of probabilities.
    Row(&'a Probabilities<'a>),
}

impl<'a> Tile<'a> {
    /// The layer.
    pub fn layer(&self) -> &'a LayerInfo {
        self.layer
    }

    /// Which of its operands.
    pub fn operand(&self) -> Operand {
        self.operand
    }

    /// Which of the inputs of the run, from 0.
    pub fn image(&self) -> usize {
        self.image
    }

    /// Each value with its place in the whole input: `[channel, row, column]`; of sequences `[feature, 0, step]`; of probabilities
    /// `[head, query, key]`.
    pub fn values(&self) -> impl Iterator<Item = ([usize; 3], f32)> + '_ {
        let (region, row) = match &self.values {
            Values::Region { x, geometry, image, region, row } => (Some((*x, *geometry, *image, *region, *row)), None),
            Values::Row(row) => (None, Some(*row)),
        };
        let of_region = region.into_iter().flat_map(|(x, geometry, image, region, first)| {
            let channels = region.blocks.start * LANES..(region.blocks.end * LANES).min(geometry.c);
            let rows = channels.flat_map(move |c| region.rows.clone().map(move |y| (c, y)));
            rows.flat_map(move |(c, y)| {
                let at = geometry.index(image, c, y, 0);
                (0..geometry.w).map(move |column| ([c, first + y, column], x[at + column * geometry.lanes]))
            })
        });
        let of_row = row.into_iter().flat_map(|row| {
            row.keys.clone().zip(row.values).map(move |(key, value)| ([row.head, row.query, key], *value))
        });
        of_region.chain(of_row)
    }
}

/// What the engine asks a probe by: an eye for each operand that is wanted.
pub(super) struct Eyes<'a, P: Probe> {
    eyes: BTreeMap<(Node, Operand), Eye<'a, P>>,
    /// How many inputs came before those that run now.
    before: Arc<AtomicUsize>,
}

struct Eye<'a, P: Probe> {
    probe: &'a P,
    layer: &'a LayerInfo,
    operand: Operand,
    /// Of each thread.
    locals: &'a [Mutex<P::Local>],
    before: Arc<AtomicUsize>,
}

impl<'a, P: Probe> Eyes<'a, P> {
    pub(super) fn new(probe: &'a P, layers: &'a [LayerInfo], locals: &'a [Mutex<P::Local>]) -> Self {
        let before = Arc::new(AtomicUsize::new(0));
        let mut eyes = BTreeMap::new();
        for layer in layers {
            let wants = probe.wants(layer);
            for operand in Operand::ALL.into_iter().filter(|operand| wants.has(*operand)) {
                let eye = Eye { probe, layer, operand, locals, before: Arc::clone(&before) };
                eyes.insert((Node::at(layer.index), operand), eye);
            }
        }
        Self { eyes, before }
    }

    /// The next run begins with input `image`.
    pub(super) fn begin(&mut self, image: usize) {
        self.before.store(image, Relaxed);
    }

    fn eye(&self, node: Node, operand: Operand) -> Option<&Eye<'a, P>> {
        self.eyes.get(&(node, operand))
    }

    fn watch_of(&self, node: Node, operand: Operand) -> Option<&dyn Watch> {
        self.eye(node, operand).map(|eye| eye as &dyn Watch)
    }
}

impl<P: Probe> probe::Probe for Eyes<'_, P> {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        self.watch_of(node, Operand::Input)
    }

    fn watch_second(&self, node: Node) -> Option<&dyn Watch> {
        self.watch_of(node, Operand::Second)
    }

    fn watch_third(&self, node: Node) -> Option<&dyn Watch> {
        self.watch_of(node, Operand::Third)
    }

    fn watch_output(&self, node: Node) -> Option<&dyn Watch> {
        self.watch_of(node, Operand::Output)
    }

    fn watch_rows(&self, node: Node) -> Option<&dyn WatchRows> {
        self.eye(node, Operand::Probabilities).map(|eye| eye as &dyn WatchRows)
    }
}

impl<P: Probe> Eye<'_, P> {
    fn see(&self, worker: usize, image: usize, values: Values<'_>) {
        let mut local = self.locals[worker].lock().unwrap_or_else(PoisonError::into_inner);
        let image = self.before.load(Relaxed) + image;
        self.probe.see(&mut local, Tile { layer: self.layer, operand: self.operand, image, values });
    }
}

impl<P: Probe> Watch for Eye<'_, P> {
    fn look(&self, worker: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin) {
        let values = Values::Region { x, geometry, image, region: &region, row: origin.row };
        self.see(worker, origin.image + image, values);
    }
}

impl<P: Probe> WatchRows for Eye<'_, P> {
    fn look_at_rows(&self, rows: &[Probabilities<'_>]) {
        rows.iter().for_each(|row| self.see(row.worker, row.image, Values::Row(row)));
    }

    fn end(&self, _: &Pool, _: usize, _: [(&[f32], &Geometry); 3]) {}
}
