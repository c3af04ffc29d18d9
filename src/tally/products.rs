//! Sums over the MACs of a layer of products f(a)·g(w): all that work and potentials are made of.

use std::ops::AddAssign;

use super::{ActivationSums, LayerShape, LayerTally, WeightSums};
use crate::kernels::count::{NONZERO, NONZERO_G16, TERMS, WIDTH};

/// Which MACs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// All of them; a MAC whose activation is read from outside the tensor has a = 0.
    With,
    /// Those whose activation is inside the tensor.
    Without,
}

impl Padding {
    /// Both, in the order in which they are printed.
    pub const BOTH: [Self; 2] = [Self::With, Self::Without];

    /// Its name in machine formats.
    pub fn name(self) -> &'static str {
        match self {
            Self::With => "with_padding",
            Self::Without => "without_padding",
        }
    }
}

/// A sum over all MACs, and over those inside the tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    all: u128,
    inside: u128,
}

impl Modes {
    /// Over all MACs, and over those inside the tensor or not masked.
    pub(super) fn new(all: u128, inside: u128) -> Self {
        Self { all, inside }
    }

    /// The sum over the MACs that count.
    pub fn of(self, padding: Padding) -> u128 {
        if padding == Padding::With { self.all } else { self.inside }
    }

    /// Both, in the order of [`Padding::BOTH`].
    pub(super) fn both(self) -> [u128; 2] {
        [self.all, self.inside]
    }
}

/// Integers that a sum is made of.
trait Integers: Sized {
    /// How many.
    const COUNT: usize;
    /// Appends them to `to`.
    fn write(self, to: &mut Vec<u128>);
    /// Takes them from `from`.
    fn read(from: &mut impl Iterator<Item = u128>) -> Option<Self>;
}

impl Integers for u128 {
    const COUNT: usize = 1;

    fn write(self, to: &mut Vec<u128>) {
        to.push(self);
    }

    fn read(from: &mut impl Iterator<Item = u128>) -> Option<Self> {
        from.next()
    }
}

impl Integers for Modes {
    const COUNT: usize = 2;

    fn write(self, to: &mut Vec<u128>) {
        to.extend(self.both());
    }

    fn read(from: &mut impl Iterator<Item = u128>) -> Option<Self> {
        Some(Self { all: from.next()?, inside: from.next()? })
    }
}

macro_rules! products {
    ($($(#[$doc:meta])* $name:ident: $kind:ty,)*) => {
        /// Sums over MACs (a, w). Those that a factor of `a` makes zero outside the tensor are the same with padding and
        /// without. `nonzero` is 1 for a code other than 0; widths, terms and groups are those of METRICS section 3.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Products { $($(#[$doc])* pub $name: $kind,)* }

        impl AddAssign<&Self> for Products {
            fn add_assign(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl Products {
            /// Integers of one.
            pub const INTEGERS: usize = 0 $(+ <$kind as Integers>::COUNT)*;

            /// Its integers, in the order of its fields.
            pub fn integers(&self) -> Vec<u128> {
                let mut integers = Vec::with_capacity(Self::INTEGERS);
                $(self.$name.write(&mut integers);)*
                integers
            }

            /// The sums of these integers.
            pub fn from_integers(integers: &[u128]) -> Option<Self> {
                let mut integers = integers.iter().copied();
                Some(Self { $($name: Integers::read(&mut integers)?,)* })
            }
        }
    };
}

impl AddAssign for Modes {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.inside += other.inside;
    }
}

products! {
    /// 1.
    dense: Modes,
    /// nonzero(a).
    a: u128,
    /// nonzero(w).
    w: Modes,
    /// nonzero(a)·nonzero(w).
    both: u128,
    /// width(a).
    a_width: u128,
    /// Width of the group of 16 that holds a.
    a_g16: u128,
    /// Width of the group of 64 that holds a.
    a_g64: u128,
    /// Width of the group of 256 that holds a.
    a_g256: u128,
    /// 1 where the group of 16 that holds a is all zero, inside the tensor.
    a_g16_zero: u128,
    /// The same of 64.
    a_g64_zero: u128,
    /// The same of 256.
    a_g256_zero: u128,
    /// terms(a).
    a_terms: u128,
    /// width(w).
    w_width: Modes,
    /// Width of the group of 16 that holds w.
    w_g16: Modes,
    /// 1 where the group of 16 that holds w is all zero.
    w_g16_zero: Modes,
    /// terms(w).
    w_terms: Modes,
    /// terms(a)·terms(w).
    terms: u128,
    /// Width of the group of 16 that holds a, where w is not zero.
    a_g16_w: u128,
    /// 1 where the group of 16 that holds a is all zero inside the tensor, and w is not zero.
    a_g16_zero_w: u128,
    /// Width of the group of 16 that holds a, where neither is zero.
    a_g16_both: u128,
    /// terms(a), where w is not zero.
    a_terms_w: u128,
}

impl Products {
    /// The sums of a whole layer.
    pub fn of(tally: &LayerTally) -> Self {
        if let Some(products) = tally.pairs {
            return products;
        }
        Self::new(&tally.shape, &tally.activations, &tally.weights)
    }

    /// The sums of a layer of extents `shape`: over channels and taps, of the sum over windows of f times the sum over filters
    /// of g (METRICS section 5, "Exactness").
    pub fn new(shape: &LayerShape, activations: &ActivationSums, weights: &WeightSums) -> Self {
        let taps = activations.inside.len();
        let filters = shape.filters() as u128;
        let mut sum = Self::default();
        for channel in 0..activations.channels {
            for tap in 0..taps {
                let a = |lane: usize| u128::from(activations.taps[channel * taps + tap][lane]);
                let groups = &activations.groups[channel / 16 * taps + tap];
                let [g16, g64, g256] = groups.width.map(u128::from);
                let zero = groups.zero.map(u128::from);
                let w = &weights.taps[channel * taps + tap];
                let nonzero = u128::from(w.nonzero);
                let (windows, inside) = (u128::from(activations.windows), u128::from(activations.inside[tap]));
                let each = |sum: u128| Modes { all: windows * sum, inside: inside * sum };
                sum += &Self {
                    dense: each(filters),
                    a: a(NONZERO) * filters,
                    w: each(nonzero),
                    both: a(NONZERO) * nonzero,
                    a_width: a(WIDTH) * filters,
                    a_g16: g16 * filters,
                    a_g64: g64 * filters,
                    a_g256: g256 * filters,
                    a_g16_zero: zero[0] * filters,
                    a_g64_zero: zero[1] * filters,
                    a_g256_zero: zero[2] * filters,
                    a_terms: a(TERMS) * filters,
                    w_width: each(w.width.into()),
                    w_g16: each(w.g16.into()),
                    w_g16_zero: each(w.g16_zero.into()),
                    w_terms: each(w.terms.into()),
                    terms: a(TERMS) * u128::from(w.terms),
                    a_g16_w: g16 * nonzero,
                    a_g16_zero_w: zero[0] * nonzero,
                    a_g16_both: a(NONZERO_G16) * nonzero,
                    a_terms_w: a(TERMS) * nonzero,
                };
            }
        }
        sum
    }
}
