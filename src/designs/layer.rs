//! A layer as designs see it: windows and filters, whose products are walked tap by tap in bricks of 16 channels.

use std::sync::Arc;

use super::terms::Terms;
use crate::tally::LayerShape;

/// Values of a brick: consecutive channels at one place.
pub const BRICK: usize = 16;

/// Bricks of codes, and what most designs ask of them.
#[derive(Debug, Default)]
pub struct Bricks {
    /// The codes, of activations; 0 where a brick is not full.
    pub codes: Vec<[i32; BRICK]>,
    /// Terms of each.
    pub terms: Vec<[u8; BRICK]>,
    /// Bit i: code i is not 0.
    pub nonzero: Vec<u16>,
    /// All magnitudes of a brick, or-ed; above 16 bits, whether any code is negative.
    bits: Vec<u32>,
}

/// In [`Bricks::bits`], that a code is negative.
const NEGATIVE: u32 = 1 << 31;

impl Bricks {
    fn new(codes: Vec<[i32; BRICK]>, terms: &Terms) -> Self {
        let of = |brick: &[i32; BRICK]| {
            let all = brick.iter().fold(0, |all, code| all | code.unsigned_abs());
            all | if brick.iter().any(|&code| code < 0) { NEGATIVE } else { 0 }
        };
        let mask = |brick: &[i32; BRICK]| (0..BRICK).fold(0, |mask, lane| mask | u16::from(brick[lane] != 0) << lane);
        Self {
            terms: codes.iter().map(|brick| brick.map(|code| terms.count(code))).collect(),
            nonzero: codes.iter().map(mask).collect(),
            bits: codes.iter().map(of).collect(),
            codes,
        }
    }

    /// Width of all codes of `bricks` taken as one group (METRICS section 3).
    pub fn width(&self, bricks: impl IntoIterator<Item = usize>) -> u32 {
        let all = bricks.into_iter().fold(0, |all, brick| all | self.bits[brick]);
        u32::BITS - (all & !NEGATIVE).leading_zeros() + u32::from(all & NEGATIVE != 0)
    }

    /// Bit columns of sign and magnitude in which any code of the brick has a one.
    pub fn columns(&self, brick: usize) -> u32 {
        self.bits[brick].count_ones()
    }
}

/// A layer with its weights.
#[derive(Debug)]
pub struct Layer {
    /// Its extents; of a transposed convolution those of the product that it is: each pixel by all filters at all taps.
    pub shape: LayerShape,
    /// Groups of channels.
    pub groups: usize,
    /// Filters of a group.
    pub filters: usize,
    /// Channels of a group.
    pub channels: usize,
    /// Taps of a filter.
    pub taps: usize,
    /// Windows of an input.
    pub windows: usize,
    /// Pixels of an input.
    pub pixels: usize,
    /// Bricks of a group's channels at one place.
    pub blocks: usize,
    /// Whether a window needs the outputs of the one before it.
    pub is_serial: bool,
    /// Whether it has one window at a time: a step of a recurrence, or the only one.
    pub is_one_by_one: bool,
    /// Bits of a word of activations and of weights.
    pub words: [u32; 2],
    /// `[windows][taps]`: the pixel, or [`Self::pixels`] outside the input.
    pub places: Vec<u32>,
    /// `[groups·filters][blocks][taps]`.
    pub weights: Arc<Bricks>,
    /// What codes are recoded to.
    pub terms: Arc<Terms>,
}

/// A layer and one input.
#[derive(Debug)]
pub struct Input<'a> {
    /// The layer.
    pub layer: &'a Layer,
    /// `[groups·blocks][pixels + 1]`, of which the last lies outside the input.
    pub activations: Arc<Bricks>,
}

impl Layer {
    /// A layer of extents `shape` and weights of codes `weights`, `[K, C/groups, R, S]`.
    ///
    /// # Panics
    /// If there is not one weight for each place.
    pub fn new(shape: &LayerShape, weights: &[i32], words: [u32; 2], terms: &Arc<Terms>, is_serial: bool) -> Self {
        let [out, inner, r, s] = shape.weight;
        let [_, h, w] = shape.input;
        let groups = if shape.features { 1 } else { shape.groups };
        assert_eq!(weights.len(), out * inner * r * s, "a weight for each place");
        // A pixel of a transposed convolution meets every filter at every tap.
        let (filters, taps, scattered) = match shape.transposed {
            true => (out / groups * r * s, 1, r * s),
            false => (out / groups, r * s, 1),
        };
        let pixels = if shape.features && !shape.is_stepwise() { 1 } else { h * w };
        let blocks = inner.div_ceil(BRICK);
        let mut codes = vec![[0; BRICK]; groups * filters * blocks * taps];
        for (i, &code) in weights.iter().enumerate() {
            let (place, channel, k) = (i % (r * s), i / (r * s) % inner, i / (r * s * inner));
            let (filter, tap) = (k * scattered + place % scattered, if scattered > 1 { 0 } else { place });
            codes[(filter * blocks + channel / BRICK) * taps + tap][channel % BRICK] = code;
        }
        let (windows, places) = match shape.features || shape.transposed {
            true => (pixels, (0..pixels as u32).collect()),
            false => (shape.output[1] * shape.output[2], places(shape)),
        };
        // Filters are not asked for their codes again.
        let weights = Arc::new(Bricks { codes: Vec::new(), ..Bricks::new(codes, terms) });
        let (shape, terms, channels) = (shape.clone(), Arc::clone(terms), inner);
        Self {
            shape,
            groups,
            filters,
            channels,
            taps,
            windows,
            pixels,
            blocks,
            is_serial,
            is_one_by_one: is_serial || windows == 1,
            words,
            places,
            weights,
            terms,
        }
    }

    /// The same over some of the windows.
    pub fn of_windows(&self, windows: impl Iterator<Item = usize>) -> Self {
        let places: Vec<u32> =
            windows.flat_map(|window| &self.places[window * self.taps..][..self.taps]).copied().collect();
        let (shape, weights, terms) = (self.shape.clone(), Arc::clone(&self.weights), Arc::clone(&self.terms));
        Self { windows: places.len() / self.taps, places, shape, weights, terms, ..*self }
    }

    /// Over one input of codes `activations`, `[C, H, W]`.
    ///
    /// # Panics
    /// If it is an input of other extents.
    pub fn over(&self, activations: &[i32]) -> Input<'_> {
        let [c, h, w] = self.shape.input;
        assert_eq!(activations.len(), c * h * w, "an activation for each place");
        let mut codes = vec![[0; BRICK]; self.groups * self.blocks * (self.pixels + 1)];
        for (i, &code) in activations.iter().enumerate() {
            // Features of pixels in the order of the weights.
            let (channel, pixel) = match self.pixels == 1 && self.shape.features {
                true if self.shape.channels_last => (i % (h * w) * c + i / (h * w), 0),
                true => (i, 0),
                false => (i / self.pixels, i % self.pixels),
            };
            let (group, channel) = (channel / self.channels, channel % self.channels);
            codes[self.activation(group, channel / BRICK, pixel)][channel % BRICK] = code;
        }
        Input { layer: self, activations: Arc::new(Bricks::new(codes, &self.terms)) }
    }

    /// Where the brick of activations is.
    pub fn activation(&self, group: usize, block: usize, pixel: usize) -> usize {
        (group * self.blocks + block) * (self.pixels + 1) + pixel
    }

    /// Where the brick of weights of filter `filter` of all is.
    pub fn weight(&self, filter: usize, block: usize, tap: usize) -> usize {
        (filter * self.blocks + block) * self.taps + tap
    }

    /// Channels of the brick.
    pub fn lanes(&self, block: usize) -> usize {
        (self.channels - block * BRICK).min(BRICK)
    }

    /// The bricks of a window in the order in which they are read: `(tap, block)`.
    pub fn steps(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let blocks = self.blocks;
        (0..self.taps).flat_map(move |tap| (0..blocks).map(move |block| (tap, block)))
    }

    /// MACs of an input, those outside it among them.
    pub fn macs(&self) -> u64 {
        [self.groups, self.filters, self.channels, self.taps, self.windows].iter().map(|&n| n as u64).product()
    }
}

/// The pixel of each window at each tap.
fn places(shape: &LayerShape) -> Vec<u32> {
    let ([_, h, w], [_, p, q], [_, _, r, s]) = (shape.input, shape.output, shape.weight);
    let at = |axis: usize, out: usize, tap: usize, size: usize| {
        (out * shape.stride[axis] + tap * shape.dilation[axis])
            .checked_sub(shape.padding[2 * axis])
            .filter(|&at| at < size)
    };
    let mut places = Vec::with_capacity(p * q * r * s);
    for (row, column) in (0..p).flat_map(|row| (0..q).map(move |column| (row, column))) {
        for (tap_row, tap_column) in (0..r).flat_map(|row| (0..s).map(move |column| (row, column))) {
            let pixel = at(0, row, tap_row, h).zip(at(1, column, tap_column, w)).map(|(y, x)| y * w + x);
            places.push(pixel.unwrap_or(h * w) as u32);
        }
    }
    places
}
