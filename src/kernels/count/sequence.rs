//! Counts along a sequence: how codes change from step to step (METRICS section 7, `temporal`), in buckets of steps.

use super::code::{CodeMap, Encoder};
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;

/// Sums over the steps that share a bucket ([`Buckets`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepSums {
    /// Steps.
    pub steps: u64,
    /// Values.
    pub values: u64,
    /// Non-zero codes.
    pub nonzero: u64,
    /// Terms of the chosen encoder.
    pub terms: u64,
    /// Values with a predecessor: those of all steps but a sequence's first.
    pub compared: u64,
    /// Of these, codes equal to that of the step before.
    pub equal: u64,
    /// Terms of the differences of the codes; of floating-point types 0, whose significands are not of one scale.
    pub change_terms: u64,
}

impl StepSums {
    /// Adds other steps.
    pub fn merge(&mut self, other: &Self) {
        self.steps += other.steps;
        self.values += other.values;
        self.nonzero += other.nonzero;
        self.terms += other.terms;
        self.compared += other.compared;
        self.equal += other.equal;
        self.change_terms += other.change_terms;
    }
}

/// Which steps of a sequence are counted together: none of the first few, later ones up to the next power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// How many steps have a bucket of their own.
    pub single: u64,
}

impl Default for Buckets {
    /// Steps 0, 1, 2 and 3, 4 to 7, 8 to 15 and so on.
    fn default() -> Self {
        Self { single: 2 }
    }
}

/// Bits of `step`.
fn bits(step: u64) -> usize {
    (u64::BITS - step.leading_zeros()) as usize
}

impl Buckets {
    /// The bucket that `step` is in.
    pub fn of(self, step: u64) -> usize {
        if step < self.single { step as usize } else { self.single as usize + bits(step) - bits(self.single) }
    }

    /// The first step of `bucket`.
    pub fn first(self, bucket: usize) -> u64 {
        if (bucket as u64) < self.single {
            return bucket as u64;
        }
        let power = bucket - self.single as usize + bits(self.single);
        if power == 0 { 0 } else { self.single.max(1 << (power - 1)) }
    }

    /// How many buckets there are.
    pub fn count(self) -> usize {
        self.single as usize + u64::BITS as usize + 1 - bits(self.single)
    }
}

/// The counter of one sequence, which may come in segments.
#[derive(Clone, Debug)]
pub struct Sequence {
    map: CodeMap,
    encoder: Encoder,
    buckets: Buckets,
    /// Codes of the last step (of floating-point types exponents and fractions, with their signs); none before the first.
    last: Vec<i32>,
    /// Steps so far.
    steps: u64,
    /// By bucket.
    sums: Vec<StepSums>,
}

impl Sequence {
    /// A sequence before its first step.
    pub fn new(map: CodeMap, encoder: Encoder, buckets: Buckets) -> Self {
        Self { map, encoder, buckets, last: Vec::new(), steps: 0, sums: Vec::new() }
    }

    /// Starts another sequence; the sums stay.
    pub fn begin(&mut self) {
        self.last.clear();
        self.steps = 0;
    }

    /// Adds the steps of image `image` of `x`, `[C, 1, T]` laid out as `geometry`.
    pub fn add(&mut self, isa: Isa, x: &[f32], geometry: &Geometry, image: usize) {
        isa.run(Pass { sequence: self, x, geometry, image });
    }

    /// Takes the sums, by bucket.
    pub fn take_sums(&mut self) -> Vec<StepSums> {
        std::mem::take(&mut self.sums)
    }

    /// Codes of the last step, and the number of steps so far.
    pub fn state(&self) -> (Vec<i32>, u64) {
        (self.last.clone(), self.steps)
    }

    /// Continues from a state.
    pub fn restore(&mut self, last: Vec<i32>, steps: u64) {
        (self.last, self.steps) = (last, steps);
    }
}

struct Pass<'a> {
    sequence: &'a mut Sequence,
    x: &'a [f32],
    geometry: &'a Geometry,
    image: usize,
}

impl Kernel for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        match self.sequence.map.float {
            Some(_) => self.steps_as::<true>(),
            None => self.steps_as::<false>(),
        }
    }
}

/// The code of `x`; of floating-point types exponent and fraction, with the sign.
#[inline(always)]
fn code<const FLOAT: bool>(map: CodeMap, x: f32) -> i32 {
    match map.float {
        Some(of) if FLOAT => of.pattern(x * map.scale),
        _ => map.code_as::<FLOAT>(x).0,
    }
}

/// What of a [`code`] has terms.
#[inline(always)]
fn magnitude<const FLOAT: bool>(map: CodeMap, code: i32) -> u32 {
    match map.float {
        Some(of) if FLOAT => of.significand_of(code),
        _ => code.unsigned_abs(),
    }
}

impl Pass<'_> {
    /// `FLOAT` says whether the map has a floating-point type.
    #[inline(always)]
    fn steps_as<const FLOAT: bool>(self) {
        match self.sequence.encoder {
            Encoder::Naf => self.steps::<FLOAT>(|m| Encoder::Naf.terms_of_change(m)),
            Encoder::Popcount => self.steps::<FLOAT>(|m| Encoder::Popcount.terms_of_change(m)),
            Encoder::Booth4 => self.steps::<FLOAT>(|m| Encoder::Booth4.terms_of_change(m)),
            Encoder::Runs => self.steps::<FLOAT>(|m| Encoder::Runs.terms_of_change(m)),
        }
    }

    #[inline(always)]
    fn steps<const FLOAT: bool>(self, terms: impl Fn(u32) -> u32) {
        let Self { sequence: Sequence { map, buckets, last, steps, sums, .. }, x, geometry, image } = self;
        let map = *map;
        let channels = geometry.c;
        let mut codes = vec![0; channels];
        for column in 0..geometry.w {
            if geometry.lanes == LANES {
                for (block, codes) in codes.chunks_mut(LANES).enumerate() {
                    let values = &x[geometry.at(image, block, 0, column)..][..LANES];
                    codes.iter_mut().zip(values).for_each(|(to, &value)| *to = code::<FLOAT>(map, value));
                }
            } else {
                codes
                    .iter_mut()
                    .enumerate()
                    .for_each(|(c, to)| *to = code::<FLOAT>(map, x[geometry.index(image, c, 0, column)]));
            }
            let bucket = buckets.of(*steps);
            if sums.len() <= bucket {
                sums.resize(bucket + 1, StepSums::default());
            }
            let sum = &mut sums[bucket];
            let (mut nonzero, mut all) = (0u32, 0u32);
            for &code in &codes {
                nonzero += u32::from(code != 0);
                all += terms(magnitude::<FLOAT>(map, code));
            }
            sum.steps += 1;
            sum.values += channels as u64;
            sum.nonzero += u64::from(nonzero);
            sum.terms += u64::from(all);
            if last.is_empty() {
                last.resize(channels, 0);
            } else {
                let (mut equal, mut change) = (0u32, 0u32);
                for (&code, &before) in codes.iter().zip(&*last) {
                    equal += u32::from(code == before);
                    change += if FLOAT { 0 } else { terms(code.abs_diff(before)) };
                }
                sum.compared += channels as u64;
                sum.equal += u64::from(equal);
                sum.change_terms += u64::from(change);
            }
            last.copy_from_slice(&codes);
            *steps += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::FLOAT_TYPES;

    #[test]
    fn buckets_double() {
        let of = |single: u64| Buckets { single };
        assert_eq!([0, 1, 2, 3, 4, 7, 8, 1000].map(|step| of(2).of(step)), [0, 1, 2, 2, 3, 3, 4, 10]);
        assert_eq!([0, 4, 5, 7, 8, 15, 16].map(|step| of(5).of(step)), [0, 4, 5, 5, 6, 6, 7]);
        for single in [0, 1, 2, 3, 4, 5, 64, 1000] {
            let buckets = of(single);
            for bucket in 0..buckets.count() {
                let first = buckets.first(bucket);
                assert!(
                    buckets.of(first) == bucket && (bucket == 0 || buckets.of(first - 1) == bucket - 1),
                    "{single}"
                );
            }
            assert_eq!(buckets.of(u64::MAX), buckets.count() - 1);
        }
    }

    #[test]
    fn differences_have_the_terms_of_their_definition() {
        for m in 0..1u32 << 15 {
            for encoder in Encoder::ALL {
                assert_eq!(encoder.terms_of_change(m), u32::from(encoder.terms(m as u16)), "{m}");
            }
        }
        // The largest: 65534 is 2^16 - 2.
        assert_eq!(Encoder::ALL.map(|encoder| encoder.terms_of_change(65534)), [2, 15, 2, 2]);
    }

    proptest! {
        #[test]
        fn segments_add_up_to_the_whole(channels in 1usize..40, steps in 1usize..40, cut in 0usize..40, planar: bool, single in 0u64..8, float in prop::option::of(prop::sample::select(FLOAT_TYPES.to_vec())), seed in any::<u32>()) {
            let map = float.map_or(CodeMap::linear(3.0, -7, 7), |of| CodeMap::float(0.3, of));
            let value = |i: usize| ((i as u32 ^ seed).wrapping_mul(2_654_435_761) >> 28) as f32 / 3.0 - 2.0;
            let all: Vec<Vec<f32>> = (0..steps).map(|t| (0..channels).map(|c| value(t * channels + c)).collect()).collect();
            let mut sequence = Sequence::new(map, Encoder::Naf, Buckets { single });
            let cut = cut % (steps + 1);
            for part in [&all[..cut], &all[cut..]] {
                if part.is_empty() {
                    continue;
                }
                let make = if planar { Geometry::planar } else { Geometry::blocked };
                let geometry = make(1, channels, 1, part.len());
                let mut x = vec![0.0; geometry.len()];
                for (t, step) in part.iter().enumerate() {
                    step.iter().enumerate().for_each(|(c, &v)| x[geometry.index(0, c, 0, t)] = v);
                }
                sequence.add(Isa::best(), &x, &geometry, 0);
            }
            // By the definition, step by step.
            let mut want: Vec<StepSums> = vec![];
            for t in 0..steps {
                let mut sum = StepSums { steps: 1, ..StepSums::default() };
                for c in 0..channels {
                    let code = map.code(all[t][c]);
                    sum.values += 1;
                    sum.nonzero += u64::from(code != 0);
                    sum.terms += u64::from(Encoder::Naf.terms(code.unsigned_abs() as u16));
                    if t > 0 {
                        let before = map.code(all[t - 1][c]);
                        sum.compared += 1;
                        // Floats of one significand may have other exponents, and no difference of integers.
                        let fields = |x: f32| map.float.map(|of| of.fields(x * map.scale));
                        sum.equal += u64::from(code == before && fields(all[t][c]) == fields(all[t - 1][c]));
                        if map.float.is_some() {
                            continue;
                        }
                        sum.change_terms += u64::from(Encoder::Naf.terms((code - before).unsigned_abs() as u16));
                    }
                }
                let bucket = Buckets { single }.of(t as u64);
                want.resize(want.len().max(bucket + 1), StepSums::default());
                want[bucket].merge(&sum);
            }
            prop_assert_eq!(&sequence.take_sums(), &want[..]);
        }
    }
}
