//! Channels of an operand; of weights they are filters.

use super::{Allows, Compute, Fraction, Kind, Metric, Value};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "dead",
        heading: "dead\nchannels",
        definition: "channels (of weights: filters) that were never other than zero",
        formula: "channels(all q = 0) / channels",
        unit: "fraction of channels",
        example: "a 1/4 = 0.25, w 0/2 = 0",
        compute: Compute::Operand(|operand| {
            let channels = operand.channel_nonzeros?;
            let dead = channels.iter().filter(|&&nonzeros| nonzeros == 0).count();
            Some(Value::Ratio(Fraction::new(dead as u128, channels.len() as u128)))
        }),
        ..Metric::SHARE
    },
    Metric {
        name: "channel_nonzeros",
        kind: Kind::PerChannel,
        heading: "non-zero\nby channel",
        definition: "values other than zero, by channel (of weights: by filter)",
        formula: "n(q ≠ 0, channel = parameter)",
        unit: "values",
        allows: Allows::Skipping,
        example: "a 0 1 1 1, w 3 2",
        compute: Compute::Operand(|operand| Some(Value::PerChannel(operand.channel_nonzeros?.to_vec()))),
        ..Metric::BASE
    },
];
