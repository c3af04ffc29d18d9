//! The header of a measurement's file: everything but the arrays, as JSON.

use serde::{Deserialize, Serialize};

use super::stored::Asked;
use super::{Format, LayerCounts, Measurement, Provenance};
use crate::format::{Coding, Stored};
use crate::input::InputDigest;
use crate::kernels::FloatType;
use crate::kernels::count::CodeMap;
use crate::kernels::count::sequence::Buckets;
use crate::tally::{Extra, LayerShape, Moments, Spread, Statistics, VARIES, gate_names};
use crate::task::Quality;
use crate::{Error, Result};

/// Name and version of the file's layout.
pub const SCHEMA: &str = "deadweight/counts/1";

/// Most steps of sequences that are counted one by one.
const MOST_STEPS: u64 = 1 << 16;

/// Largest extent that a file may state.
const LARGEST: usize = 1 << 30;

/// The text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    schema: String,
    provenance: Provenance,
    inputs: u64,
    skipped: u64,
    turned: u64,
    digest: String,
    quality: Quality,
    /// What is taken for one input where it is asked how ratios spread, how often, and which ratios.
    spread_inputs: u64,
    pub ratios: Vec<String>,
    pub layers: Vec<LayerFacts>,
    /// Of a checkpoint, where the run stands.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unfinished: Option<Unfinished>,
    /// Of the text without it and all arrays, hex.
    pub sha256: String,
}

/// Where a run stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unfinished {
    /// The next input.
    pub next: usize,
    /// The first input and the one behind the last.
    pub inputs: [usize; 2],
    /// How many states there are.
    pub states: usize,
    /// Of each layer that has sequences, how many steps each had.
    pub steps: Vec<Option<Vec<u64>>>,
    /// Of each stream, whether a block of it is open.
    pub open: Vec<bool>,
}

/// Gates where a file does not say how many.
const LSTM_GATES: usize = 4;

/// One layer's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayerFacts {
    pub name: String,
    pub kind: String,
    pub images: u64,
    recurrent: bool,
    /// Of a product of a recurrent layer, how many gates are stacked, if not four.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    gates: Option<usize>,
    /// Whether it is a product of two activations.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub pairs: bool,
    /// Of sequences, how many first steps are counted one by one, if not as many as by default.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    single_steps: Option<u64>,
    input: [Option<usize>; 3],
    output: [Option<usize>; 3],
    weight: [usize; 4],
    stride: [usize; 2],
    padding: [Option<usize>; 4],
    dilation: [usize; 2],
    groups: usize,
    features: bool,
    transposed: bool,
    channels_last: bool,
    codings: [CodingFacts; 2],
    #[serde(skip_serializing_if = "Option::is_none", default)]
    output_coding: Option<CodingFacts>,
}

/// The numbers of an operand; floats as their 32 bits, which JSON keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CodingFacts {
    scale: u32,
    lowest: i32,
    highest: i32,
    bits: u32,
    unit: Option<u32>,
    stored: Option<StoredFacts>,
    /// The floating-point type, if codes are significands.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    float: Option<String>,
    /// Whether each filter has a scale of its own, in an array.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    per_filter: bool,
    /// The width of the layer that a precision file states.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    width: Option<u32>,
}

/// The integers that a network stores an operand as.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFacts {
    scale: Option<u32>,
    zero_point: i32,
    lowest: i32,
    highest: i32,
    bits: u32,
}

impl CodingFacts {
    fn of(coding: &Coding) -> Self {
        let stored = coding.stored.map(|stored| StoredFacts {
            scale: stored.scale.map(f32::to_bits),
            zero_point: stored.zero_point,
            lowest: stored.range.0,
            highest: stored.range.1,
            bits: stored.bits,
        });
        Self {
            scale: coding.map.scale.to_bits(),
            lowest: coding.map.lo,
            highest: coding.map.hi,
            bits: coding.bits,
            unit: coding.unit.map(f32::to_bits),
            stored,
            float: coding.map.float.map(|of| of.name().to_owned()),
            per_filter: coding.per_filter,
            width: coding.width,
        }
    }

    /// The numbers, if they can be such.
    fn coding(&self) -> Option<Coding> {
        let in_range = |code: i32| code.unsigned_abs() < 1 << 15;
        let ordered = self.lowest <= 0 && self.highest >= 0 && in_range(self.lowest) && in_range(self.highest);
        let scale = f32::from_bits(self.scale);
        let stored_fits = self.stored.as_ref().is_none_or(|stored| {
            (1..=16).contains(&stored.bits)
                && in_range(stored.zero_point)
                && in_range(stored.lowest)
                && in_range(stored.highest)
        });
        if !(ordered && stored_fits && (1..=17).contains(&self.bits) && scale.is_finite() && scale > 0.0) {
            return None;
        }
        let stored = self.stored.as_ref().map(|stored| Stored {
            scale: stored.scale.map(f32::from_bits),
            zero_point: stored.zero_point,
            range: (stored.lowest, stored.highest),
            bits: stored.bits,
        });
        let map = match &self.float {
            Some(name) => CodeMap::float(scale, FloatType::from_name(name)?),
            None => CodeMap::linear(scale, self.lowest, self.highest),
        };
        let fits = (map.lo, map.hi) == (self.lowest, self.highest);
        let fits = fits && self.width.is_none_or(|width| (1..=self.bits).contains(&width));
        let (per_filter, width) = (self.per_filter, self.width);
        fits.then(|| Coding { map, bits: self.bits, unit: self.unit.map(f32::from_bits), per_filter, width, stored })
    }
}

impl LayerFacts {
    fn of(layer: &LayerCounts) -> Self {
        let same = |extent: usize| (extent != VARIES).then_some(extent);
        let LayerShape {
            input,
            output,
            weight,
            stride,
            padding,
            dilation,
            groups,
            features,
            transposed,
            channels_last,
        } = layer.tally.shape;
        let recurrent = layer.tally.recurrent.as_ref();
        Self {
            name: layer.name.clone(),
            kind: layer.kind.clone(),
            images: layer.tally.images,
            recurrent: recurrent.is_some(),
            gates: recurrent.map(|of| of.gates.len()).filter(|gates| *gates != LSTM_GATES),
            pairs: layer.tally.pairs.is_some(),
            single_steps: recurrent.map(|of| of.buckets).filter(|of| *of != Buckets::default()).map(|of| of.single),
            input: input.map(same),
            output: output.map(same),
            weight,
            stride,
            padding: padding.map(same),
            dilation,
            groups,
            features,
            transposed,
            channels_last,
            codings: layer.codings.each_ref().map(CodingFacts::of),
            output_coding: layer.output.as_ref().map(CodingFacts::of),
        }
    }

    fn wrong(&self, file: &str, detail: &str) -> Error {
        Error::malformed(format!("{file}: {}", self.name), detail)
    }

    /// The layer's extents.
    pub fn shape(&self, file: &str) -> Result<LayerShape> {
        let extent = |extent: Option<usize>| extent.unwrap_or(VARIES);
        let known = self.input.iter().chain(&self.output).chain(&self.padding).flatten();
        let sizes = known.chain(&self.weight).chain(&self.stride).chain(&self.dilation);
        let product = self.weight.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent));
        let channels = if self.features { Some(self.weight[1]) } else { self.input[0] };
        // A sequence may have no steps: those of a phase of attention that it does not reach.
        let pixels = self.input.iter().chain(&self.output).flatten().filter(|_| !self.features);
        let mut positive = pixels.chain(&self.stride).chain(&self.dilation);
        let fits = sizes.into_iter().all(|&size| size <= LARGEST)
            && positive.all(|&size| size > 0)
            && product.is_some_and(|product| (1..=LARGEST).contains(&product))
            && (1..=self.weight[0]).contains(&self.groups)
            && self.weight[0].is_multiple_of(self.groups)
            && channels.is_some()
            && (self.features || channels == self.weight[1].checked_mul(self.groups))
            && (!self.recurrent || self.weight[0].is_multiple_of(self.gates.unwrap_or(LSTM_GATES).max(1)));
        if !fits {
            return Err(self.wrong(file, "has extents that no layer has"));
        }
        Ok(LayerShape {
            input: self.input.map(extent),
            output: self.output.map(extent),
            weight: self.weight,
            stride: self.stride,
            padding: self.padding.map(extent),
            dilation: self.dilation,
            groups: self.groups,
            features: self.features,
            transposed: self.transposed,
            channels_last: self.channels_last,
        })
    }

    /// Its gates, and which steps of sequences are counted together, if it is a product of a recurrent layer.
    pub fn gates(&self, file: &str) -> Result<Option<(&'static [&'static str], Buckets)>> {
        let names = gate_names(self.gates.unwrap_or(LSTM_GATES));
        let buckets = self.single_steps.map_or_else(Buckets::default, |single| Buckets { single });
        match (self.recurrent, names) {
            (false, _) if self.gates.is_none() && self.single_steps.is_none() => Ok(None),
            (true, Some(names)) if buckets.single <= MOST_STEPS => Ok(Some((names, buckets))),
            (true, None) => Err(self.wrong(file, "has gates that no layer has")),
            _ => Err(self.wrong(file, "has steps that no layer has")),
        }
    }

    /// The numbers of its operands, and of its outputs where these were counted.
    pub fn codings(&self, file: &str) -> Result<([Coding; 2], Option<Coding>)> {
        let known =
            |facts: &CodingFacts| facts.coding().ok_or_else(|| self.wrong(file, "is in numbers that there are not"));
        let [activations, weights] = self.codings.each_ref().map(known);
        Ok(([activations?, weights?], self.output_coding.as_ref().map(known).transpose()?))
    }
}

impl Header {
    /// The text of `measurement`, without its checksum.
    pub fn of(measurement: &Measurement) -> Self {
        Self {
            schema: SCHEMA.into(),
            provenance: measurement.provenance.clone(),
            inputs: measurement.inputs,
            skipped: measurement.skipped,
            turned: measurement.turned,
            digest: measurement.digest.to_string(),
            quality: measurement.quality.clone(),
            spread_inputs: measurement.spread.inputs,
            ratios: measurement.spread.ratios.clone(),
            layers: measurement.layers.iter().map(LayerFacts::of).collect(),
            unfinished: None,
            sha256: String::new(),
        }
    }

    /// Reads `text` of the file `file`.
    pub fn read(file: &str, text: &str) -> Result<Self> {
        let wrong = |error: serde_json::Error| Error::malformed(format!("{file}: metadata"), error.to_string());
        let value: serde_json::Value = serde_json::from_str(text).map_err(wrong)?;
        match value.get("schema").and_then(|schema| schema.as_str()) {
            Some(SCHEMA) => serde_json::from_str(text).map_err(wrong),
            Some(other) => {
                let version = env!("CARGO_PKG_VERSION");
                Err(Error::malformed(file, format!("is of {other}, and deadweight {version} reads {SCHEMA}")))
            }
            None => Err(Error::malformed(file, "is no measurement: its metadata name no schema")),
        }
    }

    /// The text as the checksum is of it.
    pub fn without_checksum(&self) -> Self {
        Self { sha256: String::new(), ..self.clone() }
    }

    /// How many inputs were counted.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// What was counted beside what always is.
    pub fn asked(&self, file: &str) -> Result<Asked> {
        let unknown = |name: &str| {
            Error::malformed(format!("{file}: metadata"), format!("names counts {name}, which there are not"))
        };
        let Format { statistics, extra, designs, .. } = &self.provenance.format;
        let extras = extra.iter().map(|name| Extra::from_name(name).ok_or_else(|| unknown(name)));
        let level = Statistics::from_name(statistics).ok_or_else(|| unknown(statistics))?;
        Ok(Asked { level, extras: extras.collect::<Result<_>>()?, designs: designs.len() })
    }

    /// The measurement of these `layers`.
    pub fn into_measurement(
        self,
        file: &str,
        layers: Vec<LayerCounts>,
        keys: Vec<u64>,
        scopes: Vec<Vec<Moments>>,
    ) -> Result<Measurement> {
        let digest = InputDigest::from_hex(&self.digest)
            .ok_or_else(|| Error::malformed(format!("{file}: digest"), "is no SHA-256"))?;
        if self.spread_inputs > self.inputs {
            return Err(Error::malformed(format!("{file}: spread"), "is of more inputs than there are"));
        }
        Ok(Measurement {
            provenance: self.provenance,
            layers,
            inputs: self.inputs,
            skipped: self.skipped,
            turned: self.turned,
            digest,
            keys,
            quality: self.quality,
            spread: Spread { inputs: self.spread_inputs, ratios: self.ratios, scopes },
        })
    }
}
