//! Measures in a loop: the same network in ever fewer bits, each run saved to a file.
#![allow(clippy::print_stdout)]

use deadweight::prelude::*;

/// Runs the example.
pub fn main() -> Result<()> {
    let model = Model::load("digits").open()?;
    let folder = tempfile::tempdir().map_err(|error| Error::io("temporary folder", error))?;
    for bits in [16, 8, 6, 4] {
        let format = format!("fixed{bits}");
        let run = model.measure(Inputs::built_in()).number_format(&format).limit(8).run()?;
        let path = folder.path().join(format!("{format}.dwm"));
        run.save(&path)?;
        let run = Run::load(&path)?;
        let zeros = run.network().number("a.zeros")?.unwrap_or_default();
        let both = run.network().potential("We+Ae")?;
        println!("{format:8} {:5.1} % zero activations, {:6.2} times less work by terms", 100.0 * zeros, both.ratio());
    }
    Ok(())
}
