//! Fully pickled networks: the attributes of their modules against the card.

use std::collections::BTreeMap;

use deadweight::layers::Layer;
use deadweight::models;

use super::build::{Tensor, dict, legacy, network, object, tensor, tensors};
use super::load;

/// Attributes of a module: name and text opcodes.
type Attributes = Vec<(&'static str, Vec<u8>)>;

/// A module under construction.
#[derive(Default)]
struct Module {
    class: &'static str,
    attributes: Attributes,
    /// Name and place of each tensor.
    tensors: Vec<(String, Vec<u8>)>,
    children: BTreeMap<String, Module>,
}

impl Module {
    fn at(&mut self, path: &str) -> &mut Self {
        path.split('.').fold(self, |place, part| place.children.entry(part.to_owned()).or_default())
    }

    fn pickle(&self) -> Vec<u8> {
        let (buffers, parameters): (Vec<_>, Vec<_>) =
            self.tensors.iter().cloned().partition(|(name, _)| name.starts_with("running"));
        let children: Vec<_> = self.children.iter().map(|(name, child)| (name.clone(), child.pickle())).collect();
        let mut state =
            vec![("_parameters", dict(&parameters)), ("_buffers", dict(&buffers)), ("_modules", dict(&children))];
        state.extend(self.attributes.iter().cloned());
        object(if self.class.is_empty() { "torch.nn.modules.container.Sequential" } else { self.class }, &dict(&state))
    }
}

fn float(value: f64) -> Vec<u8> {
    format!("F{value}\n").into_bytes()
}

fn pair(value: usize) -> Vec<u8> {
    format!("(I{value}\nI{value}\nt").into_bytes()
}

/// The built-in classifier's network, fully pickled after `change`.
fn pickled(change: impl Fn(&mut Module)) -> tempfile::TempDir {
    let graph = network(models::card("digits").unwrap());
    let mut root = Module::default();
    for def in &graph.nodes {
        let (class, attributes): (_, Attributes) = match &def.layer {
            Layer::Conv(conv) => {
                let padding = (conv.kernel.0 - 1) / 2;
                let numbers = [("stride", conv.stride.0), ("padding", padding), ("dilation", 1)];
                let mut attributes: Attributes = numbers.map(|(name, value)| (name, pair(value))).into();
                attributes.extend([("groups", b"I1\n".to_vec()), ("padding_mode", b"S'zeros'\n".to_vec())]);
                ("torch.nn.modules.conv.Conv2d", attributes)
            }
            Layer::BatchNorm(norm) => ("torch.nn.modules.batchnorm.BatchNorm2d", vec![("eps", float(norm.eps))]),
            Layer::Linear(_) => ("torch.nn.modules.linear.Linear", vec![]),
            _ => continue,
        };
        let module = root.at(&def.name);
        (module.class, module.attributes) = (class, attributes);
    }
    root.at("relu").class = "torch.nn.modules.activation.ReLU";
    let all: Vec<Tensor> = tensors(&graph);
    let count = all.iter().map(|(.., values)| values.len()).sum();
    let mut offset = 0;
    for (path, shape, values) in &all {
        let (place, name) = path.rsplit_once('.').unwrap();
        root.at(place).tensors.push((name.to_owned(), tensor(count, offset, shape)));
        offset += values.len();
    }
    change(&mut root);
    let values: Vec<f32> = all.into_iter().flat_map(|(.., values)| values).collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("whole.pt"), legacy(&root.pickle(), &values)).unwrap();
    folder
}

fn set(root: &mut Module, path: &str, name: &str, value: Vec<u8>) {
    let attribute = root.at(path).attributes.iter_mut().find(|(known, _)| *known == name).unwrap();
    attribute.1 = value;
}

#[test]
fn numbers_of_modules_that_contradict_the_card_are_an_error() {
    let load = |folder: &tempfile::TempDir| load(&folder.path().join("whole.pt"), Some("digits"));
    let whole = load(&pickled(|_| {})).unwrap();
    assert_eq!(whole.notes, [""; 0]);
    let cases: [(&str, &str, Vec<u8>, &str); 6] = [
        ("bn1", "eps", float(1e-3), "bn1.eps: is 0.001, the network has 0.00001"),
        ("layer2.0.conv1", "stride", pair(1), "layer2.0.conv1.stride: is [1.0, 1.0], the network has [2.0, 2.0]"),
        ("layer1.0.conv1", "dilation", pair(2), "layer1.0.conv1.dilation: is [2.0, 2.0], the network has [1.0, 1.0]"),
        ("layer1.0.conv2", "padding", pair(0), "layer1.0.conv2.padding: is [0.0, 0.0], the network has [1.0, 1.0]"),
        ("conv1", "padding_mode", b"S'reflect'\n".to_vec(), "conv1.padding_mode: is reflect, the network has zeros"),
        ("layer2.0.conv1", "padding", b"S'same'\n".to_vec(), "layer2.0.conv1.padding: is \"same\""),
    ];
    for (path, name, value, want) in cases {
        let error = load(&pickled(|root| set(root, path, name, value.clone()))).err().unwrap();
        assert!(error.to_string().contains(want) && error.exit_code() == 1, "{error}");
    }
}

#[test]
fn activations_that_the_card_has_none_of_are_noted() {
    let folder = pickled(|root| root.at("relu").class = "torch.nn.modules.activation.GELU");
    let model = load(&folder.path().join("whole.pt"), Some("digits")).unwrap();
    assert!(model.notes.len() == 1 && model.notes[0].contains("holds modules of GELU"), "{:?}", model.notes);
}
