//! Part of a checkpoint: the tensors below a prefix, and names spelt as another library spells them.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Weights;
use crate::{Error, Result};

impl Weights {
    /// The first name, in order, that is not before `prefix`.
    pub fn first_from(&self, prefix: &str) -> Option<&str> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.tensors.range::<str, _>(from).next().map(|(name, _)| name.as_str())
    }

    /// The tensors whose names `rename` maps to a name, by those names, with the axes in the order that `axes` gives for
    /// the old name and the number of axes, if any; and the names of all other tensors.
    ///
    /// # Errors
    /// [`Error::Malformed`] if two tensors get one name.
    pub fn renamed(
        mut self,
        rename: impl Fn(&str) -> Option<String>,
        axes: impl Fn(&str, usize) -> Option<&'static [usize]>,
    ) -> Result<(Self, Vec<String>)> {
        let (mut named, mut others) = (BTreeMap::new(), vec![]);
        for (old, tensor) in std::mem::take(&mut self.tensors) {
            let tensor = match axes(&old, tensor.shape.len()) {
                Some(axes) => tensor.permuted(axes),
                None => tensor,
            };
            match rename(&old) {
                Some(name) if named.contains_key(&name) => {
                    let detail = format!("{}{old}: two tensors become {name}", self.prefix);
                    return Err(Error::malformed(self.source, detail));
                }
                Some(name) => drop(named.insert(name, tensor)),
                None => others.push(old),
            }
        }
        self.tensors = named;
        let aliases = std::mem::take(&mut self.aliases).into_iter();
        self.aliases = aliases.filter_map(|(alias, stored)| Some((rename(&alias)?, rename(&stored)?))).collect();
        if let Some(quantised) = &mut self.quantised {
            let moved = |layer: &str| {
                let parameter = format!("{layer}.weight");
                rename(&parameter).and_then(|name| name.strip_suffix(".weight").map(str::to_owned))
            };
            for affine in [&mut quantised.outputs, &mut quantised.inputs] {
                *affine = std::mem::take(affine).into_iter().filter_map(|(k, v)| Some((moved(&k)?, v))).collect();
            }
            let sums = std::mem::take(&mut quantised.sums);
            quantised.sums = sums.into_iter().filter_map(|(k, v)| Some((moved(&k)?, v))).collect();
        }
        let modules = std::mem::take(&mut self.beside.modules);
        let module = |(path, module): (String, super::Module)| {
            let moved = rename(&format!("{path}.weight"))?;
            Some((moved.strip_suffix(".weight")?.to_owned(), module))
        };
        self.beside.modules = modules.into_iter().filter_map(module).collect();
        Ok((self, others))
    }
}
