//! `deadweight` alone: measures every built-in model, and the classifier in 8-bit integers as well.

use super::args::{Common, Quantize};
use super::out::Out;
use super::progress::Progress;
use crate::Result;
use crate::builtin::BUILTINS;
use crate::engine::{Backend, EngineOptions};
use crate::format::NumberFormat;
use crate::measure::{Settings, calibrate_and_measure, quantized};
use crate::model::{LoadOptions, Model};
use crate::report::{self, Report};
use crate::source::Source;

/// Measures them and prints one table.
pub(super) fn run(common: Common) -> Result<()> {
    let mut out = Out::open(None)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let backend = Backend::Native(EngineOptions::new(threads));
    let progress = Progress::new(common);
    let one = |name: &str, to: Option<Quantize>| -> Result<Report> {
        let mut model = Model::build(Source::of_card_named(name)?, &LoadOptions::default())?;
        let data = model.builtin_data().expect("a built-in model has inputs")?;
        let mut settings = Settings::default();
        if to == Some(Quantize::Int8) {
            model = quantized(&model, &backend, &data, &settings, &progress)?;
            settings.format = NumberFormat::Stored.into();
        }
        let (_, measurement) = calibrate_and_measure(&model, &backend, &data, &settings, &progress)?;
        Ok(Report::new(&measurement))
    };
    let models = BUILTINS.iter().map(|builtin| (builtin.name, None));
    let models: Vec<_> = models.chain([(BUILTINS[0].name, Some(Quantize::Int8))]).collect();
    let of = |(place, (name, to)): (usize, &(&str, Option<Quantize>))| {
        progress.part(place + 1, models.len(), name);
        one(name, *to)
    };
    let reports: Vec<Report> = models.iter().enumerate().map(of).collect::<Result<_>>()?;
    out.write(&report::overview(&reports, out.width()))?;
    out.finish()
}
