//! Checks that the coded data of a JPEG are complete. Decoders silently fill in what is missing, so the Huffman codes of
//! every scan are walked first: each block must be there, and nothing else.

mod bits;
mod scan;

use bits::Codes;
use scan::Scan;

/// What is wrong with a file.
type Fault = &'static str;

const CUT: Fault = "ends before the end of its image: it was cut off";
const WRONG: Fault = "is damaged: it does not keep to its format";

/// Why a check ends: a fault, or a coding that only the decoder can check.
enum End {
    Fault(Fault),
    Unknown,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// One colour component of the image.
struct Component {
    id: u8,
    /// Its blocks per minimum coded unit (MCU): columns, rows.
    sampling: [usize; 2],
    /// Its blocks in a row of MCUs.
    stride: usize,
    /// For each block, a bit set of its non-zero coefficients; only used for progressive images.
    set: Vec<u64>,
    /// For each coefficient, the lowest bit read so far.
    low: [Option<u8>; 64],
}

/// The image as described by its header.
struct Frame {
    progressive: bool,
    /// Columns, rows.
    size: [usize; 2],
    components: Vec<Component>,
}

impl Frame {
    /// Number of MCUs: columns, rows.
    fn units(&self) -> [usize; 2] {
        let most = self.most();
        [0, 1].map(|axis| self.size[axis].div_ceil(8 * most[axis]))
    }

    fn most(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.components.iter().map(|part| part.sampling[axis]).max().unwrap_or(1))
    }

    fn read(progressive: bool, body: &[u8]) -> Result<Self, End> {
        let [bits, h1, h0, w1, w0, count, parts @ ..] = body else { return Err(WRONG.into()) };
        let [w, h] = [[*w1, *w0], [*h1, *h0]].map(|bytes| usize::from(u16::from_be_bytes(bytes)));
        // More bits per sample, a height given later, or a size beyond the decoder's limits: the decoder refuses these.
        if *bits != 8 || w * h == 0 || w * h * usize::from(*count) > super::decode::LARGEST as usize {
            return Err(End::Unknown);
        }
        if parts.len() != 3 * usize::from(*count) {
            return Err(WRONG.into());
        }
        let component = |part: &[u8]| Component {
            id: part[0],
            sampling: [part[1] >> 4, part[1] & 15].map(usize::from),
            stride: 0,
            set: Vec::new(),
            low: [None; 64],
        };
        let components: Vec<Component> = parts.chunks(3).map(component).collect();
        if components.iter().any(|part| part.sampling.iter().any(|n| !(1..=4).contains(n))) {
            return Err(WRONG.into());
        }
        let mut frame = Self { progressive, size: [w, h], components };
        let [across, down] = frame.units();
        for part in &mut frame.components {
            part.stride = across * part.sampling[0];
            if progressive {
                part.set = vec![0; part.stride * down * part.sampling[1]];
            }
        }
        Ok(frame)
    }

    /// Whether every coefficient was coded to its last bit.
    fn is_complete(&self) -> bool {
        let is_complete = |part: &Component| part.low[0].is_some() && part.low.iter().flatten().all(|&low| low == 0);
        self.components.iter().all(is_complete)
    }
}

/// What has been read of a file so far.
#[derive(Default)]
struct State {
    frame: Option<Frame>,
    /// Huffman tables of DC and of AC coefficients.
    tables: [[Option<Codes>; 4]; 2],
    /// MCUs between two restart markers; 0 for none.
    interval: usize,
}

/// Checks that `bytes`, a JPEG, hold all blocks of the image and its end; anything after that is ignored.
///
/// # Errors
/// What is wrong, as a predicate of "the file ...". Codings that are not checked here (arithmetic, lossless) pass.
pub(super) fn check(bytes: &[u8]) -> Result<(), Fault> {
    match walk(bytes) {
        Err(End::Fault(fault)) => Err(fault),
        Ok(()) | Err(End::Unknown) => Ok(()),
    }
}

fn walk(bytes: &[u8]) -> Result<(), End> {
    let mut state = State::default();
    let mut at = 2;
    loop {
        let marker = next_marker(bytes, &mut at).ok_or(CUT)?;
        match marker {
            0xd9 => break,
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let length = bytes.get(at..at + 2).ok_or(CUT)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let body = bytes.get(at + 2..at + length.max(2)).ok_or(CUT)?;
        at += length.max(2);
        match marker {
            0xc0..=0xc2 if state.frame.is_some() => return Err(WRONG.into()),
            0xc0..=0xc2 => state.frame = Some(Frame::read(marker == 0xc2, body)?),
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Err(End::Unknown),
            0xc4 => state.define_tables(body)?,
            0xdd => state.interval = usize::from(u16::from_be_bytes(body.try_into().map_err(|_| WRONG)?)),
            0xda => at = state.scan(body, bytes, at)?,
            _ => {}
        }
    }
    match state.frame {
        Some(frame) if !frame.is_complete() => Err("lacks some of its scans: it was cut off".into()),
        _ => Ok(()),
    }
}

/// The next marker from `at` on; moves `at` behind it.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        *at += bytes.get(*at..)?.iter().position(|&byte| byte == 0xff)?;
        *at += bytes[*at..].iter().position(|&byte| byte != 0xff)?;
        let marker = bytes[*at];
        *at += 1;
        if marker != 0 {
            return Some(marker);
        }
    }
}

impl State {
    fn define_tables(&mut self, mut body: &[u8]) -> Result<(), End> {
        while let Some((&[place, ref counts @ ..], rest)) = body.split_first_chunk::<17>() {
            let count = counts.iter().map(|&count| usize::from(count)).sum();
            let (values, rest) = rest.split_at_checked(count).ok_or(WRONG)?;
            let table =
                self.tables.get_mut(usize::from(place >> 4)).and_then(|tables| tables.get_mut(usize::from(place & 15)));
            *table.ok_or(WRONG)? = Some(Codes::new(counts, values).ok_or(WRONG)?);
            body = rest;
        }
        if body.is_empty() { Ok(()) } else { Err(WRONG.into()) }
    }

    /// Walks a scan whose data start at `at`; returns where they end.
    fn scan(&mut self, body: &[u8], bytes: &[u8], at: usize) -> Result<usize, End> {
        let frame = self.frame.as_mut().ok_or(WRONG)?;
        let [count, rest @ ..] = body else { return Err(WRONG.into()) };
        let Some((parts, &[first, last, bits])) = rest.split_at_checked(2 * usize::from(*count)) else {
            return Err(WRONG.into());
        };
        let mut chosen = Vec::new();
        for part in parts.chunks(2) {
            let place = frame.components.iter().position(|component| component.id == part[0]).ok_or(WRONG)?;
            chosen.push((place, [part[1] >> 4, part[1] & 15].map(usize::from)));
        }
        // Baseline scans code all coefficients to the last bit.
        let (first, last, bits) = if frame.progressive { (first, last, bits) } else { (0, 63, 0) };
        let range = [first, last].map(usize::from);
        let mixed = frame.progressive && (range[0] == 0) != (range[1] == 0);
        if chosen.is_empty() || range[0] > range[1] || range[1] > 63 || mixed || (range[0] > 0 && chosen.len() > 1) {
            return Err(WRONG.into());
        }
        let scan = Scan { range, refines: bits >> 4 != 0, interval: self.interval, tables: &self.tables };
        let end = scan.walk(frame, &chosen, bytes, at)?;
        for (place, _) in chosen {
            frame.components[place].low[range[0]..=range[1]].fill(Some(bits & 15));
        }
        Ok(end)
    }
}

#[cfg(test)]
#[path = "jpeg/tests.rs"]
mod tests;
