//! How the probabilities of attention are shared out, and the work of those that are nothing.

use super::{Compute, Fraction, Kind, Metric, Needs, Subject, Value};
use crate::tally::{Extra, Padding};

const BASE: Metric = Metric {
    unit: "fraction of probabilities",
    source: "this project",
    needs: Needs::Extra(Extra::Attention),
    ..Metric::SHARE
};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "attention.below256",
        heading: "p below\nmax/256",
        definition: "probabilities of visible pairs that are below 1/256 of the largest of their query and head",
        formula: "n(p < max p / 256) / n(p)",
        example: "0.5 0.4 0.0986 0.001 0.0004: the last two are below 0.00195, 2 / 5",
        compute: Compute::Layer(|subject| share(subject, 1)),
        ..BASE
    },
    Metric {
        name: "attention.below1024",
        heading: "p below\nmax/1024",
        definition: "probabilities of visible pairs that are below 1/1024 of the largest of their query and head",
        formula: "n(p < max p / 1024) / n(p)",
        example: "0.5 0.4 0.0986 0.001 0.0004: the last is below 0.00049, 1 / 5",
        compute: Compute::Layer(|subject| share(subject, 2)),
        ..BASE
    },
    Metric {
        name: "attention.keys90",
        heading: "keys of\n90 % p",
        definition: "keys that the largest probabilities of a query and head need to sum up to 90 %, of those that it sees",
        formula: "Σ over queries and heads of the fewest keys with Σ p ≥ 0.9 / n(p)",
        unit: "fraction of visible keys",
        example: "0.5 0.4 0.0986 0.001 0.0004: the first two, 2 / 5",
        compute: Compute::Layer(|subject| share(subject, 3)),
        ..BASE
    },
    Metric {
        name: "attention.keys99",
        heading: "keys of\n99 % p",
        definition: "keys that the largest probabilities of a query and head need to sum up to 99 %, of those that it sees",
        formula: "Σ over queries and heads of the fewest keys with Σ p ≥ 0.99 / n(p)",
        unit: "fraction of visible keys",
        example: "0.5 0.4 0.0986 0.001 0.0004: the first three, 3 / 5",
        compute: Compute::Layer(|subject| share(subject, 4)),
        ..BASE
    },
    Metric {
        name: "attention.dead",
        heading: "dead\npairs",
        definition: "MACs of visible pairs of a query and a key whose probability has code 0, in both products: what a perfect predictor \
                     saves",
        formula: "n(visible p with q = 0) · features of a head / MACs",
        unit: "fraction of MACs",
        source: "Sanger, DOTA",
        kind: Kind::Work,
        example: "a causal head of 8 features and 4 tokens has 10 visible pairs of 16; 5 of them have code 0: 40 / 128, and without \
                  masked pairs 40 / 80, of the scores and of the sums of values each",
        compute: Compute::Layer(|subject| {
            let tally = subject.tally?;
            let &[visible, .., dead] = tally.activations.extra.get(Extra::Attention)? else { return None };
            // Queries and keys are one head's, and so are the values' features.
            let [outer, inner, ..] = tally.shape.weight;
            let macs = dead.checked_mul((outer * inner) as u64).filter(|_| visible > 0)?;
            let dense = subject.products?.dense;
            Some(Value::Work(Padding::BOTH.map(|padding| Fraction::new(macs, dense.of(padding)))))
        }),
        ..BASE
    },
];

/// Count `which` over the visible pairs, of probabilities.
fn share(subject: &Subject<'_>, which: usize) -> Option<Value> {
    let &[visible, .., keys99, _] = subject.tally?.activations.extra.get(Extra::Attention)? else { return None };
    // Every query that sees a key needs one; of scores none is counted.
    let count = subject.tally?.activations.extra.get(Extra::Attention)?[which];
    (keys99 > 0).then(|| Value::Ratio(Fraction::new(count, visible)))
}
