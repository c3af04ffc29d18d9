//! Counts of attention against a loop over all MACs, and those of decoding against those of the whole sequence.

use proptest::prelude::*;

use super::*;
use crate::kernels::attention::{KvCache, Mask, Operands, Probabilities, attention};
use crate::kernels::{Exec, Geometry, Isa, Pool};

/// One problem.
#[derive(Clone, Debug)]
struct Problem {
    spec: AttentionSpec,
    keys: usize,
    zeros: u32,
    seed: u32,
}

fn problems() -> impl Strategy<Value = Problem> {
    let extents = (1usize..3, 1usize..3, 1usize..40, 1usize..20, 1usize..40);
    let mask = (any::<bool>(), prop::option::of(1usize..24));
    (extents, mask, any::<bool>(), 0u32..4, any::<u32>()).prop_map(
        |((kv_heads, group, inner, outer, keys), (causal, window), has_terms, zeros, seed)| {
            let mask = Mask { causal, window };
            let scale = 4.0 / (inner as f32).sqrt();
            let attention = AttentionShape { heads: kv_heads * group, kv_heads, inner, outer, scale, mask };
            let maps = [
                CodeMap::linear(100.0, -127, 127),
                CodeMap::linear(30_000.0, -32_767, 32_767),
                CodeMap::linear(255.0, 0, 255),
                CodeMap::linear(90.0, -127, 127),
            ];
            let (isa, keeps_codes) = (Isa::best(), [has_terms, true]);
            let spec =
                AttentionSpec { attention, maps, encoder: Encoder::Naf, isa, has_terms, keeps_codes, has_shares: true };
            Problem { spec, keys, zeros, seed }
        },
    )
}

/// A row of probabilities with its place: head, query, first key.
type Row = (usize, usize, Range<usize>, Vec<f32>);

impl Problem {
    /// `[channels, keys]`.
    fn values(&self, which: u32, channels: usize) -> Vec<f32> {
        let value = |i: usize| {
            let mixed = (i as u32 + 77_777 * which).wrapping_add(self.seed).wrapping_mul(2_654_435_761) >> 8;
            if mixed % 4 < self.zeros { 0.0 } else { (mixed & 0xffff) as f32 / 32768.0 - 1.0 }
        };
        (0..channels * self.keys).map(value).collect()
    }

    fn operands(&self) -> [Vec<f32>; 3] {
        let AttentionShape { heads, kv_heads, inner, outer, .. } = self.spec.attention;
        [self.values(0, heads * inner), self.values(1, kv_heads * inner), self.values(2, kv_heads * outer)]
    }

    /// The probabilities of the whole sequence.
    fn rows(&self) -> Vec<Row> {
        let shape = self.spec.attention;
        let packed = self.operands().map(|x| {
            let geometry = Geometry::blocked(1, x.len() / self.keys, 1, self.keys);
            let mut buffer = vec![0.0; geometry.len()];
            geometry.pack(&x, &mut buffer);
            (buffer, geometry)
        });
        let [q, k, v] = packed.each_ref().map(|(buffer, geometry)| (&buffer[..], geometry));
        let yg = Geometry::blocked(1, shape.heads * shape.outer, 1, self.keys);
        let (mut y, pool) = (vec![0.0; yg.len()], Pool::new(1));
        let rows = std::sync::Mutex::new(vec![]);
        let observe = |tile: &[Probabilities<'_>]| {
            let seen = tile.iter().map(|row| (row.head, row.query, row.keys.clone(), row.values.to_vec()));
            rows.lock().unwrap().extend(seen);
        };
        let mut cache = KvCache::new(shape, 1);
        let exec = Exec::new(&pool, Isa::best());
        attention(
            &exec,
            1,
            &Operands { q, k, v, inside: None, rounding: None },
            (&mut y, &yg),
            &mut cache,
            Some(&observe),
        );
        rows.into_inner().unwrap()
    }

    /// Counts of the phases of a text of which the last `generated` tokens are generated, with the counts of codes; the rows are seen
    /// by two threads.
    fn counts(&self, rows: &[Row], generated: usize) -> Vec<[PairSums; 2]> {
        let (phases, operands) = ([Phase::Prefill(generated), Phase::Decode(generated)], self.operands());
        let mut codes = [(); 2].map(|()| Codes::default());
        let mut of_threads = [(); 2].map(|()| RowSums::new(&self.spec, self.keys, &phases));
        for (i, (head, query, keys, values)) in rows.iter().enumerate() {
            let (head, query, keys, steps) = (*head, *query, keys.clone(), self.keys);
            let row = Probabilities { worker: 0, image: 0, head, steps, query, keys, values };
            of_threads[i % 3 / 2].add(&self.spec, &[row], &mut codes);
        }
        let [mut all, other] = of_threads;
        all.merge(&other);
        assert!(all.is_finite());
        let geometries = operands.each_ref().map(|x| Geometry::planar(1, x.len() / self.keys, 1, self.keys));
        let operands =
            std::array::from_fn(|which| SequenceValues { x: &operands[which], geometry: &geometries[which], image: 0 });
        let heads = 0..self.spec.attention.kv_heads;
        let heads: Vec<_> = heads.map(|head| self.spec.head(head, operands, &all, &mut codes).unwrap()).collect();
        let mut whole = self.spec.whole(heads, &all);
        for ([qk, pv], codes) in whole.iter_mut().zip(codes) {
            let mut maps = self.spec.maps.iter();
            let codes = codes.map(|codes| (codes, *maps.next().unwrap()));
            let [q, k, p, v] = codes.map(|(codes, map)| codes.map_or(vec![], |mut codes| codes.take(map)));
            [
                qk.activations.values.codes,
                qk.weights.values.codes,
                pv.activations.values.codes,
                pv.weights.values.codes,
            ] = [q, k, p, v];
        }
        whole
    }
}

/// Width of a group of codes.
fn width(codes: impl Iterator<Item = i32>) -> u128 {
    let codes: Vec<i32> = codes.collect();
    let most = codes.iter().map(|code| code.unsigned_abs()).max().unwrap_or(0);
    u128::from(u32::BITS - most.leading_zeros()) + u128::from(codes.iter().any(|code| *code < 0))
}

/// One MAC, or a masked one: of two codes, with the codes of the groups of 16, 64 and 256 that hold the first, and of the group of
/// 16 that holds the second.
fn mac(spec: &AttentionSpec, [a, b]: [i32; 2], seen: bool, groups: [Vec<i32>; 3], second: Vec<i32>) -> Vec<u128> {
    let terms = |code: i32| u128::from(spec.encoder.terms(code.unsigned_abs() as u16));
    let one = u128::from(seen);
    let (na, nb) = (one * u128::from(a != 0), u128::from(b != 0));
    let [g16, g64, g256] = groups.map(|codes| one * width(codes.into_iter()));
    let zero = [g16, g64, g256].map(|width| one * u128::from(width == 0));
    let ta = one * terms(a) * u128::from(spec.has_terms);
    let wa = one * width([a].into_iter());
    let (wb, gb) = (width([b].into_iter()), width(second.into_iter()));
    let both = |value: u128| [value, one * value];
    let zb = u128::from(gb == 0);
    [
        both(1).to_vec(),
        vec![na],
        both(nb).to_vec(),
        vec![na * nb, wa, g16, g64, g256, zero[0], zero[1], zero[2], ta],
        both(wb).to_vec(),
        both(gb).to_vec(),
        both(zb).to_vec(),
        both(terms(b)).to_vec(),
        vec![ta * terms(b), g16 * nb, zero[0] * nb, g16 * na * nb, ta * nb],
    ]
    .concat()
}

/// Both sums over all MACs of the queries of `phase`, one after the other, in the order of [`Products::integers`].
fn brute_force(problem: &Problem, rows: &[Row], phase: Phase) -> [Vec<u128>; 2] {
    let (spec, steps) = (&problem.spec, problem.keys);
    let own = phase.steps(steps);
    let AttentionShape { inner, outer, .. } = spec.attention;
    let [q, k, v] = problem.operands();
    let code = |map: usize, x: f32| spec.maps[map].code(x);
    let mut all = [vec![0u128; Products::INTEGERS], vec![0; Products::INTEGERS]];
    let mut add = |which: usize, own: Vec<u128>| all[which].iter_mut().zip(own).for_each(|(all, own)| *all += own);
    let around = |size: usize, i: usize, end: usize| i / size * size..(i / size * size + size).min(end);
    for (head, query, visible, p) in rows.iter().filter(|row| own.contains(&row.1)) {
        let kv_head = head / spec.attention.group();
        // A token that is generated finds its own key the last.
        let keys = if let Phase::Decode(_) = phase { query + 1 } else { own.end };
        for key in 0..keys {
            let seen = visible.contains(&key);
            let qs = |i: usize| code(0, q[(head * inner + i) * steps + query]);
            let ks = |i: usize| code(1, k[(kv_head * inner + i) * steps + key]);
            for i in 0..inner {
                let groups = [16, 64, 256].map(|size| around(size, i, inner).map(qs).collect());
                add(0, mac(spec, [qs(i), ks(i)], seen, groups, around(16, i, inner).map(ks).collect()));
            }
            let ps = |key: usize| code(2, p[key - visible.start]);
            for n in 0..outer {
                let vs = |key: usize| code(3, v[(kv_head * outer + n) * steps + key]);
                // Of a key that is seen, its groups hold keys that are seen.
                let in_group = |size: usize| around(size, key, keys).filter(|key| !seen || visible.contains(key));
                let groups = [16, 64, 256].map(|size| if seen { in_group(size).map(ps).collect() } else { vec![] });
                let a = if seen { ps(key) } else { 0 };
                add(1, mac(spec, [a, vs(key)], seen, groups, in_group(16).map(vs).collect()));
            }
        }
    }
    all
}

/// The integers that do not depend on what is masked.
fn unmasked(products: &Products) -> Vec<u128> {
    let integers = products.integers();
    // Sums over all MACs come before those that are not masked.
    let with_masked = [0, 3, 14, 16, 18, 20];
    (0..integers.len()).filter(|i| !with_masked.contains(i)).map(|i| integers[i]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sums_are_those_of_a_loop_over_macs(problem in problems(), generated in 0usize..40) {
        let mut problem = problem;
        problem.spec.attention.mask.causal |= generated > 0;
        let rows = problem.rows();
        let [q, k, v] = problem.operands();
        let AttentionShape { heads, inner, outer, .. } = problem.spec.attention;
        let counts = problem.counts(&rows, generated);
        for (phase, [qk, pv]) in [Phase::Prefill(generated), Phase::Decode(generated)].into_iter().zip(counts) {
            let [want_qk, want_pv] = brute_force(&problem, &rows, phase);
            prop_assert_eq!(qk.products.integers(), want_qk, "{:?}", phase);
            prop_assert_eq!(pv.products.integers(), want_pv, "{:?}", phase);
            let own = phase.steps(problem.keys);
            let of = |x: &[f32]| (x.len() / problem.keys * own.len()) as u64;
            let visible: usize = rows.iter().filter(|row| own.contains(&row.1)).map(|row| row.3.len()).sum();
            let elements = [&qk, &pv].map(|sums| [sums.activations.values.elements, sums.weights.values.elements]);
            prop_assert_eq!(elements, [[of(&q), of(&k)], [visible as u64, of(&v)]]);
            for sums in [&qk, &pv] {
                prop_assert!(sums.products.is_possible());
                prop_assert!(sums.weights.values.codes.iter().sum::<u64>() == sums.weights.values.elements);
                let counts = sums.of_input();
                prop_assert_eq!(crate::tally::InputCounts::from_integers(&counts.integers()), Some(counts));
            }
            let rectangle: usize = match phase {
                Phase::Prefill(_) => own.len() * own.len(),
                Phase::Decode(_) => own.map(|query| query + 1).sum(),
            };
            let dense = |sums: &PairSums| sums.products.integers()[0];
            prop_assert_eq!(dense(&qk), (heads * inner * rectangle) as u128);
            prop_assert_eq!(dense(&pv), (heads * outer * rectangle) as u128);
        }
    }

    #[test]
    fn prefill_and_decode_count_what_the_whole_counts(problem in problems(), generated in 0usize..40) {
        let mut problem = problem;
        problem.spec.attention.mask.causal = true;
        let rows = problem.rows();
        let whole = problem.counts(&rows, 0).swap_remove(0);
        let [mut parts, decoded]: [_; 2] = problem.counts(&rows, generated).try_into().unwrap();
        parts.iter_mut().zip(&decoded).for_each(|(all, decoded)| all.merge(decoded));
        for (parts, whole) in parts.iter().zip(&whole) {
            prop_assert_eq!(unmasked(&parts.products), unmasked(&whole.products));
            prop_assert_eq!(&parts.activations, &whole.activations);
            let (a, b) = (&parts.weights.values, &whole.weights.values);
            prop_assert!(a.codes == b.codes && a.elements == b.elements && a.natural_zeros == b.natural_zeros);
        }
    }

    #[test]
    fn shares_are_those_of_a_loop_over_sorted_rows(problem in problems()) {
        let rows = problem.rows();
        let [_, pv] = problem.counts(&rows, 0).swap_remove(0);
        let mut want = [0u64; 6];
        for (.., values) in &rows {
            let largest = values.iter().copied().fold(0.0, f32::max);
            let total: f64 = values.iter().map(|p| f64::from(*p)).sum();
            // From the other end: how many of the smallest can go.
            let mut rising = values.clone();
            rising.sort_by(f32::total_cmp);
            let keys = |share: f64| {
                let mut gone = 0.0;
                let can_go = |p: &&f32| { gone += f64::from(**p); total - gone >= share * total };
                (values.len() - rising.iter().take_while(can_go).count()) as u64
            };
            want[0] += values.len() as u64;
            want[1] += values.iter().filter(|p| **p * 256.0 < largest).count() as u64;
            want[2] += values.iter().filter(|p| **p * 1024.0 < largest).count() as u64;
            (want[3], want[4]) = (want[3] + keys(0.9), want[4] + keys(0.99));
            want[5] += values.iter().filter(|p| (**p * 255.0).round() == 0.0).count() as u64;
        }
        prop_assert_eq!(pv.activations.extra.get(Extra::Attention), Some(&want[..]));
    }
}

#[test]
fn what_is_not_finite_is_not_counted() {
    let attention = AttentionShape {
        heads: 1,
        kv_heads: 1,
        inner: 1,
        outer: 1,
        scale: 1.0,
        mask: Mask { causal: true, window: None },
    };
    let maps = [CodeMap::linear(1.0, -127, 127); 4];
    let (isa, encoder) = (Isa::best(), Encoder::Naf);
    let spec =
        AttentionSpec { attention, maps, encoder, isa, has_terms: true, keeps_codes: [true; 2], has_shares: true };
    let (fine, bad) = ([1.0, 2.0], [1.0, f32::NAN]);
    let sums = |row: &[f32]| {
        let (mut rows, mut codes) = (RowSums::new(&spec, 2, &[Phase::WHOLE]), [Codes::default()]);
        for (query, keys) in [(0, 0..1), (1, 0..2)] {
            let values = &row[keys.clone()];
            let row = Probabilities { worker: 0, image: 0, head: 0, steps: 2, query, keys, values };
            rows.add(&spec, &[row], &mut codes);
        }
        rows
    };
    assert!(sums(&fine).is_finite() && !sums(&bad).is_finite());
    let geometry = Geometry::planar(1, 1, 1, 2);
    let is_counted = |q: &[f32], k: &[f32], v: &[f32]| {
        let operands = [q, k, v].map(|x| SequenceValues { x, geometry: &geometry, image: 0 });
        spec.head(0, operands, &sums(&fine), &mut [Codes::default()]).is_some()
    };
    assert!(is_counted(&fine, &fine, &fine));
    assert!(!is_counted(&bad, &fine, &fine) && !is_counted(&fine, &bad, &fine) && !is_counted(&fine, &fine, &bad));
}
