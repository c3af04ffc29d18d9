//! The arrays of per-input metrics: moments of ratios, and blocks of segments that are not complete.

use safetensors::tensor::Dtype;

use super::arrays::Arrays;
use super::stored::Stored;
use crate::Result;
use crate::tally::{INPUT_INTEGERS, InputCounts, Moments, Products, Spread};

/// Name of the moments' array.
const SPREAD: &str = "spread";

fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

fn whole([low, high]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

impl Arrays {
    pub fn spread(&mut self, spread: &Spread) {
        let shape = [spread.scopes.len(), spread.ratios.len(), Moments::INTEGERS, 2];
        let numbers = spread.scopes.iter().flatten().flat_map(Moments::integers);
        self.u64(SPREAD.into(), &shape, numbers.flat_map(halves));
    }

    /// Sums over the MACs of a product of two activations.
    pub fn pairs(&mut self, name: String, products: &Products) {
        self.u64(name, &[Products::INTEGERS, 2], products.integers().into_iter().flat_map(halves));
    }

    pub fn open(&mut self, stream: usize, layers: &[InputCounts]) {
        let numbers = layers.iter().flat_map(InputCounts::integers);
        self.u64(format!("open.{stream}"), &[layers.len(), INPUT_INTEGERS, 2], numbers.flat_map(halves));
    }
}

impl Stored<'_> {
    /// Numbers of 128 bits.
    fn u128(&mut self, name: &str, shape: &[usize]) -> Result<Vec<u128>> {
        let (bytes, _) = self.take(name, Dtype::U64, Some(shape))?;
        let numbers: Vec<u64> = bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        Ok(numbers.as_chunks().0.iter().copied().map(whole).collect())
    }

    /// Moments of `ratios` ratios of `layers` layers and the network.
    pub fn spread(&mut self, layers: usize, ratios: usize) -> Result<Vec<Vec<Moments>>> {
        let numbers = self.u128(SPREAD, &[layers + 1, ratios, Moments::INTEGERS, 2])?;
        let moments: Vec<Moments> = numbers.as_chunks().0.iter().copied().map(Moments::from_integers).collect();
        Ok((0..=layers).map(|scope| moments[scope * ratios..][..ratios].to_vec()).collect())
    }

    /// Sums over the MACs of a product of two activations.
    pub fn read_pairs(&mut self, name: &str) -> Result<Products> {
        let numbers = self.u128(name, &[Products::INTEGERS, 2])?;
        // What is made of them stays within 128 bits.
        let products = Products::from_integers(&numbers).filter(|_| numbers.iter().all(|&number| number <= 1 << 90));
        products.filter(Products::is_possible).ok_or_else(|| self.wrong(name, "counts more than there is"))
    }

    /// What each of `layers` layers has of the open block of stream `stream`.
    pub fn open(&mut self, stream: usize, layers: usize) -> Result<Vec<InputCounts>> {
        let name = format!("open.{stream}");
        let numbers = self.u128(&name, &[layers, INPUT_INTEGERS, 2])?;
        // Products of what layers have this many of stay within 128 bits.
        if numbers.iter().any(|&number| number > 1 << 60) {
            return Err(self.wrong(&name, "holds more than can be counted"));
        }
        let counts = numbers.chunks(INPUT_INTEGERS).map(InputCounts::from_integers);
        counts.collect::<Option<Vec<_>>>().ok_or_else(|| self.wrong(&name, "counts more than there is"))
    }
}
