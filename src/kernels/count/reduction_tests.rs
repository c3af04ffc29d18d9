//! Lines against the definition, value by value, on every level.

use proptest::prelude::*;

use super::super::code::{bits, width};
use super::super::sums::{GROUP_SIZES, Totals};
use super::*;
use crate::kernels::FLOAT_TYPES;

/// Lines of one problem: what stands where, in lines of `length` positions.
#[derive(Clone, Debug)]
struct Problem {
    coding: LineCoding,
    length: usize,
    /// The positions that each line has.
    at: Vec<Range<usize>>,
    ends: Vec<usize>,
    zeros: u32,
    seed: u32,
}

fn problems() -> impl Strategy<Value = Problem> {
    let maps = prop_oneof![
        Just(CodeMap::linear(30_000.0, -32_767, 32_767)),
        Just(CodeMap::linear(100.0, -127, 127)),
        Just(CodeMap::linear(200.0, 0, 255)),
        Just(CodeMap::linear(3.0, -1, 3)),
        prop::sample::select(FLOAT_TYPES.to_vec()).prop_map(|of| CodeMap::float(0.3, of)),
    ];
    let encoder = prop_oneof![Just(None), prop::sample::select(Encoder::ALL.to_vec()).prop_map(Some)];
    let lines = prop::collection::vec((0usize..300, 0usize..300, prop::bool::weighted(0.2)), 1..40);
    (maps, encoder, 1usize..300, lines, 1usize..40, 0u32..5, any::<u32>()).prop_map(
        |(map, encoder, length, lines, each, zeros, seed)| {
            let at = |(start, end, whole): (usize, usize, bool)| match whole {
                true => 0..length,
                false => (start % length).min(end % (length + 1))..end % (length + 1),
            };
            let at: Vec<_> = lines.into_iter().map(at).collect();
            let ends = (1..=at.len()).filter(|end| end.is_multiple_of(each) || *end == at.len()).collect();
            Problem { coding: LineCoding { map, encoder }, length, at, ends, zeros, seed }
        },
    )
}

impl Problem {
    fn value(&self, line: usize, position: usize) -> f32 {
        let mixed = ((line * self.length + position) as u32 ^ self.seed).wrapping_mul(2_654_435_761) >> 8;
        if mixed % 5 < self.zeros { 0.0 } else { (mixed & 0xffff) as f32 / 32768.0 - 1.0 }
    }

    /// Everything that is counted, with `stride` floats between sixteen positions.
    fn count(&self, isa: Isa, stride: usize) -> (ValueSums, Vec<u64>, Vec<PositionSums>, Vec<u64>) {
        let lines: Vec<Vec<f32>> = (0..self.at.len())
            .map(|line| {
                let mut x = vec![f32::NAN; self.length.div_ceil(LANES) * stride];
                (0..self.length).for_each(|at| x[at / LANES * stride + at % LANES] = self.value(line, at));
                x
            })
            .collect();
        // Where positions follow one another, lines start at the first that they have.
        let line = |(x, at): (&'_ [f32], &Range<usize>)| {
            let first = if stride == LANES { at.start } else { at.start / LANES * stride + at.start % LANES };
            (first, at.clone(), x.len())
        };
        let lines: Vec<Line<'_>> = lines
            .iter()
            .zip(&self.at)
            .map(|(x, at)| {
                let (first, at, _) = line((x, at));
                Line { x: &x[first..], at }
            })
            .collect();
        let blocks = self.length.div_ceil(LANES);
        let (mut values, mut codes) = (ValueSums::new(0).with_totals(true), LineCodes::default());
        let mut positions = vec![PositionSums::default(); self.ends.len() * blocks];
        let mut nonzeros = vec![0; lines.len()];
        let (to, nonzeros_of) = (&mut positions[..], &mut nonzeros[..]);
        let mut to = Counted { values: &mut values, codes: Some(&mut codes), positions: to, nonzeros: nonzeros_of };
        assert!(count_lines(isa, self.coding, (&lines, stride), &self.ends, &mut to));
        (values, codes.take(self.coding.map), positions, nonzeros)
    }

    /// The same by the definition.
    fn by_definition(&self) -> (ValueSums, Vec<u64>, Vec<PositionSums>, Vec<u64>) {
        let LineCoding { map, encoder } = self.coding;
        let blocks = self.length.div_ceil(LANES);
        let (mut values, mut codes) = (ValueSums::new(0), vec![0; map.codes()]);
        let mut positions = vec![PositionSums::default(); self.ends.len() * blocks];
        let mut nonzeros = vec![0; self.at.len()];
        let is_float = map.float.is_some();
        let group_width = |line: usize, at: Range<usize>| -> u64 {
            let codes: Vec<i32> = at.map(|at| map.code(self.value(line, at))).collect();
            let most = codes.iter().map(|code| code.unsigned_abs()).max().unwrap_or(0);
            u64::from(bits(most as u16)) + u64::from(!is_float && codes.iter().any(|code| *code < 0))
        };
        for (line, at) in self.at.iter().enumerate() {
            let segment = self.ends.iter().position(|end| line < *end).unwrap();
            for (which, size) in GROUP_SIZES.into_iter().enumerate() {
                for group in 0..self.length.div_ceil(size) {
                    let own = at.start.max(group * size)..at.end.min((group + 1) * size);
                    if own.is_empty() {
                        continue;
                    }
                    let width = group_width(line, own.clone());
                    values.group_widths[which][width as usize] += 1;
                    for at in own {
                        let to = &mut positions[segment * blocks + at / LANES];
                        to.groups.width[which] += width;
                        to.groups.zero[which] += u64::from(width == 0);
                        if which == 0 {
                            let code = map.code(self.value(line, at));
                            to.g16[at % LANES] += width as u32;
                            to.g16_zero[at % LANES] += u32::from(width == 0);
                            to.nonzero_g16[at % LANES] += if code == 0 { 0 } else { width as u32 };
                        }
                    }
                }
            }
            for at in at.clone() {
                let (x, to) = (self.value(line, at), &mut positions[segment * blocks + at / LANES]);
                let code = map.code(x);
                let magnitude = code.unsigned_abs() as u16;
                to.seen[at % LANES] += 1;
                to.nonzero[at % LANES] += u32::from(code != 0);
                to.width[at % LANES] += u32::from(if is_float { bits(magnitude) } else { width(code) });
                to.terms[at % LANES] += encoder.map_or(0, |encoder| u32::from(encoder.terms(magnitude)));
                nonzeros[line] += u64::from(code != 0);
                codes[(code - map.lo) as usize] += 1;
                values.elements += 1;
                values.natural_zeros += u64::from(x == 0.0);
                values.saturated += u64::from(map.code_as::<true>(x).1);
                for (to, found) in [(&mut values.extremes, key(x)), (&mut values.code_extremes, code)] {
                    *to = [to[0].min(found), to[1].max(found)];
                }
            }
        }
        let all =
            self.at.iter().enumerate().flat_map(|(line, at)| at.clone().map(move |at| map.code(self.value(line, at))));
        let totals = Totals::of(all, map, encoder.unwrap_or_default());
        values.totals = Some(Totals { terms: encoder.map_or(0, |_| totals.terms), ..totals });
        (values, codes, positions, nonzeros)
    }
}

proptest! {
    #[test]
    fn lines_count_what_the_definition_counts_on_every_level(problem in problems()) {
        let want = problem.by_definition();
        for isa in Isa::available() {
            prop_assert_eq!(&problem.count(isa, LANES), &want, "{}", isa.name());
        }
    }

    #[test]
    fn lines_may_lie_apart(problem in problems(), apart in 1usize..4) {
        let mut problem = problem;
        problem.at.iter_mut().for_each(|at| at.start = at.start / LANES * LANES);
        let want = problem.by_definition();
        prop_assert_eq!(problem.count(Isa::best(), (1 + apart) * LANES), want);
    }
}

#[test]
fn what_is_not_finite_is_found() {
    let coding = LineCoding { map: CodeMap::linear(1.0, -127, 127), encoder: Some(Encoder::Naf) };
    for (isa, bad) in Isa::available()
        .into_iter()
        .flat_map(|isa| [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|x| (isa, x)))
    {
        let is_finite = |x: &[f32]| {
            let (mut values, mut positions) = (ValueSums::new(0), [PositionSums::default(); 2]);
            let to = &mut Counted { values: &mut values, codes: None, positions: &mut positions, nonzeros: &mut [0] };
            count_lines(isa, coding, (&[Line { x, at: 0..x.len() }], LANES), &[1], to)
        };
        let mut x = [1.0; 20];
        assert!(is_finite(&x));
        for at in [0, 17] {
            x[at] = bad;
            assert!(!is_finite(&x), "{} {bad}", isa.name());
            x[at] = 1.0;
        }
    }
}
