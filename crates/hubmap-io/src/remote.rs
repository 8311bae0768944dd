//! Slides on object stores and web servers, read by ranges.

mod file;
mod object;
mod request;
mod store;

pub use file::RemoteFile;
pub(crate) use object::{RemoteObject, stat_all};
