//! Finite hardware: what designs of the literature reach on the operands of a run, beside what their idea is worth at best.
//!
//! A design is a file here and a name in [`ALL`]. It is shown each layer over each input once and gives [`Counts`], which add over inputs.

pub mod bit_fusion;
pub mod bit_wave;
pub mod cnvlutin;
pub mod config;
pub mod dense;
pub mod grid;
pub mod laconic;
pub mod layer;
pub mod loom;
pub mod pallets;
pub mod pragmatic;
pub mod sample;
pub mod scnn;
pub mod shapeshifter;
pub mod stripes;
pub mod systolic;
pub mod tactical;
pub mod tensor_core;
pub mod terms;

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::tally::DesignCounts;

pub use self::config::Setup;
pub use self::layer::{Input, Layer};
pub use self::sample::Sample;

/// A number that a design is built with.
#[derive(Debug)]
pub struct Parameter {
    /// Its name in a file of parameters.
    pub name: &'static str,
    /// What was published.
    pub default: usize,
    /// What can be built.
    pub range: RangeInclusive<usize>,
    /// What it is, with its unit.
    pub meaning: &'static str,
}

/// What one layer costs on a design, summed over inputs. All but the cycles are in lane-cycles: one lane for one cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cycles.
    pub cycles: u64,
    /// What the idea leaves to do if every lane were always busy: the ideal.
    pub work: u64,
    /// Lanes that take a cycle for operands that need none.
    pub floor: u64,
    /// Lanes that have no operand, as the layer does not fill the design.
    pub shape: u64,
    /// Of a sample of windows, the cycles by its first half alone; of all windows the cycles.
    pub first_half: u64,
}

impl Counts {
    /// As they are kept.
    pub fn fields(self) -> DesignCounts {
        [self.cycles, self.work, self.floor, self.shape, self.first_half]
    }

    /// As they were kept.
    pub fn of_fields([cycles, work, floor, shape, first_half]: DesignCounts) -> Self {
        Self { cycles, work, floor, shape, first_half }
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.cycles += other.cycles;
        self.work += other.work;
        self.floor += other.floor;
        self.shape += other.shape;
        self.first_half += other.first_half;
    }

    /// Lane-cycles in which lanes wait for the slowest of them, of `lanes` lanes: what no other name takes.
    pub fn imbalance(&self, lanes: u64) -> u64 {
        (self.cycles * lanes).saturating_sub(self.work + self.floor + self.shape)
    }
}

/// A design.
#[derive(Debug)]
pub struct Design {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it skips or shortens.
    pub definition: &'static str,
    /// Which lanes wait for which.
    pub waits: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// The potential of METRICS section 5 whose work it does, if there is one.
    pub potential: Option<&'static str>,
    /// What it is built with.
    pub parameters: &'static [Parameter],
    /// Its lanes.
    pub lanes: fn(&Setup) -> usize,
    /// Bit products of a lane in a cycle, of words of `[activation, weight]` bits.
    pub bits: fn([u32; 2]) -> u32,
    /// Runs one layer over one input; [`Self::count`] is what others call.
    pub run: fn(&Setup, &Input<'_>) -> Counts,
    /// Whether it runs windows one after another, so that some stand for all.
    pub is_of_windows: bool,
    /// Cycles and work of what was counted as one, where they depend on the precisions `[activation, weight]` that the layer needs over
    /// all inputs.
    pub precisions: Option<fn([u32; 2]) -> [u64; 2]>,
}

/// All designs, in the order in which they are shown.
pub static ALL: [&Design; 15] = [
    &dense::DENSE,
    &cnvlutin::CNVLUTIN,
    &scnn::SCNN,
    &stripes::STRIPES,
    &shapeshifter::SHAPESHIFTER,
    &loom::LOOM,
    &bit_fusion::BIT_FUSION,
    &pragmatic::PRAGMATIC,
    &laconic::LACONIC,
    &tactical::TACTICAL_P,
    &tactical::TACTICAL_E,
    &bit_wave::BIT_WAVE,
    &tensor_core::TENSOR_CORE,
    &systolic::SYSTOLIC,
    &systolic::SYSTOLIC_GATED,
];

impl Design {
    /// The design of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|design| design.name == name)
    }

    /// Runs one layer over one input: all windows, or those of two halves of a sample, which stand for all.
    pub fn count(setup: &Setup, input: &Input<'_>, halves: Option<&[Layer; 2]>) -> Counts {
        let run =
            |layer: &Layer| (setup.design.run)(setup, &Input { layer, activations: Arc::clone(&input.activations) });
        let Some(halves) = halves.filter(|_| setup.design.is_of_windows) else {
            let counts = run(input.layer);
            return Counts { first_half: counts.cycles, ..counts };
        };
        let estimate = |half: &Layer| {
            let scaled = |count: u64| (u128::from(count) * input.layer.windows as u128 / half.windows as u128) as u64;
            run(half).fields().map(scaled)
        };
        let [first, second] = halves.each_ref().map(estimate);
        let both = std::array::from_fn(|i| (first[i] + second[i]) / 2);
        Counts { first_half: first[0], ..Counts::of_fields(both) }
    }

    /// What it is, whence, and what it is built with.
    pub fn explanation(&self) -> String {
        let Self { name, definition, waits, source, .. } = self;
        let idea = self.potential.map(|name| format!(" (potential {name})")).unwrap_or_default();
        let mut text = format!("{name}: {definition}{idea}\n    waits         {waits}\n    source        {source}\n");
        for Parameter { name, default, range, meaning } in self.parameters {
            text += &format!("    {name:<13} {default:>4}  {meaning} ({} to {})\n", range.start(), range.end());
        }
        text
    }

    /// The counts once the precisions `[activation, weight]` of the layer over all inputs are known.
    pub fn settled(&self, counts: Counts, precisions: [u32; 2]) -> Counts {
        let Some(of) = self.precisions else { return counts };
        let [cycles, work] = of(precisions);
        let Counts { cycles: steps, work: operands, floor, shape, first_half } = counts;
        // Lanes that take a cycle for operands of no bits.
        let floor = if work == 0 { operands * cycles } else { floor * cycles };
        let [steps, shape, first_half] = [steps, shape, first_half].map(|count| count * cycles);
        Counts { cycles: steps, work: operands * work, floor, shape, first_half }
    }
}
