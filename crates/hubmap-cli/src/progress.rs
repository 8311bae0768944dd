//! Progress: bars on a terminal, plain lines elsewhere, objects with `--json`, nothing with `--quiet`.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::args::CommonArgs;
use crate::logging::json_line;

/// Time between two plain lines of one step.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Where progress goes.
#[derive(Debug)]
pub struct Progress {
    bars: MultiProgress,
    mode: Mode,
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Bars,
    Lines,
    Quiet,
}

impl Progress {
    /// Bars if stderr is a terminal, else lines, else nothing with `--quiet`; with `--json` every line is an object.
    pub fn new(args: &CommonArgs) -> Self {
        let mode = if args.quiet {
            Mode::Quiet
        } else if args.json || !std::io::stderr().is_terminal() {
            Mode::Lines
        } else {
            Mode::Bars
        };
        let bars = MultiProgress::new();
        if mode != Mode::Bars {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { bars, mode, json: args.json }
    }

    /// A line on stderr, above any bars; also with `--quiet`, so for results only.
    pub fn line(&self, text: &str) {
        self.write("INFO", text, text);
    }

    /// Like [`Progress::line`], but silent with `--quiet`.
    pub fn note(&self, text: &str) {
        if self.mode != Mode::Quiet {
            self.line(text);
        }
    }

    /// An error, as a line `error: …`.
    pub fn error(&self, text: &str) {
        self.write("ERROR", &format!("error: {text}"), text);
    }

    fn write(&self, level: &str, text: &str, message: &str) {
        let object = self.json.then(|| json_line(level, message.trim(), Map::new()));
        self.bars.suspend(|| write_stderr(object.as_deref().unwrap_or(text)));
    }

    /// Starts a step of `total` items, each a `unit` such as `tiles`.
    pub fn bar(&self, label: &str, total: u64, unit: &str) -> Bar {
        let bar = self.bars.add(ProgressBar::new(total));
        let template = format!(
            "{{prefix:>14}} {{wide_bar:.cyan/blue}} {{pos}}/{{len}} {unit} {{rate:>8}} {{eta:>4}} left {{msg}}"
        );
        if let Ok(style) = ProgressStyle::with_template(&template) {
            // The built-in rate shows ten digits.
            let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _cannot_fail = write!(out, "{:.1}/s", state.per_sec());
            };
            bar.set_style(style.progress_chars("━╸─").with_key("rate", rate));
        }
        bar.set_prefix(label.to_owned());
        if self.mode == Mode::Bars {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let lines = (self.mode == Mode::Lines).then(|| Mutex::new(Instant::now()));
        Bar { inner: bar, unit: unit.to_owned(), lines, json: self.json, started: Instant::now() }
    }

    pub(crate) const fn bars(&self) -> &MultiProgress {
        &self.bars
    }
}

fn write_stderr(line: &str) {
    let _stderr_closed = writeln!(std::io::stderr().lock(), "{line}");
}

/// One step under way. Shared by threads.
#[derive(Debug)]
pub struct Bar {
    inner: ProgressBar,
    unit: String,
    /// Time of the last plain line, where lines take the place of bars.
    lines: Option<Mutex<Instant>>,
    json: bool,
    started: Instant,
}

impl Bar {
    /// `n` more items are done.
    pub fn inc(&self, n: u64) {
        self.inner.inc(n);
        self.maybe_line();
    }

    /// `n` items in all are done.
    pub fn set(&self, n: u64) {
        self.inner.set_position(n);
        self.maybe_line();
    }

    /// `n` items in all there are, where that shows late.
    pub fn set_total(&self, n: u64) {
        self.inner.set_length(n);
    }

    /// A few words at the end of the bar, such as the current loss.
    pub fn message(&self, text: &str) {
        self.inner.set_message(text.to_owned());
    }

    fn maybe_line(&self) {
        let Some(lines) = &self.lines else { return };
        let Ok(mut last) = lines.try_lock() else { return };
        if last.elapsed() >= PLAIN_INTERVAL {
            *last = Instant::now();
            self.write_line();
        }
    }

    fn write_line(&self) {
        let done = self.inner.position();
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = done as f64 / seconds.max(1e-3);
        let total = self.inner.length().unwrap_or(done);
        let left = total.saturating_sub(done) as f64 / rate.max(1e-9);
        let left = (done < total && done > 0).then_some(left);
        let (label, unit, message) = (self.inner.prefix(), &self.unit, self.inner.message());
        if self.json {
            let tenths = |value: f64| (value * 10.0).round() / 10.0;
            let mut more = Map::from_iter([
                ("step".to_owned(), json!(label)),
                ("done".to_owned(), json!(done)),
                ("total".to_owned(), json!(total)),
                ("unit".to_owned(), json!(unit)),
                ("seconds".to_owned(), json!(tenths(seconds))),
                ("per_second".to_owned(), json!(tenths(rate))),
            ]);
            more.extend(left.map(|left| ("seconds_left".to_owned(), Value::from(tenths(left)))));
            return write_stderr(&json_line("INFO", &message, more));
        }
        let left = left.map_or_else(String::new, |left| format!(", {left:.0} s left"));
        let line = format!("{label}: {done}/{total} {unit} ({rate:.1}/s, {seconds:.0} s{left}) {message}");
        write_stderr(line.trim_end());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.lines.is_some() {
            self.write_line();
        }
        self.inner.finish_and_clear();
    }
}
