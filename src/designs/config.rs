//! Designs with their parameters: those that were published, or those of a file.

use std::path::Path;

use super::{ALL, Design};
use crate::error::near_or;
use crate::{Error, Result};

/// Most lanes of a design.
const MOST_LANES: u64 = 1 << 24;

/// A design and what it is built with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The design.
    pub design: &'static Design,
    /// One a parameter.
    values: Vec<usize>,
}

impl Setup {
    /// As published.
    pub fn published(design: &'static Design) -> Self {
        Self { design, values: design.parameters.iter().map(|parameter| parameter.default).collect() }
    }

    /// The design of that name with those of `parameters`; messages call `file` what names them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or parameter that does not exist, or a value that cannot be.
    pub fn built<'a>(name: &str, parameters: impl IntoIterator<Item = (&'a str, i64)>, file: &str) -> Result<Self> {
        let mut setup = Self::published(ALL[place(name, file)?]);
        parameters.into_iter().try_for_each(|(name, value)| setup.set(name, value, file))?;
        Ok(setup)
    }

    /// The value of a parameter.
    ///
    /// # Panics
    /// If the design has none of that name.
    pub fn get(&self, name: &str) -> usize {
        self.find(name).expect("a design asks for its own parameters")
    }

    /// The value of a parameter, if the design has it.
    pub fn find(&self, name: &str) -> Option<usize> {
        let place = self.design.parameters.iter().position(|parameter| parameter.name == name)?;
        Some(self.values[place])
    }

    /// Its parameters with their values.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.design.parameters.iter().map(|parameter| parameter.name).zip(self.values.iter().copied())
    }

    /// Its lanes.
    pub fn lanes(&self) -> u64 {
        (self.design.lanes)(self) as u64
    }

    /// Gives a parameter another value; `file` is named in errors.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such parameter, or it cannot have that value.
    pub fn set(&mut self, name: &str, value: i64, file: &str) -> Result<()> {
        let known = self.design.parameters;
        let Some(place) = known.iter().position(|parameter| parameter.name == name) else {
            let names = || known.iter().map(|parameter| parameter.name);
            let near = near_or(name, names(), "none is like it");
            let names = names().collect::<Vec<_>>().join(", ");
            let detail = format!("{} has no parameter {name}; {near}; it has {names}", self.design.name);
            return Err(Error::invalid(file, detail));
        };
        let range = &known[place].range;
        match usize::try_from(value).ok().filter(|value| range.contains(value)) {
            Some(value) => self.values[place] = value,
            None => {
                let detail =
                    format!("{}.{name} is {value}: give {} to {}", self.design.name, range.start(), range.end());
                return Err(Error::invalid(file, detail));
            }
        }
        Ok(())
    }
}

/// The design of that name; messages say that `whose` names it.
fn place(name: &str, whose: &str) -> Result<usize> {
    ALL.iter().position(|design| design.name == name).ok_or_else(|| {
        let names = || ALL.iter().map(|design| design.name);
        let near = near_or(name, names(), "none is like it");
        let detail = format!("no design is named {name}; {near}; there are {}", names().collect::<Vec<_>>().join(", "));
        Error::invalid(whose, detail)
    })
}

/// The designs of `names`, all if there is none, with the parameters of the file `config`: a table a design, a number a parameter.
///
/// # Errors
/// [`Error::Invalid`] for a name or parameter that does not exist, or a value that cannot be; those of reading.
pub fn setups(names: &[String], config: Option<&Path>) -> Result<Vec<Setup>> {
    let mut setups = ALL.map(Setup::published).to_vec();
    if let Some(path) = config {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        let wrong = |error| Error::toml(&file, "is no file of parameters: ", &text, &error);
        let tables: toml::Table = toml::from_str(&text).map_err(wrong)?;
        for (name, table) in &tables {
            let setup = &mut setups[place(name, &file)?];
            let Some(table) = table.as_table() else {
                return Err(Error::invalid(
                    &file,
                    format!("{name} is no table: write [{name}], then a line a parameter"),
                ));
            };
            for (parameter, value) in table {
                let Some(value) = value.as_integer() else {
                    return Err(Error::invalid(&file, format!("{name}.{parameter} is {value}: give a whole number")));
                };
                setup.set(parameter, value, &file)?;
            }
            if setup.lanes() > MOST_LANES {
                let detail = format!("{name} has {} lanes with these: give at most {MOST_LANES}", setup.lanes());
                return Err(Error::invalid(&file, detail));
            }
            if !names.is_empty() && !names.contains(name) {
                return Err(Error::invalid(&file, format!("{name} is not run: leave it out, or name it by --design")));
            }
        }
    }
    if names.is_empty() {
        return Ok(setups);
    }
    let chosen = names.iter().map(|name| place(name, &format!("--design {name}"))).collect::<Result<Vec<_>>>()?;
    Ok((0..ALL.len()).filter(|i| chosen.contains(i)).map(|i| setups[i].clone()).collect())
}
