//! Time of a layer on a design that cycles are not the only bound of: the longer of its cycles and its traffic.

use super::designs::{LayerReached, Reached};
use crate::measurement::{LayerCounts, Measurement};
use crate::metrics::{Cells, Metric, Options, Subject, Value, Which};
use crate::{Error, Result};

/// What a design stands in.
#[derive(Clone, Debug)]
pub struct Roofline {
    /// Cycles a second.
    pub frequency: f64,
    /// Bits a second between the memory and the design.
    pub bandwidth: f64,
    /// Bits that the design holds: an operand that fits is read once; without, both are.
    pub buffer: Option<u128>,
    /// How operands are coded in memory: a metric `traffic.…`.
    pub scheme: &'static Metric,
}

impl Roofline {
    /// Bits that `layer` moves over all its inputs: of each input its activations and all weights, as often as they are read, and its
    /// outputs once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `file` has no counts of what is moved.
    fn bits(&self, layer: &LayerCounts, options: Options, file: &str) -> Result<u128> {
        let subject = Subject::layer(&layer.tally, &layer.codings, options).with_outputs(layer.output.as_ref());
        let cells = Cells::of(&subject, &[self.scheme], layer.tally.images);
        let [a, w, o] = Which::ALL.map(|which| match cells.get(self.scheme.name, Some(which)) {
            Some(Value::Ratio(fraction)) => Some(fraction.numerator),
            _ => None,
        });
        let (Some(a), Some(w), Some(o)) = (a, w, o) else {
            let detail =
                format!("has no {} of {}; run `deadweight designs` with the same flags", self.scheme.name, layer.name);
            return Err(Error::invalid(file, detail));
        };
        // Each step of a recurrence reads the weights that the design does not hold.
        let is_recurrent = matches!(layer.kind.as_str(), "lstm" | "gru" | "rnn");
        if is_recurrent && self.buffer.is_some_and(|held| w > held) {
            let steps = layer.tally.activations.values.elements / (layer.tally.shape.weight[1] as u64).max(1);
            return Ok(u128::from(steps) * w + a + o);
        }
        let inputs = u128::from(layer.tally.images.max(1));
        Ok(inputs * self.reads(a.div_ceil(inputs), w) + o)
    }

    /// Bits read of an input's activations and of the weights. Where neither fits, the one that makes less is kept part by part, and the
    /// other read once for each part.
    fn reads(&self, a: u128, w: u128) -> u128 {
        match self.buffer {
            Some(held) if a > held && w > held => (a + w * a.div_ceil(held)).min(w + a * w.div_ceil(held)),
            _ => a + w,
        }
    }

    /// Adds to `network` and its `layers`, which are those of `measurement` that designs run, the bits that they move and their seconds.
    ///
    /// # Errors
    /// As [`Self::bits`].
    pub(super) fn add(
        &self,
        measurement: &Measurement,
        options: Options,
        file: &str,
        layers: &mut [LayerReached],
        network: &mut Reached,
    ) -> Result<()> {
        let run = measurement.layers.iter().filter(|layer| !layer.tally.designs.is_empty());
        let (mut all, mut seconds, mut waited) = (0, 0.0, 0.0);
        for (layer, counts) in layers.iter_mut().zip(run) {
            let bits = self.bits(counts, options, file)?;
            let computed = layer.reached.cycles as f64 / self.frequency;
            let moved = bits as f64 / self.bandwidth;
            layer.reached.time(bits, computed.max(moved), f64::from(moved > computed));
            all += bits;
            seconds += computed.max(moved);
            waited += if moved > computed { moved } else { 0.0 };
        }
        network.time(all, seconds, if seconds > 0.0 { waited / seconds } else { 0.0 });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    #[test]
    fn what_fits_is_read_once() {
        let scheme = metrics::find("traffic.dense").unwrap();
        let reads = |buffer, a, w| Roofline { frequency: 1.0, bandwidth: 1.0, buffer, scheme }.reads(a, w);
        assert_eq!(reads(None, 100, 1000), 1100);
        assert_eq!(reads(Some(100), 100, 1000), 1100);
        // Activations in 2 parts: 101 + 2 · 1000; weights in 10: 1000 + 10 · 101.
        assert_eq!(reads(Some(100), 101, 1000), 2010);
        assert_eq!(reads(Some(100), 300, 200), 800);
    }
}
