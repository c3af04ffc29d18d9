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

/// Tokens that are generated where nothing else is said.
const TOKENS: usize = 200;

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
    let count = count(args, model, tokens.len())?;
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
    for done in 0..count {
        if monitor.stop() {
            return Err(Error::Interrupted);
        }
        monitor.progress(Stage::Predict, done, count);
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

/// Number of tokens to generate after a prompt of `tokens`: as many as asked for, else 200 or what the positions leave.
///
/// # Errors
/// [`Error::Shape`] if the prompt takes all positions, [`Error::Invalid`] if more is asked for than they leave.
fn count(args: &RunArgs, model: &Model, tokens: usize) -> Result<usize> {
    let asked = args.generate.max_tokens.map(|count| count as usize);
    let Some(limit) = model.positions() else { return Ok(asked.unwrap_or(TOKENS)) };
    let (name, left) = (&model.card.name, limit.saturating_sub(tokens));
    match asked {
        _ if left == 0 => {
            let detail = format!("has {tokens} tokens, {name} has {limit} positions; give a shorter one");
            Err(Error::shape("--prompt", detail))
        }
        Some(asked) if asked > left => {
            let detail = format!("exceeds the {limit} positions of {name} after {tokens} tokens; give at most {left}");
            Err(Error::invalid(format!("--max-tokens {asked}"), detail))
        }
        asked => Ok(asked.unwrap_or(TOKENS.min(left))),
    }
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
