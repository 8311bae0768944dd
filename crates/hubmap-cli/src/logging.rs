//! Lines on stderr that do not tear progress bars, as text or as JSON objects.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use serde_json::{Map, Value};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{MakeWriter, SubscriberBuilder};

use crate::args::CommonArgs;

/// Starts logging to stderr. A second call has no effect.
pub(crate) fn start(args: &CommonArgs, bars: &MultiProgress) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let builder = SubscriberBuilder::default()
        .with_max_level(level)
        .with_writer(AboveBars(bars.clone()))
        .with_target(args.verbose > 0);
    let _already_started = if args.json {
        let builder = builder.json().flatten_event(true).with_current_span(false).with_span_list(false);
        tracing::subscriber::set_global_default(builder.finish())
    } else {
        let builder = builder.with_ansi(io::stderr().is_terminal()).without_time();
        tracing::subscriber::set_global_default(builder.finish())
    };
}

/// One line of a kind that the log does not have: the same object as a line of the log, with `more` members.
pub(crate) fn json_line(level: &str, message: &str, more: Map<String, Value>) -> String {
    let mut timestamp = String::new();
    // A clock that cannot be told leaves the time empty.
    let _untold = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let mut line = Map::from_iter([
        ("timestamp".to_owned(), Value::from(timestamp)),
        ("level".to_owned(), Value::from(level)),
        ("message".to_owned(), Value::from(message)),
    ]);
    line.extend(more);
    Value::from(line).to_string()
}

/// Writes each log line above the bars.
#[derive(Clone)]
struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
