//! Language: likelihood of a token sequence under a network that predicts the next token.

use serde::{Deserialize, Serialize};

/// Sums over tokens, in integers so that the order of addition does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Likelihood {
    /// Tokens predicted.
    pub tokens: u64,
    /// Tokens that were the most likely.
    pub correct: u64,
    /// Characters covered by the tokens.
    pub chars: u64,
    /// The same, in bytes of UTF-8; 0 in files of counts that do not have it.
    #[serde(default)]
    pub bytes: u64,
    /// Negative log-likelihood (surprisal) in units of 1e-9 nat.
    pub surprise: u128,
}

impl Likelihood {
    /// Adds the token `token`, which covers so many characters and bytes, predicted by `logits`.
    pub fn add(&mut self, logits: &[f32], token: usize, [chars, bytes]: [u64; 2]) {
        self.tokens += 1;
        self.chars += chars;
        self.bytes += bytes;
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        self.correct += u64::from(logits.iter().position(|&logit| logit == highest) == Some(token));
        self.surprise += (surprise(logits, token) * 1e9).round() as u128;
    }

    /// Adds the tokens of another part of the data.
    pub fn merge(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.correct += other.correct;
        self.chars += other.chars;
        self.bytes += other.bytes;
        self.surprise += other.surprise;
    }

    /// `exp` of the mean negative log-likelihood per token.
    pub fn perplexity(&self) -> f64 {
        (self.surprise as f64 / 1e9 / self.tokens as f64).exp()
    }

    /// Bits per character; `None` if tokens cover no characters.
    pub fn bits_per_character(&self) -> Option<f64> {
        self.bits_of(self.chars)
    }

    /// Bits per byte of UTF-8, which networks with other tokens have in common; `None` if tokens cover none.
    pub fn bits_per_byte(&self) -> Option<f64> {
        self.bits_of(self.bytes)
    }

    fn bits_of(&self, count: u64) -> Option<f64> {
        (count > 0).then(|| self.surprise as f64 / 1e9 / std::f64::consts::LN_2 / count as f64)
    }
}

/// Surprisal of `token`: its negative log-likelihood `-log softmax(logits)[token]`, in nats.
pub fn surprise(logits: &[f32], token: usize) -> f64 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - f64::from(highest)).exp()).sum();
    sum.ln() + f64::from(highest) - f64::from(logits[token])
}

/// Samples tokens.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f64,
    /// Only this many of the most likely tokens; all if `None`.
    pub top_k: Option<usize>,
    /// Of these, only the most likely ones that are this probable together (nucleus sampling, Holtzman 2019); all if `None`.
    pub top_p: Option<f64>,
}

impl Sampler {
    /// The token for `draw`, a uniform random number in 0..1.
    pub fn token(&self, logits: &[f32], draw: f64) -> usize {
        let rank = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        if self.temperature == 0.0 {
            return (0..logits.len()).min_by(rank).unwrap_or(0);
        }
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(rank);
        order.truncate(self.top_k.unwrap_or(usize::MAX));
        let highest = f64::from(logits[order[0]]);
        let weight = |token: usize| ((f64::from(logits[token]) - highest) / self.temperature).exp();
        let mut total: f64 = order.iter().map(|&token| weight(token)).sum();
        if let Some(share) = self.top_p {
            let (mut kept, mut count) = (0.0, 0);
            while count < order.len() && (count == 0 || kept < share * total) {
                kept += weight(order[count]);
                count += 1;
            }
            order.truncate(count);
            total = kept;
        }
        let mut left = draw * total;
        let fell = order.iter().copied().find(|&token| {
            left -= weight(token);
            left < 0.0
        });
        fell.unwrap_or(order[order.len() - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perplexity_and_bits_follow_their_formulas() {
        let mut sum = Likelihood::default();
        sum.add(&[0.0; 8], 3, [1, 1]);
        sum.add(&[0.0; 8], 0, [3, 5]);
        assert!((sum.perplexity() - 8.0).abs() < 1e-6);
        assert!((sum.bits_per_character().unwrap() - 1.5).abs() < 1e-7);
        assert!((sum.bits_per_byte().unwrap() - 1.0).abs() < 1e-7);
        assert_eq!((sum.tokens, sum.correct), (2, 1));
        assert!((surprise(&[1000.0, 0.0], 1) - 1000.0).abs() < 1e-9);
        let mut other = sum;
        other.merge(&sum);
        assert_eq!((other.tokens, other.surprise), (4, 2 * sum.surprise));
    }

    #[test]
    fn a_sampler_follows_its_settings() {
        let logits = [1.0, 3.0, 2.0];
        let greedy = Sampler { temperature: 0.0, top_k: None, top_p: None };
        assert_eq!(greedy.token(&logits, 0.999), 1);
        let two = Sampler { temperature: 1.0, top_k: Some(2), top_p: None };
        // Probabilities of the two: 1 / (1 + exp(-1)) = 0.731.
        assert_eq!([0.0, 0.73, 0.732, 0.9999].map(|draw| two.token(&logits, draw)), [1, 1, 2, 2]);
        let all = Sampler { temperature: 1e9, top_k: None, top_p: None };
        assert_eq!([0.1, 0.5, 0.9].map(|draw| all.token(&logits, draw)), [1, 2, 0]);
        // Probabilities 0.665, 0.245, 0.090: the first is 0.5 probable alone, the first two 0.9.
        let nucleus = |share| Sampler { temperature: 1.0, top_k: None, top_p: Some(share) };
        assert_eq!([0.0, 0.9999].map(|draw| nucleus(0.5).token(&logits, draw)), [1, 1]);
        assert_eq!([0.0, 0.73, 0.732, 0.9999].map(|draw| nucleus(0.9).token(&logits, draw)), [1, 1, 2, 2]);
        assert_eq!(nucleus(1.0).token(&logits, 0.9999), 0);
        let both = Sampler { top_k: Some(2), ..nucleus(0.99) };
        assert_eq!(both.token(&logits, 0.9999), 2);
    }
}
