//! What the user wrote: types, positions, and every mistake at once.

pub mod expectation;
pub mod metric;
pub mod nearest;
