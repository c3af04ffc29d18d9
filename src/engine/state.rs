//! What a layer keeps from one run to the next.

use crate::graph::Graph;
use crate::kernels::attention::KvCache;
use crate::kernels::{Buffer, Exec};
use crate::layers::Layer;
use crate::{Error, Result};

/// The state of a layer, of all sequences of the batch.
pub(super) enum State {
    /// Some floats for each sequence; none of most layers.
    Floats(Buffer),
    /// The keys and values of all tokens so far.
    Cache(Box<KvCache>),
}

impl Default for State {
    fn default() -> Self {
        Self::Floats(Buffer::default())
    }
}

impl State {
    /// Starts anew.
    pub fn clear(&mut self) {
        match self {
            Self::Floats(floats) => floats.fill(0.0),
            Self::Cache(cache) => cache.clear(),
        }
    }

    /// As floats.
    pub fn to_floats(&self) -> Vec<f32> {
        match self {
            Self::Floats(floats) => floats.to_vec(),
            Self::Cache(cache) => cache.to_floats(),
        }
    }

    /// Goes on from `floats`; false if they are of another layer or batch.
    pub fn set(&mut self, exec: &Exec<'_>, floats: &[f32]) -> bool {
        match self {
            Self::Floats(own) => {
                let fits = own.len() == floats.len();
                if fits {
                    own.copy_from_slice(floats);
                }
                fits
            }
            Self::Cache(cache) => cache.set(exec, floats),
        }
    }

    /// The floats.
    ///
    /// # Panics
    /// If it is a cache.
    pub fn floats(&mut self) -> &mut Buffer {
        match self {
            Self::Floats(floats) => floats,
            Self::Cache(_) => unreachable!("attention alone has a cache"),
        }
    }

    /// The cache.
    ///
    /// # Panics
    /// If it is none.
    pub fn cache(&mut self) -> &mut KvCache {
        match self {
            Self::Cache(cache) => cache,
            Self::Floats(_) => unreachable!("attention has a cache"),
        }
    }

    /// What the error of a state that does not fit says of its length: floats, or of a cache those of one token.
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(floats) => floats.len(),
            Self::Cache(cache) => cache.token_len(),
        }
    }
}

/// An error if a run of `steps` tokens, after those in `states`, needs more positions than `graph` has.
pub(super) fn check_positions(graph: &Graph, states: &mut [State], steps: usize) -> Result<()> {
    for (def, state) in graph.nodes.iter().zip(states) {
        let limit = match &def.layer {
            Layer::Positions(positions) => positions.limit,
            Layer::Rotary(rotary) => rotary.limit,
            _ => continue,
        };
        let tokens = state.floats().iter().fold(0.0f32, |most, &count| most.max(count)) as usize;
        if tokens > 0 && tokens + steps > limit {
            let detail = format!("{steps} tokens after {tokens} exceed the {limit} positions of the network");
            return Err(Error::shape(&def.name, detail));
        }
    }
    Ok(())
}
