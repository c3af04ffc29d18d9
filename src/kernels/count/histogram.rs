//! How often each code is seen: small counts close together, moved to the exact ones before they can overflow.

/// One 32-bit count for each 16-bit pattern, and how many codes of any kind were added.
pub(super) struct CodeHistogram {
    counts: Box<[u32; 1 << 16]>,
    added: u64,
    nonzeros: u64,
}

impl Default for CodeHistogram {
    fn default() -> Self {
        let counts = vec![0; 1 << 16].into_boxed_slice().try_into().expect("the length of the array");
        Self { counts, added: 0, nonzeros: 0 }
    }
}

impl CodeHistogram {
    /// Adds `values` codes, of which these are not zero.
    #[inline(always)]
    pub(super) fn add(&mut self, nonzeros: &[u16], values: u64) {
        for &code in nonzeros {
            self.counts[usize::from(code)] += 1;
        }
        self.nonzeros += nonzeros.len() as u64;
        self.added += values;
    }

    /// Makes sure that `values` more can be added, moving the counts to `codes`, whose first is `lowest`, if need be.
    pub(super) fn make_room(&mut self, values: u64, codes: &mut [u64], lowest: i32) {
        if self.added + values > u64::from(u32::MAX) {
            self.drain_into(codes, lowest);
        }
    }

    /// Moves the counts to `codes`, whose first is `lowest`.
    pub(super) fn drain_into(&mut self, codes: &mut [u64], lowest: i32) {
        codes[(-lowest) as usize] += self.added - self.nonzeros;
        for (index, to) in codes.iter_mut().enumerate() {
            let pattern = usize::from((lowest + index as i32) as i16 as u16);
            *to += u64::from(std::mem::take(&mut self.counts[pattern]));
        }
        (self.added, self.nonzeros) = (0, 0);
    }
}
