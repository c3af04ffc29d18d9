//! Classifies images: `classify MODEL IMAGE...`; without arguments the built-in digits.
#![allow(clippy::print_stdout)]

use deadweight::prelude::*;

#[allow(dead_code)]
fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next() {
        Some(model) => classify(&model, Inputs::files(args)),
        None => classify("digits", Inputs::built_in()),
    }
}

/// Prints the likeliest classes of the first inputs.
pub fn classify(model: &str, inputs: Inputs) -> Result<()> {
    let model = Model::load(model).open()?;
    let mut session = model.session().build()?;
    for input in model.inputs(inputs)?.take(5) {
        let input = input?;
        let output = session.run(&input.values)?;
        let best = model.top_k(&output, 3)?;
        let text: Vec<String> = best.iter().map(|c| format!("{} {:.1} %", c.name, 100.0 * c.probability)).collect();
        println!("{}: {}", input.name, text.join(", "));
    }
    Ok(())
}
