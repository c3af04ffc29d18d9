//! The angles of rotary positions, and how configurations stretch them for longer sequences.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kernels::rotary::Turns;
use crate::models::{Card, config};
use crate::{Error, Result};

/// Angles: `theta^(-2i/r)` per position for pair i of r turning features, stretched as `scaling` says.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rope {
    pub theta: f64,
    /// Share of a head's features that turn.
    #[serde(default = "all")]
    pub share: f64,
    /// Whether pairs are neighbours.
    #[serde(default)]
    pub interleaved: bool,
    #[serde(default)]
    pub scaling: Scaling,
}

fn all() -> f64 {
    1.0
}

/// How angles are stretched.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Scaling {
    /// Not at all.
    #[default]
    None,
    /// All by `factor`.
    Linear { factor: f64 },
    /// By `factor` where a turn takes longer than `original / low` positions, and not where it takes less than
    /// `original / high` (Llama 3.1).
    Llama3 { factor: f64, low: f64, high: f64, original: f64 },
    /// By `factor` below `slow` turns in `original` positions, not above `fast`; `scale` multiplies queries and keys (Peng 2023).
    Yarn { factor: f64, original: f64, fast: f64, slow: f64, scale: f64, whole: bool },
}

impl Rope {
    /// What a `config.json` says: `rope_parameters`, or `rope_theta` and `rope_scaling`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for other kinds of scaling, [`Error::Malformed`] for numbers that are missing.
    pub fn of(config: &Value) -> Result<Self> {
        let place = ["rope_parameters", "rope_scaling"].into_iter().find(|field| config[*field].is_object());
        let (field, stated) = (place.unwrap_or("rope_scaling"), &config[place.unwrap_or_default()]);
        let theta = [&config["rope_theta"], &stated["rope_theta"]].into_iter().find_map(Value::as_f64);
        let share =
            [&config["partial_rotary_factor"], &stated["partial_rotary_factor"]].into_iter().find_map(Value::as_f64);
        let kind = [&stated["rope_type"], &stated["type"]].into_iter().find_map(Value::as_str).unwrap_or("default");
        let number = |name: &str| {
            let missing = || Error::malformed(config::FILE, format!("{field}: {kind} has no number {name}"));
            stated[name].as_f64().ok_or_else(missing)
        };
        let or = |name: &str, default: f64| stated[name].as_f64().unwrap_or(default);
        // Without it, what the whole network was trained with.
        let trained = || config["max_position_embeddings"].as_f64().unwrap_or_default();
        let scaling = match kind {
            "default" => Scaling::None,
            "linear" => Scaling::Linear { factor: number("factor")? },
            "llama3" => Scaling::Llama3 {
                factor: number("factor")?,
                low: number("low_freq_factor")?,
                high: number("high_freq_factor")?,
                original: number("original_max_position_embeddings")?,
            },
            "yarn" => {
                let factor = number("factor")?;
                let by_factor = |of: f64| if factor > 1.0 { 0.1 * of * factor.ln() + 1.0 } else { 1.0 };
                let scale = match (stated["mscale"].as_f64(), stated["mscale_all_dim"].as_f64()) {
                    (Some(one), Some(other)) if one != 0.0 && other != 0.0 => by_factor(one) / by_factor(other),
                    _ => by_factor(1.0),
                };
                Scaling::Yarn {
                    factor,
                    original: or("original_max_position_embeddings", trained()),
                    fast: or("beta_fast", 32.0),
                    slow: or("beta_slow", 1.0),
                    scale: or("attention_factor", scale),
                    whole: stated["truncate"].as_bool().unwrap_or(true),
                }
            }
            other => {
                config::needs(false, field, &format!("default, linear, llama3 and yarn ({other})"))?;
                Scaling::None
            }
        };
        Ok(Self { theta: theta.unwrap_or(10_000.0), share: share.unwrap_or(1.0), interleaved: false, scaling })
    }

    /// The angles for heads of `channels` channels.
    ///
    /// # Errors
    /// [`Error::Malformed`] for numbers of `card` that no network has.
    pub fn turns(&self, card: &Card, channels: usize) -> Result<Turns> {
        let Self { theta, share, interleaved, ref scaling } = *self;
        card.within("rope.theta", theta, 1.0..=1e12)?;
        card.within("rope.share", share, 0.0..=1.0)?;
        let turning = (channels as f64 * share) as usize;
        card.within("rope: features that turn in pairs", turning % 2, 0..=0)?;
        // In the order of PyTorch's f32 arithmetic.
        let exponent = |i: usize| (2 * i) as f32 / turning as f32;
        let plain = |i: usize| 1.0 / (theta as f32).powf(exponent(i));
        let frequencies: Vec<f32> = (0..turning / 2).map(plain).collect();
        let (frequencies, scale) = scaling.apply(card, frequencies, (theta, turning))?;
        Ok(Turns { channels, frequencies, interleaved, scale: scale as f32 })
    }
}

impl Scaling {
    /// The stretched frequencies, and what multiplies queries and keys.
    fn apply(&self, card: &Card, frequencies: Vec<f32>, (theta, turning): (f64, usize)) -> Result<(Vec<f32>, f64)> {
        let checked = |factor: f64| card.within("rope.scaling.factor", factor, 1e-6..=1e6).map(|()| factor as f32);
        Ok(match *self {
            Self::None => (frequencies, 1.0),
            Self::Linear { factor } => {
                let factor = checked(factor)?;
                (frequencies.into_iter().map(|frequency| frequency / factor).collect(), 1.0)
            }
            Self::Llama3 { factor, low, high, original } => {
                let factor = checked(factor)?;
                card.within("rope.scaling.high over low", high - low, 1e-6..=1e6)?;
                let stretched = |frequency: f32| {
                    let length = 2.0 * PI / f64::from(frequency);
                    if length > original / low {
                        frequency / factor
                    } else if length < original / high {
                        frequency
                    } else {
                        let smooth = (original / length - low) / (high - low);
                        ((1.0 - smooth) * f64::from(frequency / factor) + smooth * f64::from(frequency)) as f32
                    }
                };
                (frequencies.into_iter().map(stretched).collect(), 1.0)
            }
            Self::Yarn { factor, original, fast, slow, scale, whole } => {
                let factor = checked(factor)?;
                // The pair that turns so often in all positions.
                let pair = |turns: f64| turning as f64 * (original / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
                let (first, last) = (pair(fast), pair(slow));
                let (first, last) = if whole { (first.floor(), last.ceil()) } else { (first, last) };
                let (first, last) = (first.max(0.0), last.min(turning as f64 - 1.0));
                let last = if first == last { last + 0.001 } else { last };
                let stretched = |(i, frequency): (usize, f32)| {
                    let ramp = ((i as f64 - first) / (last - first)).clamp(0.0, 1.0) as f32;
                    frequency / factor * ramp + frequency * (1.0 - ramp)
                };
                (frequencies.into_iter().enumerate().map(stretched).collect(), scale)
            }
        })
    }
}
