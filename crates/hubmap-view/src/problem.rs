//! What goes wrong, as answers over HTTP.

use hyper::StatusCode;

/// A problem with a request: what the browser is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }
}

impl From<anyhow::Error> for Problem {
    /// A file that is gone is not found; all else is the server's.
    fn from(error: anyhow::Error) -> Self {
        let is_missing = |cause: &(dyn std::error::Error + 'static)| {
            let io = match cause.downcast_ref() {
                Some(hubmap_io::Error::Io { source, .. }) => Some(source),
                _ => cause.downcast_ref::<std::io::Error>(),
            };
            io.is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        let status = if error.chain().any(is_missing) {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self::new(status, format!("{error:#}"))
    }
}

impl From<hubmap_io::Error> for Problem {
    fn from(error: hubmap_io::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}
