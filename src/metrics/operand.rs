//! Raw statistics of one operand (METRICS section 4), from how often each code was seen.

use super::ratio;
use crate::format::Coding;
use crate::kernels::count::{
    CodeMap, Encoder, MAX_WIDTH, ValueSums, WidthHistogram, bits, ones_twos_complement, popcount, unkey, width,
};
use crate::report::document::{Group, Groups, Operand, Raw, Share, Term, Terms};
use crate::tally::LayerTally;

/// The layer's width p: that of all its values as one group, bits of the largest magnitude and one for the sign if any
/// is negative. (The largest width of a *value* can be a bit less, and then no group would be sure to fit in it.)
pub(super) fn layer_width(values: &ValueSums) -> u16 {
    if values.elements == 0 {
        return 0;
    }
    let [least, most] = values.code_extremes;
    bits(least.unsigned_abs().max(most.unsigned_abs()) as u16) + u16::from(least < 0)
}

/// The codes that were seen, and how often.
fn codes(values: &ValueSums, lowest: i32) -> impl Iterator<Item = (i32, u64)> {
    let counts = values.codes.iter().enumerate();
    counts.filter(|(_, count)| **count > 0).map(move |(i, &count)| (lowest + i as i32, count))
}

/// Statistics of the operand that enters, in the numbers of `coding`.
pub fn activations(tally: &LayerTally, coding: &Coding) -> Operand {
    let sums = &tally.activations;
    operand(&sums.values, sums.channel_nonzeros.clone(), coding)
}

/// Statistics of the operand that stays; its channels are its filters.
pub fn weights(tally: &LayerTally, coding: &Coding) -> Operand {
    operand(&tally.weights.values, tally.weights.filter_nonzeros.clone(), coding)
}

/// Bits of the two's complement words that hold all codes: one more than they are stored in where the difference to the
/// zero point needs it.
fn word(map: CodeMap, bits: u32) -> u32 {
    let fits = if map.lo < 0 { map.lo >= -1 << (bits - 1) && map.hi < 1 << (bits - 1) } else { map.hi < 1 << bits };
    if fits { bits } else { bits + 1 }
}

/// Zeros and bits of the codes as the network stores them, if it does.
fn raw(values: &ValueSums, coding: &Coding) -> Option<Raw> {
    let stored = coding.stored?;
    let seen = || codes(values, coding.map.lo).map(|(code, count)| (code + stored.zero_point, count));
    let elements: u64 = seen().map(|(_, count)| count).sum();
    let zeros: u64 = seen().filter(|(code, _)| *code == 0).map(|(_, count)| count).sum();
    let ones: u64 = seen().map(|(code, count)| u64::from(ones_twos_complement(code, stored.bits)) * count).sum();
    let bits = elements * u64::from(stored.bits);
    Some(Raw { zero_point: stored.zero_point, zeros: share(zeros, elements), zero_bits: share(bits - ones, bits) })
}

fn operand(values: &ValueSums, channel_nonzeros: Vec<u64>, coding: &Coding) -> Operand {
    let Coding { map, bits, unit, .. } = *coding;
    let elements = values.elements;
    let zeros = elements - channel_nonzeros.iter().sum::<u64>();
    // Codes a real; none where filters have scales of their own.
    let scale = unit.map(|unit| f64::from(map.scale) / f64::from(unit));
    let real = |key: i32| unit.map(|unit| f64::from(unkey(key)) * f64::from(unit));
    let any = elements > 0;
    let known = Operand {
        bits,
        signed: Some(map.lo < 0),
        scale,
        elements,
        zeros,
        zeros_natural: values.natural_zeros,
        zeros_rounded: zeros - values.natural_zeros,
        zero_share: ratio(zeros.into(), elements.into()),
        saturated: values.saturated,
        min: real(values.extremes[0]).filter(|_| any),
        max: real(values.extremes[1]).filter(|_| any),
        layer_width: Some(layer_width(values).into()),
        groups: groups(values.group_widths.map(Vec::from)),
        dead_channels: channel_nonzeros.iter().filter(|&&nonzeros| nonzeros == 0).count() as u64,
        channel_nonzeros: Some(channel_nonzeros),
        ..Operand::default()
    };
    if values.codes.is_empty() {
        return known;
    }
    let word = word(map, bits);
    let n = elements as f64;
    let mut width_histogram = vec![0; MAX_WIDTH + 1];
    let (mut negative, mut terms, mut ones) = (0, [0; Encoder::ALL.len()], [0; 2]);
    let (mut first, mut second, mut information) = (0_i128, 0_u128, 0.0);
    for (code, count) in codes(values, map.lo) {
        let magnitude = code.unsigned_abs() as u16;
        negative += if code < 0 { count } else { 0 };
        width_histogram[usize::from(width(code))] += count;
        for (sum, encoder) in terms.iter_mut().zip(Encoder::ALL) {
            *sum += u64::from(encoder.terms(magnitude)) * count;
        }
        ones[0] += u64::from(popcount(magnitude)) * count;
        ones[1] += u64::from(ones_twos_complement(code, word)) * count;
        first += i128::from(code) * i128::from(count);
        second += u128::from(magnitude).pow(2) * u128::from(count);
        information += count as f64 * (n / count as f64).log2();
    }
    let [naf, popcount, booth4, runs] = terms.map(|terms| term(terms, elements, elements - zeros));
    let zero_bits = |ones: u64, word: u32| {
        let total = elements * u64::from(word);
        share(total - ones, total)
    };
    // n·Σq² − (Σq)² is exact and never negative.
    let spread = u128::from(elements) * second - first.unsigned_abs().pow(2);
    Operand {
        negative: Some(negative),
        mean: scale.filter(|_| any).map(|scale| first as f64 / n / scale),
        std: scale.filter(|_| any).map(|scale| (spread as f64).sqrt() / n / scale),
        mean_width: mean_width(&width_histogram),
        width_histogram: Some(width_histogram),
        zero_bits_sign_magnitude: Some(zero_bits(ones[0], bits)),
        zero_bits_twos_complement: Some(zero_bits(ones[1], word)),
        raw: raw(values, coding),
        terms: Some(Terms { naf, popcount, booth4, runs }),
        entropy: any.then(|| information / n),
        ..known
    }
}

fn share(count: u64, total: u64) -> Share {
    Share { count, total, share: ratio(count.into(), total.into()) }
}

fn term(terms: u64, values: u64, nonzeros: u64) -> Term {
    let over = |n: u64| ratio(terms.into(), n.into());
    Term { terms, per_value: over(values), per_nonzero: over(nonzeros) }
}

fn mean_width(histogram: &[u64]) -> Option<f64> {
    let sum: u128 = histogram.iter().enumerate().map(|(width, &count)| width as u128 * u128::from(count)).sum();
    ratio(sum, histogram.iter().map(|&count| u128::from(count)).sum())
}

fn groups(histograms: [Vec<u64>; 3]) -> Groups {
    let [g16, g64, g256] = histograms.map(|histogram| Group {
        groups: histogram.iter().sum(),
        mean_width: mean_width(&histogram),
        histogram,
    });
    Groups { g16, g64, g256 }
}

/// What sums over layers; what does not (ranges, means, entropy) is absent.
pub fn sum_operands<'a>(parts: impl IntoIterator<Item = &'a Operand>) -> Operand {
    let mut sum = Operand::default();
    let mut widths = [[0; MAX_WIDTH + 1]; 3];
    // Of the codes, where every part knows them: negative ones, widths, terms, zero bits of both kinds.
    let mut of_codes = Some((0, vec![0; MAX_WIDTH + 1], [0; 4], [Share::default(); 2]));
    let add = |to: &mut [u64], from: &[u64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
    for part in parts {
        sum.bits = sum.bits.max(part.bits);
        sum.elements += part.elements;
        sum.zeros += part.zeros;
        sum.zeros_natural += part.zeros_natural;
        sum.zeros_rounded += part.zeros_rounded;
        sum.saturated += part.saturated;
        sum.dead_channels += part.dead_channels;
        for (to, from) in widths.iter_mut().zip([&part.groups.g16, &part.groups.g64, &part.groups.g256]) {
            let to: &mut WidthHistogram = to;
            add(to, &from.histogram);
        }
        let bits = part.zero_bits_sign_magnitude.zip(part.zero_bits_twos_complement);
        let own = part.negative.zip(part.width_histogram.as_ref()).zip(part.terms.as_ref()).zip(bits);
        of_codes = of_codes.zip(own).map(|(mut to, (((negative, widths), terms), bits))| {
            to.0 += negative;
            add(&mut to.1, widths);
            let Terms { naf, popcount, booth4, runs } = terms;
            add(&mut to.2, &[naf, popcount, booth4, runs].map(|term| term.terms));
            for (to, from) in to.3.iter_mut().zip([bits.0, bits.1]) {
                *to = share(to.count + from.count, to.total + from.total);
            }
            to
        });
    }
    sum.zero_share = ratio(sum.zeros.into(), sum.elements.into());
    sum.groups = groups(widths.map(Vec::from));
    let Some((negative, widths, terms, [sign_magnitude, twos_complement])) = of_codes else { return sum };
    let [naf, popcount, booth4, runs] = terms.map(|terms| term(terms, sum.elements, sum.elements - sum.zeros));
    Operand {
        negative: Some(negative),
        mean_width: mean_width(&widths),
        width_histogram: Some(widths),
        terms: Some(Terms { naf, popcount, booth4, runs }),
        zero_bits_sign_magnitude: Some(sign_magnitude),
        zero_bits_twos_complement: Some(twos_complement),
        ..sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_codes_by_hand() {
        let map = CodeMap { scale: 4.0, lo: -7, hi: 7 };
        let mut values = ValueSums::new(map.codes());
        // -2 twice, 0 five times, 3 once, 7 four times.
        for (code, count) in [(-2, 2), (0, 5), (3, 1), (7, 4)] {
            values.codes[(code - map.lo) as usize] = count;
        }
        values.elements = 12;
        let coding = Coding { map, bits: 4, unit: Some(1.0), stored: None };
        let told = operand(&values, vec![4, 3], &coding);
        assert_eq!((told.zeros, told.negative, told.dead_channels), (5, Some(2), 0));
        // Sum 27, of squares 213: over 4 codes a unit.
        let variance: f64 = 213.0 / 12.0 - (27.0 / 12.0_f64).powi(2);
        assert_eq!(told.mean, Some(27.0 / 12.0 / 4.0));
        assert!((told.std.unwrap() - variance.sqrt() / 4.0).abs() < 1e-12);
        assert_eq!(told.width_histogram.unwrap()[..5], [5, 0, 1, 6, 0]);
        // 2 = 10, 3 = 11 = 4 - 1, 7 = 111 = 8 - 1.
        let terms = told.terms.unwrap();
        assert_eq!((terms.naf.terms, terms.popcount.terms), (2 + 2 + 8, 2 + 2 + 12));
        assert_eq!(told.zero_bits_sign_magnitude.unwrap().count, 48 - 16);
        // -2 = 1110.
        assert_eq!(told.zero_bits_twos_complement.unwrap().count, 48 - (6 + 2 + 12));
        let entropy: f64 = [2.0, 5.0, 1.0, 4.0].into_iter().map(|n: f64| n / 12.0 * (12.0 / n).log2()).sum();
        assert!((told.entropy.unwrap() - entropy).abs() < 1e-12);
    }
}
