//! How a row of output columns is divided into tiles.

use std::ops::Range;

/// In place of a number of filter blocks: one block, of which the sums of a pixel take two of few registers.
pub(super) const FEW_REGISTERS: usize = 0;

/// Tile widths that are compiled for `blocks` filter blocks, largest first.
fn sizes(blocks: usize) -> &'static [usize] {
    match blocks {
        FEW_REGISTERS => &[6, 5, 4, 3, 2, 1],
        1 => &[14, 10, 8, 6, 5, 4, 3, 2, 1],
        2 => &[14, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1],
        3 => &[7, 4, 2, 1],
        4 => &[6, 5, 4, 3, 2, 1],
        _ => &[2, 1],
    }
}

/// Multiply-adds issued per tap for `columns` in tiles of `size`; fewer than eight in flight are bound by latency. Where
/// registers are few, the loads of the weights add to them.
pub(super) fn tiles_cost(columns: usize, size: usize, blocks: usize) -> usize {
    let cost = match blocks {
        FEW_REGISTERS => (2 * size).max(8) + 1,
        _ => (size * blocks).max(8),
    };
    columns.div_ceil(size) * cost
}

/// At most two ranges of columns, each with its tile size.
pub(super) type Cover = [(usize, Range<usize>); 2];

/// Covers `columns` at the lowest cost that the sizes for `blocks` allow. If the columns of a range are no multiple of its
/// size, the last tile starts earlier and computes some pixels again, so that no mask is needed.
pub(super) fn cover(columns: &Range<usize>, blocks: usize) -> Cover {
    let (start, end, n) = (columns.start, columns.end, columns.len());
    let fitting = || sizes(blocks).iter().copied().filter(|&size| size <= n);
    let uniform = fitting().map(|size| (tiles_cost(n, size, blocks), [(size, start..end), (size, end..end)]));
    let mixed = fitting().next().into_iter().flat_map(|large| {
        let rest = n % large;
        fitting().filter(move |&size| size >= rest && rest > 0).map(move |size| {
            let cost = tiles_cost(n - rest, large, blocks) + tiles_cost(rest, size, blocks);
            (cost, [(large, start..end - rest), (size, end - size..end)])
        })
    });
    // At equal costs the fewest tiles: each tile reads all weights once.
    let tiles = |cover: &Cover| cover.iter().map(|(size, columns)| columns.len().div_ceil(*size)).sum::<usize>();
    let best = uniform.chain(mixed).min_by_key(|(cost, cover)| (*cost, tiles(cover)));
    best.map_or([(1, 0..0), (1, 0..0)], |(_, cover)| cover)
}
