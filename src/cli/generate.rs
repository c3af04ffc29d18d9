//! `deadweight run --prompt`: a language model goes on with a text, told token by token.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::args::{Plain, RunArgs};
use super::out::Out;
use crate::engine::{Backend, Runner};
use crate::input::Vocabulary;
use crate::layers::Shape;
use crate::measure::{Monitor, Stage};
use crate::model::Model;
use crate::task::language::Sampler;
use crate::{Error, Result};

/// Goes on with `prompt`.
pub(super) fn run(
    args: &RunArgs,
    prompt: &str,
    (model, vocabulary, backend): (&Model, &Vocabulary, &Backend),
    monitor: &dyn Monitor,
    out: &mut Out,
) -> Result<()> {
    if args.format == Plain::Json {
        return Err(Error::invalid(
            "--format json",
            "is of texts that are scored; with --prompt the text is told as it is",
        ));
    }
    let tokens = vocabulary.encode("--prompt", prompt)?;
    if tokens.is_empty() {
        return Err(Error::invalid("--prompt", "holds no token; give at least one"));
    }
    let mut runner = Runner::new(&model.graph, Shape::new(1, 1, 1), backend, 1)?;
    runner.carry_states(&[])?;
    let mut random = ChaCha8Rng::seed_from_u64(args.inputs.seed);
    let sampler = Sampler { temperature: args.temperature.unwrap_or(1.0), top_k: args.top_k.map(|k| k as usize) };
    let mut logits = Vec::new();
    for token in &tokens {
        logits = runner.run(&[token.id as f32], None)?;
    }
    out.write(prompt)?;
    let count = args.max_tokens.unwrap_or(200);
    for done in 0..count {
        if monitor.stop() {
            return Err(Error::Interrupted);
        }
        monitor.progress(Stage::Predict, done as usize, count as usize);
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(Error::NotFinite { place: "output".into(), detail: format!(", after {done} tokens") });
        }
        let token = sampler.token(&logits, random.random::<f64>());
        out.write(&vocabulary.decode(token as u32))?;
        out.flush()?;
        logits = runner.run(&[token as f32], None)?;
    }
    out.write("\n")
}
