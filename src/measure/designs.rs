//! Running layers on designs: each input, as soon as it is whole.

use std::sync::{Arc, Mutex, PoisonError};

use crate::designs::{Design, Layer, Setup};
use crate::tally::DesignCounts;

/// One layer on some designs.
pub(super) struct DesignRuns {
    layer: Layer,
    /// Of a sample.
    halves: Option<[Layer; 2]>,
    setups: Arc<[Setup]>,
    counts: Mutex<Vec<DesignCounts>>,
}

impl DesignRuns {
    /// Nothing was run yet.
    pub(super) fn new(layer: Layer, halves: Option<[Layer; 2]>, setups: &Arc<[Setup]>) -> Self {
        let counts = Mutex::new(vec![DesignCounts::default(); setups.len()]);
        Self { layer, halves, setups: Arc::clone(setups), counts }
    }

    /// Runs an input of codes `[C, H, W]` on each design.
    pub(super) fn add(&self, codes: &[i32]) {
        let input = self.layer.over(codes);
        let found: Vec<DesignCounts> =
            self.setups.iter().map(|setup| Design::count(setup, &input, self.halves.as_ref()).fields()).collect();
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
