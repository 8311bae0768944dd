//! Which windows of a slide become tiles (pipeline, section 2).

mod grid;
mod object;
mod random;

pub use grid::{BackgroundRule, Grid};
pub use object::{object_centroids, window_around};
pub use random::{BackgroundCuts, PolygonCuts, background_windows, polygon_windows};
