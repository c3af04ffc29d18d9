//! Defines a network, runs it and measures it.
#![allow(clippy::print_stdout)]

use deadweight::prelude::*;

/// Runs the example.
pub fn main() -> Result<()> {
    let net = Net::build(Params::random(7), |n| {
        let mut x = n.conv("stem", n.input(3), Conv::new(16, 3).padding(1)).relu();
        for block in 0..2 {
            let name = |part: &str| format!("block{block}.{part}");
            let y = n.conv(&name("conv1"), x, Conv::new(16, 3).padding(1)).relu();
            x = (n.conv(&name("conv2"), y, Conv::new(16, 3).padding(1)) + x).relu();
        }
        n.linear("fc", x.global_avg_pool(), 10)
    })?;
    let model = Model::from_net("two-blocks", net, [3, 16, 16])?;
    let images = (0..4).map(|i| {
        let values = (0..3 * 16 * 16).map(|j| ((i * 31 + j * 7) % 17) as f32 / 17.0 - 0.5).collect();
        Tensor::new([3, 16, 16], values)
    });
    let images = images.collect::<Result<Vec<_>>>()?;
    println!("{:?}", model.session().build()?.run(&images[0])?.data());
    let run = model.measure(Inputs::tensors(images)).run()?;
    println!("{run}");
    Ok(())
}
