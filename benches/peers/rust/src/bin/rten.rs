use peers::Job;
use rten::{ModelOptions, Value, ValueOrView};
use rten_tensor::Tensor;

fn main() {
    let job = Job::from_arguments();
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(true);
    let model = options.load_file(job.network()).expect("a network that rten reads");
    let x: Value = match job.reads_tokens() {
        true => Tensor::from_data(&job.shape, job.token_ids()).into(),
        false => Tensor::from_data(&job.shape, job.floats()).into(),
    };
    job.serve("rten", "rten 0.27.0", || {
        let y = model.run_one(ValueOrView::View(x.as_view()), None).expect("a run");
        let y: Tensor<f32> = y.try_into().expect("floats");
        y.into_data()
    });
}
