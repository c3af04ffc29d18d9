//! Where a network's parameters come from.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::kernels::{CodedForm, CodedMatrix};
use crate::layers::Values;
use crate::weights::Weights;
use crate::weights::gguf::{BlockCodes, BlockForm};

/// Where parameters come from.
pub enum Params {
    /// A checkpoint.
    Stored(Weights),
    /// Names and extents of a checkpoint: for finding out which network it is of. Such a graph cannot be run.
    Listed(Arc<Listing>),
    /// Seeded random values of the shapes that the network needs: for tests and benchmarks.
    Random(u64),
    /// Shapes only: for listing a network before a weight is read. Such a graph cannot be run.
    Declared,
}

/// Names and extents of the tensors of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The checkpoint, as in messages.
    pub source: String,
    /// Extents by name.
    pub extents: BTreeMap<String, Vec<usize>>,
}

impl From<&Weights> for Listing {
    fn from(weights: &Weights) -> Self {
        let extents = |name: &str| Some((name.to_owned(), weights.shape(name)?.to_vec()));
        Self { source: weights.source().to_owned(), extents: weights.names().filter_map(extents).collect() }
    }
}

impl Params {
    /// Whether a checkpoint says which parameters there are.
    pub(super) fn is_stored(&self) -> bool {
        matches!(self, Self::Stored(_) | Self::Listed(_))
    }

    /// Extents of the tensor `name`, if a checkpoint holds it.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        match self {
            Self::Stored(weights) => weights.shape(name),
            Self::Listed(listing) => listing.extents.get(name).map(Vec::as_slice),
            Self::Random(_) | Self::Declared => None,
        }
    }

    /// The name by which the tensor `name` is stored: another one, if it is tied to that.
    pub(super) fn stored_name<'a>(&'a self, name: &'a str) -> &'a str {
        if let Self::Stored(weights) = self { weights.stored_name(name) } else { name }
    }

    /// Whether a checkpoint holds tensors whose names start with `prefix`.
    pub(super) fn has_below(&self, prefix: &str) -> bool {
        let first = match self {
            Self::Stored(weights) => weights.first_from(prefix),
            Self::Listed(listing) => {
                let from = (Bound::Included(prefix), Bound::Unbounded);
                listing.extents.range::<str, _>(from).next().map(|(name, _)| name.as_str())
            }
            Self::Random(_) | Self::Declared => None,
        };
        first.is_some_and(|name| name.starts_with(prefix))
    }

    /// The names of a checkpoint.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Stored(weights) => weights.names().collect(),
            Self::Listed(listing) => listing.extents.keys().map(String::as_str).collect(),
            Self::Random(_) | Self::Declared => vec![],
        }
    }

    /// Where they come from, in messages.
    pub(super) fn source(&self) -> &str {
        match self {
            Self::Stored(weights) => weights.source(),
            Self::Listed(listing) => &listing.source,
            Self::Random(_) | Self::Declared => "network",
        }
    }
}

/// A 1x1 convolution is sometimes stored as a linear layer and vice versa: `[O, I]` and `[O, I, 1, 1]` are the same.
pub(super) fn same_but_for_ones(a: &[usize], b: &[usize]) -> bool {
    let trim = |s: &[usize]| s.iter().rposition(|&d| d != 1).map_or(0, |last| last + 1);
    a[..trim(a)] == b[..trim(b)]
}

/// The values of the tensor `name` of `weights` as those of extents `shape`, of as many values: the codes of a matrix that is stored as
/// such, else floats. A read error is kept by the weights.
pub(super) fn stored_values(weights: &Weights, name: &str, shape: &[usize]) -> Values {
    let coded = || {
        let stored = weights.block_codes(name).filter(BlockCodes::are_of_finite_values)?;
        let BlockForm { group, four_bits, minimum, halves } = stored.form();
        let &[rows, columns] = shape else { return None };
        let (groups, each) = (stored.groups(), columns / group);
        let read = |row: usize, at: usize, codes: &mut [i8]| groups.read(row * each + at, codes);
        let form = CodedForm { group, nibbles: four_bits, minimum, halves };
        columns.is_multiple_of(group).then(|| CodedMatrix::new((rows, columns), form, read).into())
    };
    coded().unwrap_or_else(|| weights.read_or_note(name).into())
}

/// Uniform values for the parameter that a layer calls `name`, at `path` in its checkpoint, scaled so that activations keep
/// their magnitude from layer to layer; variances in 0.5..1.5.
pub(super) fn random(seed: u64, (name, path): (&str, &str), shape: &[usize], count: usize) -> Arc<[f32]> {
    // FNV-1a of the path, so that the values of a parameter do not depend on the order of construction.
    let mut state =
        path.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut unit = move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    // Its role follows from the layer's name for it, whatever the checkpoint calls it.
    let (center, spread) = match (name.rsplit('.').next(), shape.len()) {
        (Some("running_var"), _) => (1.0, 0.5),
        (Some("weight"), 1) => (1.0, 0.3),
        (Some("weight"), _) => (0.0, (5.0 / shape[1..].iter().product::<usize>() as f32).sqrt()),
        _ => (0.0, 0.1),
    };
    (0..count).map(|_| center + spread * unit()).collect()
}
