//! What the workers share: the job, its input, and the protocol of `worker.py`.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

/// The command line: `WORKER NETWORK@BATCH THREADS DIR`, of an engine with names of its own also one of them.
pub struct Job {
    name: String,
    folder: PathBuf,
    pub threads: usize,
    pub shape: Vec<usize>,
    /// Tokens that are read one by one after the input; a time is of one of them.
    pub steps: usize,
    facts: serde_json::Value,
}

impl Job {
    pub fn from_arguments() -> Self {
        let given: Vec<String> = std::env::args().skip(1).take(3).collect();
        let [name, threads, folder] = given.try_into().expect("three arguments");
        let folder = PathBuf::from(folder);
        let facts = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("facts beside the network");
        let facts: serde_json::Value = serde_json::from_str(&facts).expect("facts as JSON");
        let shape = facts["shape"].as_array().expect("a shape").iter().map(|extent| extent.as_u64().unwrap() as usize);
        let (shape, steps) = (shape.collect(), facts["steps"].as_u64().map_or(0, |steps| steps as usize));
        Self { shape, steps, facts, name, folder, threads: threads.parse().expect("a number of threads") }
    }

    /// The network's file.
    pub fn network(&self) -> PathBuf {
        self.folder.join(format!("{}.onnx", self.name))
    }

    /// The folder or file of its weights; of engines that end in `-f32` those in floats.
    pub fn model(&self, engine: &str) -> PathBuf {
        let key = if engine.ends_with("-f32") { "floats" } else { "model" };
        self.folder.join(self.facts[key].as_str().expect("a model among the facts"))
    }

    /// Whether its input is token ids.
    pub fn reads_tokens(&self) -> bool {
        self.shape.len() == 2
    }

    fn hashes(&self) -> impl Iterator<Item = u64> {
        (0..(self.shape.iter().product::<usize>() + self.steps) as u64).map(|index| index.wrapping_mul(2_654_435_761) % (1 << 32))
    }

    pub fn floats(&self) -> Vec<f32> {
        self.hashes().map(|hash| (hash as f64 / f64::from(1u32 << 31) - 1.0) as f32).collect()
    }

    pub fn token_ids(&self) -> Vec<i32> {
        self.hashes().map(|hash| (hash % 10_000) as i32).collect()
    }

    /// Runs once, prints a summary of the output, and then times as many runs as it is asked for.
    pub fn serve(&self, engine: &str, version: &str, mut run: impl FnMut() -> Vec<f32>) {
        self.serve_from(engine, version, || (), |()| run());
    }

    /// [`Job::serve`], of runs that each start from what `prepare` gives, which is not timed.
    pub fn serve_from<T>(
        &self,
        engine: &str,
        version: &str,
        mut prepare: impl FnMut() -> T,
        mut run: impl FnMut(T) -> Vec<f32>,
    ) {
        let y = run(prepare());
        let bytes: Vec<u8> = y.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(self.folder.join(format!("{}.{engine}.f32", self.name)), bytes).expect("room for the output");
        let mean = y.iter().map(|v| f64::from(v.abs())).sum::<f64>() / y.len() as f64;
        println!("{}", serde_json::json!({ "version": version, "mean_abs": mean, "n": y.len() }));
        for line in std::io::stdin().lock().lines() {
            let count: usize = line.expect("a line").trim().parse().expect("a count");
            let times = (0..count).map(|_| {
                let from = prepare();
                let start = Instant::now();
                std::hint::black_box(run(from));
                start.elapsed().as_secs_f64() * 1e3 / self.steps.max(1) as f64
            });
            println!("{}", serde_json::json!(times.collect::<Vec<_>>()));
            std::io::stdout().flush().expect("somebody listens");
        }
    }
}
