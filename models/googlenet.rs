//! GoogLeNet (Szegedy 2014) with batch norm, as torchvision has it.

use serde::Deserialize;

use super::naming::{Unit, classifier};
use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::Activation;
use crate::layers::{Conv, Pool};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "googlenet",
    file: "models/googlenet.toml",
    cards: include_str!("googlenet.toml"),
    namings: &[(Naming::Torchvision, "inception3a.branch1.conv.weight")],
    reads: "filters, classes, input channels",
    build,
    from_config: None,
};

const EPS: f64 = 1e-3;

/// Name and filters of each inception module: 1x1; 1x1 and 3x3; 1x1 and 3x3 (5x5 in the paper); after pooling.
const MODULES: [(&str, [usize; 6]); 9] = [
    ("3a", [64, 96, 128, 16, 32, 32]),
    ("3b", [128, 128, 192, 32, 96, 64]),
    ("4a", [192, 96, 208, 16, 48, 64]),
    ("4b", [160, 112, 224, 24, 64, 64]),
    ("4c", [128, 128, 256, 24, 64, 64]),
    ("4d", [112, 144, 288, 32, 64, 64]),
    ("4e", [256, 160, 320, 32, 128, 128]),
    ("5a", [256, 160, 320, 32, 128, 128]),
    ("5b", [384, 192, 384, 48, 128, 128]),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    classes: usize,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("classes", &[arch.classes])?;
    // Auxiliary classifiers for training.
    ["aux1", "aux2"].into_iter().for_each(|name| root.skip(name));
    let x = unit(&root.at("conv1"), root.input(root.inputs("conv1.conv").or(3)), Conv::new(64, 7).stride(2).padding(3));
    let x = root.at("maxpool1").pool(x, Pool::max(3, 2).ceil());
    let x = unit(&root.at("conv2"), x, Conv::new(64, 1));
    let x = unit(&root.at("conv3"), x, Conv::new(192, 3).padding(1));
    let mut x = root.at("maxpool2").pool(x, Pool::max(3, 2).ceil());
    for (name, filters) in MODULES {
        x = inception(&root.at(format!("inception{name}")), x, filters);
        match name {
            "3b" => x = root.at("maxpool3").pool(x, Pool::max(3, 2).ceil()),
            "4e" => x = root.at("maxpool4").pool(x, Pool::max(2, 2).ceil()),
            _ => {}
        }
    }
    let pooled = root.global_avg_pool(x);
    Ok(classifier(&root.at("fc"), pooled, arch.classes))
}

fn unit(at: &Scope, x: Node, conv: Conv) -> Node {
    Unit::new(at, "conv", "bn").apply(x, conv.bias(false), EPS, Activation::Relu)
}

fn inception(at: &Scope, x: Node, [one, narrow, wide, narrower, wider, pooled]: [usize; 6]) -> Node {
    let branch1 = unit(&at.at("branch1"), x, Conv::new(one, 1));
    let branch2 = unit(&at.at("branch2.0"), x, Conv::new(narrow, 1));
    let branch2 = unit(&at.at("branch2.1"), branch2, Conv::new(wide, 3).padding(1));
    let branch3 = unit(&at.at("branch3.0"), x, Conv::new(narrower, 1));
    let branch3 = unit(&at.at("branch3.1"), branch3, Conv::new(wider, 3).padding(1));
    let branch4 = at.at("branch4.0").pool(x, Pool::max(3, 1).padding(1).ceil());
    let branch4 = unit(&at.at("branch4.1"), branch4, Conv::new(pooled, 1));
    at.concat(&[branch1, branch2, branch3, branch4])
}
