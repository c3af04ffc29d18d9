//! Counts of activations: for each tap, sums over the windows. They do not depend on the size of the image.

use super::{ExtraSums, LayerShape};
use crate::kernels::count::{Detail, GroupSums, LANE_SUMS, NONZERO, Sums, ValueSums};

/// Counts of one layer's activations over some inputs, of any sizes.
///
/// Every metric is a sum over taps, so sums of images of different sizes add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivationSums {
    /// Channels (features, for a fully connected layer).
    pub channels: usize,
    /// Windows.
    pub windows: u64,
    /// `[R][S]`: windows whose tap lies inside the tensor.
    pub inside: Vec<u64>,
    /// `[channel][R][S]`: sums over the windows of what the tap reads.
    pub taps: Vec<[u64; LANE_SUMS]>,
    /// `[block of channels][R][S]`: sums over the windows of the groups that the tap reads.
    pub groups: Vec<GroupSums>,
    /// Non-zero codes of each channel.
    pub channel_nonzeros: Vec<u64>,
    /// The values, wherever they stand.
    pub values: ValueSums,
    /// On-demand counts.
    pub extra: ExtraSums,
}

impl ActivationSums {
    /// Empty sums, with room for counts of `codes` codes.
    pub fn new(shape: &LayerShape, codes: usize) -> Self {
        let (channels, taps) = (shape.channels(), shape.taps());
        Self {
            channels,
            windows: 0,
            inside: vec![0; taps],
            taps: vec![[0; LANE_SUMS]; channels * taps],
            groups: vec![GroupSums::default(); channels.div_ceil(16) * taps],
            channel_nonzeros: vec![0; channels],
            values: ValueSums::new(codes),
            extra: ExtraSums::default(),
        }
    }

    /// Makes room for what `detail` counts of `codes` codes, if there is none.
    pub fn room_for(&mut self, detail: Detail, codes: usize) {
        match detail {
            Detail::Values => {}
            Detail::Terms(_) => _ = self.values.totals.get_or_insert_default(),
            // Zeroed pages that the system has not given yet: most codes are never seen.
            Detail::Codes(_) if self.values.codes.is_empty() => self.values.codes = vec![0; codes],
            Detail::Codes(_) => {}
        }
    }

    /// Adds the sums of one pass over the activations of `images` images, in a layer of extents `shape`.
    ///
    /// # Panics
    /// If the sums are of another layer.
    pub fn add(&mut self, shape: &LayerShape, images: u64, sums: &Sums) {
        assert_eq!((self.channels, self.inside.len()), (sums.channels, shape.taps()), "sums of one layer");
        self.windows += images * shape.windows() as u64;
        let columns = shape.weight[3];
        for tap in 0..shape.taps() {
            let place = (tap / columns, tap % columns);
            self.inside[tap] += images * sums.classes[0].visits[place.0] * sums.classes[1].visits[place.1];
            for c in 0..self.channels {
                let to = &mut self.taps[c * self.inside.len() + tap];
                to.iter_mut().enumerate().for_each(|(which, to)| *to += sums.tap(which, c, place));
            }
            for block in 0..self.channels.div_ceil(16) {
                self.groups[block * self.inside.len() + tap].add(&sums.tap_groups(block, place));
            }
        }
        let nonzeros = (0..self.channels).map(|c| sums.channel(NONZERO, c));
        self.channel_nonzeros.iter_mut().zip(nonzeros).for_each(|(to, count)| *to += count);
        self.values.merge(&sums.values);
    }

    /// Adds the counts of other inputs.
    ///
    /// # Panics
    /// If the two are of different layers.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!((self.channels, self.inside.len()), (other.channels, other.inside.len()), "sums of one layer");
        let add = |to: &mut [u64], from: &[u64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        self.windows += other.windows;
        add(&mut self.inside, &other.inside);
        self.taps.iter_mut().zip(&other.taps).for_each(|(to, from)| add(to, from));
        self.groups.iter_mut().zip(&other.groups).for_each(|(to, from)| to.add(from));
        add(&mut self.channel_nonzeros, &other.channel_nonzeros);
        self.values.merge(&other.values);
        self.extra.merge(&other.extra);
    }
}
