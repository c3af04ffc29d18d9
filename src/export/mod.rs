//! Exports: what accelerator simulators read, written from the counts of a measurement. One file a target; the list below says which
//! there are.

mod cimloop;
mod codes;
mod layer;
mod maestro;
mod names;
mod npy;
mod scalesim;
mod sparseloop;
mod stonne;
mod timeloop;
mod yaml;
mod zigzag;

pub use codes::{Codes, Dtype, Images};
pub use npy::Arrays;

use self::names::one_line;
use crate::measurement::{LayerCounts, Measurement};
use crate::{Error, Result};

/// One target: its words, and what writes it.
#[derive(Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// The simulators that read it.
    pub tool: &'static str,
    /// What is written.
    pub writes: &'static str,
    /// What of the measurement is in it.
    pub takes: &'static str,
    /// Layers that it cannot express.
    pub leaves: &'static str,
    /// The code that reads it, after which it is written.
    pub source: &'static str,
    /// How it is written.
    pub form: Form,
}

/// How a target is written.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Files in a folder, and `notes.txt` beside them.
    Folder(fn(&Run<'_>) -> Result<Written>),
    /// One file; notes are its first lines.
    File(File),
    /// Files in a folder that need the codes, which a file of counts does not hold: [`Arrays`] writes them.
    Codes,
}

/// A target that is one file.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Lines before the notes.
    pub first: &'static str,
    /// What a line of notes begins with.
    pub comment: &'static str,
    /// Writes the rest.
    pub write: fn(&Run<'_>) -> Result<Written>,
}

/// All targets, in the order of `docs/exports.md`.
pub const TARGETS: [&Target; 8] = [
    &timeloop::TARGET,
    &sparseloop::TARGET,
    &cimloop::TARGET,
    &scalesim::TARGET,
    &stonne::TARGET,
    &zigzag::TARGET,
    &maestro::TARGET,
    &npy::TARGET,
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// A measurement to be exported, and the file that it is in.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The counts.
    pub measurement: &'a Measurement,
    /// The name of their file.
    pub file: &'a str,
}

/// A layer that a target cannot express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub layer: String,
    /// Why.
    pub why: String,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Names and contents; of a target of one file that alone, without a name.
    pub files: Vec<(String, Vec<u8>)>,
    /// Layers that are not in it.
    pub left_out: Vec<LeftOut>,
    /// What a reader should know, a sentence each.
    pub notes: Vec<String>,
}

/// Name of the file of notes in a folder.
const NOTES: &str = "notes.txt";

impl Target {
    /// Writes `run`: files by name, the notes among them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what the measurement lacks; [`Error::Unsupported`] if no layer can be expressed.
    ///
    /// # Panics
    /// If the target needs codes.
    pub fn write(&self, run: &Run<'_>) -> Result<Written> {
        let mut written = match self.form {
            Form::Folder(write) => write(run)?,
            Form::File(file) => (file.write)(run)?,
            Form::Codes => unreachable!("a target of codes is written by its arrays"),
        };
        self.check(run, &written.left_out)?;
        match self.form {
            Form::File(File { first, comment, .. }) => {
                let notes: String = self.notes(run, &written).iter().map(|line| comment_of(comment, line)).collect();
                for (_, bytes) in &mut written.files {
                    *bytes = [first.as_bytes(), notes.as_bytes(), b"\n", bytes].concat();
                }
            }
            _ => written.files.push(self.file_of_notes(run, &written)),
        }
        Ok(written)
    }

    /// The file of notes of a folder.
    pub fn file_of_notes(&self, run: &Run<'_>, written: &Written) -> (String, Vec<u8>) {
        let lines = self.notes(run, written).into_iter().map(|line| line + "\n");
        (NOTES.into(), lines.collect::<String>().into_bytes())
    }

    /// Whether some layer is in it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming every layer, and why, if none is.
    pub fn check(&self, run: &Run<'_>, left_out: &[LeftOut]) -> Result<()> {
        if left_out.len() < run.measurement.layers.len() {
            return Ok(());
        }
        let each: Vec<String> = left_out.iter().map(LeftOut::to_string).collect();
        Err(Error::unsupported(format!("--to {} of {}: none of its layers", self.name, run.file), each.join("; ")))
    }

    fn notes(&self, run: &Run<'_>, written: &Written) -> Vec<String> {
        let facts = &run.measurement.provenance;
        let Written { left_out, notes, .. } = written;
        let mut lines = vec![
            format!("{} for {}, by {} {}", facts.model.name, self.tool, facts.tool.name, env!("CARGO_PKG_VERSION")),
            format!("{} inputs counted in {}; every extent is of one input", run.measurement.inputs, facts.format.name),
        ];
        lines.extend(facts.notes.iter().chain(notes).cloned());
        if !left_out.is_empty() {
            lines.push(format!("left out, {} of {} layers:", left_out.len(), run.measurement.layers.len()));
            lines.extend(left_out.iter().map(|left| format!("  {left}")));
        }
        lines
    }
}

/// `text` as lines of comments.
fn comment_of(comment: &str, text: &str) -> String {
    text.lines().map(|line| format!("{comment} {}\n", one_line(line))).collect()
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", one_line(&self.layer), self.why)
    }
}

impl<'a> Run<'a> {
    /// What `of` makes of each layer, and the layers that it refuses with a reason.
    fn each<T>(&self, of: impl Fn(&'a LayerCounts) -> Result<T, String>) -> (Vec<(usize, T)>, Vec<LeftOut>) {
        let (mut made, mut left_out) = (Vec::new(), Vec::new());
        for (index, counts) in self.measurement.layers.iter().enumerate() {
            match of(counts) {
                Ok(one) => made.push((index, one)),
                Err(why) => left_out.push(LeftOut { layer: counts.name.clone(), why }),
            }
        }
        (made, left_out)
    }

    /// Whether codes are the values themselves: those of floats are significands.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they are not.
    pub fn check_integers(&self, target: &Target) -> Result<()> {
        let is_float = |counts: &LayerCounts| counts.codings.iter().any(|coding| coding.map.float.is_some());
        if !self.measurement.layers.iter().any(is_float) {
            return Ok(());
        }
        let detail = format!(
            "takes integers, and {} was counted in {}, whose codes are significands; measure with --number-format fixed16 or int8",
            self.file, self.measurement.provenance.format.name
        );
        Err(Error::invalid(format!("--to {}", target.name), detail))
    }

    /// The sentence about outputs, where a target takes them and they were not counted.
    fn note_of_outputs(&self, what: &str) -> Option<String> {
        let lacks = self.measurement.layers.iter().any(|counts| counts.tally.outputs.is_none());
        lacks.then(|| {
            format!("outputs have no {what} where they were not counted (`measure --metrics o.traffic` counts them)")
        })
    }
}
