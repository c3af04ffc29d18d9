//! Which rows and columns are added up together: most of an axis is of one class or alternates between two, and where few are of
//! another, these are added up a second time by themselves.

use super::classes::{Classes, Run};

/// Classes of columns as a pass adds them up: all even columns to one class and all odd ones to one. Columns of other classes are
/// added to their own as well, and what these have is taken out of the first in the end.
pub(super) struct Columns {
    /// The class of most even columns, and of most odd ones.
    pub(super) most: [usize; 2],
    /// The columns that are of another class than most of their kind.
    pub(super) others: Vec<Others>,
    /// For each class, the one that has its columns as well.
    pub(super) within: Vec<Option<usize>>,
}

/// Columns of one class, all even or all odd.
pub(super) struct Others {
    pub(super) class: usize,
    pub(super) columns: Vec<usize>,
}

impl Columns {
    pub(super) fn new(classes: &Classes) -> Self {
        let of_class = |class: usize, odd: usize| -> Vec<usize> {
            (odd..classes.of.len()).step_by(2).filter(|&column| usize::from(classes.of[column]) == class).collect()
        };
        let counts: Vec<[usize; 2]> =
            (0..classes.len()).map(|class| [0, 1].map(|odd| of_class(class, odd).len())).collect();
        let largest = |count: &dyn Fn(usize) -> usize| (0..counts.len()).max_by_key(|&class| count(class)).unwrap_or(0);
        let each = [0, 1].map(|odd| largest(&|class| counts[class][odd]));
        // Unless a class has even and odd columns of which not all are added to one place: then all columns are.
        let mixed = |class: usize| counts[class].iter().all(|&count| count > 0);
        let alike = each[0] == each[1] || !(0..counts.len()).any(mixed);
        let most = if alike { each } else { [largest(&|class| counts[class].iter().sum()); 2] };
        let mut within = vec![None; counts.len()];
        let mut others = Vec::new();
        for (class, odd) in (0..counts.len()).flat_map(|class| [(class, 0), (class, 1)]) {
            if class != most[odd] && counts[class][odd] > 0 {
                within[class] = Some(most[odd]);
                others.push(Others { class, columns: of_class(class, odd) });
            }
        }
        Self { most, others, within }
    }
}

/// Rows at equal distances that are coded together and added to one class.
pub(super) struct Strip {
    pub(super) class: usize,
    pub(super) rows: Run,
    /// Rows of these that are of another class: they are added to it too.
    pub(super) edges: Vec<(usize, usize)>,
}

/// Rows as a pass adds them up. A row that is alone in its class belongs to a strip beside it if it can: it is added to the
/// strip's class and to its own, and what its class has is taken out of the strip's in the end.
pub(super) struct Strips {
    pub(super) all: Vec<Strip>,
    /// For each class, the one that has its rows as well.
    pub(super) within: Vec<Option<usize>>,
}

impl Strips {
    pub(super) fn new(classes: &Classes) -> Self {
        let rows: Vec<usize> = classes.runs.iter().map(|runs| runs.iter().map(|run| run.count).sum()).collect();
        let largest = (0..classes.len()).max_by_key(|&class| rows[class]);
        let mut single: Vec<bool> =
            (0..classes.len()).map(|class| rows[class] == 1 && Some(class) != largest).collect();
        let mut within = vec![None; classes.len()];
        let mut all = Vec::new();
        // Those of many rows first: they take what is beside them.
        let mut order: Vec<usize> = (0..classes.len()).collect();
        order.sort_by_key(|&class| std::cmp::Reverse(rows[class]));
        for class in order {
            if within[class].is_some() {
                continue;
            }
            single[class] = false;
            for &run in &classes.runs[class] {
                let (mut rows, mut edges) = (run, Vec::new());
                // Whether a row is alone in its class and in no strip yet; then it is in this one.
                let mut take = |row: usize| {
                    let of = classes.of.get(row).map(|&of| usize::from(of));
                    let taken = of.filter(|&of| std::mem::take(&mut single[of]));
                    if let Some(of) = taken {
                        within[of] = Some(class);
                        edges.push((row, of));
                    }
                    taken.is_some()
                };
                while rows.start >= run.step && take(rows.start - run.step) {
                    (rows.start, rows.count) = (rows.start - run.step, rows.count + 1);
                }
                while take(rows.start + rows.count * run.step) {
                    rows.count += 1;
                }
                all.push(Strip { class, rows, edges });
            }
        }
        Self { all, within }
    }
}
