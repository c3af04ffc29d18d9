//! One scan: walks its blocks in order, decoding only as much as is needed to find their ends.

use super::bits::{Bits, Codes};
use super::{End, Frame, WRONG};

/// The parameters of a scan.
pub(super) struct Scan<'a> {
    /// First and last coefficient (spectral selection).
    pub(super) range: [usize; 2],
    /// Whether it refines coefficients that were coded before (successive approximation).
    pub(super) refines: bool,
    /// MCUs between two restart markers; 0 for none.
    pub(super) interval: usize,
    pub(super) tables: &'a [[Option<Codes>; 4]; 2],
}

/// The bits, and the number of blocks still to come that end at once (end-of-band run).
struct Reader<'a> {
    bits: Bits<'a>,
    ended: u32,
}

impl Scan<'_> {
    /// Walks the blocks of the components `chosen` (with their table numbers), whose data start at `at`; returns where they
    /// end.
    pub(super) fn walk(
        &self,
        frame: &mut Frame,
        chosen: &[(usize, [usize; 2])],
        bytes: &[u8],
        at: usize,
    ) -> Result<usize, End> {
        let most = frame.most();
        // A single component is coded block by block, without the blocks that only pad MCUs.
        let (units, alone) = match chosen {
            [(only, _)] => {
                let sampling = frame.components[*only].sampling;
                let blocks = |axis: usize| (frame.size[axis] * sampling[axis]).div_ceil(8 * most[axis]);
                ([blocks(0), blocks(1)], true)
            }
            _ => (frame.units(), false),
        };
        let progressive = frame.progressive;
        let mut reader = Reader { bits: Bits::new(bytes, at), ended: 0 };
        let mut restart = 0xd0;
        for unit in 0..units[0] * units[1] {
            if self.interval > 0 && unit > 0 && unit % self.interval == 0 {
                let end = reader.bits.end()?;
                if bytes.get(end + 1) != Some(&restart) {
                    return Err("is damaged or cut off: a restart of its data is missing".into());
                }
                restart = 0xd0 + (restart + 1) % 8;
                reader = Reader { bits: Bits::new(bytes, end + 2), ended: 0 };
            }
            let [x, y] = [unit % units[0], unit / units[0]];
            for &(place, tables) in chosen {
                let component = &mut frame.components[place];
                let [across, down] = if alone { [1, 1] } else { component.sampling };
                for block in 0..across * down {
                    let place = (y * down + block / across) * component.stride + x * across + block % across;
                    match progressive {
                        true => self.progressive(&mut reader, tables, &mut component.set[place])?,
                        false => self.baseline(&mut reader, tables)?,
                    }
                }
            }
        }
        reader.bits.end()
    }

    /// A table. If a file has none, decoders may use a standard one, and block ends cannot be found.
    fn table(&self, kind: usize, number: usize) -> Result<&Codes, End> {
        self.tables[kind].get(number).ok_or(WRONG)?.as_ref().ok_or(End::Unknown)
    }

    fn baseline(&self, reader: &mut Reader, tables: [usize; 2]) -> Result<(), End> {
        let bits = &mut reader.bits;
        let size = bits.code(self.table(0, tables[0])?)?;
        bits.take(u32::from(size).min(16))?;
        let codes = self.table(1, tables[1])?;
        let mut at = 1;
        while at < 64 {
            let code = bits.code_and_bits(codes)?;
            match (code >> 4, code & 15) {
                (0..15, 0) => break,
                (zeros, _) => at += usize::from(zeros) + 1,
            }
        }
        if at <= 64 { Ok(()) } else { Err(WRONG.into()) }
    }

    fn progressive(&self, reader: &mut Reader, tables: [usize; 2], set: &mut u64) -> Result<(), End> {
        match (self.range[0], self.refines) {
            (0, false) => {
                let size = reader.bits.code(self.table(0, tables[0])?)?;
                reader.bits.take(u32::from(size).min(16)).map(|_| ())
            }
            (0, true) => reader.bits.take(1).map(|_| ()),
            (_, false) => self.first_bits(reader, self.table(1, tables[1])?, set),
            (_, true) => self.further_bits(reader, self.table(1, tables[1])?, set),
        }
    }

    fn first_bits(&self, reader: &mut Reader, codes: &Codes, set: &mut u64) -> Result<(), End> {
        if reader.ended > 0 {
            reader.ended -= 1;
            return Ok(());
        }
        let [mut at, last] = self.range;
        while at <= last {
            let code = reader.bits.code(codes)?;
            match (usize::from(code >> 4), u32::from(code & 15)) {
                (15, 0) => at += 16,
                (run, 0) => {
                    reader.ended = (1 << run) - 1 + reader.bits.take(run as u32)?;
                    break;
                }
                (zeros, size) => {
                    at += zeros;
                    reader.bits.take(size)?;
                    *set |= 1u64.checked_shl(at as u32).ok_or(WRONG)?;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    fn further_bits(&self, reader: &mut Reader, codes: &Codes, set: &mut u64) -> Result<(), End> {
        let [mut at, last] = self.range;
        while reader.ended == 0 && at <= last {
            let code = reader.bits.code(codes)?;
            let (mut zeros, size) = (code >> 4, code & 15);
            if size == 0 && zeros < 15 {
                reader.ended = (1 << zeros) + reader.bits.take(zeros.into())?;
                break;
            }
            if size > 0 {
                reader.bits.take(1)?;
            }
            // Non-zero coefficients have one bit each here; zeros are counted.
            while at <= last {
                if *set >> at & 1 == 1 {
                    reader.bits.take(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if size > 0 && at <= last {
                *set |= 1 << at;
            }
            at += 1;
        }
        if reader.ended > 0 {
            let below = |bit: usize| (1u64 << bit) - 1;
            let rest = if at > last { 0 } else { *set >> at & (below(last - at) << 1 | 1) };
            (0..rest.count_ones()).try_for_each(|_| reader.bits.take(1).map(|_| ()))?;
            reader.ended -= 1;
        }
        Ok(())
    }
}
