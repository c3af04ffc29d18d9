//! candle's own transformers: `bert`, and `quantized_llama` on a GGUF file, whose floats run as floats (`candle-f32`).

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Error, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config, DTYPE};
use candle_transformers::models::quantized_llama::ModelWeights;
use peers::Job;

const VERSION: &str = "candle-transformers 0.11.1";

fn main() -> Result<()> {
    let (job, device) = (Job::from_arguments(), Device::Cpu);
    let token_ids: Vec<u32> = job.token_ids().into_iter().map(|id| id as u32).collect();
    let engine = std::env::args().nth(4).expect("an engine's name");
    let path = job.model(&engine);
    if path.is_dir() {
        let config = std::fs::read_to_string(path.join("config.json")).expect("a configuration");
        let config: Config = serde_json::from_str(&config).expect("a configuration of BERT");
        let weights = std::fs::read(path.join("model.safetensors")).expect("weights");
        let model = BertModel::load(VarBuilder::from_buffered_safetensors(weights, DTYPE, &device)?, &config)?;
        let ids = Tensor::from_vec(token_ids, &job.shape[..], &device)?;
        let types = ids.zeros_like()?;
        let run = || model.forward(&ids, &types, None)?.flatten_all()?.to_vec1();
        job.serve(&engine, VERSION, || run().expect("a run"));
        return Ok(());
    }
    let mut file = std::fs::File::open(&path).map_err(Error::wrap)?;
    let content = Content::read(&mut file)?;
    let mut model = ModelWeights::from_gguf(content, &mut file, &device)?;
    // It gives the logits of the last token alone.
    let read = |model: &mut ModelWeights, ids: &[u32], first: usize| -> Result<Vec<f32>> {
        model.forward(&Tensor::new(ids, &device)?.unsqueeze(0)?, first)?.flatten_all()?.to_vec1()
    };
    let (prompt, next) = token_ids.split_at(job.shape[1]);
    if next.is_empty() {
        job.serve(&engine, VERSION, || read(&mut model, prompt, 0).expect("a run"));
        return Ok(());
    }
    read(&mut model, prompt, 0)?;
    let one_by_one = |mut model: ModelWeights| {
        let steps = next.iter().enumerate().map(|(i, &id)| read(&mut model, &[id], prompt.len() + i));
        steps.collect::<Result<Vec<_>>>().expect("a run").concat()
    };
    // A copy shares all tensors.
    job.serve_from(&engine, VERSION, || model.clone(), one_by_one);
    Ok(())
}
