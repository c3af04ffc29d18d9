//! NumPy arrays of codes, for DNNsim, NeuroSim and scripts: weights and activations of each layer, and the list of layers and the
//! precisions that DNNsim reads beside them.

use super::codes::{Codes, Dtype, Images};
use super::layer::{Loops, width};
use super::names::unique;
use super::{Form, LeftOut, Run, Target, Written};
use crate::Result;
use crate::format::Coding;
use crate::input::npy_header;
use crate::measurement::LayerCounts;
use crate::metrics::Which;

pub(super) const TARGET: Target = Target {
    name: "npy",
    tool: "DNNsim, NeuroSim and NumPy",
    writes: "a folder: `wgt-LAYER.npy`, `act-LAYER-BATCH.npy`, and DNNsim's `model.csv` and `precision.txt`",
    takes: "the codes that were counted, int8 or int16; widths",
    leaves: "products of two activations; of `model.csv` alone: dilations, strides or paddings that differ, transposed convolutions, recurrent layers",
    source: "`base/src/NetReader.cpp`, `base/src/cnpy.cpp` of isakedo/DNNsim",
    form: Form::Codes,
};

/// The arrays of a run.
#[derive(Debug)]
pub struct Arrays<'a> {
    run: Run<'a>,
    dtype: Dtype,
    names: Vec<String>,
}

impl<'a> Arrays<'a> {
    /// Of `run`, in numbers of `dtype`.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a run whose codes are significands; [`crate::Error::Unsupported`] if no layer has weights.
    pub fn new(run: Run<'a>, dtype: Dtype) -> Result<Self> {
        run.check_integers(&TARGET)?;
        let names = unique(run.measurement.layers.iter().map(|counts| counts.name.as_str()), "._-");
        let arrays = Self { run, dtype, names };
        let (_, left_out) = run.each(has_arrays);
        TARGET.check(&run, &left_out)?;
        Ok(arrays)
    }

    /// Whether layer `index` has arrays: all have but products of two activations.
    pub fn has(&self, index: usize) -> bool {
        has_arrays(&self.run.measurement.layers[index]).is_ok()
    }

    /// The file of the weights of layer `index`: `[K, C/groups, R, S]`, of a fully connected layer `[K, C]`.
    pub fn weights(&self, index: usize, codes: Codes<'_>) -> (String, Vec<u8>) {
        let counts = &self.run.measurement.layers[index];
        let shape = &counts.tally.shape;
        let extents = if shape.features { &shape.weight[..2] } else { &shape.weight[..] };
        let bytes = self.array(&counts.codings[1], extents, codes.0.iter().copied());
        (format!("wgt-{}.npy", self.names[index]), bytes)
    }

    /// The file of what layer `index` reads of batch `batch`: `[B, C, H, W]`, of a fully connected layer `[B, C]` in the order of
    /// its weights (steps of sequences are rows), of a recurrent layer `[B, T, C]`.
    pub fn activations(&self, index: usize, batch: usize, images: Images<'_>) -> (String, Vec<u8>) {
        let counts = &self.run.measurement.layers[index];
        let shape = &counts.tally.shape;
        let ([c, h, w], count) = (images.extents, images.codes.len());
        let is_recurrent = counts.kind != "linear";
        let steps = shape.features && shape.weight[1] == c && h == 1;
        let extents = match (shape.features, steps) {
            (false, _) => vec![count, c, h, w],
            (true, true) if is_recurrent => vec![count, w, c],
            (true, true) => vec![count * w, c],
            (true, false) => vec![count, c * h * w],
        };
        // The place of the n-th feature in `[C, H, W]`.
        let place = |n: usize| match (shape.features, steps, shape.channels_last) {
            (true, true, _) | (true, false, true) => n % c * h * w + n / c,
            _ => n,
        };
        let codes = images.codes.iter().flat_map(|image| (0..image.len()).map(move |n| image[place(n)]));
        let bytes = self.array(&counts.codings[0], &extents, codes);
        (format!("act-{}-{batch}.npy", self.names[index]), bytes)
    }

    /// The files beside the arrays, which hold `inputs` inputs; the notes are among them.
    pub fn finish(&self, inputs: u64) -> Written {
        let (made, of_table) = self.run.each(of_dnnsim);
        let (_, left_out) = self.run.each(has_arrays);
        let row = |(index, row): &(usize, String)| format!("{},{row}\n", self.names[*index]);
        let table: String = made.iter().map(row).collect();
        let mut notes = vec![
            format!("the arrays hold {inputs} of these inputs, in their order"),
            "a fully connected layer's activations are [B, C] in the order of its weights, steps of sequences one below the other; a recurrent layer's [B, T, C]".into(),
            "a step of a recurrent layer reads what the step before gave; its first reads the state that the run began with".into(),
        ];
        let arrays_only = of_table.into_iter().filter(|left| !left_out.iter().any(|out| out.layer == left.layer));
        let only: Vec<String> = arrays_only.map(|left| left.to_string()).collect();
        if !only.is_empty() {
            notes.push(format!("model.csv and precision.txt are without {}", only.join("; ")));
        }
        if self.dtype == Dtype::Int {
            notes.push("DNNsim reads float32: --dtype float32 writes these integers so".into());
        }
        let layers: Vec<&LayerCounts> = made.iter().map(|(index, _)| &self.run.measurement.layers[*index]).collect();
        let files = vec![
            ("model.csv".to_owned(), table.into_bytes()),
            ("precision.txt".to_owned(), precisions(&layers).into_bytes()),
        ];
        let mut written = Written { files, left_out, notes };
        let of_notes = TARGET.file_of_notes(&self.run, &written);
        written.files.push(of_notes);
        written
    }

    fn array(&self, coding: &Coding, extents: &[usize], codes: impl Iterator<Item = i16>) -> Vec<u8> {
        let bytes = coding.map.lo >= i8::MIN.into() && coding.map.hi <= i8::MAX.into();
        let (descr, values): (_, Vec<u8>) = match (self.dtype, bytes) {
            (Dtype::Float32, _) => ("<f4", codes.flat_map(|code| f32::from(code).to_le_bytes()).collect()),
            (Dtype::Int, true) => ("|i1", codes.flat_map(|code| (code as i8).to_le_bytes()).collect()),
            (Dtype::Int, false) => ("<i2", codes.flat_map(i16::to_le_bytes).collect()),
        };
        [npy_header(descr, extents), values].concat()
    }
}

impl LeftOut {
    /// Layers of `left_out` by name and reason, a line each.
    pub fn lines(left_out: &[Self]) -> String {
        left_out.iter().map(|left| format!("\n  {left}")).collect()
    }
}

fn has_arrays(counts: &LayerCounts) -> Result<(), String> {
    match counts.tally.pairs {
        None => Ok(()),
        Some(_) => Err("it multiplies two activations, and has no weights".into()),
    }
}

/// A layer's row of DNNsim's `model.csv` behind its name: type, stride, padding.
fn of_dnnsim(counts: &LayerCounts) -> Result<String, String> {
    if counts.tally.shape.features && counts.kind == "linear" && counts.tally.pairs.is_none() {
        return Ok("fc,1,0".into());
    }
    let loops = Loops::of(counts)?.not_transposed()?.not_dilated()?.one_stride()?;
    let [top, others @ ..] = loops.padding;
    if others != [top; 3] {
        return Err("its paddings differ".into());
    }
    Ok(format!("conv,{},{top}", loops.stride_of_both()))
}

/// DNNsim's precisions: for each layer, bits before the point, the sign among them, and behind it; of activations, then of weights.
/// DNNsim takes every tensor as signed.
fn precisions(layers: &[&LayerCounts]) -> String {
    let line =
        |of: &dyn Fn(&LayerCounts) -> u32| layers.iter().map(|counts| format!("{};", of(counts))).collect::<String>();
    let signed =
        |counts: &LayerCounts, which: Which, lowest: i32| width(counts, which).unwrap_or(1) + u32::from(lowest >= 0);
    let activations =
        |counts: &LayerCounts| signed(counts, Which::Activations, counts.tally.activations.values.code_extremes[0]);
    let weights = |counts: &LayerCounts| signed(counts, Which::Weights, counts.tally.weights.values.code_extremes[0]);
    let lines = [
        "magnitude (+1 of the sign), fraction, wgt_magnitude, wgt_fraction".to_owned(),
        line(&activations),
        line(&|_| 0),
        line(&weights),
        line(&|_| 0),
    ];
    lines.map(|line| line + "\n").concat()
}
