//! The counting pass written value by value: the oracle of the tests.

use std::sync::Arc;

use super::classes::Classes;
use super::code::{CodeMap, Encoder, MAX_WIDTH, bits};
use super::part::Grouping;
use super::sums::{NONZERO, NONZERO_G16, Sums, TERMS, WIDTH, key};
use crate::kernels::geometry::LANES;

/// The same sums as [`super::Counter`], value by value: the oracle of the tests.
pub fn count_reference(
    map: CodeMap,
    encoder: Encoder,
    grouping: Grouping,
    classes: &Arc<[Classes; 2]>,
    [images, c, h, w]: [usize; 4],
    nchw: &[f32],
) -> Sums {
    // Features, and the channels of a step, are laid out as one row of pixels of sixteen, each pixel with a block of its own.
    let of_image = matches!(grouping, Grouping::Features | Grouping::FeaturesOfPixels);
    let channels = if of_image { c * h * w } else { c };
    let mut sums = Sums::new(Arc::clone(classes), channels, map.codes());
    let value = |n: usize, c_: usize, y: usize, x: usize| nchw[((n * c + c_) * h + y) * w + x];
    let group_width = |codes: &[i32]| {
        let most = codes.iter().map(|v| bits(v.unsigned_abs() as u16)).max().unwrap_or(0);
        most + u16::from(map.float.is_none() && codes.iter().any(|&v| v < 0))
    };
    for n in 0..images {
        // Groups run along a "row": the columns of a channel block, the features of an image, the channels of a step.
        let each = |of_a_row: usize| (0..h).flat_map(|y| (0..of_a_row).map(move |at| (y, at))).collect();
        let rows: Vec<(usize, usize)> = match grouping {
            Grouping::Channels => each(c.div_ceil(LANES)),
            Grouping::Features | Grouping::FeaturesOfPixels => vec![(0, 0)],
            Grouping::Steps => each(w),
        };
        for (y, at) in rows {
            let filled = |values: &[f32]| values.chunks(LANES).map(<[f32]>::to_vec).collect();
            let pixels: Vec<Vec<f32>> = match grouping {
                Grouping::Channels => {
                    let channels = at * LANES..((at + 1) * LANES).min(c);
                    (0..w).map(|x| channels.clone().map(|c| value(n, c, y, x)).collect()).collect()
                }
                Grouping::Features => filled(&nchw[n * channels..(n + 1) * channels]),
                Grouping::FeaturesOfPixels => {
                    let places = (0..h * w).flat_map(|pixel| (0..c).map(move |c| (c, pixel)));
                    filled(&places.map(|(c, pixel)| value(n, c, pixel / w, pixel % w)).collect::<Vec<_>>())
                }
                Grouping::Steps => filled(&(0..c).map(|c| value(n, c, y, at)).collect::<Vec<_>>()),
            };
            let codes: Vec<Vec<i32>> =
                pixels.iter().map(|pixel| pixel.iter().map(|&v| map.code(v)).collect()).collect();
            for (size, per_group) in [1, 4, 16].into_iter().enumerate() {
                for group in codes.chunks(per_group) {
                    let group_width = group_width(&group.concat());
                    sums.values.group_widths[size][usize::from(group_width)] += 1;
                    let start = group.as_ptr() as usize - codes.as_ptr() as usize;
                    let first = start / size_of::<Vec<i32>>();
                    for x in first..first + group.len() {
                        let place = match grouping {
                            Grouping::Channels => {
                                sums.place(usize::from(classes[0].of[y]), usize::from(classes[1].of[x]), at)
                            }
                            Grouping::Features | Grouping::FeaturesOfPixels | Grouping::Steps => x,
                        };
                        sums.groups[place].width[size] += u64::from(group_width);
                        sums.groups[place].zero[size] += u64::from(group_width == 0);
                        if size == 0 {
                            for (lane, &code) in codes[x].iter().enumerate() {
                                let to = &mut sums.lanes[place * LANES + lane];
                                to[NONZERO] += u64::from(code != 0);
                                to[WIDTH] += u64::from(map.width(code));
                                to[TERMS] += u64::from(encoder.terms(code.unsigned_abs() as u16));
                                to[NONZERO_G16] += if code != 0 { u64::from(group_width) } else { 0 };
                            }
                        }
                    }
                }
            }
            for (&x, &code) in pixels.iter().flatten().zip(codes.iter().flatten()) {
                sums.values.elements += 1;
                sums.values.codes[(code - map.lo) as usize] += 1;
                sums.values.natural_zeros += u64::from(x == 0.0);
                let beyond = match map.float {
                    Some(of) => of.code(x * map.scale).1,
                    None => map.rounded_and_code(x).0 != code,
                };
                sums.values.saturated += u64::from(beyond);
                sums.values.extremes = [sums.values.extremes[0].min(key(x)), sums.values.extremes[1].max(key(x))];
                let [least, most] = sums.values.code_extremes;
                sums.values.code_extremes = [least.min(code), most.max(code)];
            }
        }
    }
    debug_assert!(sums.values.group_widths[0].len() == MAX_WIDTH + 1);
    sums
}
