//! Every count against a loop over all MACs: so plain that it needs no test of its own.

mod brute_force;
mod problem;
mod watched;

pub use brute_force::group_width;
use brute_force::{Macs, POTENTIALS, brute_force};
use deadweight::metrics::{Cells, Fraction, Value};
use deadweight::tally::LayerTally;
pub use problem::{Layout, Problem, convolutions, linears, sequences, transposed};
use proptest::prelude::*;

/// Sums with padding and without of a ratio over MACs.
pub fn modes(cells: &Cells, name: &str) -> [(u128, u128); 2] {
    let Some(Value::Work(modes)) = cells.get(name, None) else { panic!("{name} is no ratio over MACs") };
    modes.map(|Fraction { numerator, denominator }| (numerator, denominator))
}

/// MACs by class as the metrics have them.
fn macs_by_class(cells: &Cells) -> Macs {
    let count = |class: &str| modes(cells, &format!("macs.{class}"))[0].0 as u64;
    let dense = modes(cells, "macs.effectual").map(|(_, dense)| dense as u64);
    let [zero_both, zero_activation, zero_weight, effectual] =
        ["zero_both", "zero_activation", "zero_weight", "effectual"].map(count);
    let macs = Macs { dense: dense[0], padding: count("padding"), zero_both, zero_activation, zero_weight, effectual };
    assert_eq!(cells.get("macs", None), Some(&Value::Count(dense[0].into())));
    // Without padding, only the padding MACs are left out.
    assert_eq!(dense[1], macs.dense - macs.padding);
    assert_eq!(modes(cells, "macs.padding")[1].0, 0);
    for class in ["zero_both", "zero_activation", "zero_weight", "effectual"] {
        let [with, without] = modes(cells, &format!("macs.{class}"));
        assert_eq!(with.0, without.0, "{class}");
    }
    macs
}

fn check(problem: &Problem, layout: Layout) -> Result<(), TestCaseError> {
    let tally = problem.tally(layout);
    let (macs, sums) = brute_force(problem);
    let cells = problem.metrics(&tally, problem.min_one);
    prop_assert_eq!(macs_by_class(&cells), macs);
    prop_assert_eq!(sums.len(), POTENTIALS.len());
    for (name, want) in POTENTIALS.into_iter().zip(sums) {
        prop_assert_eq!(modes(&cells, &format!("potential.{name}")), want, "{}", name);
    }
    invariants(problem, &tally, &macs)
}

/// The inequalities of METRICS section 5, in both padding modes.
fn invariants(problem: &Problem, tally: &LayerTally, macs: &Macs) -> Result<(), TestCaseError> {
    let parts = macs.padding + macs.zero_both + macs.zero_activation + macs.zero_weight + macs.effectual;
    prop_assert_eq!(parts, macs.dense);
    let [k, p, q] = problem.shape.output;
    let per_window = k * problem.shape.weight[1..].iter().product::<usize>();
    let [_, h, w] = problem.shape.input;
    let dense = problem.images * per_window * if problem.shape.transposed { h * w } else { p * q };
    prop_assert_eq!(macs.dense, dense as u64);
    let cells = problem.metrics(tally, false);
    for mode in 0..2 {
        let modes = |name: &str| modes(&cells, &format!("potential.{name}"))[mode];
        let work = |name: &str| modes(name).1;
        // No width is more than the baseline's.
        for name in ["Ap.layer", "Wp.layer", "Wp+Ap"] {
            prop_assert!(modes(name).1 <= modes(name).0, "{} {:?}", name, modes(name));
        }
        // A larger potential is less work.
        for (more, less) in [
            ("W+A", "A"),
            ("W+A", "W"),
            ("Ae", "A"),
            ("W+Ae", "W+A"),
            ("W+Ae", "Ae"),
            ("We+Ae", "W+Ae"),
            ("Ae", "Ap.value"),
            ("Ap.value", "Ap.g16"),
            ("Ap.g16", "Ap.g64"),
            ("Ap.g64", "Ap.g256"),
            ("Ap.g256", "Ap.layer"),
            ("Wp.value", "Wp.g16"),
            ("Wp.g16", "Wp.layer"),
            ("Wp+Ap", "Ap.g16"),
            ("W+Ap", "Ap.g16"),
            ("W+A+Ap", "W+Ap"),
        ] {
            prop_assert!(work(more) <= work(less), "{} {} > {} {}", more, work(more), less, work(less));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_equal_the_loop_over_macs(problem in convolutions()) {
        check(&problem, Layout::Blocked)?;
    }

    #[test]
    fn planar_inputs_equal_the_loop_over_macs(problem in convolutions()) {
        check(&problem, Layout::Planar)?;
    }

    #[test]
    fn transposed_convolutions_equal_the_loop_over_macs(problem in transposed()) {
        check(&problem, Layout::Blocked)?;
    }

    #[test]
    fn linear_layers_equal_the_loop_over_macs(problem in linears()) {
        check(&problem, Layout::Blocked)?;
    }

    #[test]
    fn products_over_sequences_equal_the_loop_over_macs(problem in sequences(), planar in any::<bool>()) {
        check(&problem, if planar { Layout::Planar } else { Layout::Blocked })?;
    }

    #[test]
    fn tallies_merge_in_any_order_and_grouping(problem in convolutions(), seeds in any::<[u32; 3]>()) {
        // Three parts of a data set: other inputs, the same layer, weights and formats.
        let parts = seeds.map(|seed| {
            let other = Problem { seed, ..problem.clone() };
            problem.counted(&other.inputs(), Layout::Blocked)
        });
        let merged = |order: [usize; 3]| {
            let mut sum = parts[order[0]].clone();
            sum.merge(&parts[order[1]]);
            sum.merge(&parts[order[2]]);
            sum
        };
        let want = merged([0, 1, 2]);
        for order in [[0, 2, 1], [1, 0, 2], [2, 1, 0]] {
            prop_assert_eq!(&merged(order), &want);
        }
        let mut tail = parts[1].clone();
        tail.merge(&parts[2]);
        let mut nested = parts[0].clone();
        nested.merge(&tail);
        prop_assert_eq!(nested, want);
    }
}
