//! Running layers on designs: each input, as soon as it is whole.

use std::sync::{Arc, Mutex, PoisonError};

use crate::designs::{Design, Layer, Parts, Sample, Setup};
use crate::tally::DesignCounts;

/// One layer on some designs.
pub(super) struct DesignRuns {
    layer: Layer,
    /// Of a sample, what each design runs in the place of all.
    parts: Vec<Option<Parts>>,
    setups: Arc<[Setup]>,
    counts: Mutex<Vec<DesignCounts>>,
}

impl DesignRuns {
    /// Nothing was run yet of `layer`, or of the sample of it as the layer of that place.
    pub(super) fn new(layer: Layer, sample: Option<(Sample, usize)>, setups: &Arc<[Setup]>) -> Self {
        let counts = Mutex::new(vec![DesignCounts::default(); setups.len()]);
        let parts = |setup: &Setup| sample.and_then(|(sample, place)| sample.parts(&layer, place, setup));
        let parts = setups.iter().map(parts).collect();
        Self { layer, parts, setups: Arc::clone(setups), counts }
    }

    /// Runs an input of codes `[C, H, W]` on each design.
    pub(super) fn add(&self, codes: &[i32]) {
        let input = self.layer.over(codes);
        let count = |(setup, parts): (&Setup, &Option<Parts>)| Design::count(setup, &input, parts.as_ref()).fields();
        let found: Vec<DesignCounts> = self.setups.iter().zip(&self.parts).map(count).collect();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (own, found) in counts.iter_mut().flatten().zip(found.iter().flatten()) {
            *own += found;
        }
    }

    /// What was counted, one a design.
    pub(super) fn into_counts(self) -> Vec<DesignCounts> {
        self.counts.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
