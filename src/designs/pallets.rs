//! What the windows that are read side by side add up to, step by step and lane by lane.

use std::ops::Range;

use super::grid::Grid;
use super::layer::{BRICK, Bricks, Input};

/// Terms of each lane of some bricks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lanes {
    /// Most of any brick.
    pub most: [u16; BRICK],
    /// All of them.
    pub sum: [u16; BRICK],
}

impl Lanes {
    /// Of `bricks` of `of`.
    pub fn of(of: &Bricks, bricks: impl Iterator<Item = usize>) -> Self {
        bricks.fold(Self::default(), |Self { mut most, mut sum }, brick| {
            for ((most, sum), &terms) in most.iter_mut().zip(&mut sum).zip(&of.terms[brick]) {
                *most = (*most).max(terms.into());
                *sum += u16::from(terms);
            }
            Self { most, sum }
        })
    }
}

/// A step of windows that are read side by side.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Terms of activations.
    pub terms: Lanes,
    /// Width of all activations of the step as one group.
    pub width: u32,
    /// Widths of the bricks, each by itself, added.
    pub widths: u32,
}

/// The steps of one group of channels, for some windows.
#[derive(Debug)]
pub struct Pallet {
    /// How many windows.
    pub windows: usize,
    /// In the order of [`super::layer::Layer::steps`].
    pub steps: Vec<Step>,
}

/// The pallets of each group of channels.
pub fn pallets(grid: &Grid, input: &Input<'_>) -> Vec<Vec<Pallet>> {
    let (layer, activations) = (input.layer, &input.activations);
    let step = |group: usize, windows: &Range<usize>, (tap, block): (usize, usize)| {
        let pixel = |window: usize| layer.places[window * layer.taps + tap] as usize;
        let bricks = windows.clone().map(|window| layer.activation(group, block, pixel(window)));
        Step {
            terms: Lanes::of(activations, bricks.clone()),
            width: activations.width(bricks.clone()),
            widths: bricks.map(|brick| activations.width([brick])).sum(),
        }
    };
    let pallet = |group: usize, windows: Range<usize>| {
        let steps = layer.steps().map(|of| step(group, &windows, of)).collect();
        Pallet { windows: windows.len(), steps }
    };
    (0..layer.groups).map(|group| grid.pallets(layer).map(|windows| pallet(group, windows)).collect()).collect()
}
