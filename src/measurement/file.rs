//! The measurement as a file: a safetensors container that holds the counts as integers by dotted names, and everything else as
//! one JSON text in its metadata, under `deadweight`.
//!
//! | array | type, shape | what |
//! |---|---|---|
//! | `L.a.windows` | u64 \[1\] | windows |
//! | `L.a.inside` | u64 \[R·S\] | windows whose tap lies inside the tensor |
//! | `L.a.taps` | u64 \[C, R·S, 4\] | sums over windows of non-zeros, widths, terms, widths of non-zeros' groups of 16 |
//! | `L.a.groups` | u64 \[⌈C/16⌉, R·S, 6\] | sums over windows of widths of groups of 16, 64, 256; windows whose group is zero |
//! | `L.w.taps` | u64 \[C, R·S, 5\] | sums over filters of non-zeros, widths, terms, widths of groups of 16, zero groups |
//! | `L.{a,w}.channel_nonzeros` | u64 \[C\] (filters of `w`) | values other than zero |
//! | `L.{a,w}.values` | u64 \[3\] | values, natural zeros, saturated |
//! | `L.{a,w}.extremes` | i32 \[4\] | least and largest value (as keys that order as they do), least and largest code |
//! | `L.{a,w}.group_widths` | u64 \[3, 18\] | groups of 16, 64, 256 by width |
//! | `L.{a,w}.codes`, `.code_counts` | i32, u64 \[n\] | codes that were seen, and how often; absent where that was not counted |
//! | `L.w.filter_scales`, `.filter_codes` | f32 \[K\], i64 \[K, 2\] | of each filter, where it has a scale of its own, the scale, Σq and Σq² |
//! | `L.{a,w,o}.extra.X` | u64 \[n\] | on-demand counts X |
//! | `L.o.…` | as `a` | the layer's outputs, as an operand that one tap reads, where these were counted |
//! | `L.gate.G.…` | as `w` | weights of a gate of a recurrent layer |
//! | `L.steps` | u64 \[buckets, 7\] | by steps: steps, values, non-zeros, terms, compared, equal, terms of changes |
//!
//! | `inputs` | u64 \[n\] | a number for each input, in rising order |
//! | `spread` | u64 \[layers + 1, ratios, 5, 2\] | ΣN, ΣD, ΣN², ΣN·D, ΣD² over inputs, of layers and the network; lower and upper half |
//!
//! `L` is a layer's name; the ratios N/D are named in the metadata. A checkpoint has `state.I` (f32), `sequence.L.I` (i32, by index of layer and stream) and
//! `open.I` (u64, by stream: what each layer has of the block of segments that is not full) besides.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};

use super::arrays::Arrays;
use super::header::{Header, Unfinished};
use super::stored::Stored;
use super::{Checkpoint, Measurement};
use crate::{Error, Result};

/// The one key of the container's metadata.
const KEY: &str = "deadweight";

/// What stands before the names of the layer's arrays: its name, numbered where layers before it have the same.
fn prefix(names: &[&str], index: usize) -> String {
    match names[..index].iter().filter(|name| **name == names[index]).count() {
        0 => names[index].to_owned(),
        before => format!("{}#{}", names[index], before + 1),
    }
}

impl Measurement {
    /// The measurement as the bytes of a file; equal measurements give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        written(Header::of(self), self.arrays())
    }

    fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        let names: Vec<&str> = self.layers.iter().map(|layer| layer.name.as_str()).collect();
        for (index, layer) in self.layers.iter().enumerate() {
            arrays.layer(&prefix(&names, index), layer);
        }
        arrays.u64("inputs".into(), &[self.keys.len()], self.keys.iter().copied());
        arrays.spread(&self.spread);
        arrays
    }

    /// Reads the bytes of a file; messages call it `file`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is no measurement, is cut short, was changed, is of another version, or is the checkpoint
    /// of a run that has not ended.
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Self> {
        let (measurement, header, stored) = read(file, bytes)?;
        if header.unfinished.is_some() {
            return Err(Error::malformed(file, "is a checkpoint of a run that has not ended; end it with --resume"));
        }
        stored.end()?;
        Ok(measurement)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`Measurement::from_bytes`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
        Self::from_bytes(&path.display().to_string(), &bytes)
    }
}

impl Checkpoint {
    /// The checkpoint as the bytes of a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut arrays = self.measurement.arrays();
        for (index, state) in self.states.iter().enumerate() {
            let bytes = state.iter().flat_map(|value| value.to_le_bytes()).collect();
            arrays.0.insert(format!("state.{index}"), (Dtype::F32, vec![state.len()], bytes));
        }
        for (layer, streams) in self.sequences.iter().enumerate() {
            for (stream, (last, _)) in streams.iter().flatten().enumerate() {
                arrays.i32(format!("sequence.{layer}.{stream}"), last.iter().copied());
            }
        }
        for (stream, layers) in self.open.iter().enumerate().filter(|(_, layers)| !layers.is_empty()) {
            arrays.open(stream, layers);
        }
        let steps = |streams: &Option<Vec<(Vec<i32>, u64)>>| {
            streams.as_ref().map(|streams| streams.iter().map(|(_, steps)| *steps).collect())
        };
        let unfinished = Unfinished {
            next: self.next,
            inputs: [self.inputs.start, self.inputs.end],
            states: self.states.len(),
            steps: self.sequences.iter().map(steps).collect(),
            open: self.open.iter().map(|layers| !layers.is_empty()).collect(),
        };
        let mut header = Header::of(&self.measurement);
        header.unfinished = Some(unfinished);
        written(header, arrays)
    }

    /// Reads the bytes of a file; messages call it `file`.
    ///
    /// # Errors
    /// As [`Measurement::from_bytes`], and for a run that has ended.
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Self> {
        let (measurement, header, mut stored) = read(file, bytes)?;
        let Some(Unfinished { next, inputs, states, steps, open }) = header.unfinished else {
            return Err(Error::malformed(file, "is the measurement of a run that has ended, no checkpoint"));
        };
        if steps.len() != measurement.layers.len() || states > 1 << 16 {
            return Err(Error::malformed(file, "is a checkpoint of another network"));
        }
        let floats = |(bytes, _): (Vec<u8>, Vec<usize>)| -> Vec<f32> {
            bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        let state = |index: usize| stored.take(&format!("state.{index}"), Dtype::F32, None).map(floats);
        let states = (0..states).map(state).collect::<Result<Vec<_>>>()?;
        let mut sequences = Vec::with_capacity(steps.len());
        for (layer, steps) in steps.into_iter().enumerate() {
            let Some(steps) = steps else {
                sequences.push(None);
                continue;
            };
            let channels = measurement.layers[layer].tally.activations.channels;
            let mut streams = Vec::with_capacity(steps.len());
            for (stream, steps) in steps.into_iter().enumerate() {
                let name = format!("sequence.{layer}.{stream}");
                let last = stored.i32(&name, None)?;
                if !(last.is_empty() || last.len() == channels) {
                    return Err(stored.wrong(&name, format!("has {} codes, must have {channels}", last.len())));
                }
                streams.push((last, steps));
            }
            sequences.push(Some(streams));
        }
        let layers = measurement.layers.len();
        let open = open.into_iter().enumerate();
        let open = open.map(|(stream, is_open)| if is_open { stored.open(stream, layers) } else { Ok(Vec::new()) });
        let open = open.collect::<Result<Vec<_>>>()?;
        stored.end()?;
        Ok(Self { measurement, next, inputs: inputs[0]..inputs[1], states, sequences, open })
    }
}

/// A file of `header` and `arrays`.
fn written(mut header: Header, arrays: Arrays) -> Vec<u8> {
    header.sha256 = arrays.digest(&header);
    let text = serde_json::to_string(&header).expect("a header has names for keys");
    let views = arrays.0.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).expect("as many bytes as the shape has"))
    });
    safetensors::serialize(views, Some([(KEY.to_owned(), text)].into())).expect("arrays of plain names")
}

/// The measurement in `bytes`, what else its header says, and the arrays that are not of it.
fn read<'a>(file: &'a str, bytes: &'a [u8]) -> Result<(Measurement, Header, Stored<'a>)> {
    let wrong = |detail: String| Error::malformed(file, detail);
    let no_file = |error: &dyn std::fmt::Display| wrong(format!("is no whole measurement file (.dwm): {error}"));
    let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).map_err(|error| no_file(&error))?;
    let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let text = text.ok_or_else(|| no_file(&format!("its metadata have no {KEY}")))?;
    let header = Header::read(file, text)?;
    let tensors = safetensors::SafeTensors::deserialize(bytes).map_err(|error| no_file(&error))?;
    let mut stored = Stored { file, arrays: tensors.tensors().into_iter().collect() };
    let arrays = stored
        .arrays
        .iter()
        .map(|(name, view)| (name.clone(), (view.dtype(), view.shape().to_vec(), view.data().to_vec())));
    // A fuzzer shall reach what is behind it.
    if !cfg!(fuzzing) && Arrays(arrays.collect()).digest(&header.without_checksum()) != header.sha256 {
        return Err(wrong("was changed after it was written: its checksum is another".into()));
    }
    let names: Vec<&str> = header.layers.iter().map(|layer| layer.name.as_str()).collect();
    let mut layers = Vec::with_capacity(header.layers.len());
    let asked = header.asked(file)?;
    for (index, facts) in header.layers.iter().enumerate() {
        layers.push(stored.layer(&prefix(&names, index), facts, &asked)?);
    }
    // Any number can be a key.
    let (keys, _) = stored.take("inputs", Dtype::U64, None)?;
    let keys: Vec<u64> = keys.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    if !keys.is_sorted() || keys.len() as u64 != header.inputs() {
        return Err(stored.wrong("inputs", "are not one for each input, in rising order"));
    }
    let scopes = stored.spread(layers.len(), header.ratios.len())?;
    Ok((header.clone().into_measurement(file, layers, keys, scopes)?, header, stored))
}
