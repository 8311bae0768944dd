//! Shows slides with predictions over them in a browser.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use hubmap_cli::{CommonArgs, Outcome, SlideArgs, UsageError, check_inputs, print_line};
use hubmap_view::{Library, Server, ViewConfig};

/// Look at slides with predictions and truth over them: a web page on this machine, until Ctrl-C.
///
/// The page needs no network. The addresses of tiles are those of Deep Zoom, so that other viewers can show
/// <URL>slides/0/slide.dzi as well.
#[derive(Parser)]
#[command(
    name = "hubmap-view",
    version,
    after_help = "Examples:\n  \
        hubmap-view slide.svs --open\n  \
        hubmap-view HUBMAP/test --predictions results --truth HUBMAP/test\n  \
        hubmap-view --manifest slides.csv --predictions results"
)]
struct Args {
    /// A slide, or a folder of .tif, .tiff and .svs files; in builds with the feature `remote` also their addresses
    #[arg(value_name = "SLIDE|DIR|URL", required_unless_present = "manifest")]
    slides: Option<PathBuf>,
    /// List of slides, as hubmap-infer takes it; `microns_per_px` counts instead of what a slide states
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Output folder of hubmap-infer or hubmap-ensemble
    #[arg(long, value_name = "DIR")]
    predictions: Option<PathBuf>,
    /// Table such as train.csv, folder of mask TIFFs or of QuPath annotations <id>.json or <id>.geojson, or one of these files
    #[arg(long, value_name = "FILE|DIR")]
    truth: Option<PathBuf>,
    /// Port of 127.0.0.1 [default: one that is free]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Open the page in the default browser
    #[arg(long)]
    open: bool,

    #[command(flatten)]
    common: CommonArgs,
}

impl Args {
    fn run(&self) -> Result<Outcome> {
        let slides =
            SlideArgs { slides: self.slides.iter().cloned().collect(), manifest: self.manifest.clone() };
        check_inputs(slides.inputs())?;
        let config = ViewConfig {
            slides: slides.find(None)?,
            predictions: self.predictions.clone(),
            truth: self.truth.clone(),
        };
        let library = Library::open(&config).map_err(UsageError::mark)?;
        let n_slides = library.n_slides();
        let server = Server::bind(library, self.port)?;
        let url = server.url();
        print_line(&url)?;
        if self.open
            && let Err(error) = opener::open_browser(&url)
        {
            tracing::warn!("cannot open a browser, open {url} in one: {error}");
        }
        server.serve(hubmap_cli::interrupted)?;
        Ok(Outcome::done(serde_json::json!({ "url": url, "slides": n_slides })))
    }
}

fn main() -> ExitCode {
    let args: Args = hubmap_cli::parse();
    hubmap_cli::run(&args.common, |_| args.run())
}
