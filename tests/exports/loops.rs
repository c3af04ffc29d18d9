//! What densities and percentages are of, counted once more: by loops over the codes that windows read.

use std::collections::BTreeMap;

use deadweight::measure::{Capture, Quiet};
use deadweight::measurement::Measurement;

use super::{counting, files, inputs, measured, native, network, written};

/// Layers of the network by hand: rows, columns of filters, strides, dilations, paddings before the input, and windows.
const LAYERS: [(&str, [[usize; 2]; 5]); 6] = [
    ("stem", [[3, 3], [1, 1], [1, 1], [1, 1], [12, 10]]),
    ("dilated", [[3, 3], [1, 1], [2, 3], [2, 3], [12, 10]]),
    ("grouped", [[3, 3], [2, 2], [1, 1], [1, 1], [6, 5]]),
    ("dw", [[3, 3], [1, 1], [1, 1], [1, 1], [6, 5]]),
    ("tall", [[3, 1], [2, 1], [1, 1], [0, 0], [2, 5]]),
    ("fc/head", [[1, 1], [1, 1], [1, 1], [0, 0], [1, 1]]),
];

/// What a layer reads.
struct Read {
    extents: [usize; 3],
    images: Vec<Vec<i16>>,
    /// Zeros of the weights, and how many there are.
    weights: [u64; 2],
    /// Rows, then columns, that taps of windows read, window by window; the padding before the input is among them.
    places: [Vec<usize>; 2],
    padding: [usize; 2],
}

impl Read {
    /// Non-zeros in `rows` and `columns` of all channels of all inputs, and how many values these are.
    fn count(&self, [rows, columns]: [&[usize]; 2]) -> [u64; 2] {
        let ([channels, h, w], mut counts) = (self.extents, [0, 0]);
        for image in &self.images {
            for (channel, row) in (0..channels).flat_map(|channel| rows.iter().map(move |row| (channel, row))) {
                for column in columns {
                    let (y, x) = (row.wrapping_sub(self.padding[0]), column.wrapping_sub(self.padding[1]));
                    let is_nonzero = y < h && x < w && image[(channel * h + y) * w + x] != 0;
                    counts[0] += u64::from(is_nonzero);
                    counts[1] += 1;
                }
            }
        }
        counts
    }
}

/// What the layers read of the inputs of `measurement`.
fn reads(measurement: &Measurement) -> BTreeMap<&'static str, Read> {
    let model = network();
    let (backend, data) = (native(), inputs(&model));
    let capture = Capture::new(&model, &backend, &data, &counting(), (measurement, "run.dwm")).unwrap();
    let mut reads = BTreeMap::new();
    capture
        .activations(&Quiet, |layer| {
            let name = &measurement.layers[layer.index].name;
            let Some((name, [kernel, stride, dilation, padding, windows])) = LAYERS.iter().find(|(of, _)| of == name)
            else {
                return Ok(());
            };
            let places = [0, 1].map(|axis| -> Vec<usize> {
                let taps =
                    |window: usize| (0..kernel[axis]).map(move |tap| window * stride[axis] + tap * dilation[axis]);
                (0..windows[axis]).flat_map(taps).collect()
            });
            let codes = capture.weights(layer.index)?.unwrap();
            let weights = [codes.iter().filter(|code| **code == 0).count() as u64, codes.len() as u64];
            // Each value is a feature of its own.
            let flat = [layer.extents.iter().product(), 1, 1];
            let extents = if *name == "fc/head" { flat } else { layer.extents };
            reads.insert(*name, Read { extents, images: layer.images.clone(), weights, places, padding: *padding });
            Ok(())
        })
        .unwrap();
    assert_eq!(reads.len(), LAYERS.len());
    reads
}

/// Zeros of the weights of each layer, and of what its windows read, in whole percents.
pub(super) fn percents(measurement: &Measurement) -> BTreeMap<&'static str, [u64; 2]> {
    let percent = |[zeros, all]: [u64; 2]| (100.0 * zeros as f64 / all as f64).round() as u64;
    let of = |(name, read): (&'static str, Read)| {
        let [nonzeros, all] = read.count(read.places.each_ref().map(Vec::as_slice));
        (name, [percent(read.weights), percent([all - nonzeros, all])])
    };
    reads(measurement).into_iter().map(of).collect()
}

#[test]
fn densities_of_inputs_are_of_the_data_space_that_the_problem_declares() {
    let measurement = measured(&counting());
    let written = written("sparseloop", &measurement).unwrap();
    let files = files(&written);
    for (name, read) in reads(&measurement) {
        let file = files.values().find(|file| file.contains(&format!("    name: \"{name}\"\n"))).unwrap();
        let line = file.lines().find_map(|line| line.strip_prefix("      Inputs: ")).unwrap();
        let density: f64 = line.split("density: ").nth(1).unwrap().split('}').next().unwrap().parse().unwrap();
        // From the first place that is read to the last, whether or not the others are.
        let spans = read.places.each_ref().map(|places| (0..=*places.iter().max().unwrap()).collect::<Vec<usize>>());
        let [mut nonzeros, mut values] = read.count(spans.each_ref().map(Vec::as_slice));
        let space = [("stem", 8 * 14 * 12), ("dilated", 16 * 16 * 16), ("grouped", 8 * 13 * 11), ("dw", 12 * 8 * 7)];
        let space = space.iter().chain(&[("tall", 12 * 5 * 5), ("fc/head", 200)]).find(|(of, _)| *of == name).unwrap();
        assert_eq!(values, 3 * space.1, "{name}");
        if name == "tall" {
            // Two windows of three rows with stride two leave the last of six over: what is in it is not known, so five of six rows
            // have their share of all.
            let [rows, columns]: [Vec<usize>; 2] = [(0..6).collect(), (0..5).collect()];
            let [of_all, all] = read.count([&rows, &columns]);
            assert_eq!(all, 3 * 12 * 6 * 5);
            assert!(of_all >= nonzeros);
            // 60 divides the 300 values that are read of an input, and the 1080 of all inputs.
            (nonzeros, values) = (of_all * 5, 18 * 300);
            assert_eq!(density, of_all as f64 / all as f64);
        }
        assert_eq!(density, nonzeros as f64 / values as f64, "{name}");
        assert!(line.ends_with(&format!("# {nonzeros} of {values}")), "{line}");
    }
}
