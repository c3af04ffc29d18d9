//! The counter against the value-by-value reference, on every level and split.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::kernels::packed_codes::{Layout, PackedCodes};
use crate::kernels::{FLOAT_TYPES, Geometry, Halo, Isa, LANES, Region};

fn value(i: usize, seed: u32) -> f32 {
    let mixed = (i as u32 ^ seed).wrapping_mul(2_654_435_761);
    let unit = ((mixed ^ (mixed >> 15)) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    // Half zeros, and magnitudes of all sizes.
    if mixed & 3 < 2 { 0.0 } else { unit * (2.0f32).powi((mixed >> 2 & 15) as i32 - 12) }
}

/// What [`Counter`] keeps of a single input with the sums `sums`.
fn inputs_of(sums: &Sums) -> InputSums {
    let all = |which: usize| (0..sums.channels).map(|c| sums.channel(which, c)).sum();
    let widths = sums.values.group_widths;
    InputSums {
        elements: sums.values.elements,
        nonzeros: all(NONZERO),
        widths: all(WIDTH),
        terms: all(TERMS),
        natural_zeros: sums.values.natural_zeros,
        saturated: sums.values.saturated,
        group_widths: widths.map(|widths| widths.iter().zip(0..).map(|(count, width)| count * width).sum()),
        groups: widths.map(|widths| widths.iter().sum()),
    }
}

/// The same, tap by tap.
fn reads_of(sums: &Sums, weight: impl Fn(usize, usize) -> [u64; 2]) -> ReadSums {
    let mut read = ReadSums::default();
    let [rows, columns] = [0, 1].map(|axis| sums.classes[axis].visits.len());
    for (r, s) in (0..rows).flat_map(|r| (0..columns).map(move |s| (r, s))) {
        for c in 0..sums.channels {
            let [w, w_terms] = weight(c, r * columns + s);
            let [nonzero, width, terms, g16] =
                [NONZERO, WIDTH, TERMS, NONZERO_G16].map(|which| sums.tap(which, c, (r, s)));
            read.nonzero += nonzero;
            read.width += width;
            read.terms += terms;
            read.both += nonzero * w;
            read.terms_w += terms * w;
            read.terms_terms += terms * w_terms;
            read.g16_both += g16 * w;
        }
        for block in 0..sums.blocks() {
            let GroupSums { width, zero } = sums.tap_groups(block, (r, s));
            let channels = block * LANES..sums.channels.min((block + 1) * LANES);
            let members = channels.len() as u64;
            let w: u64 = channels.map(|c| weight(c, r * columns + s)[0]).sum();
            read.g16_w += width[0] * w;
            read.g16_zero_w += zero[0] * w;
            for size in 0..3 {
                read.groups[size] += width[size] * members;
                read.zero_groups[size] += zero[size] * members;
            }
        }
    }
    read
}

/// What the codes of `sums` add up to.
fn totals_of(sums: &Sums, map: CodeMap, encoder: Encoder) -> Totals {
    let mut totals = Totals::default();
    for (code, &count) in (map.lo..).zip(&sums.values.codes) {
        let magnitude = code.unsigned_abs() as u16;
        totals.ones += u64::from(magnitude.count_ones()) * count;
        totals.sum += i64::from(code) * count as i64;
        totals.squares += u128::from(magnitude).pow(2) * u128::from(count);
        totals.widths += u64::from(map.width(code)) * count;
        totals.terms += u64::from(encoder.terms(magnitude)) * count;
    }
    totals
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_reference(
        (images, c, h, w) in (1usize..3, 1usize..40, 1usize..9, 1usize..40),
        (stride, dilation, before, taps) in (1usize..5, 1usize..4, 0usize..4, 1usize..5),
        grouping in prop::sample::select(vec![Grouping::Channels, Grouping::Features, Grouping::FeaturesOfPixels, Grouping::Steps]),
        planar in any::<bool>(),
        encoder in prop::sample::select(Encoder::ALL.to_vec()),
        bits in 2u32..17,
        float in prop::option::weighted(0.4, prop::sample::select(FLOAT_TYPES.to_vec())),
        unsigned in any::<bool>(),
        saturated in any::<bool>(),
        negatives in any::<bool>(),
        seed in any::<u32>(),
        split in 0usize..9,
    ) {
        let shape = [images, c, h, w];
        // Unsigned codes with few negative values, -0.0 among them, or none.
        let value = |i: usize| match value(i, seed) {
            x if !unsigned => x,
            x if negatives && i % 97 == 5 => -x.abs(),
            x => x.abs(),
        };
        let nchw: Vec<f32> = (0..images * c * h * w).map(value).collect();
        let hi = if unsigned && bits <= 8 { (1 << bits) - 1 } else { (1 << (bits - 1)) - 1 };
        let map = match float {
            // Beyond the largest value of all types but one, or within.
            Some(of) => CodeMap::float(if saturated { 30_000.0 } else { 1.0 }, of),
            None => CodeMap::linear(hi as f32 * if saturated { 0.9 } else { 0.12 }, if unsigned { 0 } else { -hi }, hi),
        };
        let axis = |size: usize| {
            let outputs = (size + before + before).saturating_sub(dilation * (taps - 1) + 1) / stride + 1;
            Classes::new(size, outputs, stride, dilation, before, taps)
        };
        let (classes, channels) = match grouping {
            Grouping::Channels => ([axis(h), axis(w)], c),
            Grouping::Features | Grouping::FeaturesOfPixels => ([Classes::single(), Classes::single()], c * h * w),
            Grouping::Steps => ([Classes::single(), Classes::single()], c),
        };
        let classes = Arc::new(classes);
        let want = count_reference(map, encoder, grouping, &classes, shape, &nchw);
        let geometry = if planar { Geometry::planar(images, c, h, w) } else { Geometry::blocked(images, c, h, w) };
        let geometry = geometry.with_halo(Halo { top: 1, bottom: 2, left: 1, right: 0 });
        let mut x = vec![0.0; geometry.len()];
        geometry.pack(&nchw, &mut x);
        // Two layers with different weights read the operand.
        let weight = |of: usize| move |channel: usize, tap: usize| [channel * 7 + tap * 3 + of, channel + tap * of].map(|w| (w % 11) as u64);
        let readers: Arc<[Reader]> = [1, 2].map(|of| Reader::new(&classes, channels, weight(of))).into();
        let alone = |image: usize| {
            let one = &nchw[image * c * h * w..][..c * h * w];
            let sums = count_reference(map, encoder, grouping, &classes, [1, c, h, w], one);
            (inputs_of(&sums), [1, 2].map(|of| reads_of(&sums, weight(of))))
        };
        let alone: Vec<_> = (0..images).map(alone).collect();
        for isa in Isa::available() {
            let mut counters = [(); 2].map(|()| {
                Counter::new(map, Detail::Codes(encoder), grouping, Arc::clone(&classes), channels).by_input(Arc::clone(&readers))
            });
            for image in (0..images).rev() {
                counters.iter_mut().for_each(|counter| counter.begin_input(isa, image));
                let cut = split.min(h);
                let blocks = c.div_ceil(LANES);
                for blocks in [0..split.min(blocks), split.min(blocks)..blocks] {
                    let part = Region { rows: cut..h, blocks };
                    if seed % 2 == 1 {
                        // As if the 32-bit lanes were nearly full.
                        counters[1].room = 0;
                    }
                    prop_assert!(counters[1].count(isa, &x, &geometry, image, part, 0));
                }
                prop_assert!(counters[0].count(isa, &x, &geometry, image, geometry.rows(0..cut), 0));
            }
            let mut kept = vec![OneInput::none(readers.len()); images];
            counters.iter_mut().for_each(|counter| counter.take_inputs(isa, &mut kept));
            for (image, (kept, (values, reads))) in kept.iter().zip(&alone).enumerate() {
                prop_assert_eq!(kept.values(), *values, "{}: image {}", isa.name(), image);
                prop_assert_eq!([0, 1].map(|reader| kept.reads(reader)), *reads, "{}: image {}", isa.name(), image);
            }
            let [mut got, other] = counters.map(Counter::into_sums);
            got.merge(&other);
            // If the cut leaves no first row to the first counter, the second counts the features.
            prop_assert_eq!(&got, &want, "{}", isa.name());
            // Where codes are not counted one by one, what they add up to is the same, and the rest.
            let alone = |detail: Detail| {
                let mut counter = Counter::new(map, detail, grouping, Arc::clone(&classes), channels);
                assert!((0..images).all(|image| counter.count(isa, &x, &geometry, image, geometry.rows(0..h), 0)));
                counter.into_sums()
            };
            got.values.totals = Some(totals_of(&got, map, encoder));
            got.values.codes.clear();
            prop_assert_eq!(&alone(Detail::Terms(encoder)), &got, "{}: terms", isa.name());
            got.values.totals = None;
            got.lanes.iter_mut().for_each(|lanes| lanes[TERMS] = 0);
            prop_assert_eq!(alone(Detail::Values), got, "{}: values alone", isa.name());
        }
        let mut range = Range::default();
        let ok = (0..images).all(|image| range.watch(Isa::best(), &x, &geometry, image, geometry.rows(0..h)));
        prop_assert!(ok);
        prop_assert_eq!(range, Range::of(&nchw));
    }
}

proptest! {
    #[test]
    fn bytes_are_counted_as_the_floats_they_stand_for(
        (c, h, w) in (1usize..40, 1usize..9, 1usize..40),
        (stride, dilation, before, taps) in (1usize..5, 1usize..4, 0usize..4, 1usize..5),
        (apart, left, by_pixel) in (0u32..2, 0usize..3, any::<bool>()),
        encoder in prop::sample::select(Encoder::ALL.to_vec()),
        level in 0usize..3,
        (zeros, first, seed) in (any::<bool>(), 0usize..3, any::<u32>()),
    ) {
        let code = |i: usize| {
            let mixed = (i as u32 ^ seed).wrapping_mul(2_654_435_761) >> 7;
            if zeros && mixed.is_multiple_of(3) { 0 } else { (mixed >> 8) as u8 | u8::from(!zeros) }
        };
        let codes: Vec<u8> = (0..c * h * w).map(code).collect();
        let (blocks, columns) = (c.div_ceil(LANES), (left + w + 1).div_ceil(1 << apart));
        let (layout, left) = match by_pixel {
            true => (Layout::by_pixel(blocks, w), 0),
            false => (Layout::by_block(blocks, 1 << apart, columns, left), left),
        };
        let mut cells = vec![0i32; h * layout.row_len()];
        for (i, &code) in codes.iter().enumerate() {
            let (channel, row, column) = (i / (h * w), i / w % h, i % w);
            let cell = layout.at(row, channel / LANES, left + column) + channel % LANES / 4;
            cells[cell] |= i32::from(code) << (channel % 4 * 8);
        }
        let cells = PackedCodes::new(&cells, layout, [c, h, w]);
        let geometry = Geometry::blocked(1, c, h, w);
        let mut x = vec![0.0; geometry.len()];
        geometry.pack(&codes.iter().map(|&code| f32::from(code)).collect::<Vec<_>>(), &mut x);
        let axis = |size: usize| {
            let outputs = (size + before + before).saturating_sub(dilation * (taps - 1) + 1) / stride + 1;
            Classes::new(size, outputs, stride, dilation, before, taps)
        };
        let (classes, map) = (Arc::new([axis(first + h), axis(w)]), CodeMap::linear(1.0, 0, 255));
        let detail = [Detail::Values, Detail::Terms(encoder), Detail::Codes(encoder)][level];
        for isa in Isa::available() {
            let [mut floats, mut bytes] =
                [(); 2].map(|()| Counter::new(map, detail, Grouping::Channels, Arc::clone(&classes), c));
            // Twice: no state of the first run is left for the second.
            for _ in 0..2 {
                prop_assert!(floats.count(isa, &x, &geometry, 0, geometry.rows(0..h), first));
                bytes.count_packed(isa, cells, first);
            }
            prop_assert_eq!(bytes.into_sums(), floats.into_sums(), "{}", isa.name());
        }
    }
}

#[test]
fn steps_beyond_one_chunk_are_counted() {
    let shape = [2, 700, 1, 60];
    let [images, c, h, w] = shape;
    let mut nchw: Vec<f32> = (0..images * c * h * w).map(|i| value(i, 7)).collect();
    let map = CodeMap::linear(3000.0, -32767, 32767);
    // Out of the range of the codes, in the last steps of the second image.
    nchw[images * c * w - 3] = 100.0;
    let classes = Arc::new([Classes::single(), Classes::single()]);
    let halo = Halo { top: 0, bottom: 1, left: 2, right: 1 };
    let places = [Geometry::blocked(images, c, h, w).with_halo(halo), Geometry::planar(images, c, h, w)];
    for (encoder, geometry) in Encoder::ALL.into_iter().flat_map(|encoder| places.map(|geometry| (encoder, geometry))) {
        let want = count_reference(map, encoder, Grouping::Steps, &classes, shape, &nchw);
        assert_eq!(want.values.saturated, 1);
        let mut x = vec![0.0; geometry.len()];
        geometry.pack(&nchw, &mut x);
        for isa in Isa::available() {
            let mut counter = Counter::new(map, Detail::Codes(encoder), Grouping::Steps, Arc::clone(&classes), c);
            assert!((0..images).all(|image| counter.count(isa, &x, &geometry, image, geometry.rows(0..1), 0)));
            assert_eq!(counter.into_sums(), want, "{} {}", isa.name(), encoder.name());
        }
    }
}

#[test]
fn rows_longer_than_sums_of_sixteen_bits_hold_are_counted() {
    // A recording, and rows of pixels: 120,000 columns of the largest code.
    for (c, planar) in [(1, true), (3, true), (16, false)] {
        let (w, map) = (120_000, CodeMap::linear(1.0, -32_767, 32_767));
        let nchw: Vec<f32> = (0..c * w).map(|i| if i % 3 == 0 { -32_767.0 } else { 32_767.0 }).collect();
        let geometry = if planar { Geometry::planar(1, c, 1, w) } else { Geometry::blocked(1, c, 1, w) };
        let mut x = vec![0.0; geometry.len()];
        geometry.pack(&nchw, &mut x);
        let classes = Arc::new([Classes::new(1, 1, 1, 1, 0, 1), Classes::new(w, w, 1, 1, 1, 3)]);
        let mut want = count_reference(map, Encoder::Popcount, Grouping::Channels, &classes, [1, c, 1, w], &nchw);
        want.values.totals = Some(totals_of(&want, map, Encoder::Popcount));
        want.values.codes.clear();
        for isa in Isa::available() {
            let detail = Detail::Terms(Encoder::Popcount);
            let mut counter = Counter::new(map, detail, Grouping::Channels, Arc::clone(&classes), c);
            assert!(counter.count(isa, &x, &geometry, 0, geometry.rows(0..1), 0));
            assert!(counter.into_sums() == want, "{} {c} {planar}", isa.name());
        }
    }
}

#[test]
fn nan_is_found_in_any_step_and_feature() {
    let [c, w] = [700, 60];
    let geometry = Geometry::blocked(1, c, 1, w);
    let map = CodeMap::linear(100.0, -127, 127);
    for (channel, step) in [(0, 0), (699, 0), (695, 22), (3, 23), (0, 59), (699, 59)] {
        let mut x = vec![0.0; geometry.len()];
        geometry.pack(&vec![0.5; c * w], &mut x);
        x[geometry.index(0, channel, 0, step)] = f32::NAN;
        for (grouping, channels) in [(Grouping::Steps, c), (Grouping::Features, c * w)] {
            for isa in Isa::available() {
                let classes = Arc::new([Classes::single(), Classes::single()]);
                let mut counter = Counter::new(map, Detail::Values, grouping, classes, channels);
                let region = geometry.rows(0..1);
                assert!(
                    !counter.count(isa, &x, &geometry, 0, region, 0),
                    "{grouping:?}: channel {channel}, step {step}"
                );
            }
        }
    }
}

#[test]
fn nan_and_infinity_are_found_in_any_lane() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for c in [3, 16, 21] {
            for planar in [false, true] {
                let geometry = if planar { Geometry::planar(1, c, 2, 5) } else { Geometry::blocked(1, c, 2, 5) };
                for place in [0, c * 10 / 2, c * 10 - 1] {
                    let mut nchw = vec![0.5; c * 10];
                    nchw[place] = bad;
                    let mut x = vec![0.0; geometry.len()];
                    geometry.pack(&nchw, &mut x);
                    let classes = Arc::new([Classes::new(2, 2, 1, 1, 0, 1), Classes::new(5, 5, 1, 1, 0, 1)]);
                    let map = CodeMap::linear(100.0, -127, 127);
                    for isa in Isa::available() {
                        let mut counter =
                            Counter::new(map, Detail::Terms(Encoder::Naf), Grouping::Channels, Arc::clone(&classes), c);
                        assert!(
                            !counter.count(isa, &x, &geometry, 0, geometry.rows(0..2), 0),
                            "{bad} at {place} of {c}"
                        );
                        assert!(
                            !Range::default().watch(isa, &x, &geometry, 0, geometry.rows(0..2)),
                            "{bad} at {place} of {c}"
                        );
                    }
                }
            }
        }
    }
}
