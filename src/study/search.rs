//! The search for the fewest bits of many operands whose loss stays within a tolerance. It knows operands by number, and losses by
//! asking for them.

use std::cmp::Reverse;

use crate::Result;

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// How many operands there are; neighbours of the same parity are alike.
    pub operands: usize,
    /// Fewest and most bits of one.
    pub bits: [u32; 2],
    /// The loss that is still within.
    pub tolerance: f64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Bits of each operand alone, all others as they are.
    pub alone: Vec<u32>,
    /// Bits of all together.
    pub bits: Vec<u32>,
    /// Their loss.
    pub loss: f64,
    /// The loss with one bit less of each operand, beyond the tolerance; none of one that has the fewest.
    pub next: Vec<Option<f64>>,
}

/// How far a search is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// This operand is cut alone.
    Alone(usize),
    /// All are widened until they are within together.
    Widen,
    /// Bits are taken one by one.
    Take,
}

/// An operand in the descent.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// The loss with one bit less, as it was last seen.
    loss: f64,
    /// How many bits had been taken then, if it was seen in the descent.
    at: Option<usize>,
}

/// Asks for the loss of operands in these bits (0: as they are), at a step of the search.
pub type Ask<'a> = &'a mut dyn FnMut(Step, &[u32]) -> Result<f64>;

impl Search {
    /// The search; none where the most bits are not within the tolerance together, with their loss.
    ///
    /// First each operand alone: the fewest bits within the tolerance, supposing that fewer never lose less. Then all together, from
    /// these bits: all are widened by a bit until they are within; then bits are taken, one at a time, of the operand that loses least
    /// by it as far as is known (a loss seen before other bits were taken is asked for again before it is trusted), equals first of
    /// the widest; until no bit of any operand can be taken, which is asked for all of them at the end.
    ///
    /// # Errors
    /// Those of `ask`.
    pub fn run(&self, ask: Ask<'_>) -> Result<std::result::Result<Found, f64>> {
        let [_, most] = self.bits;
        let widest = ask(Step::Widen, &vec![most; self.operands])?;
        if widest > self.tolerance {
            return Ok(Err(widest));
        }
        let (alone, estimates) = self.alone(ask)?;
        let mut bits = alone.clone();
        let mut loss = ask(Step::Widen, &bits)?;
        while loss > self.tolerance {
            bits.iter_mut().for_each(|bits| *bits = (*bits + 1).min(most));
            loss = ask(Step::Widen, &bits)?;
        }
        // What was widened starts from no loss; what was not, from what it lost alone.
        let start = |(i, estimate): (usize, Option<f64>)| {
            let loss = if bits[i] == alone[i] { estimate.unwrap_or(0.0) } else { 0.0 };
            Candidate { loss, at: None }
        };
        let candidates = estimates.into_iter().enumerate().map(start).collect();
        let (bits, loss, next) = self.descend(bits, loss, candidates, ask)?;
        Ok(Ok(Found { alone, bits, loss, next }))
    }

    /// The fewest bits of each operand alone, and the loss with one less, where that is known.
    fn alone(&self, ask: Ask<'_>) -> Result<(Vec<u32>, Vec<Option<f64>>)> {
        let [least, most] = self.bits;
        let (mut alone, mut estimates) = (Vec::<u32>::new(), Vec::new());
        for operand in 0..self.operands {
            let mut of = |bits: u32| {
                let mut all = vec![0; self.operands];
                all[operand] = bits;
                ask(Step::Alone(operand), &all)
            };
            // Beyond the tolerance, and within; from the bits of the operand before that is alike.
            let (mut bad, mut good, mut beyond) = (least - 1, most, None);
            let guess = operand.checked_sub(2).map_or(u32::midpoint(least, most), |before| alone[before]);
            let (mut at, mut step) = (guess.clamp(least, most - 1), 1);
            while good - bad > 1 {
                let loss = of(at)?;
                if loss <= self.tolerance {
                    good = at;
                    at = at.saturating_sub(step);
                } else {
                    (bad, beyond) = (at, Some(loss));
                    at += step;
                }
                step *= 2;
                if at <= bad || at >= good {
                    at = u32::midpoint(bad, good);
                }
            }
            alone.push(good);
            estimates.push(beyond);
        }
        Ok((alone, estimates))
    }

    /// Takes bits of `bits`, which lose `loss`, until no other can be taken: the bits, their loss, and that of each next bit.
    fn descend(
        &self,
        mut bits: Vec<u32>,
        mut loss: f64,
        mut candidates: Vec<Candidate>,
        ask: Ask<'_>,
    ) -> Result<(Vec<u32>, f64, Vec<Option<f64>>)> {
        let mut taken = 0;
        loop {
            let open = (0..self.operands).filter(|&i| bits[i] > self.bits[0]);
            let within = |i: &usize| candidates[*i].at.is_none() || candidates[*i].loss <= self.tolerance;
            let order = |a: &usize, b: &usize| {
                let key = |i: usize| (Reverse(bits[i]), i);
                candidates[*a].loss.total_cmp(&candidates[*b].loss).then(key(*a).cmp(&key(*b)))
            };
            let best = open.clone().filter(within).min_by(order);
            // Without one, what was ruled out before other bits were taken is asked for again.
            let Some(i) = best.or_else(|| open.clone().find(|&i| candidates[i].at != Some(taken))) else { break };
            if best.is_some() && candidates[i].at == Some(taken) {
                (bits[i], loss) = (bits[i] - 1, candidates[i].loss);
                taken += 1;
                continue;
            }
            bits[i] -= 1;
            let lost = ask(Step::Take, &bits)?;
            bits[i] += 1;
            candidates[i] = Candidate { loss: lost, at: Some(taken) };
        }
        let next = candidates.iter().zip(&bits).map(|(of, bits)| (*bits > self.bits[0]).then_some(of.loss)).collect();
        Ok((bits, loss, next))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Each operand loses `weight · 2^-bits` of what it has, and nothing as it is.
    fn lossy(weights: &[f64], bits: &[u32]) -> f64 {
        weights
            .iter()
            .zip(bits)
            .filter(|(_, bits)| **bits > 0)
            .map(|(weight, &bits)| weight * 0.5f64.powi(bits as i32))
            .sum()
    }

    #[test]
    fn the_most_bits_must_be_within() {
        let search = Search { operands: 2, bits: [2, 4], tolerance: 0.1 };
        assert_eq!(search.run(&mut |_, bits| Ok(lossy(&[1.0, 1.0], bits))).unwrap(), Err(0.125));
        let found = search.run(&mut |_, bits| Ok(lossy(&[0.3, 0.0], bits))).unwrap().unwrap();
        assert_eq!((found.bits, found.alone, found.next), (vec![2, 2], vec![2, 2], vec![None, None]));
    }

    proptest! {
        #[test]
        fn what_is_found_is_within_and_each_next_bit_is_not(
            weights in prop::collection::vec(0.0f64..3.0, 1..9), tolerance in 0.001f64..0.3, seed in any::<u64>(), noisy in any::<bool>(),
        ) {
            let search = Search { operands: weights.len(), bits: [2, 16], tolerance };
            let mut asked = BTreeMap::new();
            let mut loss = |bits: &[u32]| {
                // The same bits always lose the same, but more bits may lose more.
                let mixed = bits.iter().fold(seed, |mixed, bits| (mixed ^ u64::from(*bits)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let noise = if noisy { (mixed >> 40) as f64 / f64::from(1 << 24) * 0.5 } else { 0.0 };
                let loss = lossy(&weights, bits) * (1.0 + noise);
                asked.insert(bits.to_vec(), loss);
                loss
            };
            match search.run(&mut |_, bits| Ok(loss(bits))).unwrap() {
                Err(widest) => prop_assert!(widest > tolerance),
                Ok(found) => {
                    prop_assert!(found.loss <= tolerance && found.loss == loss(&found.bits));
                    for (i, next) in found.next.iter().enumerate() {
                        let mut bits = found.bits.clone();
                        bits[i] -= 1;
                        prop_assert_eq!(*next, (bits[i] >= 2).then(|| loss(&bits)));
                        prop_assert!(next.is_none_or(|next| next > tolerance));
                        let mut alone = vec![0; weights.len()];
                        alone[i] = found.alone[i];
                        prop_assert!(loss(&alone) <= tolerance || alone[i] == 16);
                        alone[i] -= 1;
                        prop_assert!(alone[i] < 2 || loss(&alone) > tolerance);
                        // What loses more together than alone has no fewer bits.
                        prop_assert!(noisy || found.bits[i] >= found.alone[i]);
                    }
                    prop_assert!(asked.len() < 60 * weights.len(), "{} for {}", asked.len(), weights.len());
                }
            }
        }
    }
}
