//! Flags of text generation.

use clap::{Args, value_parser};

use super::parsers::{probability, up_to_thousand};
use crate::task::language::Sampler;

/// What is generated, and how its tokens are chosen.
#[derive(Args, Clone, Debug, Default)]
pub struct GenerateArgs {
    /// Continue this text instead of scoring texts
    #[arg(long, value_name = "TEXT", conflicts_with = "inputs")]
    pub prompt: Option<String>,
    /// Number of tokens to generate [default: 200, or as many as the network has positions for]
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,
    /// Divides the logits before sampling; 0 takes the most likely token [default: 0, or 1 with --top-k or --top-p]
    #[arg(long, value_name = "T", value_parser = up_to_thousand)]
    pub temperature: Option<f64>,
    /// Sample from the K most likely tokens only
    #[arg(long, value_name = "K", value_parser = value_parser!(u32).range(1..))]
    pub top_k: Option<u32>,
    /// Sample from the most likely tokens only that are together this probable
    #[arg(long, value_name = "P", value_parser = probability)]
    pub top_p: Option<f64>,
}

impl GenerateArgs {
    /// How tokens are chosen: the most likely one, unless something asks for sampling.
    pub fn sampler(&self) -> Sampler {
        let samples = self.top_k.is_some() || self.top_p.is_some();
        let temperature = self.temperature.unwrap_or(if samples { 1.0 } else { 0.0 });
        Sampler { temperature, top_k: self.top_k.map(|k| k as usize), top_p: self.top_p }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_sampled_only_if_something_asks_for_it() {
        let of = |args: GenerateArgs| args.sampler().temperature;
        assert_eq!(of(GenerateArgs::default()), 0.0);
        assert_eq!(of(GenerateArgs { top_p: Some(0.9), ..GenerateArgs::default() }), 1.0);
        assert_eq!(of(GenerateArgs { top_k: Some(3), temperature: Some(0.5), ..GenerateArgs::default() }), 0.5);
    }
}
