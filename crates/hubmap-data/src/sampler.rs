//! Which windows of a slide become tiles (pipeline, section 2).

mod grid;
mod object;

pub use grid::{BackgroundRule, Grid};
pub use object::object_windows;
