//! How ratios of sums spread over inputs: second moments, which are integers that add.

use std::ops::AddAssign;

/// Sums over inputs i of the numerators N and denominators D of a ratio, and of their products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// Σ N.
    pub n: u128,
    /// Σ D.
    pub d: u128,
    /// Σ N².
    pub nn: u128,
    /// Σ N·D.
    pub nd: u128,
    /// Σ D².
    pub dd: u128,
}

impl Moments {
    /// Integers of one.
    pub const INTEGERS: usize = 5;

    /// Adds one input. What it has of bit products is below 2^60 for any network there is; sums of what a file makes up go round.
    pub fn add(&mut self, numerator: u128, denominator: u128) {
        let (n, d) = (numerator, denominator);
        *self += Self { n, d, nn: n.wrapping_mul(n), nd: n.wrapping_mul(d), dd: d.wrapping_mul(d) };
    }

    /// Its integers.
    pub fn integers(&self) -> [u128; Self::INTEGERS] {
        [self.n, self.d, self.nn, self.nd, self.dd]
    }

    /// The moments of these integers.
    pub fn from_integers([n, d, nn, nd, dd]: [u128; Self::INTEGERS]) -> Self {
        Self { n, d, nn, nd, dd }
    }
}

impl AddAssign for Moments {
    fn add_assign(&mut self, other: Self) {
        self.n = self.n.wrapping_add(other.n);
        self.d = self.d.wrapping_add(other.d);
        self.nn = self.nn.wrapping_add(other.nn);
        self.nd = self.nd.wrapping_add(other.nd);
        self.dd = self.dd.wrapping_add(other.dd);
    }
}

/// How the ratios of a measurement spread over its inputs, or over blocks of them that are taken for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many inputs (or blocks).
    pub inputs: u64,
    /// Names of the ratios.
    pub ratios: Vec<String>,
    /// Moments by ratio, of each layer and then of the network.
    pub scopes: Vec<Vec<Moments>>,
}

impl Spread {
    /// Nothing yet, of `ratios` of `layers` layers and the network.
    pub fn new(ratios: Vec<String>, layers: usize) -> Self {
        let scopes = vec![vec![Moments::default(); ratios.len()]; layers + 1];
        Self { inputs: 0, ratios, scopes }
    }

    /// Adds what other inputs have.
    ///
    /// # Panics
    /// If they are of other ratios or layers.
    pub fn merge(&mut self, other: &Self) {
        assert!(self.ratios == other.ratios && self.scopes.len() == other.scopes.len(), "ratios of the same layers");
        self.inputs += other.inputs;
        let sums = self.scopes.iter_mut().flatten();
        sums.zip(other.scopes.iter().flatten()).for_each(|(own, other)| *own += *other);
    }

    /// The moments of the ratio called `name` in scope `scope`: a layer by its place, or the network behind the last.
    pub fn get(&self, scope: usize, name: &str) -> Option<&Moments> {
        let place = self.ratios.iter().position(|ratio| ratio == name)?;
        self.scopes.get(scope)?.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_to_the_whole() {
        let inputs = [(3, 7), (0, 5), (1 << 60, 1 << 61), (9, 9)];
        let of = |inputs: &[(u128, u128)]| {
            let mut spread = Spread::new(vec!["a".into(), "b".into()], 1);
            spread.inputs = inputs.len() as u64;
            for scope in &mut spread.scopes {
                inputs.iter().for_each(|&(n, d)| scope[1].add(n, d));
            }
            spread
        };
        let mut merged = of(&inputs[2..]);
        merged.merge(&of(&inputs[..2]));
        assert_eq!(merged, of(&inputs));
        let moments = merged.get(1, "b").unwrap();
        assert_eq!(
            moments.integers(),
            [12 + (1 << 60), 21 + (1 << 61), 90 + (1 << 120), 102 + (1 << 121), 155 + (1 << 122)]
        );
        assert_eq!(Moments::from_integers(moments.integers()), *moments);
        assert_eq!((merged.get(2, "b"), merged.get(0, "c")), (None, None));
    }
}
