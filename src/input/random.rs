//! Random inputs, each made from the seed and its number: to look at shapes and weights without data.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::preprocess::Preprocess;
use super::spec::{InputSpec, InputType, sample_shape};

/// Seeded random inputs of one network.
pub(super) struct Random {
    seed: u64,
    kind: Kind,
}

enum Kind {
    /// Images `[C, H, W]`: pixels that are equally likely from 0 to 1, less the mean, over the deviation of their channel.
    Images { size: [usize; 2], channels: Vec<(f32, f32)> },
    /// All inputs of a network: floats of a normal distribution of deviation 1, integers of 0 and 1.
    Named(Vec<InputSpec>),
}

impl Random {
    /// Inputs for `preprocess`, or of a network with the inputs `specs`, if there are any.
    pub(super) fn new(specs: &[InputSpec], preprocess: &Preprocess, seed: u64) -> Self {
        let (h, w) = preprocess.size();
        let kind = match specs {
            [] => Kind::Images { size: [h, w], channels: preprocess.scales() },
            specs => Kind::Named(specs.to_vec()),
        };
        Self { seed, kind }
    }

    /// Input `index`, and its extents.
    pub(super) fn input(&self, index: usize) -> (Vec<f32>, [usize; 3]) {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(index as u64);
        match &self.kind {
            Kind::Images { size: [h, w], channels } => {
                let mut values = Vec::with_capacity(channels.len() * h * w);
                for (mean, std) in channels {
                    values.extend((0..h * w).map(|_| (random.random::<f32>() - mean) / std));
                }
                (values, [channels.len(), *h, *w])
            }
            Kind::Named(specs) => {
                let mut values = Vec::new();
                for spec in specs {
                    let mut value = || match spec.dtype {
                        InputType::Float => StandardNormal.sample(&mut random),
                        InputType::Integer | InputType::Bool => f32::from(random.random::<bool>()),
                    };
                    values.extend((0..spec.elements()).map(|_| value()));
                }
                (values, sample_shape(specs))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_depend_on_seed_and_number_alone() {
        let card = "channels = 1\nsize = [3, 4]\nmean = [0.5]\nstd = [0.25]";
        let card = Preprocess::from_table("t", &card.parse().unwrap()).unwrap();
        let spec = |dtype| InputSpec { name: "x".into(), shape: vec![1, 50], dtype };
        let specs = [spec(InputType::Float), spec(InputType::Integer)];
        for specs in [&[][..], &specs] {
            let of = |seed, index| Random::new(specs, &card, seed).input(index);
            assert_eq!(of(7, 3), of(7, 3));
            assert!(of(7, 3) != of(7, 4) && of(7, 3) != of(8, 3));
            let (values, [c, h, w]) = of(7, 0);
            assert_eq!(values.len(), c * h * w);
        }
        let (pixels, shape) = Random::new(&[], &card, 1).input(0);
        assert!(shape == [1, 3, 4] && pixels.iter().all(|v| (-2.0..2.0).contains(v)), "{pixels:?}");
        let (values, shape) = Random::new(&specs, &card, 1).input(0);
        assert!(shape == [1, 1, 100] && values[..50].iter().any(|v| v.abs() > 1.0), "{values:?}");
        assert!(values[50..].iter().all(|v| [0.0, 1.0].contains(v)));
    }
}
