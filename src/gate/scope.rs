//! What an assertion is of: the network, a layer by its name, or layers by a pattern.

use regex::Regex;

/// What figures are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    /// The network.
    Network,
    /// Layers, by place; at least one.
    Layers(Vec<usize>),
}

/// What `name` selects among `layers`: a layer's name, all of that name; `network`; `layers` or `*`, all; or a pattern with `*` (any
/// letters) and `?` (one). A `quoted` name is a layer's, whatever it says. None where there is no such layer.
pub(super) fn select(name: &str, quoted: bool, layers: &[&str]) -> Option<Selected> {
    let places = |is: &dyn Fn(&str) -> bool| -> Option<Selected> {
        let places: Vec<usize> = (0..layers.len()).filter(|&place| is(layers[place])).collect();
        (!places.is_empty()).then_some(Selected::Layers(places))
    };
    let named = places(&|layer| layer == name);
    match name {
        _ if quoted => named,
        "network" => Some(Selected::Network),
        "layers" => named.or_else(|| places(&|_| true)),
        _ if is_pattern(name) => named.or_else(|| {
            let pattern = pattern(name);
            places(&|layer| pattern.is_match(layer))
        }),
        _ => named,
    }
}

/// Whether `name` may select several layers that are not called so.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

fn pattern(name: &str) -> Regex {
    let escaped = regex::escape(name).replace("\\*", ".*").replace("\\?", ".");
    Regex::new(&format!("(?s)^{escaped}$")).expect("all but two letters are escaped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_select_layers() {
        let layers = ["conv1", "layer1.0.conv1", "layer1.1.conv1", "layer1.1.conv2", "a(b", "x*"];
        let places = |name: &str, quoted: bool| match select(name, quoted, &layers) {
            Some(Selected::Layers(places)) => places,
            Some(Selected::Network) => vec![99],
            None => vec![],
        };
        let cases: [(&str, &[usize]); 11] = [
            ("conv1", &[0]),
            ("network", &[99]),
            ("layers", &[0, 1, 2, 3, 4, 5]),
            ("*", &[0, 1, 2, 3, 4, 5]),
            ("layer1.*", &[1, 2, 3]),
            ("*.conv?", &[1, 2, 3]),
            ("layer1.?.conv2", &[3]),
            ("layer1", &[]),
            ("a(b", &[4]),
            ("a(*", &[4]),
            // A layer's own name is no pattern.
            ("x*", &[5]),
        ];
        for (name, want) in cases {
            assert_eq!(places(name, false), want, "{name}");
        }
        assert_eq!([places("network", true), places("*", true), places("x*", true)], [vec![], vec![], vec![5]]);
    }
}
