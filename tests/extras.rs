//! What is counted only where it is asked for, against loops over values and MACs, and through runs, files and flags.

mod examples;
mod floats;
mod runs;

use std::collections::{BTreeMap, HashSet};

use deadweight::format::{Coding, NumberFormat};
use deadweight::metrics::{self, Cells, Fraction, Options, Subject, Value, Which};
use deadweight::tally::{Extra, ExtraSums, LayerShape, LayerTally, OperandSpec};
use proptest::prelude::*;

use crate::oracle::{self, Layout, Problem, convolutions, linears, modes, sequences, transposed};

/// Codes of images, steps or filters, each `[channels][rows][columns]`; features are channels of one pixel.
struct Volumes {
    codes: Vec<Vec<i32>>,
    extents: [usize; 3],
    /// Parts of the channels that filters read apart.
    parts: usize,
}

impl Volumes {
    /// What the activations `codes` of `images` images are to a layer of extents `shape`.
    fn of_activations(shape: &LayerShape, images: usize, codes: &[i32]) -> Self {
        let [c, h, w] = shape.input;
        let at = |n: usize, c_: usize, y: usize, x: usize| codes[((n * c + c_) * h + y) * w + x];
        if !shape.features {
            let codes = codes.chunks(c * h * w).map(<[i32]>::to_vec).collect();
            return Self { codes, extents: shape.input, parts: shape.groups };
        }
        if shape.weight[1] == c && (h, w) != (1, 1) {
            let steps = (0..images).flat_map(|n| (0..w).map(move |t| (n, t)));
            let step = |(n, t)| (0..c).map(|c| at(n, c, 0, t)).collect();
            return Self { codes: steps.map(step).collect(), extents: [c, 1, 1], parts: 1 };
        }
        let image = |n: usize| {
            let mut features = Vec::new();
            if shape.channels_last {
                (0..h).for_each(|y| (0..w).for_each(|x| features.extend((0..c).map(|c| at(n, c, y, x)))));
            } else {
                (0..c).for_each(|c| (0..h).for_each(|y| features.extend((0..w).map(|x| at(n, c, y, x)))));
            }
            features
        };
        Self { codes: (0..images).map(image).collect(), extents: [c * h * w, 1, 1], parts: 1 }
    }

    fn of_weights(shape: &LayerShape, codes: &[i32]) -> Self {
        let [_, c, r, s] = shape.weight;
        Self { codes: codes.chunks(c * r * s).map(<[i32]>::to_vec).collect(), extents: [c, r, s], parts: 1 }
    }

    /// Members of all groups of `size` channels at one position, of channels that are read together.
    fn blocks(&self, size: usize, parts: usize) -> Vec<Vec<i32>> {
        let [c, h, w] = self.extents;
        let mut blocks = Vec::new();
        for volume in &self.codes {
            for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                for part in 0..parts {
                    let channels: Vec<i32> =
                        (part * c / parts..(part + 1) * c / parts).map(|c| volume[(c * h + y) * w + x]).collect();
                    blocks.extend(channels.chunks(size).map(<[i32]>::to_vec));
                }
            }
        }
        blocks
    }

    /// Differences to the code `distance` columns to the left.
    fn differences(&self, distance: usize) -> Self {
        let [c, h, w] = self.extents;
        let of = |volume: &Vec<i32>| {
            let mut differences = Vec::new();
            for (line, x) in (0..c * h).flat_map(|line| (0..w).map(move |x| (line, x))) {
                let before = if x >= distance { volume[line * w + x - distance] } else { 0 };
                differences.push(volume[line * w + x] - before);
            }
            differences
        };
        Self { codes: self.codes.iter().map(of).collect(), ..*self }
    }
}

/// Entries of a run-length code: a value with the zeros before it, or 16 zeros.
fn entries(codes: &[i32]) -> u128 {
    let (mut run, mut entries) = (0, 0);
    for &code in codes {
        run = if code == 0 { run + 1 } else { 0 };
        if code != 0 || run == 16 {
            (run, entries) = (0, entries + 1);
        }
    }
    entries
}

/// Width of a group of integers.
fn group_width(codes: impl Iterator<Item = i32> + Clone) -> u16 {
    oracle::group_width(codes, NumberFormat::Fixed(16))
}

/// The metrics of the quantiles at 10, 20 … 90 %.
fn thresholds() -> impl Iterator<Item = &'static str> {
    metrics::all().map(|metric| metric.name).filter(|name| name.starts_with("threshold."))
}

/// The ratios of one operand by name; of those by chance the expected count.
fn expected(volumes: &Volumes, coding: &Coding) -> BTreeMap<&'static str, (f64, u128)> {
    let all: Vec<i32> = volumes.codes.iter().flatten().copied().collect();
    let (n, bits) = (all.len() as u128, u128::from(coding.bits));
    let nonzeros = |codes: &[i32]| codes.iter().filter(|&&code| code != 0).count() as u128;
    let groups = volumes.blocks(16, 1);
    let width = |group: &Vec<i32>| u128::from(group_width(group.iter().copied()));
    let index = f64::from(coding.bits).log2().ceil() as u128;
    let mut seen = BTreeMap::new();
    all.iter().for_each(|&code| *seen.entry(code).or_insert(0_u64) += 1);
    let entropy: f64 = seen.values().map(|&count| count as f64 * (n as f64 / count as f64).log2()).sum();
    let packed =
        |groups: &[Vec<i32>]| -> u128 { groups.iter().map(|group| nonzeros(group) * width(group) + 16 + index).sum() };
    let mut ratios: BTreeMap<&'static str, (f64, u128)> = [
        ("traffic.dense", n * bits),
        ("traffic.layer", 4 + n * width(&all)),
        ("traffic.group", groups.iter().map(|group| group.len() as u128 * width(group) + index).sum()),
        ("traffic.shapeshifter", packed(&groups)),
        ("traffic.zvc", n + bits * nonzeros(&all)),
        ("traffic.rlc", (bits + 4) * volumes.codes.iter().map(|volume| entries(volume)).sum::<u128>()),
        ("traffic.delta", packed(&volumes.differences(1).blocks(16, 1))),
        ("traffic.entropy", entropy.ceil() as u128),
    ]
    .map(|(name, coded)| (name, (coded as f64, n * bits)))
    .into();
    let density = nonzeros(&all) as f64 / n as f64;
    for (size, names) in [(4, ["nm.2of4", "nm.2of4.chance"]), (8, ["nm.4of8", "nm.4of8.chance"])] {
        let blocks = volumes.blocks(size, volumes.parts);
        let whole: Vec<_> = blocks.iter().filter(|block| block.len() == size).collect();
        let few = whole.iter().filter(|block| 2 * nonzeros(block) <= size as u128).count();
        let chance: f64 = (0..1_u32 << size)
            .filter(|pattern| 2 * pattern.count_ones() as usize <= size)
            .map(|pattern| {
                (0..size).map(|i| if pattern >> i & 1 == 1 { density } else { 1.0 - density }).product::<f64>()
            })
            .sum();
        ratios.insert(names[0], (few as f64, whole.len() as u128));
        ratios.insert(names[1], (whole.len() as f64 * chance, whole.len() as u128));
    }
    // Bit by bit, from the lowest.
    let set = |code: i32, bit: u32| i64::from(code).abs() >> bit & 1 == 1;
    let trailing = |codes: &[i32]| match nonzeros(codes) {
        0 => 0,
        _ => (0..32).take_while(|&bit| codes.iter().all(|&code| !set(code, bit))).count() as u128,
    };
    let of_values = |codes: &[i32]| codes.iter().map(|&code| trailing(&[code])).sum::<u128>();
    let widths: u128 = all.iter().map(|&code| width(&vec![code])).sum();
    ratios.insert("trailing", (of_values(&all) as f64, nonzeros(&all)));
    ratios.insert("trimmed", ((widths - of_values(&all)) as f64, n));
    let of_groups: u128 = groups.iter().map(|group| trailing(group)).sum();
    let others = groups.iter().filter(|group| nonzeros(group) > 0).count() as u128;
    let widths: u128 = groups.iter().map(&width).sum();
    ratios.insert("trailing.g16", (of_groups as f64, others));
    ratios.insert("trimmed.g16", ((widths - of_groups) as f64, groups.len() as u128));
    let sign =
        |code: i32, bit: u32| if bit + 1 == coding.bits && coding.map.lo < 0 { code < 0 } else { set(code, bit) };
    let word = |code: i32, bit: u32| i64::from(code).rem_euclid(1 << 40) >> bit & 1 == 1;
    let positions = |bits: u32| (0..bits).flat_map(|bit| groups.iter().map(move |group| (bit, group)));
    let planes = positions(coding.bits).filter(|(bit, group)| group.iter().all(|&code| !sign(code, *bit))).count();
    let same = |(bit, group): &(u32, &Vec<i32>)| group.iter().all(|&code| word(code, *bit) == word(group[0], *bit));
    let equal = positions(coding.word()).filter(same).count();
    let share = |is_one: &dyn Fn(i32, u32) -> bool, bit: u32| {
        all.iter().filter(|&&code| is_one(code, bit)).count() as f64 / n as f64
    };
    let chance: f64 =
        positions(coding.bits).map(|(bit, group)| (1.0 - share(&sign, bit)).powi(group.len() as i32)).sum();
    let chance_equal: f64 = positions(coding.word())
        .map(|(bit, group)| (share(&word, bit), group.len() as i32))
        .map(|(ones, members)| ones.powi(members) + (1.0 - ones).powi(members))
        .sum();
    let columns = |bits: u32| u128::from(bits) * groups.len() as u128;
    ratios.insert("planes", (planes as f64, columns(coding.bits)));
    ratios.insert("planes.chance", (chance, columns(coding.bits)));
    ratios.insert("planes.tc", (equal as f64, columns(coding.word())));
    ratios.insert("planes.tc.chance", (chance_equal, columns(coding.word())));
    let mut magnitudes: Vec<u32> = all.iter().map(|code| code.unsigned_abs()).collect();
    magnitudes.sort_unstable();
    for (tenths, name) in (1..).zip(thresholds()) {
        let least = (magnitudes.len() * tenths).div_ceil(10).max(1);
        let up_to = magnitudes.iter().filter(|&&magnitude| magnitude <= magnitudes[least - 1]).count();
        ratios.insert(name, (up_to as f64, n));
    }
    let distinct = |volume: &Vec<i32>| volume.iter().filter(|&&code| code != 0).collect::<HashSet<_>>().len();
    ratios.insert("repetition", (volumes.codes.iter().map(distinct).sum::<usize>() as f64, n));
    ratios
}

/// Whether `cells` has these ratios of `which`, and no others of operands that they are not of.
fn compare(cells: &Cells, which: Which, expected: &BTreeMap<&'static str, (f64, u128)>) -> Result<(), TestCaseError> {
    for (name, (numerator, denominator)) in expected {
        if metrics::find(name).unwrap().operands().all(|of| of != which) {
            prop_assert!(cells.get(name, Some(which)).is_none(), "{} of {:?}", name, which);
            continue;
        }
        let Some(Value::Ratio(got)) = cells.get(name, Some(which)) else {
            return Err(TestCaseError::fail(format!("{name} of {which:?} is not there")));
        };
        // Expected counts are rounded.
        let near = if name.ends_with("chance") { 0.5001 } else { 0.0 };
        let fits = (got.numerator as f64 - numerator).abs() <= near && got.denominator == *denominator;
        prop_assert!(fits, "{} of {:?}: {:?}, not {} / {}", name, which, got, numerator, denominator);
    }
    Ok(())
}

/// Work of `delta.Ae` and `delta.We+Ae` with padding and without, by looping over every MAC.
fn changes(problem: &Problem, codes: &[Vec<i32>; 2]) -> [[u128; 2]; 2] {
    let shape = &problem.shape;
    let ([c, h, w], [k, p, q], [_, cg, r, s]) = (shape.input, shape.output, shape.weight);
    let distance = if shape.transposed { 1 } else { shape.stride[1] };
    let volumes = Volumes::of_activations(shape, problem.images, &codes[0]).differences(distance);
    let terms = |code: i32| u128::from(problem.encoder.terms_of_change(code.unsigned_abs()));
    let least = u128::from(problem.min_one);
    let mut work = [[0; 2]; 2];
    let mut mac = |read: Option<i32>, weight: i32| {
        let (d, w) = (terms(read.unwrap_or(0)), terms(weight));
        for (work, cost) in work.iter_mut().zip([d, d * w]) {
            work[0] += cost.max(least);
            work[1] += if read.is_some() { cost.max(least) } else { 0 };
        }
    };
    if shape.features {
        for volume in &volumes.codes {
            codes[1].chunks(cg).for_each(|filter| {
                volume.iter().zip(filter).for_each(|(&read, &weight)| mac(Some(read), weight));
            });
        }
        return work;
    }
    for volume in &volumes.codes {
        for (filter, channel) in (0..k).flat_map(|filter| (0..cg).map(move |channel| (filter, channel))) {
            let input = filter / (k / shape.groups) * cg + channel;
            let weight = |tap: usize| codes[1][(filter * cg + channel) * r * s + tap];
            if shape.transposed {
                let pixels = &volume[input * h * w..][..h * w];
                pixels.iter().for_each(|&read| (0..r * s).for_each(|tap| mac(Some(read), weight(tap))));
                continue;
            }
            for (place, tap) in (0..p * q).flat_map(|place| (0..r * s).map(move |tap| (place, tap))) {
                let y = (place / q * shape.stride[0] + tap / s * shape.dilation[0]).checked_sub(shape.padding[0]);
                let x = (place % q * shape.stride[1] + tap % s * shape.dilation[1]).checked_sub(shape.padding[2]);
                let inside = y.zip(x).filter(|&(y, x)| y < h && x < w);
                mac(inside.map(|(y, x)| volume[(input * h + y) * w + x]), weight(tap));
            }
        }
    }
    assert_eq!(volumes.codes.len(), problem.images, "{c} channels of each image");
    work
}

/// The tally of `problem` with all that can be asked for, the codes of its operands, and their numbers.
fn counted(problem: &Problem) -> (LayerTally, [Vec<i32>; 2], [Coding; 2]) {
    let (codings, weights) = (problem.codings(), problem.weights());
    let maps = problem.format.weights.weight_maps(&codings[1], &weights, problem.shape.weight[0]);
    let filters = weights.chunks(weights.len() / maps.len()).zip(&maps);
    let codes = [
        problem.inputs().iter().map(|&x| codings[0].map.code(x)).collect(),
        filters.flat_map(|(filter, map)| filter.iter().map(|&x| map.code(x))).collect::<Vec<i32>>(),
    ];
    let specs = codings
        .each_ref()
        .map(|coding| OperandSpec::new(problem.shape.clone(), coding.map, coding.word(), problem.encoder));
    let sums = |operand| ExtraSums::new(&Extra::ALL, &problem.shape, operand);
    let mut tally = problem.tally(Layout::Blocked);
    (tally.activations.extra, tally.weights.extra) = (sums(0), sums(1));
    // Half of the images merged behind the others.
    let mut others = sums(0);
    for (i, image) in codes[0].chunks(codes[0].len() / problem.images).enumerate() {
        let sums = if i % 2 == 0 { &mut tally.activations.extra } else { &mut others };
        sums.add_image(&specs[0], image);
    }
    tally.activations.extra.merge(&others);
    tally.weights.extra.add_filters(&specs[1], &codes[1]);
    (tally, codes, codings)
}

fn check(problem: &Problem) -> Result<(), TestCaseError> {
    let (tally, codes, codings) = counted(problem);
    let options = Options { encoder: problem.encoder, min_one: problem.min_one };
    let subject = Subject::layer(&tally, &codings, options);
    let cells = Cells::of(&subject, &metrics::all().collect::<Vec<_>>(), problem.images as u64);
    let volumes = [
        Volumes::of_activations(&problem.shape, problem.images, &codes[0]),
        Volumes::of_weights(&problem.shape, &codes[1]),
    ];
    for (i, which) in Which::OF_MACS.into_iter().enumerate() {
        let mut expected = expected(&volumes[i], &codings[i]);
        if codings[i].per_filter {
            // Codes of several scales do not order values.
            thresholds()
                .for_each(|name| assert!(expected.remove(name).is_some() && cells.get(name, Some(which)).is_none()));
        }
        if codings[i].map.float.is_some() {
            // Significands are not all that is stored of a value, and do not order values.
            let of_integers = |name: &str| !name.starts_with("nm.");
            let (absent, present) = expected.into_iter().partition(|(name, _)| of_integers(name));
            let absent: BTreeMap<_, _> = absent;
            let kept = absent.keys().filter(|name| !["trailing", "trimmed"].contains(name));
            kept.for_each(|name| assert!(cells.get(name, Some(which)).is_none(), "{name} of floats"));
            expected = present;
        } else {
            invariants(&cells, which)?;
        }
        compare(&cells, which, &expected)?;
    }
    if codings[0].map.float.is_some() {
        prop_assert!(cells.get("delta.Ae", None).is_none());
        return Ok(());
    }
    let [bits, weight_bits] = codings.map(|coding| u128::from(coding.bits));
    let dense = modes(&cells, "macs.effectual").map(|(_, dense)| dense);
    for ((name, times), work) in
        [("delta.Ae", weight_bits), ("delta.We+Ae", 1)].into_iter().zip(changes(problem, &codes))
    {
        for (mode, got) in modes(&cells, name).into_iter().enumerate() {
            let want = (dense[mode] * bits * weight_bits, work[mode] * times);
            prop_assert_eq!(got, want, "{} in mode {}", name, mode);
        }
    }
    if problem.shape.features {
        // Without neighbours, differences are the values.
        prop_assert_eq!(modes(&cells, "delta.Ae"), modes(&cells, "potential.Ae"));
    }
    Ok(())
}

/// What holds whatever the values are.
fn invariants(cells: &Cells, which: Which) -> Result<(), TestCaseError> {
    let of = |name: &str| match cells.get(name, Some(which)) {
        Some(Value::Ratio(Fraction { numerator, denominator })) => (*numerator, *denominator),
        other => panic!("{name}: {other:?}"),
    };
    let (group, dense) = of("traffic.group");
    let groups: u64 = match cells.get("width.g16.histogram", Some(which)) {
        Some(Value::Histogram(counts)) => counts.iter().sum(),
        other => panic!("{other:?}"),
    };
    // A width of 4 bits at most for each group.
    prop_assert!(group <= of("traffic.layer").0 + 4 * u128::from(groups), "groups take more than their layer");
    prop_assert!(of("traffic.shapeshifter").0 <= group + 16 * u128::from(groups), "zeros cost bits beyond the mask");
    prop_assert!(of("traffic.entropy").0 <= dense && of("traffic.layer").0 <= dense + 4, "more than dense");
    prop_assert_eq!(of("traffic.dense"), (dense, dense));
    let trimmed = of("trimmed");
    prop_assert!(trimmed.0 <= trimmed.1 * 17, "{:?}", trimmed);
    if which == Which::Outputs {
        return Ok(());
    }
    for (some, (part, all)) in ["nm.2of4", "nm.4of8", "planes", "planes.tc"].map(|name| (name, of(name))) {
        prop_assert!(part <= all, "{}: {} of {}", some, part, all);
    }
    prop_assert!(of("trimmed.g16").0 * of("width.g16").1 <= of("width.g16").0 * of("trimmed.g16").1);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn counts_of_convolutions_equal_loops(problem in convolutions()) {
        check(&problem)?;
    }

    #[test]
    fn counts_of_transposed_convolutions_equal_loops(problem in transposed()) {
        check(&problem)?;
    }

    #[test]
    fn counts_of_linear_layers_equal_loops(problem in linears()) {
        check(&problem)?;
    }

    #[test]
    fn counts_of_products_over_sequences_equal_loops(problem in sequences()) {
        check(&problem)?;
    }

    /// Of rows that do not change only the first differences are left.
    #[test]
    fn rows_of_one_value_cost_their_first(code in -127_i32..128, rows in 1_usize..6, columns in 1_usize..40) {
        let shape = LayerShape { input: [1, rows, columns], output: [1, rows, columns], weight: [1; 4], features: false, ..LayerShape::linear([1, 1, 1], 1) };
        let map = deadweight::kernels::count::CodeMap::linear(1.0, -127, 127);
        let spec = OperandSpec::new(shape.clone(), map, 8, deadweight::kernels::count::Encoder::Naf);
        let mut sums = ExtraSums::new(&Extra::ALL, &shape, 0);
        sums.add_image(&spec, &vec![code; rows * columns]);
        let terms = deadweight::kernels::count::Encoder::Naf.terms(code.unsigned_abs() as u16);
        let nonzero = u64::from(code != 0);
        prop_assert_eq!(sums.get(Extra::Delta), Some(&[rows as u64 * u64::from(terms), rows as u64 * nonzero][..]));
        let width = u64::from(group_width([code].into_iter()));
        prop_assert_eq!(sums.get(Extra::Traffic).unwrap()[4], rows as u64 * nonzero * width);
    }
}
