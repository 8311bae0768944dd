#![doc = include_str!("../README.md")]

mod anatomy;
mod artefact;
mod bodies;
mod canvas;
mod competition;
mod noise;
mod outline;
mod slide;
mod spec;
mod stain;
mod tissue;
mod tubules;
mod write;

pub use competition::{CompetitionSpec, write_competition};
pub use slide::SyntheticSlide;
pub use spec::SlideSpec;
pub use write::{FileFormat, write_slide};
