//! Attention against plain loops, cut into any runs, with the same bits everywhere.

use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::kernels::{Isa, Pool};

/// One problem.
#[derive(Clone, Debug)]
struct Problem {
    shape: AttentionShape,
    images: usize,
    steps: usize,
    /// For each sequence, the tokens that are keys.
    inside: Option<Vec<Range<usize>>>,
    seed: u32,
}

fn problems() -> impl Strategy<Value = Problem> {
    let extents = (1usize..4, 1usize..4, 1usize..40, 1usize..40, 1usize..3, 1usize..40);
    let mask = (any::<bool>(), prop::option::of(1usize..20));
    (extents, mask, any::<bool>(), any::<u32>()).prop_map(
        |((kv_heads, group, inner, outer, images, steps), (causal, window), padded, seed)| {
            let mask = Mask { causal, window };
            let scale = 1.0 / (inner as f32).sqrt();
            let shape = AttentionShape { heads: kv_heads * group, kv_heads, inner, outer, scale, mask };
            let part = |image: usize| {
                let start = (seed as usize + image) % steps;
                start..start + 1 + (seed as usize / 7) % (steps - start)
            };
            Problem { shape, images, steps, inside: padded.then(|| (0..images).map(part).collect()), seed }
        },
    )
}

impl Problem {
    fn values(&self, which: usize, channels: usize) -> (Vec<f32>, Geometry) {
        let geometry = Geometry::blocked(self.images, channels, 1, self.steps);
        let value = |i: usize| {
            let mixed = ((i + 100_003 * which) as u32).wrapping_add(self.seed).wrapping_mul(2_654_435_761) >> 8;
            mixed as f32 / 4194304.0 - 2.0
        };
        let mut buffer = vec![0.0; geometry.len()];
        geometry.pack(&(0..geometry.elements()).map(value).collect::<Vec<f32>>(), &mut buffer);
        (buffer, geometry)
    }

    fn operands(&self) -> [(Vec<f32>, Geometry); 3] {
        let AttentionShape { heads, kv_heads, inner, outer, .. } = self.shape;
        [self.values(0, heads * inner), self.values(1, kv_heads * inner), self.values(2, kv_heads * outer)]
    }

    /// The output, in runs of the lengths in `parts`; each with the cache of all before it.
    fn run(&self, exec: &Exec<'_>, parts: &[usize], observe: Option<ObserveRows<'_>>) -> Vec<f32> {
        let operands = self.operands();
        let whole = Geometry::blocked(self.images, self.shape.heads * self.shape.outer, 1, self.steps);
        let mut all = vec![0.0; whole.elements()];
        let mut cache = KvCache::new(self.shape, self.images);
        let mut first = 0;
        for &steps in parts {
            let cut = |(buffer, geometry): &(Vec<f32>, Geometry)| {
                let part = Geometry { w: steps, ..*geometry };
                let mut to = vec![0.0; part.len()];
                for (place, c) in (0..self.images).flat_map(|n| (0..geometry.c).map(move |c| (n, c))) {
                    for t in 0..steps {
                        to[part.index(place, c, 0, t)] = buffer[geometry.index(place, c, 0, first + t)];
                    }
                }
                (to, part)
            };
            let [q, k, v] = operands.each_ref().map(cut);
            let yg = Geometry { w: steps, ..whole };
            let mut y = vec![0.0; yg.len()];
            let operands = Operands {
                q: (&q.0, &q.1),
                k: (&k.0, &k.1),
                v: (&v.0, &v.1),
                inside: self.inside.clone(),
                rounding: None,
            };
            attention(exec, self.images, &operands, (&mut y, &yg), &mut cache, observe);
            for (i, value) in yg.unpack(&y).into_iter().enumerate() {
                all[i / steps * self.steps + first + i % steps] = value;
            }
            first += steps;
            // What is kept can be written and read back.
            let kept = cache.to_floats();
            let mut read = KvCache::new(self.shape, self.images);
            assert!(read.set(exec, &kept) && read.to_floats() == kept && read.tokens() == first);
            cache = read;
        }
        all
    }

    /// Probabilities of a query and the output of plain loops.
    fn plain(&self, image: usize, head: usize, query: usize) -> (Vec<f64>, Vec<f64>) {
        let [q, k, v] = self.operands();
        let of = |(buffer, geometry): &(Vec<f32>, Geometry), c: usize, t: usize| {
            f64::from(buffer[geometry.index(image, c, 0, t)])
        };
        let AttentionShape { inner, outer, scale, mask, .. } = self.shape;
        let kv_head = head / self.shape.group();
        let sees = |key: usize| {
            let inside = self.inside.as_ref().is_none_or(|inside| inside[image].contains(&key));
            let before = !mask.causal || key <= query;
            inside && before && (!mask.causal || mask.window.is_none_or(|window| query - key < window))
        };
        let score = |key: usize| -> f64 {
            let product = |i: usize| of(&q, head * inner + i, query) * of(&k, kv_head * inner + i, key);
            (0..inner).map(product).sum::<f64>() * f64::from(scale)
        };
        let powers: Vec<f64> = (0..self.steps).map(|key| if sees(key) { score(key).exp() } else { 0.0 }).collect();
        let total: f64 = powers.iter().sum();
        let shares: Vec<f64> = powers.iter().map(|power| if total > 0.0 { power / total } else { 0.0 }).collect();
        let output = |n: usize| (0..self.steps).map(|key| shares[key] * of(&v, kv_head * outer + n, key)).sum();
        (shares.clone(), (0..outer).map(output).collect())
    }
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn is_that_of_plain_loops_with_the_same_bits_everywhere(problem in problems()) {
        let one = Pool::new(1);
        let seen = Mutex::new(vec![]);
        let note = |tile: &[Probabilities<'_>]| {
            let rows = tile.iter().map(|row| (row.image, row.head, row.query, row.keys.clone(), row.values.to_vec()));
            seen.lock().unwrap().extend(rows);
        };
        let got = problem.run(&Exec::new(&one, Isa::SCALAR), &[problem.steps], Some(&note));
        let mut rows = seen.into_inner().unwrap();
        rows.sort_by_key(|row| (row.0, row.1, row.2));
        let shape = problem.shape;
        let places = (0..problem.images).flat_map(|i| (0..shape.heads).map(move |h| (i, h)));
        let places = places.flat_map(|(i, h)| (0..problem.steps).map(move |q| (i, h, q)));
        prop_assert!(rows.iter().map(|row| (row.0, row.1, row.2)).eq(places));
        for (image, head, query, keys, values) in rows {
            let (shares, output) = problem.plain(image, head, query);
            prop_assert_eq!(values.len(), keys.len());
            for (key, share) in shares.iter().enumerate() {
                let got = if keys.contains(&key) { values[key - keys.start] } else { 0.0 };
                prop_assert!((f64::from(got) - share).abs() < 1e-5, "{got} {share}");
            }
            for (n, want) in output.iter().enumerate() {
                let at = ((image * shape.heads + head) * shape.outer + n) * problem.steps + query;
                prop_assert!((f64::from(got[at]) - want).abs() < 2e-5, "{} {want}", got[at]);
            }
        }
        for isa in Isa::available() {
            for threads in [1, 2] {
                let pool = Pool::new(threads);
                prop_assert!(same(&problem.run(&Exec::new(&pool, isa), &[problem.steps], None), &got), "{}", isa.name());
            }
        }
    }

    #[test]
    fn decoding_with_a_cache_gives_the_bits_of_the_whole(problem in problems(), cuts in prop::collection::vec(1usize..9, 1..9)) {
        let mut problem = problem;
        // Without a causal mask, early queries see later keys.
        problem.shape.mask.causal = true;
        problem.inside = None;
        let pool = Pool::new(2);
        let exec = Exec::new(&pool, Isa::best());
        let whole = problem.run(&exec, &[problem.steps], None);
        let mut parts = vec![];
        for cut in cuts {
            let left = problem.steps - parts.iter().sum::<usize>();
            parts.extend((left > 0).then_some(cut.min(left)));
        }
        let left = problem.steps - parts.iter().sum::<usize>();
        parts.extend(std::iter::repeat_n(1, left));
        prop_assert!(same(&problem.run(&exec, &parts, None), &whole), "{parts:?}");
    }
}

#[test]
fn a_score_far_below_the_highest_has_no_share() {
    let mask = Mask::default();
    let shape = AttentionShape { heads: 1, kv_heads: 1, inner: 1, outer: 1, scale: 1.0, mask };
    let geometry = Geometry::blocked(1, 1, 1, 3);
    let packed = |values: [f32; 3]| {
        let mut buffer = vec![0.0; geometry.len()];
        geometry.pack(&values, &mut buffer);
        buffer
    };
    let (q, k, v) = (packed([1.0; 3]), packed([100.0, 99.0, 12.0]), packed([1.0, 1.0, 1e30]));
    let operands =
        Operands { q: (&q, &geometry), k: (&k, &geometry), v: (&v, &geometry), inside: None, rounding: None };
    let mut y = vec![0.0; geometry.len()];
    let pool = Pool::new(1);
    let mut cache = KvCache::new(shape, 1);
    attention(&Exec::new(&pool, Isa::best()), 1, &operands, (&mut y, &geometry), &mut cache, None);
    assert!(geometry.unpack(&y).iter().all(|y| (y - 1.0).abs() < 1e-6), "{y:?}");
}

#[test]
fn probabilities_are_rounded_before_they_multiply_values() {
    let shape = AttentionShape { heads: 2, kv_heads: 1, inner: 5, outer: 3, scale: 0.7, mask: Mask::default() };
    let steps = 21;
    let values = |c: usize, seed: u32| -> (Vec<f32>, Geometry) {
        let geometry = Geometry::blocked(1, c, 1, steps);
        let value = |i: usize| ((i as u32 ^ seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 23) as f32 - 1.0;
        let mut buffer = vec![0.0; geometry.len()];
        geometry.pack(&(0..c * steps).map(value).collect::<Vec<_>>(), &mut buffer);
        (buffer, geometry)
    };
    let [q, k, v] = [values(10, 1), values(5, 2), values(3, 3)];
    let yg = Geometry::blocked(1, 6, 1, steps);
    let run = |isa: Isa, rounding: Option<CodeMap>| {
        let rows = Mutex::new(vec![vec![vec![]; steps]; 2]);
        let observe = |tile: &[Probabilities<'_>]| {
            tile.iter().for_each(|seen| rows.lock().unwrap()[seen.head][seen.query] = seen.values.to_vec());
        };
        let operands = Operands { q: (&q.0, &q.1), k: (&k.0, &k.1), v: (&v.0, &v.1), inside: None, rounding };
        let mut y = vec![0.0; yg.len()];
        let mut cache = KvCache::new(shape, 1);
        attention(&Exec::new(&Pool::new(2), isa), 1, &operands, (&mut y, &yg), &mut cache, Some(&observe));
        (rows.into_inner().unwrap(), yg.unpack(&y))
    };
    let map = CodeMap::linear(64.0, -63, 63);
    let (exact, _) = run(Isa::best(), None);
    let v = v.1.unpack(&v.0);
    for isa in Isa::available() {
        let (rows, y) = run(isa, Some(map));
        for (head, query) in (0..2).flat_map(|head| (0..steps).map(move |query| (head, query))) {
            let want: Vec<f32> = exact[head][query].iter().map(|&p| map.nearest(p)).collect();
            assert_eq!(rows[head][query], want, "{}", isa.name());
            for n in 0..3 {
                let sum: f64 = want.iter().zip(&v[n * steps..]).map(|(p, v)| f64::from(*p) * f64::from(*v)).sum();
                assert!((f64::from(y[(head * 3 + n) * steps + query]) - sum).abs() < 1e-5);
            }
        }
    }
}
