//! What designs reach: of each layer and of the network, beside the ideal of the same idea, and what keeps the two apart.

use serde::Serialize;

use super::roofline::Roofline;
use super::table::Grid;
use super::units;
use crate::designs::{Counts, Setup};
use crate::measurement::{LayerCounts, Measurement};
use crate::metrics::{Options, Subject, Which};
use crate::tally::{Padding, Products};
use crate::{Error, Result};

/// Name and version of the document's layout.
pub const SCHEMA: &str = "deadweight/designs/1";

/// All designs that ran a network.
#[derive(Clone, Debug, Serialize)]
pub struct DesignReport {
    schema: &'static str,
    /// The model.
    pub model: String,
    /// Inputs that were run.
    pub inputs: u64,
    /// In which numbers.
    pub format: String,
    /// Which windows were run, if not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// In the order of the list.
    pub designs: Vec<DesignRun>,
    /// Layers that no design runs, and why.
    pub not_mapped: Vec<NotMapped>,
    /// Their share of the network's MACs.
    pub not_mapped_share: f64,
}

/// A layer that no design runs.
#[derive(Clone, Debug, Serialize)]
pub struct NotMapped {
    /// Its name.
    pub layer: String,
    /// Why.
    pub why: &'static str,
}

/// One design.
#[derive(Clone, Debug, Serialize)]
pub struct DesignRun {
    /// Its name.
    pub design: &'static str,
    /// The potential of the same idea (METRICS section 5), if there is one.
    pub potential: Option<&'static str>,
    /// What it was built with.
    pub parameters: Vec<(&'static str, usize)>,
    /// Lanes that multiply side by side.
    pub lanes: u64,
    /// All layers.
    pub network: Reached,
    /// Each layer.
    pub layers: Vec<LayerReached>,
}

/// One layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReached {
    /// Its name.
    pub layer: String,
    /// Its kind.
    pub kind: String,
    /// What it reaches.
    #[serde(flatten)]
    pub reached: Reached,
}

/// What a design reaches. Lane-cycles are one lane for one cycle.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Reached {
    /// Cycles.
    pub cycles: u64,
    /// Multiply-accumulates.
    pub macs: u128,
    /// Bit products of all operands in all bits.
    pub baseline: u128,
    /// Bit products that the lanes could have made meanwhile.
    pub capacity: u128,
    /// Bit products that the idea leaves to do.
    pub ideal: u128,
    /// Lane-cycles: of what the idea leaves to do, of lanes that take a cycle for operands that need none, of lanes without operands, and
    /// of lanes that wait for others.
    pub work: u64,
    /// See [`Self::work`].
    pub floor: u64,
    /// See [`Self::work`].
    pub shape: u64,
    /// See [`Self::work`].
    pub imbalance: u128,
    /// Of a sample of windows, the standard error of the cycles: half of what its halves differ by, layer by layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// Bits moved, where a bandwidth was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u128>,
    /// Seconds: of each layer the longer of its cycles and its traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Share of these seconds that traffic is the bound of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_bound: Option<f64>,
}

impl Reached {
    fn new(setup: &Setup, counts: Counts, macs: u128, words: [u32; 2], sampled: bool) -> Self {
        let (lanes, bits) = (setup.lanes(), u128::from((setup.design.bits)(words)));
        let Counts { cycles, work, floor, shape, first_half } = counts;
        // The second half is as far on the other side.
        let error = cycles.abs_diff(first_half) as f64;
        Self {
            cycles,
            macs,
            baseline: macs * u128::from(words[0]) * u128::from(words[1]),
            capacity: u128::from(cycles) * u128::from(lanes) * bits,
            ideal: u128::from(work) * bits,
            work,
            floor,
            shape,
            imbalance: counts.imbalance(lanes),
            standard_error: (sampled && setup.design.windows.is_some()).then_some(error),
            ..Self::default()
        }
    }

    fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.cycles, other.cycles);
        add(&mut self.work, other.work);
        add(&mut self.floor, other.floor);
        add(&mut self.shape, other.shape);
        self.macs += other.macs;
        self.baseline += other.baseline;
        self.capacity += other.capacity;
        self.ideal += other.ideal;
        self.imbalance += other.imbalance;
        // Layers are drawn one by one.
        let squares = other.standard_error.map(|error| error.powi(2) + self.standard_error.unwrap_or_default().powi(2));
        self.standard_error = squares.map(f64::sqrt);
    }

    /// Says what its traffic makes of its time.
    pub(super) fn time(&mut self, bits: u128, seconds: f64, traffic_bound: f64) {
        (self.bits, self.seconds, self.traffic_bound) = (Some(bits), Some(seconds), Some(traffic_bound));
    }

    /// How many times the dense work of all bits it does in its cycles: what compares with a potential.
    pub fn reached(&self) -> Option<f64> {
        ratio(self.baseline, self.capacity)
    }

    /// The potential of its idea.
    pub fn potential(&self) -> Option<f64> {
        ratio(self.baseline, self.ideal)
    }

    /// Shares of all lane-cycles: work, floor, shape, imbalance.
    pub fn shares(&self) -> [Option<f64>; 4] {
        let [work, floor, shape] = [self.work, self.floor, self.shape].map(u128::from);
        let parts = [work, floor, shape, self.imbalance];
        parts.map(|part| ratio(part, parts.iter().sum()))
    }
}

fn ratio(part: u128, whole: u128) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl DesignReport {
    /// Of `measurement`, in `file`, with the time that it takes under `roofline`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if no design ran it, or one that this program does not know, or if its traffic was not counted.
    pub fn new(measurement: &Measurement, roofline: Option<&Roofline>, file: &str) -> Result<Self> {
        let format = &measurement.provenance.format;
        let options = Options { encoder: format.encoder, min_one: format.min_one };
        let setup = |stored: &crate::measurement::Design| {
            let parameters = stored.parameters.iter().map(|(name, value)| (name.as_str(), *value as i64));
            Setup::built(&stored.name, parameters, file)
        };
        let setups = format.designs.iter().map(setup).collect::<Result<Vec<_>>>()?;
        if setups.is_empty() {
            let detail = "was measured without designs; `deadweight designs MODEL INPUT... -o FILE.dwm` runs them";
            return Err(Error::invalid(file, detail));
        }
        let sample = measurement.provenance.options.get("sample").cloned();
        let is_sampled = sample.is_some();
        let (mapped, not): (Vec<&LayerCounts>, Vec<_>) =
            measurement.layers.iter().partition(|layer| !layer.tally.designs.is_empty());
        let of_design = |(place, setup): (usize, &Setup)| {
            let mut layers: Vec<LayerReached> = mapped
                .iter()
                .map(|layer| {
                    let subject = Subject::layer(&layer.tally, &layer.codings, options);
                    let precisions = Which::OF_MACS.map(|which| subject.layer_width(which).unwrap_or_default() as u32);
                    let words = Which::OF_MACS.map(|which| subject.bits(which) as u32);
                    let counts = setup.design.settled(Counts::of_fields(layer.tally.designs[place]), precisions);
                    let reached = Reached::new(setup, counts, macs(layer), words, is_sampled);
                    LayerReached { layer: layer.name.clone(), kind: layer.kind.clone(), reached }
                })
                .collect();
            let mut network = Reached::default();
            layers.iter().for_each(|layer| network.add(&layer.reached));
            if let Some(roofline) = roofline {
                roofline.add(measurement, options, file, &mut layers, &mut network)?;
            }
            Ok(DesignRun {
                design: setup.design.name,
                potential: setup.design.potential,
                parameters: setup.parameters().collect(),
                lanes: setup.lanes(),
                network,
                layers,
            })
        };
        let all: u128 = measurement.layers.iter().map(macs).sum();
        let left: u128 = not.iter().map(|layer| macs(layer)).sum();
        Ok(Self {
            schema: SCHEMA,
            model: measurement.provenance.model.name.clone(),
            inputs: measurement.inputs,
            format: format.name.clone(),
            sample,
            designs: setups.iter().enumerate().map(of_design).collect::<Result<_>>()?,
            not_mapped: not
                .iter()
                .map(|layer| NotMapped { layer: layer.name.clone(), why: "both operands are activations" })
                .collect(),
            not_mapped_share: ratio(left, all).unwrap_or_default(),
        })
    }

    /// Keeps the designs `names` alone, of those in `file`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a design that was not run.
    pub fn keep(&mut self, names: &[&str], file: &str) -> Result<()> {
        if let Some(name) = names.iter().find(|name| !self.designs.iter().any(|run| run.design == **name)) {
            let has = self.designs.iter().map(|run| run.design).collect::<Vec<_>>().join(", ");
            return Err(Error::invalid(format!("--design {name}"), format!("was not run for {file}, which has {has}")));
        }
        self.designs.retain(|run| names.contains(&run.design));
        Ok(())
    }

    /// A row a design, and with `by_layer` one a layer of what each design reaches.
    pub fn table(&self, by_layer: bool, width: Option<u16>) -> String {
        let mut text = format!("{:<11} {}\n{:<11} {} in {}\n", "model", self.model, "inputs", self.inputs, self.format);
        if let Some(sample) = &self.sample {
            text += &format!(
                "{:<11} {sample}: cycles with a ± are estimates, and that is their standard error\n",
                "sample"
            );
        }
        if let Some(NotMapped { why, .. }) = self.not_mapped.first() {
            let names: Vec<&str> = self.not_mapped.iter().map(|layer| layer.layer.as_str()).take(3).collect();
            let more = if self.not_mapped.len() > 3 { ", ..." } else { "" };
            text += &format!(
                "{:<11} {} layers, {} of MACs: {why} ({}{more})\n",
                "not mapped",
                self.not_mapped.len(),
                units::share(Some(self.not_mapped_share)),
                names.join(", "),
            );
        }
        let headers = ["design", "idea", "reached", "potential", "work", "floor", "shape", "waits", "cycles"];
        let timed = self.designs.iter().any(|run| run.network.seconds.is_some());
        let of_time: &[&str] = if timed { &["ms/input", "by traffic"] } else { &[] };
        let mut grid = Grid::new(headers.iter().chain(of_time).copied(), &[0, 1]);
        for run in &self.designs {
            let shares = run.network.shares().map(units::share);
            let [work, floor, shape, waits] = shares;
            let times = [run.network.reached(), run.network.potential()].map(times);
            let [reached, potential] = times;
            let idea = run.potential.unwrap_or_default().to_owned();
            let error = run.network.standard_error.map(|error| error / run.network.cycles.max(1) as f64);
            let error = error.map(|error| format!(" ±{}", units::share(Some(error)))).unwrap_or_default();
            let cycles = format!("{}{error}", units::count(run.network.cycles));
            let row = [run.design.to_owned(), idea, reached, potential, work, floor, shape, waits, cycles];
            let time = run.network.seconds.map(|seconds| {
                let each = seconds * 1e3 / self.inputs.max(1) as f64;
                [units::significant(each, 3), units::share(run.network.traffic_bound)]
            });
            grid.row(row.into_iter().chain(time.into_iter().flatten()));
        }
        text = format!("{text}\n{}", grid.render(width));
        if by_layer {
            let names = self.designs.iter().map(|run| run.design);
            let mut grid = Grid::new(["layer", "kind"].into_iter().chain(names), &[0, 1]);
            for (place, layer) in self.designs[0].layers.iter().enumerate() {
                let reached = self.designs.iter().map(|run| times(run.layers[place].reached.reached()));
                grid.row([layer.layer.clone(), layer.kind.clone()].into_iter().chain(reached));
            }
            let reached = self.designs.iter().map(|run| times(run.network.reached()));
            grid.total(["network".to_owned(), String::new()].into_iter().chain(reached));
            text = format!("{text}\n{}", grid.render(width));
        }
        text
    }

    /// A line a design and layer, the network's without a layer.
    pub fn csv(&self) -> Vec<u8> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let names = "model,design,layer,kind,lanes,cycles,macs,baseline,capacity,ideal,work,floor,shape,imbalance,reached,potential,bits,seconds,traffic_bound,standard_error";
        let mut write =
            |record: Vec<String>| writer.write_record(record).expect("memory takes every record of as many fields");
        write(names.split(',').map(str::to_owned).collect());
        for run in &self.designs {
            let layers = run.layers.iter().map(|layer| (layer.layer.as_str(), layer.kind.as_str(), &layer.reached));
            for (layer, kind, of) in layers.chain([("", "", &run.network)]) {
                let texts = [&self.model, run.design, layer, kind].map(str::to_owned);
                let counts = [u128::from(run.lanes), of.cycles.into(), of.macs, of.baseline, of.capacity, of.ideal];
                let lanes = [of.work, of.floor, of.shape].map(u128::from);
                let numbers = counts.into_iter().chain(lanes).chain([of.imbalance]).map(|number| number.to_string());
                let ratios = [of.reached(), of.potential()].map(|ratio| ratio.map(|ratio| format!("{ratio:?}")));
                let bits = of.bits.map(|bits| bits.to_string());
                let time = [of.seconds, of.traffic_bound, of.standard_error]
                    .map(|number| number.map(|number| format!("{number:?}")));
                let others = ratios.into_iter().chain([bits]).chain(time).map(Option::unwrap_or_default);
                write(texts.into_iter().chain(numbers).chain(others).collect());
            }
        }
        writer.into_inner().expect("memory takes every record")
    }
}

fn times(ratio: Option<f64>) -> String {
    ratio.map(|ratio| units::significant(ratio, 3)).unwrap_or_default()
}

/// MACs of a layer over all inputs, padding among them.
fn macs(layer: &LayerCounts) -> u128 {
    Products::of(&layer.tally).dense.of(Padding::With)
}
