//! `deadweight run --prompt`: text generation, printed token by token.

use std::collections::VecDeque;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::args::{Plain, RunArgs};
use super::out::Out;
use crate::engine::{Backend, Runner};
use crate::input::Vocabulary;
use crate::layers::Shape;
use crate::measure::{Monitor, Stage};
use crate::model::Model;
use crate::{Error, Result};

/// Continues `prompt`.
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
            "is for scoring texts; with --prompt the generated text is printed as it is",
        ));
    }
    // A network that carries a state goes on from any place of a text, another one reads it from its start.
    let tokens = match model.has_sequences() || model.window().is_some() {
        true => vocabulary.encode("--prompt", prompt)?,
        false => vocabulary.encode_whole("--prompt", 1, prompt, None)?,
    };
    if tokens.is_empty() {
        return Err(Error::invalid("--prompt", "holds no token; give at least one"));
    }
    let mut reader = Reader::new(model, backend)?;
    let mut random = ChaCha8Rng::seed_from_u64(args.inputs.seed);
    let sampler = args.generate.sampler();
    let mut logits = Vec::new();
    let mut decoder = vocabulary.decoder();
    for token in &tokens {
        decoder.push(token.id);
        logits = reader.read(token.id)?;
    }
    out.write(prompt)?;
    let count = args.generate.max_tokens.unwrap_or(200);
    for done in 0..count {
        if monitor.stop() {
            return Err(Error::Interrupted);
        }
        monitor.progress(Stage::Predict, done as usize, count as usize);
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(Error::NotFinite { place: "output".into(), detail: format!(", after {done} tokens") });
        }
        let token = sampler.token(&logits, random.random::<f64>());
        out.write(&decoder.push(token as u32))?;
        out.flush()?;
        logits = reader.read(token as u32)?;
    }
    out.write("\n")
}

/// A model that is run token by token.
struct Reader {
    runner: Runner,
    /// The last tokens, for a network that reads windows; zeros before the first.
    window: Option<VecDeque<f32>>,
}

impl Reader {
    fn new(model: &Model, backend: &Backend) -> Result<Self> {
        let window = model.window();
        let mut runner = Runner::new(&model.graph, Shape::new(1, 1, window.unwrap_or(1)), backend, 1)?;
        if window.is_none() {
            runner.carry_states(&[])?;
        }
        Ok(Self { runner, window: window.map(|length| VecDeque::from(vec![0.0; length])) })
    }

    /// Logits of the token after `token`.
    fn read(&mut self, token: u32) -> Result<Vec<f32>> {
        let Some(window) = &mut self.window else { return self.runner.run(&[token as f32], None) };
        window.pop_front();
        window.push_back(token as f32);
        self.runner.run(window.make_contiguous(), None)
    }
}
