#![doc = include_str!("../README.md")]

mod axis;
mod canvas;
mod layout;
mod segment;

use std::path::{Path, PathBuf};

pub use axis::Axis;

use canvas::Canvas;
use layout::{MAX_PANELS, PanelLayout, SIDE_MARGIN, figure_size, panel_origin};

/// A picture of one or several charts.
///
/// Panels are 620 × 380 units large and stand side by side in two columns; a unit is 1.5 px.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figure {
    /// Stands over everything; empty for none.
    pub title: String,
    /// The charts, in reading order; at most 64.
    pub panels: Vec<Panel>,
}

/// One chart: lines over a common pair of axes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Panel {
    /// Stands over the chart.
    pub title: String,
    /// What runs to the right.
    pub x_label: String,
    /// What runs upwards.
    pub y_label: String,
    /// Ends of the y axis; what lies outside is cut off. `None`, or ends that are no range, to fit the points.
    pub y_range: Option<(f64, f64)>,
    /// The lines; later ones lie over earlier ones.
    pub series: Vec<Series>,
}

/// One line of a chart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// Name in the legend; empty to stay out of it.
    pub name: String,
    /// Points `(x, y)`, joined in this order; one that is not finite is a gap.
    pub points: Vec<(f64, f64)>,
    /// Number of the colour, so that series of different panels, or two of one, can share it.
    /// `None` for the place in [`Panel::series`].
    pub color: Option<usize>,
    /// How the line is drawn.
    pub line: Line,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Line {
    /// Without breaks; the eighth to fourteenth colour are drawn dashed and those after them dotted, because
    /// there are seven colours.
    #[default]
    Solid,
    /// Dashes.
    Dashed,
    /// Dots.
    Dotted,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The picture would be too large.
    #[error("a figure of {n_panels} panels is too large: at most {MAX_PANELS} fit")]
    TooManyPanels {
        /// Panels of the figure.
        n_panels: usize,
    },
    /// The pixels could not be compressed.
    #[error("cannot encode a PNG picture: {0}")]
    Encode(String),
    /// The file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Series {
    /// A solid line in the colour of its place; `None` is a gap.
    pub fn new<Y: Into<Option<f64>>>(name: &str, points: impl IntoIterator<Item = (f64, Y)>) -> Self {
        let points = points.into_iter().map(|(x, y)| (x, y.into().unwrap_or(f64::NAN))).collect();
        Self { name: name.to_owned(), points, ..Self::default() }
    }

    /// The points that are drawn, in pieces without gaps.
    fn pieces(&self) -> impl Iterator<Item = &[(f64, f64)]> {
        self.points.split(|&point| !is_finite(point)).filter(|piece| !piece.is_empty())
    }
}

fn is_finite((x, y): (f64, f64)) -> bool {
    x.is_finite() && y.is_finite()
}

impl Figure {
    /// The picture as the bytes of a PNG file.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        self.draw()?.into_png().map_err(Error::Encode)
    }

    /// Writes the picture to a file, which appears when it is complete.
    pub fn write_png(&self, path: &Path) -> Result<(), Error> {
        let write = |source| Error::Write { path: path.to_owned(), source };
        hubmap_files::write_whole(path, &self.to_png()?).map_err(write)
    }

    fn draw(&self) -> Result<Canvas, Error> {
        let n_panels = self.panels.len();
        let mut canvas = figure_size(&self.title, n_panels)
            .and_then(|(width, height)| Canvas::new(width, height))
            .ok_or(Error::TooManyPanels { n_panels })?;
        layout::draw_title(&mut canvas, &self.title, SIDE_MARGIN);
        for (i, panel) in self.panels.iter().enumerate() {
            PanelLayout::new(&canvas, panel, panel_origin(&self.title, i)).draw(&mut canvas);
        }
        Ok(canvas)
    }
}

#[cfg(test)]
mod tests;
