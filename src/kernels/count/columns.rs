//! Which columns are added up together.

use super::classes::Classes;

/// Classes of columns as a pass adds them up: all even columns to one class and all odd ones to one, and then columns of other
/// classes are taken out again.
pub(super) struct Columns {
    /// The class of most even columns, and of most odd ones.
    pub(super) most: [usize; 2],
    /// The columns that are of another class than most of their kind.
    pub(super) others: Vec<Others>,
}

/// Columns of one class, all even or all odd.
pub(super) struct Others {
    pub(super) class: usize,
    pub(super) columns: Vec<usize>,
}

impl Columns {
    pub(super) fn new(classes: &Classes) -> Self {
        let all = classes.of.len();
        let of_class = |class: usize, odd: usize| {
            (odd..all).step_by(2).filter(move |&column| usize::from(classes.of[column]) == class)
        };
        let most = [0, 1].map(|odd| (0..classes.len()).max_by_key(|&class| of_class(class, odd).count()).unwrap_or(0));
        let kinds = (0..classes.len()).flat_map(|class| [(class, 0), (class, 1)]);
        let others = kinds.filter(|&(class, odd)| class != most[odd]);
        let others = others.map(|(class, odd)| Others { class, columns: of_class(class, odd).collect() });
        Self { most, others: others.filter(|others| !others.columns.is_empty()).collect() }
    }
}
