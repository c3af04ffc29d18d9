//! Measures from asynchronous code: the run has a thread of its own, reports on its way, and stops when it is told to.
#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deadweight::prelude::*;

async fn measured(model: Model, stop: Arc<AtomicBool>) -> Result<Run> {
    let stopped = move |_: usize, _: usize| match stop.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let run = move || model.measure(Inputs::built_in()).batch(1).on_progress(stopped).run();
    tokio::task::spawn_blocking(run).await.expect("a measurement does not panic")
}

/// Runs the example.
pub fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let model = Model::load("digits").open()?;
        let stop = Arc::new(AtomicBool::new(false));
        let run = measured(model.clone(), Arc::clone(&stop)).await?;
        println!("{} inputs: {:.1} % ineffectual", run.inputs(), 100.0 * run.network().macs()?.ineffectual_share());
        stop.store(true, Ordering::Relaxed);
        match measured(model, stop).await {
            Err(Error::Interrupted) => println!("the second run was stopped, as it was told"),
            other => drop(other?),
        }
        Ok(())
    })
}
