//! The codes that a measurement counted, one by one: its run once more, with what each layer reads kept instead of counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::calibrate::Calibration;
use super::executor::{check, shape_of};
use super::feed::{Monitor, Stage};
use super::provenance::provenance;
use super::run::prepare;
use super::score;
use super::settings::Settings;
use super::whole::Assembly;
use crate::engine::Backend;
use crate::graph::Node;
use crate::input::{Dataset, Sample};
use crate::kernels::count::CodeMap;
use crate::kernels::{Geometry, Region};
use crate::layers::Shape;
use crate::measurement::{Measurement, Provenance, Tool};
use crate::model::Model;
use crate::probe::{Origin, Probe, Watch};
use crate::{Error, Result};

/// Options of a run that say how many inputs it counted and how it went about it, not what a code is.
const OF_THE_COUNT: [&str; 5] = ["limit", "skip_bad", "until_ci", "metric", "batch_size"];

/// What makes the codes of a measurement again.
pub struct Capture<'a> {
    model: &'a Model,
    backend: &'a Backend,
    data: &'a Dataset,
    calibration: Calibration,
    run: &'a Measurement,
    file: &'a str,
}

/// What one layer reads of inputs of one size that were read together.
pub struct LayerCodes {
    /// Its place among the layers of the measurement.
    pub index: usize,
    /// Which inputs: how many batches were read before.
    pub batch: usize,
    /// `[C, H, W]` of an input.
    pub extents: [usize; 3],
    /// The codes of each input, in that order.
    pub images: Vec<Vec<i16>>,
}

/// The codes of `values`, filters one after the other, by one of `maps` or by one each.
pub(super) fn codes_of_filters(values: &[f32], maps: &[CodeMap]) -> Vec<i32> {
    let of_filter = values.len().div_ceil(maps.len()).max(1);
    let filters = values.chunks(of_filter).zip(maps);
    filters.flat_map(|(filter, map)| filter.iter().map(|&x| map.code(x))).collect()
}

fn narrow(codes: Vec<i32>) -> Vec<i16> {
    // Codes are of -32767 to 32767.
    codes.into_iter().map(|code| code as i16).collect()
}

impl<'a> Capture<'a> {
    /// Of `run`, which `file` holds, by its own ranges.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `file` and the difference, if `model` and `data` with `settings` are not what it measured.
    pub fn new(
        model: &'a Model,
        backend: &'a Backend,
        data: &'a Dataset,
        settings: &Settings,
        (run, file): (&'a Measurement, &'a str),
    ) -> Result<Self> {
        // Scales and thresholds may be learned from the first inputs: part of them would be others.
        let (listed, counted) = (data.len() as u64, run.inputs);
        if listed < counted {
            let detail =
                format!("counted {counted} inputs, and {listed} are given; give all (--limit takes the first of them)");
            return Err(Error::invalid(file, detail));
        }
        let calibration = Calibration::of_measurement(model, settings, run, file)?;
        if !calibration.layers.iter().map(|layer| &layer.name).eq(run.layers.iter().map(|layer| &layer.name)) {
            return Err(Error::invalid(file, format!("has other layers than {}", model.card.name)));
        }
        let capture = Self { model, backend, data, calibration, run, file };
        if let Some([name, counted, now]) = capture.difference() {
            let detail = format!("is no run of these: its {name} is {counted}, not {now}");
            return Err(Error::invalid(file, detail));
        }
        Ok(capture)
    }

    /// In what the run differs from one of this model on these inputs.
    fn difference(&self) -> Option<[String; 3]> {
        let quality = score::start(self.model.card.task, self.data.known());
        let now = provenance(self.model, self.backend, self.data, &self.calibration, &quality);
        let counted = &self.run.provenance;
        let options = |of: &Provenance| {
            let mut options = of.options.clone();
            OF_THE_COUNT.iter().for_each(|name| drop(options.remove(*name)));
            options
        };
        // What is counted of codes is no matter here; the formats were compared before.
        let alike = |of: &Provenance| Provenance {
            options: options(of),
            format: counted.format.clone(),
            tool: Tool { version: String::new(), ..of.tool.clone() },
            ..of.clone()
        };
        alike(&now).differences(&alike(counted)).next().map(|[name, now, counted]| [name, counted, now])
    }

    /// The codes of the weights of layer `index`, `[K, C/groups, R, S]`; none of a product of two activations.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they are not those that were counted.
    pub fn weights(&self, index: usize) -> Result<Option<Vec<i16>>> {
        let layer = &self.calibration.layers[index];
        if layer.is_of_activations(&self.model.graph) {
            return Ok(None);
        }
        let codes = narrow(self.calibration.weight_codes(self.model, index));
        let counted = &self.run.layers[index].tally.weights;
        let counts = [nonzeros(&codes), codes.len() as u64];
        self.same(index, "weights", counts, [counted.filter_nonzeros.iter().sum(), counted.values.elements])?;
        Ok(Some(codes))
    }

    /// Runs the inputs, up to the limit of the settings, and hands to `each` what a layer reads of those that were read together, as
    /// soon as it read the last of them; a product of two activations has none. Returns how many inputs there were.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an input that was not counted, and if codes of all inputs are not those that were counted;
    /// [`Error::Interrupted`]; those of reading inputs and of `each`.
    pub fn activations<F>(&self, monitor: &dyn Monitor, each: F) -> Result<u64>
    where
        F: FnMut(&LayerCodes) -> Result<()> + Send,
    {
        let (feed, mut executor) = prepare(self.model, self.backend, self.data, self.calibration.settings());
        let sink = Mutex::new(Sink::new(each, self.calibration.layers.len()));
        let mut inputs = 0;
        let mut eyes: Option<(Shape, Eyes<'_, F>)> = None;
        feed.all(Stage::Measure, monitor, |samples| {
            self.check_counted(samples)?;
            let input = shape_of(&samples[0]);
            let (_, eyes) = match eyes.take().filter(|(shape, _)| *shape == input) {
                Some(same) => eyes.insert(same),
                None => eyes.insert((input, self.eyes(input, &sink)?)),
            };
            locked(&sink).start(samples.len());
            let outputs = executor.run(samples, Some(eyes), |ran| locked(&sink).ran(ran.len()))?;
            check(samples, &outputs)?;
            locked(&sink).end();
            inputs += samples.len() as u64;
            Ok(())
        })?;
        if inputs == self.run.inputs {
            let layers = self.run.layers.iter().enumerate();
            for (index, counts) in layers.filter(|(_, counts)| counts.tally.pairs.is_none()) {
                let counted = &counts.tally.activations;
                let counted = [counted.channel_nonzeros.iter().sum(), counted.values.elements];
                self.same(index, "activations", locked(&sink).sums[index], counted)?;
            }
        }
        Ok(inputs)
    }

    fn eyes<'s, F>(&self, input: Shape, sink: &'s Mutex<Sink<F>>) -> Result<Eyes<'s, F>> {
        let shapes = self.calibration.shapes(self.model, input)?;
        let mut eyes = Eyes(BTreeMap::new());
        for (index, (layer, shape)) in self.calibration.layers.iter().zip(shapes).enumerate() {
            if !layer.is_of_activations(&self.model.graph) {
                let (extents, map) = (shape.input, layer.codings[0].map);
                let eye = Eye { index, extents, assembly: Assembly::new(extents, map), sink };
                eyes.0.insert((layer.node, layer.inside), eye);
            }
        }
        Ok(eyes)
    }

    /// # Errors
    /// [`Error::Invalid`] naming the first of `samples` that the run did not count.
    fn check_counted(&self, samples: &[Sample]) -> Result<()> {
        let strange = samples.iter().find(|sample| self.run.keys.binary_search(&sample.key()).is_err());
        strange.map_or(Ok(()), |sample| {
            Err(Error::invalid(self.file, format!("did not count input {}; give the inputs that it is of", sample.id)))
        })
    }

    /// # Errors
    /// [`Error::Invalid`] if non-zeros and values of an operand of layer `index` are others than were counted.
    fn same(&self, index: usize, operand: &str, now: [u64; 2], counted: [u64; 2]) -> Result<()> {
        if now == counted {
            return Ok(());
        }
        let name = &self.run.layers[index].name;
        let detail = format!(
            "counted {} non-zeros among {} {operand} of {name}, and there are {} among {} now: model, inputs or flags are others",
            counted[0], counted[1], now[0], now[1]
        );
        Err(Error::invalid(self.file, detail))
    }
}

fn nonzeros(codes: &[i16]) -> u64 {
    codes.iter().filter(|code| **code != 0).count() as u64
}

/// Where codes go: to `each`, a layer at a time, when all inputs of the batch are there.
struct Sink<F> {
    each: F,
    /// Of the batch that runs, how many were before it, its inputs, and how many of these ran before those that run now.
    batch: usize,
    samples: usize,
    before: usize,
    /// What layers read, by their index, and of each by the input's place in the batch.
    images: BTreeMap<usize, BTreeMap<usize, Vec<i16>>>,
    /// Of each layer, non-zeros and values of all inputs.
    sums: Vec<[u64; 2]>,
    /// Where `each` failed, with what.
    result: Result<()>,
}

impl<F> Sink<F> {
    fn new(each: F, layers: usize) -> Self {
        let (images, sums) = (BTreeMap::new(), vec![[0; 2]; layers]);
        Self { each, batch: 0, samples: 0, before: 0, images, sums, result: Ok(()) }
    }

    /// A batch of `samples` inputs begins.
    fn start(&mut self, samples: usize) {
        (self.samples, self.before) = (samples, 0);
    }

    /// `count` more of them ran.
    ///
    /// # Errors
    /// Those of handing on what layers read.
    fn ran(&mut self, count: usize) -> Result<()> {
        self.before += count;
        std::mem::replace(&mut self.result, Ok(()))
    }

    fn end(&mut self) {
        assert!(self.images.is_empty(), "every layer is shown every input whole");
        self.batch += 1;
    }
}

impl<F: FnMut(&LayerCodes) -> Result<()>> Sink<F> {
    /// Adds what layer `index` reads of one input, which is at `place` of those that run now.
    fn add(&mut self, index: usize, extents: [usize; 3], place: usize, codes: Vec<i16>) {
        let [nonzero, values] = &mut self.sums[index];
        *nonzero += nonzeros(&codes);
        *values += codes.len() as u64;
        let mut images = self.images.remove(&index).unwrap_or_default();
        images.insert(self.before + place, codes);
        if images.len() < self.samples {
            self.images.insert(index, images);
        } else if self.result.is_ok() {
            let images = images.into_values().collect();
            self.result = (self.each)(&LayerCodes { index, batch: self.batch, extents, images });
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees what the layers read, by node and whether it is inside a recurrence.
struct Eyes<'s, F>(BTreeMap<(Node, bool), Eye<'s, F>>);

/// Sees what one layer reads.
struct Eye<'s, F> {
    index: usize,
    extents: [usize; 3],
    assembly: Assembly,
    sink: &'s Mutex<Sink<F>>,
}

impl<F: FnMut(&LayerCodes) -> Result<()> + Send> Eyes<'_, F> {
    fn watch_of(&self, node: Node, inside: bool) -> Option<&dyn Watch> {
        self.0.get(&(node, inside)).map(|eye| eye as &dyn Watch)
    }
}

impl<F: FnMut(&LayerCodes) -> Result<()> + Send> Probe for Eyes<'_, F> {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        self.watch_of(node, false)
    }

    fn watch_inside(&self, node: Node) -> Option<&dyn Watch> {
        self.watch_of(node, true)
    }
}

impl<F: FnMut(&LayerCodes) -> Result<()> + Send> Watch for Eye<'_, F> {
    fn look(&self, _: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin) {
        if let Some(codes) = self.assembly.add(x, geometry, image, &region, origin) {
            let codes = narrow(codes);
            locked(self.sink).add(self.index, self.extents, origin.image + image, codes);
        }
    }
}
