//! How the activations of a recurrent layer change from one time step to the next.

use super::{Compute, Fraction, Metric, Value, Which};

const SOURCE: &str = "this project";

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "temporal",
        heading: "as step\nbefore",
        definition: "activations of a recurrent layer's product whose code (of floats, whose rounded value) is that of the step before",
        formula: "n(q[t] = q[t − 1]) / values of all steps but each sequence's first",
        unit: "fraction of values",
        source: SOURCE,
        example: "steps (3, 0), (3, 1), (4, 1): of two compared values of each, one is as before: 2/4 = 0.5",
        compute: Compute::Layer(|subject| {
            let steps = subject.along_steps()?;
            Some(Value::Ratio(Fraction::new(steps.equal, steps.compared)))
        }),
        ..Metric::SHARE
    },
    Metric {
        name: "temporal.terms",
        heading: "change\nterms",
        definition: "mean terms of the difference to the step before, by the encoder chosen; absent of floats",
        formula: "Σ terms(q[t] − q[t − 1]) / values of all steps but each sequence's first",
        unit: "terms per value",
        source: SOURCE,
        example: "steps (3, 0), (3, 1), (4, 1) change by (0, 1), (1, 0), two terms: 2/4 = 0.5",
        compute: Compute::Layer(|subject| {
            let steps = subject.along_steps()?;
            // Significands are not of one scale.
            let differ = subject.codings[Which::Activations as usize].map.float.is_none();
            differ.then(|| Value::Ratio(Fraction::new(steps.change_terms, steps.compared)))
        }),
        ..Metric::MEAN
    },
    Metric {
        name: "steps",
        heading: "steps",
        definition: "time steps of all sequences",
        formula: "Σ over sequences steps",
        unit: "steps",
        source: SOURCE,
        example: "(3, 0), (3, 1), (4, 1) = 3",
        compute: Compute::Layer(|subject| Some(Value::Count(subject.along_steps()?.steps.into()))),
        ..Metric::BASE
    },
];
