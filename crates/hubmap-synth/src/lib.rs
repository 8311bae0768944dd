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
mod stand_in;
mod tissue;
mod tubules;
mod write;

pub use competition::{CompetitionSpec, write_competition};
pub use slide::SyntheticSlide;
pub use spec::SlideSpec;
pub use stand_in::{PlainSlide, TappedSlide};
pub use write::{FileFormat, write_slide};
