use peers::Job;
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

fn main() -> TractResult<()> {
    let job = Job::from_arguments();
    if job.threads > 1 {
        set_default_executor(Executor::multithread(job.threads));
    }
    let kind = if job.reads_tokens() { i64::datum_type() } else { f32::datum_type() };
    let model = tract_onnx::onnx()
        .model_for_path(job.network())?
        .with_input_fact(0, InferenceFact::dt_shape(kind, job.shape.clone()))?
        .into_optimized()?
        .into_runnable()?;
    let token_ids = || job.token_ids().into_iter().map(i64::from).collect::<Vec<_>>();
    let x = if job.reads_tokens() { Tensor::from_shape(&job.shape, &token_ids()) } else { Tensor::from_shape(&job.shape, &job.floats()) }?;
    job.serve("tract", "tract 0.23.9", || {
        let y = model.run(tvec!(x.clone().into())).expect("a run");
        y[0].try_as_plain_ram().expect("values").as_slice::<f32>().expect("floats").to_vec()
    });
    Ok(())
}
