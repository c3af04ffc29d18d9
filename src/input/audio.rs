//! Recordings: WAV files as overlapping chunks.

use std::io::Cursor;

use hound::{SampleFormat, WavReader};
use serde::Deserialize;

use crate::{Error, Result};

/// Longest recording in chunks: half an hour at 32 ms.
const LONGEST: usize = 56_250;

/// How a recording becomes an image of one channel. A column is a chunk, preceded by the samples before it and followed by its
/// own last samples in reverse.
///
/// ```text
/// column:   [ context ][        chunk        ][ reflect ]      of the samples:   ... s6 s7 | s8 s9 s10 s11 | s12 ...
///             s6  s7      s8  s9  s10  s11      s10  s9                         context 2, chunk 4, reflect 2
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framing {
    /// Sample rate in Hz.
    pub rate: u32,
    /// Stride between chunks in samples.
    pub chunk: usize,
    /// Samples before the chunk; zeros before the first chunk.
    pub context: usize,
    /// Samples after the chunk: its own in reverse, without the last.
    pub reflect: usize,
}

impl Framing {
    /// What is wrong with the numbers, if anything.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let sizes = [self.chunk, self.context + 1, self.reflect + 1];
        match () {
            () if !(1..=192_000).contains(&self.rate) => Some("rate must be 1 to 192000"),
            () if !sizes.iter().all(|size| (1..=16384).contains(size)) => {
                Some("chunk, context and reflect must be at most 16384")
            }
            () if self.reflect >= self.chunk => Some("reflect must be less than chunk"),
            () => None,
        }
    }

    /// Length of a column.
    pub fn rows(&self) -> usize {
        self.context + self.chunk + self.reflect
    }

    /// Seconds from chunk to chunk.
    pub fn seconds(&self) -> f64 {
        self.chunk as f64 / f64::from(self.rate)
    }

    /// `[rows, chunks]` for `samples`, the last chunk padded with silence.
    pub fn frames(&self, samples: &[f32]) -> (Vec<f32>, usize) {
        let chunks = samples.len().div_ceil(self.chunk);
        let sample = |at: Option<usize>| at.and_then(|at| samples.get(at)).copied().unwrap_or(0.0);
        let whole = self.context + self.chunk;
        let value = |row: usize, chunk: usize| {
            let row = if row < whole { row } else { 2 * whole - 2 - row };
            sample((chunk * self.chunk + row).checked_sub(self.context))
        };
        let values = (0..self.rows()).flat_map(|row| (0..chunks).map(move |chunk| value(row, chunk))).collect();
        (values, chunks)
    }

    /// The samples of the WAV file `bytes`, from -1 to 1.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming `file` if it is no complete WAV file, has no samples or too many; [`Error::Unsupported`]
    /// for another sample rate or several channels.
    pub fn decode(&self, file: &str, bytes: &[u8]) -> Result<Vec<f32>> {
        let broken = |error: hound::Error| Error::malformed(file, format!("is no WAV file that can be read: {error}"));
        let mut reader = WavReader::new(Cursor::new(bytes)).map_err(broken)?;
        let spec = reader.spec();
        if (spec.channels, spec.sample_rate) != (1, self.rate) {
            let what = format!("{file}: {} channels at {} Hz", spec.channels, spec.sample_rate);
            let hint = format!("one channel at {0} Hz is read: ffmpeg -i {file} -ac 1 -ar {0} out.wav", self.rate);
            return Err(Error::unsupported(what, hint));
        }
        let samples: Vec<f32> = match spec.sample_format {
            SampleFormat::Float => reader.samples::<f32>().collect::<std::result::Result<_, _>>().map_err(broken)?,
            SampleFormat::Int => {
                let unit = (1u64 << (spec.bits_per_sample.clamp(1, 32) - 1)) as f32;
                let floats = reader.samples::<i32>().map(|sample| sample.map(|sample| sample as f32 / unit));
                floats.collect::<std::result::Result<_, _>>().map_err(broken)?
            }
        };
        if samples.is_empty() {
            return Err(Error::malformed(file, "holds no sample"));
        }
        if samples.iter().any(|sample| !sample.is_finite()) {
            return Err(Error::NotFinite { place: file.to_owned(), detail: ", a sample".to_owned() });
        }
        if samples.len().div_ceil(self.chunk) > LONGEST {
            let detail = format!("is longer than {} s: cut it first", (LONGEST as f64 * self.seconds()).round());
            return Err(Error::malformed(file, detail));
        }
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMING: Framing = Framing { rate: 8000, chunk: 4, context: 2, reflect: 3 };

    #[test]
    fn a_column_has_the_samples_before_its_chunk_and_its_end_reversed() {
        let samples: Vec<f32> = (1..=6).map(|v| v as f32).collect();
        let (values, chunks) = FRAMING.frames(&samples);
        assert_eq!((chunks, FRAMING.rows()), (2, 9));
        let column = |chunk: usize| values.iter().skip(chunk).step_by(chunks).copied().collect::<Vec<f32>>();
        assert_eq!(column(0), [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0]);
        assert_eq!(column(1), [3.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 6.0, 5.0]);
    }

    fn wav(spec: hound::WavSpec, write: impl Fn(&mut hound::WavWriter<Cursor<&mut Vec<u8>>>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = hound::WavWriter::new(Cursor::new(&mut bytes), spec).unwrap();
        write(&mut writer);
        writer.finalize().unwrap();
        bytes
    }

    #[test]
    fn samples_of_every_width_are_between_minus_one_and_one() {
        for bits_per_sample in [8, 16, 24, 32] {
            let spec =
                hound::WavSpec { channels: 1, sample_rate: 8000, bits_per_sample, sample_format: SampleFormat::Int };
            let half = 1 << (bits_per_sample - 2);
            let bytes = wav(spec, |writer| [half, -2 * half, 0].iter().for_each(|&v| writer.write_sample(v).unwrap()));
            assert_eq!(FRAMING.decode("x", &bytes).unwrap(), [0.5, -1.0, 0.0], "{bits_per_sample}");
            for cut in 0..bytes.len() {
                assert!(FRAMING.decode("cut.wav", &bytes[..cut]).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn unsuitable_recordings_are_errors() {
        let spec =
            hound::WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 32, sample_format: SampleFormat::Float };
        let of = |spec: hound::WavSpec, samples: &[f32]| {
            let bytes = wav(spec, |writer| samples.iter().for_each(|&v| writer.write_sample(v).unwrap()));
            FRAMING
                .decode("x.wav", &bytes)
                .map(|samples| samples.len())
                .map_err(|error| (error.exit_code(), format!("{error} {}", error.hint().unwrap_or_default())))
        };
        assert_eq!(of(spec, &[0.25]), Ok(1));
        let stereo = of(hound::WavSpec { channels: 2, sample_rate: 44100, ..spec }, &[0.0, 0.0]).unwrap_err();
        assert!(stereo.0 == 4 && stereo.1.contains("-ac 1 -ar 8000"), "{stereo:?}");
        assert!(of(spec, &[]).unwrap_err().1.contains("holds no sample"));
        assert_eq!(of(spec, &[f32::NAN]).unwrap_err().0, crate::error::exit::NOT_FINITE);
        assert!(of(spec, &vec![0.0; 4 * LONGEST + 1]).unwrap_err().1.contains("cut it first"));
        assert!(FRAMING.decode("noise.wav", b"RIFFnoise").unwrap_err().to_string().starts_with("noise.wav"));
    }
}
