//! What figures hold, and that what was not counted makes none.

use super::*;
use crate::report::sample;

#[test]
fn each_run_has_its_figures_and_all_have_one() {
    let runs = [sample::report(), sample::report()];
    let figures = figures(&runs);
    let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    let of = |run: &str| ["macs", "zeros", "widths"].map(|what| format!("tiny-in-fixed16--run-{run}-{what}.svg"));
    assert_eq!(names, [&of("1")[..], &of("2")[..], &["potentials.svg".to_owned()]].concat());
    for figure in &figures {
        assert!(figure.svg.starts_with("<svg xmlns=") && figure.svg.ends_with("</svg>\n"), "{}", figure.name);
        assert!(!figure.svg.contains("NaN") && !figure.svg.contains("inf"), "{}", figure.name);
    }
    assert_eq!(figures, super::figures(&runs), "the same bytes each time");
}

#[test]
fn a_figure_has_the_shares_of_its_run() {
    let run = sample::report();
    let figures = figures(std::slice::from_ref(&run));
    let macs = &figures[0].svg;
    let columns = macs.lines().filter(|line| line.starts_with("<rect") && !line.contains("height=\"7.00\"")).count();
    let first = &run.layers().next().unwrap().cells;
    let share = first.get("macs.padding", None).unwrap().number().unwrap();
    assert!(columns > 4 && macs.contains(&format!("height=\"{:.2}\"", axes::HEIGHT * share)), "{macs}");
    // Names are words, whatever they are.
    assert!(macs.contains(">layer1.0|conv</text>"), "{macs}");
    let potentials = &figures[3].svg;
    let value = run.network().cells.get("potential.W+A", None).unwrap().number().unwrap();
    assert!(potentials.contains(&format!(">{}</text>", crate::report::units::significant(value, 3))), "{potentials}");
}

#[test]
fn names_cannot_be_markup() {
    let mut run = sample::report();
    run.provenance.model.name = "</title><script>&\u{1}".into();
    for scope in &mut run.scopes {
        scope.layer = "<b>".into();
    }
    for figure in figures(&[run]) {
        assert!(!figure.svg.contains("<script") && !figure.svg.contains("<b>") && !figure.svg.contains('\u{1}'));
    }
}

#[test]
fn what_was_not_counted_is_no_figure() {
    let mut run = sample::report();
    for scope in &mut run.scopes {
        scope.cells = crate::metrics::Cells::default();
    }
    assert_eq!(figures(&[run]), []);
}
