//! `deadweight measure`: the main job.

use super::args::{Common, MeasureArgs};
use super::out::Out;
use super::progress::Progress;
use super::setup;
use crate::measure::{Settings, calibrate_and_measure};
use crate::report::{self, Format, columns};
use crate::{Error, Result};

/// Measures the model on the inputs and tells the document.
pub(super) fn run(args: &MeasureArgs, common: Common) -> Result<()> {
    if !args.columns.is_empty() && matches!(args.format, Format::Json | Format::Csv) {
        return Err(Error::invalid("--columns", "is of table and md; json and csv hold everything"));
    }
    let mut out = Out::open(args.out.output.as_deref())?;
    let backend = setup::backend(&args.engine, &args.backend)?;
    let model = setup::model(&args.model, common, args.no_fold, None, args.inputs.sigma)?;
    let data = setup::inputs(&model, &args.inputs)?;
    let progress = Progress::new(common);
    let feeding = Settings { layers: args.layers.clone(), ..setup::feeding(&args.inputs, &args.engine) };
    let feeding = Settings { calibrate: args.numbers.calibrate as usize, ..feeding };
    let model = setup::in_integers(model, &args.model, &backend, &data, &feeding, &progress)?;
    let feeding = Settings { statistics: args.statistics, ..feeding };
    let settings = setup::in_numbers(&args.numbers, &model, feeding)?;
    let (calibration, measurement) = calibrate_and_measure(&model, &backend, &data, &settings, &progress)?;
    data.turned().iter().for_each(|note| tracing::warn!("{note}"));
    if measurement.inputs == 0 {
        return Err(setup::none_decoded(&args.inputs.inputs));
    }
    let document = report::document(&model, backend.name(), &calibration, &measurement);
    let columns = if args.columns.is_empty() { columns::default(&document) } else { args.columns.clone() };
    out.write(&args.format.render(&document, &columns, out.width()))?;
    out.finish()
}
