//! Whose fault an error is, which decides what a scheduler does next.

use std::any::Any;
use std::collections::TryReserveError;
use std::io;

use anyhow::{Error, anyhow};
use serde::{Deserialize, Serialize};

/// What has to change before the same work can succeed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// An input: not there, broken, or of no use. The same again fails again.
    Input,
    /// Memory, of the machine or of a device: more of it, or less work at a time.
    Memory,
    /// The disk, or whoever else the operating system stands for: no space, no permission, no connection.
    Disk,
    /// Something else, or nobody knows what.
    #[default]
    #[serde(other)]
    Other,
}

/// An error that says itself whose fault it is.
#[derive(Debug, thiserror::Error)]
#[error("{error:#}")]
struct Blamed {
    fault: Fault,
    error: Error,
}

/// How devices say that memory is full, for which they have no type: `LibTorch` on CUDA and on CPUs, wgpu, the operating
/// system, and `cubecl` as it prints and as it debugs its errors.
const MEMORY_IS_FULL: [&str; 9] = [
    "out of memory",
    "out-of-memory",
    "out of device memory",
    "outofmemory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "can't allocate buffer",
    "buffertoobig",
];

impl Fault {
    /// Whose fault an error is, as far as the types of the error and of its causes tell.
    ///
    /// A file that is missing or ends early is nobody's fault if only the operating system says so: it may be an input or an
    /// output. Whoever reads an input knows, and says so with [`Fault::or_input`].
    pub fn of(error: &Error) -> Self {
        error.chain().map(Self::of_cause).find(|&fault| fault != Self::Other).unwrap_or_default()
    }

    /// Whose fault it is that something failed which can only say why in words: [`Fault::Memory`] or nobody's.
    pub fn of_message(message: &str) -> Self {
        let message = message.to_lowercase();
        let is_full = MEMORY_IS_FULL.iter().any(|words| message.contains(words));
        if is_full { Self::Memory } else { Self::Other }
    }

    /// What all of some faults have in common.
    pub fn common(faults: impl IntoIterator<Item = Self>) -> Self {
        let mut faults = faults.into_iter();
        let first = faults.next().unwrap_or_default();
        if faults.all(|fault| fault == first) { first } else { Self::Other }
    }

    /// The same error, marked as the fault of this.
    pub fn mark(self, error: impl Into<Error>) -> Error {
        match self {
            Self::Other => error.into(),
            fault => Blamed { fault, error: error.into() }.into(),
        }
    }

    /// An error of reading an input: that is to blame, unless memory or the disk is.
    pub fn or_input(error: impl Into<Error>) -> Error {
        let error = error.into();
        if Self::of(&error) == Self::Other { Self::Input.mark(error) } else { error }
    }

    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Self {
        if let Some(blamed) = cause.downcast_ref::<Blamed>() {
            return blamed.fault;
        }
        if let Some(error) = cause.downcast_ref::<hubmap_io::Error>() {
            return Self::of_io(error);
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return Self::of_system(error.kind());
        }
        if let Some(error) = cause.downcast_ref::<csv::Error>() {
            return match error.kind() {
                csv::ErrorKind::Io(error) => Self::of_system(error.kind()),
                _ => Self::Input,
            };
        }
        if let Some(error) = cause.downcast_ref::<serde_json::Error>() {
            return error.io_error_kind().map_or(Self::Input, Self::of_system);
        }
        match cause.downcast_ref::<png::DecodingError>() {
            Some(png::DecodingError::IoError(error)) => Self::of_system(error.kind()),
            Some(_) => Self::Input,
            None if cause.is::<hubmap_io::RleError>() => Self::Input,
            None if cause.is::<TryReserveError>() => Self::Memory,
            None => Self::Other,
        }
    }

    /// A slide's reader or a writer.
    fn of_io(error: &hubmap_io::Error) -> Self {
        match error {
            hubmap_io::Error::Format { .. } | hubmap_io::Error::Unsupported { .. } => Self::Input,
            hubmap_io::Error::Memory { .. } => Self::Memory,
            hubmap_io::Error::Io { action: "open" | "read" | "copy" | "list", source, path } => {
                let is_remote = path.to_str().is_some_and(hubmap_io::is_remote);
                match Self::of_system(source.kind()) {
                    // The network, or the store; it may answer next time.
                    Self::Other if is_remote && source.kind() == io::ErrorKind::Other => Self::Disk,
                    Self::Other => Self::Input,
                    fault => fault,
                }
            }
            // The operating system's word, if there is one, is the next cause.
            _ => Self::Other,
        }
    }

    /// The operating system's word.
    fn of_system(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::OutOfMemory => Self::Memory,
            // What these mean depends on what the file is. `Other` is for errors that are not the operating system's.
            io::ErrorKind::NotFound
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Other => Self::Other,
            _ => Self::Disk,
        }
    }
}

/// A panic as an error that begins with `what`. That a device's memory is full is known by the panic's words: libraries for
/// networks have no other way to say it.
pub fn panic_error(what: &str, cause: &(dyn Any + Send)) -> Error {
    let text = cause.downcast_ref::<&str>().copied();
    let text = text.or_else(|| cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Fault::of_message(text).mark(anyhow!("{what}: {text}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Context as _;

    use super::*;

    fn system(kind: io::ErrorKind) -> io::Error {
        io::Error::from(kind)
    }

    #[track_caller]
    fn check(error: impl Into<Error>, fault: Fault) {
        let error = error.into().context("slide a").context("cannot predict");
        assert_eq!(Fault::of(&error), fault, "{error:#}");
    }

    #[test]
    fn types_tell_whose_fault_it_is() {
        use io::ErrorKind::{NotFound, OutOfMemory, PermissionDenied, StorageFull, TimedOut, UnexpectedEof};
        let path = Path::new("a.tiff");
        check(hubmap_io::Error::format(path, "not a TIFF file"), Fault::Input);
        check(hubmap_io::Error::unsupported(path, "compression 7"), Fault::Input);
        check(hubmap_io::Error::usage(path, "window is empty"), Fault::Other);
        check(hubmap_io::Error::memory(path, "a window"), Fault::Memory);
        for (action, kind, fault) in [
            ("open", NotFound, Fault::Input),
            ("read", UnexpectedEof, Fault::Input),
            ("write", NotFound, Fault::Other),
            ("open", PermissionDenied, Fault::Disk),
            ("read", TimedOut, Fault::Disk),
            ("write", StorageFull, Fault::Disk),
            ("read", OutOfMemory, Fault::Memory),
        ] {
            check(hubmap_io::Error::io(path, action, system(kind)), fault);
        }
        let object = Path::new("s3://bucket/a.tiff");
        check(hubmap_io::Error::io(object, "open", system(io::ErrorKind::Other)), Fault::Disk);
        check(hubmap_io::Error::io(object, "open", system(NotFound)), Fault::Input);
        check(system(StorageFull), Fault::Disk);
        check(system(OutOfMemory), Fault::Memory);
        check(system(NotFound), Fault::Other);
        check(Vec::<u8>::new().try_reserve(usize::MAX).unwrap_err(), Fault::Memory);
        check(hubmap_io::Rle::parse("3").unwrap_err(), Fault::Input);
        check(serde_json::from_str::<u8>("{").unwrap_err(), Fault::Input);
        check(csv::Error::from(system(StorageFull)), Fault::Disk);
        check(serde_json::Error::io(system(StorageFull)), Fault::Disk);
        check(png::DecodingError::IoError(system(StorageFull)), Fault::Disk);
        check(anyhow!("nobody knows"), Fault::Other);
    }

    #[test]
    fn a_broken_table_and_a_broken_picture_are_inputs() {
        let mut rows = csv::Reader::from_reader("id,predicted\na\n".as_bytes());
        check(rows.records().next().unwrap().unwrap_err(), Fault::Input);
        let broken = png::Decoder::new(io::Cursor::new(b"no PNG, but long enough for its first bytes"));
        check(broken.read_info().err().unwrap(), Fault::Input);
    }

    #[test]
    fn who_reads_an_input_blames_it_for_what_is_not_the_disks() {
        let context = |error: io::Error| Err::<(), _>(error).context("cannot open a.json").unwrap_err();
        check(Fault::or_input(context(system(io::ErrorKind::NotFound))), Fault::Input);
        check(Fault::or_input(context(system(io::ErrorKind::StorageFull))), Fault::Disk);
        check(Fault::or_input(anyhow!("4 bands")), Fault::Input);
        assert_eq!(format!("{:#}", Fault::or_input(anyhow!("4 bands").context("a.tiff"))), "a.tiff: 4 bands");
    }

    #[test]
    fn what_is_common_to_several_is_their_fault() {
        assert_eq!(Fault::common([Fault::Memory, Fault::Memory]), Fault::Memory);
        assert_eq!(Fault::common([Fault::Memory, Fault::Input]), Fault::Other);
        assert_eq!(Fault::common([]), Fault::Other);
    }

    #[test]
    fn panics_of_devices_tell_when_memory_is_full() {
        for text in [
            "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB\")",
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
            "DefaultCPUAllocator: not enough memory: you tried to allocate 96 bytes.",
            "An out-of-memory error happened during launch\nCaused by:\n  …",
            "can't allocate buffer of size: 4294967296",
            "out of device memory allocating 1024 bytes",
            "wgpu error: Out of Memory",
            "Error in Device::create_buffer: OutOfMemory",
            "called `Result::unwrap()` on an `Err` value: BufferTooBig { size: 1 }",
            "Cannot allocate memory (os error 12)",
        ] {
            let error = panic_error("device 1 failed", &text);
            assert_eq!(Fault::of(&error), Fault::Memory, "{text}");
            assert_eq!(error.to_string(), format!("device 1 failed: {text}"));
        }
        let error = panic_error("device 1 failed", &String::from("index out of bounds"));
        assert_eq!(
            (Fault::of(&error), error.to_string().as_str()),
            (Fault::Other, "device 1 failed: index out of bounds")
        );
        assert_eq!(panic_error("it failed", &3).to_string(), "it failed: no message");
    }

    #[test]
    fn its_names_in_files_are_those_of_the_docs() {
        let names = |fault: Fault| serde_json::to_string(&fault).unwrap();
        let all = [Fault::Input, Fault::Memory, Fault::Disk, Fault::Other].map(names);
        assert_eq!(all, ["\"input\"", "\"memory\"", "\"disk\"", "\"other\""]);
        assert_eq!(serde_json::from_str::<Fault>("\"of a later version\"").unwrap(), Fault::Other);
    }
}
