//! Checks the modules of a fully pickled network against its card.

use std::collections::HashMap;

use crate::graph::Graph;
use crate::kernels::{Activation, Halo};
use crate::layers::{Conv, Layer, Padding, Pool, PoolKind};
use crate::weights::{Module, Setting};

/// Attributes of modules that differ from `graph`, one line each.
pub(super) fn contradictions(graph: &Graph, modules: &[(String, Module)]) -> Vec<String> {
    let layers: HashMap<&str, &Layer> = graph.nodes.iter().map(|def| (def.name.as_str(), &def.layer)).collect();
    let of = |(path, module): &(String, Module)| {
        let attributes = match layers.get(path.as_str()) {
            Some(Layer::Conv(conv)) => of_conv(conv, module),
            Some(Layer::ConvTranspose(conv)) => vec![
                number(module, "stride", [conv.stride.0, conv.stride.1]),
                number(module, "dilation", [conv.dilation.0, conv.dilation.1]),
                number(module, "groups", [conv.groups; 2]),
            ],
            Some(Layer::BatchNorm(norm)) => vec![eps(module, norm.eps)],
            Some(Layer::Pool(pool)) => of_pool(pool, module),
            _ => vec![],
        };
        attributes.into_iter().flatten().map(|text| format!("{path}.{text}")).collect::<Vec<_>>()
    };
    modules.iter().flat_map(of).collect()
}

/// Classes of activation modules in the file that `graph` has none of.
pub(super) fn other_activations(graph: &Graph, modules: &[(String, Module)]) -> Vec<String> {
    let has = |kind: fn(&Activation) -> bool| {
        graph.nodes.iter().any(|def| matches!(&def.layer, Layer::Activation(activation) if kind(activation)))
    };
    let is_there = |class: &str| match class {
        "ReLU" => has(|kind| *kind == Activation::Relu),
        "ReLU6" => has(|kind| *kind == Activation::Relu6),
        "LeakyReLU" => has(|kind| matches!(kind, Activation::LeakyRelu(_))),
        "Hardswish" => has(|kind| *kind == Activation::HardSwish),
        "Hardsigmoid" => has(|kind| *kind == Activation::HardSigmoid),
        "SiLU" | "GELU" | "ELU" | "SELU" | "CELU" | "PReLU" | "Mish" | "Softplus" | "Hardtanh" | "RReLU" => false,
        // Gates, losses and outputs use these outside the network.
        _ => true,
    };
    let mut other: Vec<String> = modules.iter().map(|(_, module)| module.class.clone()).collect();
    other.sort_unstable();
    other.dedup();
    other.retain(|class| !is_there(class));
    other
}

fn of_conv(conv: &Conv, module: &Module) -> Vec<Option<String>> {
    vec![
        number(module, "stride", [conv.stride.0, conv.stride.1]),
        number(module, "dilation", [conv.dilation.0, conv.dilation.1]),
        number(module, "groups", [conv.groups; 2]),
        padding(module, conv),
        match module.setting("padding_mode") {
            Some(Setting::Word(mode)) if mode != "zeros" => Some(mismatch("padding_mode", mode, "zeros")),
            _ => None,
        },
    ]
}

fn of_pool(pool: &Pool, module: &Module) -> Vec<Option<String>> {
    let Halo { top, bottom, left, right } = pool.padding;
    let even = top == bottom && left == right;
    let mut attributes = vec![
        number(module, "kernel_size", [pool.kernel; 2]),
        number(module, "stride", [pool.stride; 2]),
        number(module, "ceil_mode", [usize::from(pool.ceil); 2]),
    ];
    // Uneven padding comes from another layer than the pooling.
    if even {
        attributes.push(number(module, "padding", [top, left]));
    }
    if let (PoolKind::Average { count_padding }, true) = (pool.kind, top + left > 0) {
        attributes.push(number(module, "count_include_pad", [usize::from(count_padding); 2]));
    }
    attributes
}

/// Values for rows and columns; a single number is for both.
fn numbers(module: &Module, name: &str) -> Option<[f64; 2]> {
    match module.setting(name)? {
        Setting::Numbers(numbers) => match numbers[..] {
            [both] => Some([both; 2]),
            [rows, columns] => Some([rows, columns]),
            _ => None,
        },
        Setting::Word(_) => None,
    }
}

fn number(module: &Module, name: &str, want: [usize; 2]) -> Option<String> {
    let got = numbers(module, name)?;
    let want = want.map(|value| value as f64);
    (got != want).then(|| mismatch(name, &format!("{got:?}"), &format!("{want:?}")))
}

fn eps(module: &Module, want: f64) -> Option<String> {
    let [got, _] = numbers(module, "eps")?;
    ((got - want).abs() > 1e-6 * want.abs()).then(|| mismatch("eps", &got.to_string(), &want.to_string()))
}

fn padding(module: &Module, conv: &Conv) -> Option<String> {
    let same = |rows: bool| {
        let (kernel, dilation, stride) = match rows {
            true => (conv.kernel.0, conv.dilation.0, conv.stride.0),
            false => (conv.kernel.1, conv.dilation.1, conv.stride.1),
        };
        let around = dilation * (kernel - 1);
        (stride == 1 && around % 2 == 0).then_some((around / 2) as f64)
    };
    let want = match conv.padding {
        Padding::Explicit(Halo { top, bottom, left, right }) if top == bottom && left == right => {
            Some([top as f64, left as f64])
        }
        // Padded by another layer than the convolution.
        Padding::Explicit(_) => return None,
        Padding::Same => same(true).zip(same(false)).map(|(rows, columns)| [rows, columns]),
    };
    let word = match module.setting("padding") {
        Some(Setting::Word(word)) => word.as_str(),
        _ if module.class.ends_with("Same") => "same",
        _ => "",
    };
    let got = match word {
        "same" => same(true).zip(same(false)).map(|(rows, columns)| [rows, columns]),
        "valid" => Some([0.0; 2]),
        _ => Some(numbers(module, "padding")?),
    };
    let outside = conv.padding == Padding::Same && got == Some([0.0; 2]);
    (got != want && !outside).then(|| {
        let text = |padding: Option<[f64; 2]>| padding.map_or("\"same\"".to_owned(), |padding| format!("{padding:?}"));
        mismatch("padding", &text(got), &text(want))
    })
}

fn mismatch(name: &str, got: &str, want: &str) -> String {
    format!("{name}: is {got}, the network has {want}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(class: &str, settings: &[(&str, &[f64])]) -> Module {
        let setting = |(name, numbers): &(&str, &[f64])| (name.to_string(), Setting::Numbers(numbers.to_vec()));
        Module { class: class.into(), settings: settings.iter().map(setting).collect() }
    }

    fn conv(module: &Module, conv: Conv) -> Vec<String> {
        of_conv(&conv, module).into_iter().flatten().collect()
    }

    #[test]
    fn padding_is_compared_whoever_puts_it_there() {
        let three = || Conv::new(8, 3).padding(1);
        let same = |stride: usize| Conv::new(8, 3).stride(stride).pad(Padding::Same);
        let plain =
            |padding: f64, stride: f64| module("Conv2d", &[("padding", &[padding, padding]), ("stride", &[stride])]);
        assert_eq!(conv(&plain(1.0, 1.0), three()), [""; 0]);
        assert_eq!(conv(&plain(0.0, 1.0), three()), ["padding: is [0.0, 0.0], the network has [1.0, 1.0]"]);
        assert_eq!(conv(&plain(1.0, 1.0), same(1)), [""; 0]);
        // Padded before the convolution.
        assert_eq!(conv(&plain(0.0, 2.0), same(2)), [""; 0]);
        assert_eq!(conv(&plain(1.0, 2.0), same(2)), ["padding: is [1.0, 1.0], the network has \"same\""]);
        let timm = module("Conv2dSame", &[("padding", &[0.0, 0.0])]);
        assert_eq!((conv(&timm, same(2)), conv(&timm, three())), (vec![], vec![]));
        assert_eq!(conv(&timm, three().stride(2)), ["padding: is \"same\", the network has [1.0, 1.0]"]);
    }

    #[test]
    fn poolings_are_compared() {
        let stored = module(
            "MaxPool2d",
            &[("kernel_size", &[3.0]), ("stride", &[2.0]), ("padding", &[1.0]), ("ceil_mode", &[0.0])],
        );
        let faults = |pool: Pool| of_pool(&pool, &stored).into_iter().flatten().count();
        assert_eq!(faults(Pool::max(3, 2).padding(1)), 0);
        assert_eq!(faults(Pool::max(3, 2).padding(1).ceil()), 1);
        assert_eq!(faults(Pool::max(2, 1)), 3);
    }
}
