//! Which inputs follow one another: the arrays of one file, the images of one folder.

use super::{Dataset, Item};

impl Dataset {
    /// Whether each input continues from the network's state after the one before.
    pub fn goes_on(&self) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.together.is_some())
    }

    /// Whether input `place` follows the one before it in a sequence: in the same file of arrays, or as an image in the same folder;
    /// random inputs are one sequence.
    ///
    /// # Panics
    /// If `place` is not below [`Dataset::len`].
    pub fn follows(&self, place: usize) -> bool {
        if self.tokens.is_some() {
            return place > 0;
        }
        match &self.items[place] {
            Item::Stored { index, .. }
            | Item::Stacked { index, .. }
            | Item::Row { index, .. }
            | Item::Random(index)
            | Item::Given(index) => *index > 0,
            Item::File { path, .. } => match place.checked_sub(1).map(|before| &self.items[before]) {
                Some(Item::File { path: before, .. }) => before.parent() == path.parent(),
                _ => false,
            },
        }
    }
}
