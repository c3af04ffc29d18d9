//! The codes that a measurement counted, one by one: its run once more, with what each layer reads kept instead of counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::calibrate::Calibration;
use super::executor::{Executor, check, shape_of};
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

/// What one layer reads of some inputs.
pub struct LayerCodes {
    /// Its place among the layers of the measurement.
    pub index: usize,
    /// `[C, H, W]` of an input.
    pub extents: [usize; 3],
    /// The codes of each input, in that order.
    pub images: Vec<Vec<i16>>,
}

/// What all layers read of inputs of one size that were read together, in the order of the network.
pub struct BatchCodes {
    /// One a layer that is not a product of two activations.
    pub layers: Vec<LayerCodes>,
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

    /// Runs the inputs, up to the limit of the settings, and hands to `each` what the layers read of those that were read together.
    /// Returns how many there were.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an input that was not counted, and if codes of all inputs are not those that were counted;
    /// [`Error::Interrupted`]; those of reading inputs and of `each`.
    pub fn activations(&self, monitor: &dyn Monitor, mut each: impl FnMut(&BatchCodes) -> Result<()>) -> Result<u64> {
        let (feed, mut executor) = prepare(self.model, self.backend, self.data, self.calibration.settings());
        let mut sums = vec![[0; 2]; self.calibration.layers.len()];
        let mut inputs = 0;
        let mut eyes: Option<(Shape, Eyes)> = None;
        feed.all(Stage::Measure, monitor, |samples| {
            self.check_counted(samples)?;
            let input = shape_of(&samples[0]);
            let (_, eyes) = match eyes.take().filter(|(shape, _)| *shape == input) {
                Some(same) => eyes.insert(same),
                None => eyes.insert((input, self.eyes(input)?)),
            };
            let batch = Self::batch(&mut executor, eyes, samples)?;
            inputs += samples.len() as u64;
            for layer in &batch.layers {
                let [nonzero, values] = &mut sums[layer.index];
                for codes in &layer.images {
                    *nonzero += nonzeros(codes);
                    *values += codes.len() as u64;
                }
            }
            each(&batch)
        })?;
        if inputs == self.run.inputs {
            let layers = self.run.layers.iter().enumerate();
            for (index, counts) in layers.filter(|(_, counts)| counts.tally.pairs.is_none()) {
                let counted = &counts.tally.activations;
                let counted = [counted.channel_nonzeros.iter().sum(), counted.values.elements];
                self.same(index, "activations", sums[index], counted)?;
            }
        }
        Ok(inputs)
    }

    fn batch(executor: &mut Executor<'_>, eyes: &Eyes, samples: &[Sample]) -> Result<BatchCodes> {
        let layers = eyes.each().map(|eye| LayerCodes { index: eye.index, extents: eye.extents, images: Vec::new() });
        let mut batch = BatchCodes { layers: layers.collect() };
        let outputs = executor.run(samples, Some(eyes), |ran| {
            for (eye, layer) in eyes.each().zip(&mut batch.layers) {
                let images = std::mem::take(&mut *eye.images.lock().unwrap_or_else(PoisonError::into_inner));
                assert!(images.keys().copied().eq(0..ran.len()), "every input is shown whole");
                layer.images.extend(images.into_values());
            }
            Ok(())
        })?;
        check(samples, &outputs)?;
        Ok(batch)
    }

    fn eyes(&self, input: Shape) -> Result<Eyes> {
        let shapes = self.calibration.shapes(self.model, input)?;
        let mut eyes = Eyes::default();
        for (index, (layer, shape)) in self.calibration.layers.iter().zip(shapes).enumerate() {
            if !layer.is_of_activations(&self.model.graph) {
                let (extents, map) = (shape.input, layer.codings[0].map);
                let eye = Eye { index, extents, assembly: Assembly::new(extents, map), images: Mutex::default() };
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

/// Keeps what the layers read, by node and whether it is inside a recurrence.
#[derive(Default)]
struct Eyes(BTreeMap<(Node, bool), Eye>);

/// Keeps what one layer reads.
struct Eye {
    index: usize,
    extents: [usize; 3],
    assembly: Assembly,
    /// Whole images, by their place in the run.
    images: Mutex<BTreeMap<usize, Vec<i16>>>,
}

impl Eyes {
    fn each(&self) -> impl Iterator<Item = &Eye> {
        let mut eyes: Vec<&Eye> = self.0.values().collect();
        eyes.sort_by_key(|eye| eye.index);
        eyes.into_iter()
    }

    fn watch_of(&self, node: Node, inside: bool) -> Option<&dyn Watch> {
        self.0.get(&(node, inside)).map(|eye| eye as &dyn Watch)
    }
}

impl Probe for Eyes {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        self.watch_of(node, false)
    }

    fn watch_inside(&self, node: Node) -> Option<&dyn Watch> {
        self.watch_of(node, true)
    }
}

impl Watch for Eye {
    fn look(&self, _: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin) {
        if let Some(codes) = self.assembly.add(x, geometry, image, &region, origin) {
            let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
            images.insert(origin.image + image, narrow(codes));
        }
    }
}
