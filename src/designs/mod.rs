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
pub use self::sample::{Parts, Sample};

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
    pub fn imbalance(&self, lanes: u64) -> u128 {
        let named = [self.work, self.floor, self.shape].map(u128::from).iter().sum();
        (u128::from(self.cycles) * u128::from(lanes)).saturating_sub(named)
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
    /// Windows of a layer that it reads side by side, of which some may stand for all; none where its time depends on no activation.
    pub windows: Option<fn(&Setup, &Layer) -> usize>,
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

    /// Runs one layer over one input: all windows, or the parts of a sample, which stand for all.
    pub fn count(setup: &Setup, input: &Input<'_>, parts: Option<&Parts>) -> Counts {
        let run =
            |layer: &Layer| (setup.design.run)(setup, &Input { layer, activations: Arc::clone(&input.activations) });
        match parts {
            Some(parts) => parts.estimate(run),
            None => {
                let counts = run(input.layer);
                Counts { first_half: counts.cycles, ..counts }
            }
        }
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
        let floor = if work == 0 { operands } else { floor }.saturating_mul(cycles);
        let [steps, shape, first_half] = [steps, shape, first_half].map(|count| count.saturating_mul(cycles));
        Counts { cycles: steps, work: operands.saturating_mul(work), floor, shape, first_half }
    }
}
