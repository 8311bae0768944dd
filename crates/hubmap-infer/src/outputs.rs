//! The files that inference leaves, under the names of the command-line reference.

mod npy;
mod object_files;
mod object_id;
mod objects_table;
mod outlines;
mod overlay;
pub(crate) mod pending_file;
mod plan;
mod pyramid_rows;
mod rle_table;
mod slide_input;
mod slide_writer;

pub use npy::{NpyReader, NpyWriter};
pub use outlines::CLASS_NAME;
pub use overlay::OVERLAY_MAX_SIDE;
pub use pending_file::PendingFile;
pub use plan::{OutputKind, OutputPlan};
pub(crate) use rle_table::write_merged;
pub use rle_table::{RleTable, id_order, read_rle_table, write_submission};
pub use slide_input::{SlideInput, check_ids, find_slides};
pub use slide_writer::{FinishedFiles, SlideWriter, WrittenFile};
