//! Which columns share an accumulator during a pass.

use super::classes::Classes;

/// Column classes as a pass adds them up. All even columns go to the accumulator of one class and all odd ones to that of
/// another; then columns of other classes (borders, as a rule) are moved to their own accumulators.
pub(super) struct Columns {
    /// The most frequent class among the even columns, and among the odd ones.
    pub(super) common: [usize; 2],
    /// The columns of any other class.
    pub(super) exceptions: Vec<ClassColumns>,
}

/// Columns of one class, all even or all odd.
pub(super) struct ClassColumns {
    pub(super) class: usize,
    pub(super) columns: Vec<usize>,
}

impl Columns {
    pub(super) fn new(classes: &Classes) -> Self {
        let all = classes.of.len();
        let of_class = |class: usize, odd: usize| {
            (odd..all).step_by(2).filter(move |&column| usize::from(classes.of[column]) == class)
        };
        let common =
            [0, 1].map(|odd| (0..classes.len()).max_by_key(|&class| of_class(class, odd).count()).unwrap_or(0));
        let kinds = (0..classes.len()).flat_map(|class| [(class, 0), (class, 1)]);
        let exceptions = kinds.filter(|&(class, odd)| class != common[odd]);
        let exceptions = exceptions.map(|(class, odd)| ClassColumns { class, columns: of_class(class, odd).collect() });
        Self { common, exceptions: exceptions.filter(|exceptions| !exceptions.columns.is_empty()).collect() }
    }
}
