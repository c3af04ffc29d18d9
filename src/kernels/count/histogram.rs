//! How often each code is seen: counts of a byte, which stay in the first-level cache, and what goes beyond them.

/// One 8-bit count for each 16-bit pattern, how often each went round, and how many codes were added.
pub(super) struct CodeHistogram {
    counts: Box<[u8; 1 << 16]>,
    rounds: Box<[u32; 1 << 16]>,
    added: u64,
    nonzeros: u64,
}

impl Default for CodeHistogram {
    fn default() -> Self {
        let length = "the length of the array";
        let counts = vec![0; 1 << 16].into_boxed_slice().try_into().expect(length);
        let rounds = vec![0; 1 << 16].into_boxed_slice().try_into().expect(length);
        Self { counts, rounds, added: 0, nonzeros: 0 }
    }
}

impl CodeHistogram {
    /// Adds `values` codes, of which these are not zero.
    #[inline(always)]
    pub(super) fn add(&mut self, nonzeros: &[u16], values: u64) {
        let (counts, rounds) = (&mut *self.counts, &mut *self.rounds);
        let mut add = |code: u16| {
            let count = &mut counts[usize::from(code)];
            *count = count.wrapping_add(1);
            if *count == 0 {
                carry(&mut rounds[usize::from(code)]);
            }
        };
        let (fours, rest) = nonzeros.as_chunks::<4>();
        for &[a, b, c, d] in fours {
            add(a);
            add(b);
            add(c);
            add(d);
        }
        rest.iter().for_each(|&code| add(code));
        self.nonzeros += nonzeros.len() as u64;
        self.added += values;
    }

    /// Whether `values` more could be too many.
    pub(super) fn is_full(&self, values: u64) -> bool {
        (self.added + values) >> 8 > u64::from(u32::MAX)
    }

    /// Moves the counts to `codes`, whose first is `lowest`.
    pub(super) fn drain_into(&mut self, codes: &mut [u64], lowest: i32) {
        codes[(-lowest) as usize] += self.added - self.nonzeros;
        for (index, to) in codes.iter_mut().enumerate() {
            let pattern = usize::from((lowest + index as i32) as i16 as u16);
            let rounds = u64::from(std::mem::take(&mut self.rounds[pattern]));
            *to += rounds << 8 | u64::from(std::mem::take(&mut self.counts[pattern]));
        }
        (self.added, self.nonzeros) = (0, 0);
    }
}

/// Apart from the loop, which seldom comes here.
#[cold]
fn carry(rounds: &mut u32) {
    *rounds += 1;
}
