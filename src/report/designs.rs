//! What designs reach: of each layer and of the network, beside the ideal of the same idea, and what keeps the two apart.

use serde::Serialize;

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
    pub imbalance: u64,
}

impl Reached {
    fn new(setup: &Setup, counts: Counts, macs: u128, words: [u32; 2]) -> Self {
        let (lanes, bits) = (setup.lanes(), u128::from((setup.design.bits)(words)));
        let Counts { cycles, work, floor, shape } = counts;
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
        }
    }

    fn add(&mut self, other: &Self) {
        self.cycles += other.cycles;
        self.macs += other.macs;
        self.baseline += other.baseline;
        self.capacity += other.capacity;
        self.ideal += other.ideal;
        self.work += other.work;
        self.floor += other.floor;
        self.shape += other.shape;
        self.imbalance += other.imbalance;
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
        let parts = [self.work, self.floor, self.shape, self.imbalance].map(u128::from);
        parts.map(|part| ratio(part, parts.iter().sum()))
    }
}

fn ratio(part: u128, whole: u128) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl DesignReport {
    /// Of `measurement`, in `file`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if no design ran it, or one that this program does not know.
    pub fn new(measurement: &Measurement, file: &str) -> Result<Self> {
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
        let (mapped, not): (Vec<&LayerCounts>, Vec<_>) =
            measurement.layers.iter().partition(|layer| !layer.tally.designs.is_empty());
        let of_design = |(place, setup): (usize, &Setup)| {
            let layers: Vec<LayerReached> = mapped
                .iter()
                .map(|layer| {
                    let subject = Subject::layer(&layer.tally, &layer.codings, options);
                    let precisions = Which::OF_MACS.map(|which| subject.layer_width(which).unwrap_or_default() as u32);
                    let words = Which::OF_MACS.map(|which| subject.bits(which) as u32);
                    let counts = setup.design.settled(Counts::of_fields(layer.tally.designs[place]), precisions);
                    let reached = Reached::new(setup, counts, macs(layer), words);
                    LayerReached { layer: layer.name.clone(), kind: layer.kind.clone(), reached }
                })
                .collect();
            let mut network = Reached::default();
            layers.iter().for_each(|layer| network.add(&layer.reached));
            DesignRun {
                design: setup.design.name,
                potential: setup.design.potential,
                parameters: setup.parameters().collect(),
                lanes: setup.lanes(),
                network,
                layers,
            }
        };
        let all: u128 = measurement.layers.iter().map(macs).sum();
        let left: u128 = not.iter().map(|layer| macs(layer)).sum();
        Ok(Self {
            schema: SCHEMA,
            model: measurement.provenance.model.name.clone(),
            inputs: measurement.inputs,
            format: format.name.clone(),
            designs: setups.iter().enumerate().map(of_design).collect(),
            not_mapped: not
                .iter()
                .map(|layer| NotMapped { layer: layer.name.clone(), why: "both operands are activations" })
                .collect(),
            not_mapped_share: ratio(left, all).unwrap_or_default(),
        })
    }

    /// A row a design, and with `by_layer` one a layer of what each design reaches.
    pub fn table(&self, by_layer: bool, width: Option<u16>) -> String {
        let mut text = format!("{:<11} {}\n{:<11} {} in {}\n", "model", self.model, "inputs", self.inputs, self.format);
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
        let mut grid = Grid::new(headers, &[0, 1]);
        for run in &self.designs {
            let shares = run.network.shares().map(units::share);
            let [work, floor, shape, waits] = shares;
            let times = [run.network.reached(), run.network.potential()].map(times);
            let [reached, potential] = times;
            let idea = run.potential.unwrap_or_default().to_owned();
            let cycles = units::count(run.network.cycles);
            grid.row([run.design.to_owned(), idea, reached, potential, work, floor, shape, waits, cycles]);
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
        let names = "model,design,layer,kind,lanes,cycles,macs,baseline,capacity,ideal,work,floor,shape,imbalance,reached,potential";
        let mut write =
            |record: Vec<String>| writer.write_record(record).expect("memory takes every record of as many fields");
        write(names.split(',').map(str::to_owned).collect());
        for run in &self.designs {
            let layers = run.layers.iter().map(|layer| (layer.layer.as_str(), layer.kind.as_str(), &layer.reached));
            for (layer, kind, of) in layers.chain([("", "", &run.network)]) {
                let texts = [&self.model, run.design, layer, kind].map(str::to_owned);
                let counts = [u128::from(run.lanes), of.cycles.into(), of.macs, of.baseline, of.capacity, of.ideal];
                let lanes = [of.work, of.floor, of.shape, of.imbalance].map(u128::from);
                let numbers = counts.into_iter().chain(lanes).map(|number| number.to_string());
                let ratios = [of.reached(), of.potential()].map(|ratio| ratio.map(|ratio| format!("{ratio:?}")));
                let ratios = ratios.map(Option::unwrap_or_default);
                write(texts.into_iter().chain(numbers).chain(ratios).collect());
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
