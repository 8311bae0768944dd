//! Where the parts of a figure are.

use tiny_skia::{Mask, Rect};

use crate::axis::Axis;
use crate::canvas::{Anchor, Canvas, Pen, Rgb, TextStyle};
use crate::{Line, Panel, Series, is_finite, segment};

/// A picture of more panels would take too much memory.
pub(crate) const MAX_PANELS: usize = 64;
/// Free space beside titles and plots.
pub(crate) const SIDE_MARGIN: f32 = 18.0;

const PANEL_WIDTH: f32 = 620.0;
const PANEL_HEIGHT: f32 = 380.0;
const FIGURE_TITLE_HEIGHT: f32 = 44.0;
const TITLE_HEIGHT: f32 = 34.0;
const LEGEND_ROW: f32 = 20.0;
/// Further names are only counted.
const MAX_LEGEND_ROWS: usize = 4;
const LEGEND_LINE: f32 = 26.0;
const X_TICKS: u32 = 8;
const Y_TICKS: u32 = 6;

const INK: Rgb = [0x22, 0x22, 0x22];
const FRAME: Rgb = [0x80, 0x80, 0x80];
const GRID: Rgb = [0xe2, 0xe2, 0xe2];

/// Colours that colour-blind people tell apart, without the yellow, which is too light for white paper
/// (Okabe and Ito, Color Universal Design, 2008).
const COLORS: [Rgb; 7] = [
    [0x00, 0x72, 0xb2],
    [0xd5, 0x5e, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0x00, 0x00, 0x00],
    [0x56, 0xb4, 0xe9],
    [0xe6, 0x9f, 0x00],
];

const fn text(size: f32) -> TextStyle {
    TextStyle { size, color: INK }
}

/// Size of a figure in units; none if it has too many panels.
pub(crate) fn figure_size(title: &str, n_panels: usize) -> Option<(f32, f32)> {
    let (columns, rows) = (n_panels.clamp(1, 2), n_panels.div_ceil(2).max(1));
    let title = if title.is_empty() { 0.0 } else { FIGURE_TITLE_HEIGHT };
    (n_panels <= MAX_PANELS).then_some((columns as f32 * PANEL_WIDTH, title + rows as f32 * PANEL_HEIGHT))
}

/// Upper left corner of a panel.
pub(crate) fn panel_origin(title: &str, panel_idx: usize) -> (f32, f32) {
    let top = if title.is_empty() { 0.0 } else { FIGURE_TITLE_HEIGHT };
    ((panel_idx % 2) as f32 * PANEL_WIDTH, top + (panel_idx / 2) as f32 * PANEL_HEIGHT)
}

/// Writes the title of a figure.
pub(crate) fn draw_title(canvas: &mut Canvas, title: &str, x: f32) {
    let style = text(20.0);
    let title = canvas.fit(title, style.size, PANEL_WIDTH - 2.0 * x);
    canvas.text(&title, (x, 30.0), style, Anchor::Start, false);
}

/// A panel with everything measured.
#[derive(Debug)]
pub(crate) struct PanelLayout<'a> {
    panel: &'a Panel,
    origin: (f32, f32),
    legend: Vec<LegendEntry>,
    /// Where lines are drawn.
    pub(crate) area: Rect,
    pub(crate) x_axis: Axis,
    pub(crate) y_axis: Axis,
}

/// A name in the legend, and the series it stands for if it is not the count of those left out.
#[derive(Debug)]
struct LegendEntry {
    text: String,
    series_idx: Option<usize>,
    at: (f32, f32),
}

impl<'a> PanelLayout<'a> {
    pub(crate) fn new(canvas: &Canvas, panel: &'a Panel, origin: (f32, f32)) -> Self {
        let points =
            || panel.series.iter().flat_map(|series| &series.points).copied().filter(|&p| is_finite(p));
        let x_axis = Axis::around(points().map(|(x, _)| x), 0.02, X_TICKS, true);
        let y_axis = panel.y_range.and_then(|ends| Axis::with_ends(ends, Y_TICKS));
        let y_axis = y_axis.unwrap_or_else(|| Axis::around(points().map(|(_, y)| y), 0.05, Y_TICKS, false));

        let (legend, legend_rows) = legend(canvas, &panel.series, origin);
        let labels = y_axis.ticks.iter().map(|(_, label)| canvas.text_width(label, TICK.size));
        let y_label = if panel.y_label.is_empty() { 0.0 } else { 20.0 };
        let x_label = if panel.x_label.is_empty() { 0.0 } else { 20.0 };
        let left = SIDE_MARGIN + y_label + labels.fold(0.0, f32::max) + 8.0;
        let top = TITLE_HEIGHT + legend_rows as f32 * LEGEND_ROW + 10.0;
        let (right, bottom) = (PANEL_WIDTH - SIDE_MARGIN, PANEL_HEIGHT - 34.0 - x_label);
        let area = Rect::from_ltrb(origin.0 + left, origin.1 + top, origin.0 + right, origin.1 + bottom);
        #[expect(clippy::expect_used, reason = "margins, labels and legend have upper bounds")]
        let area = area.expect("the parts around a plot leave room for it");
        Self { panel, origin, legend, area, x_axis, y_axis }
    }

    pub(crate) fn draw(&self, canvas: &mut Canvas) {
        self.draw_axes(canvas);
        // Half a dot more, so that lines and dots at the ends of the axes are whole.
        let clip = canvas.clip(self.area.outset(DOT, DOT).unwrap_or(self.area));
        for (i, series) in self.panel.series.iter().enumerate() {
            self.draw_series(canvas, series, clip.as_ref(), &pen(series, i));
        }
        for LegendEntry { text, series_idx, at: (x, y) } in &self.legend {
            let mut text_x = *x;
            if let Some(series_idx) = *series_idx {
                let series = &self.panel.series[series_idx];
                let (pen, line_y) = (pen(series, series_idx), y - 4.5);
                if is_dots(series) {
                    canvas.dot((x + LEGEND_LINE / 2.0, line_y), DOT, None, pen.color);
                } else {
                    canvas.polyline(&[(*x, line_y), (x + LEGEND_LINE, line_y)], None, &pen);
                }
                text_x += LEGEND_LINE + 6.0;
            }
            canvas.text(text, (text_x, *y), LEGEND, Anchor::Start, false);
        }
    }

    fn draw_axes(&self, canvas: &mut Canvas) {
        let Self { panel, origin, area, .. } = self;
        for (value, label) in &self.x_axis.ticks {
            let (x, _) = self.place((*value, self.y_axis.low));
            canvas.rule((x, area.top()), (x, area.bottom()), GRID);
            canvas.text(label, (x, area.bottom() + 17.0), TICK, Anchor::Middle, false);
        }
        for (value, label) in &self.y_axis.ticks {
            let (_, y) = self.place((self.x_axis.low, *value));
            canvas.rule((area.left(), y), (area.right(), y), GRID);
            canvas.text(label, (area.left() - 7.0, y + 4.5), TICK, Anchor::End, false);
        }
        canvas.rule((area.left(), area.top()), (area.left(), area.bottom()), FRAME);
        canvas.rule((area.left(), area.bottom()), (area.right(), area.bottom()), FRAME);

        let title = canvas.fit(&panel.title, TITLE.size, PANEL_WIDTH - 2.0 * SIDE_MARGIN);
        canvas.text(&title, (origin.0 + SIDE_MARGIN, origin.1 + 25.0), TITLE, Anchor::Start, false);
        let x_label = canvas.fit(&panel.x_label, LABEL.size, area.width());
        let middle = f32::midpoint(area.left(), area.right());
        canvas.text(&x_label, (middle, area.bottom() + 38.0), LABEL, Anchor::Middle, false);
        let y_label = canvas.fit(&panel.y_label, LABEL.size, area.height());
        let middle = f32::midpoint(area.top(), area.bottom());
        canvas.text(&y_label, (origin.0 + SIDE_MARGIN + 11.0, middle), LABEL, Anchor::Middle, true);
    }

    fn draw_series(&self, canvas: &mut Canvas, series: &Series, clip: Option<&Mask>, pen: &Pen) {
        for piece in series.pieces() {
            let piece: Vec<_> = piece.iter().map(|&(x, y)| self.fractions((x, y))).collect();
            if let [only] = piece[..]
                && segment::visible(only, only).is_some()
            {
                canvas.dot(self.at(only), DOT, clip, pen.color);
            }
            for line in segment::visible_lines(&piece) {
                let places: Vec<_> = line.into_iter().map(|point| self.at(point)).collect();
                canvas.polyline(&places, clip, pen);
            }
        }
    }

    /// Where a point lies on both axes, from 0 to 1 within the area.
    fn fractions(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.x_axis.fraction(x), self.y_axis.fraction(y))
    }

    fn at(&self, (x, y): (f64, f64)) -> (f32, f32) {
        (self.area.left() + x as f32 * self.area.width(), self.area.bottom() - y as f32 * self.area.height())
    }

    /// Where a point is drawn.
    pub(crate) fn place(&self, point: (f64, f64)) -> (f32, f32) {
        self.at(self.fractions(point))
    }
}

const TITLE: TextStyle = text(16.0);
const LABEL: TextStyle = text(14.0);
const LEGEND: TextStyle = text(13.5);
const TICK: TextStyle = text(13.0);
/// Radius of a point that is alone.
const DOT: f32 = 3.5;

fn pen(series: &Series, series_idx: usize) -> Pen {
    let color_idx = series.color.unwrap_or(series_idx);
    let line = match (series.line, color_idx / COLORS.len()) {
        (Line::Solid, 0) => Line::Solid,
        (Line::Solid, 1) => Line::Dashed,
        (Line::Solid, _) => Line::Dotted,
        (line, _) => line,
    };
    let dash = match line {
        Line::Solid => None,
        Line::Dashed => Some((7.0, 4.0)),
        Line::Dotted => Some((2.0, 3.0)),
    };
    Pen { color: COLORS[color_idx % COLORS.len()], width: 1.8, dash }
}

/// Whether nothing but single points is drawn.
fn is_dots(series: &Series) -> bool {
    series.pieces().next().is_some() && series.pieces().all(|piece| piece.len() == 1)
}

/// Names from left to right in rows, and the number of rows.
fn legend(canvas: &Canvas, series: &[Series], origin: (f32, f32)) -> (Vec<LegendEntry>, usize) {
    let named: Vec<_> = series.iter().enumerate().filter(|(_, series)| !series.name.is_empty()).collect();
    let room = PANEL_WIDTH - 2.0 * SIDE_MARGIN;
    let mut entries = Vec::new();
    let (mut x, mut row) = (0.0, 0);
    for (n_before, &(series_idx, series)) in named.iter().enumerate() {
        let text = canvas.fit(&series.name, LEGEND.size, room / 2.0);
        let width = LEGEND_LINE + 6.0 + canvas.text_width(&text, LEGEND.size);
        if x > 0.0 && x + width > room {
            (x, row) = (0.0, row + 1);
        }
        let at = (origin.0 + SIDE_MARGIN + x, origin.1 + TITLE_HEIGHT + row as f32 * LEGEND_ROW + 14.0);
        if row + 1 == MAX_LEGEND_ROWS && n_before + 1 < named.len() {
            let text = format!("and {} more", named.len() - n_before);
            entries.push(LegendEntry { text, series_idx: None, at });
            break;
        }
        entries.push(LegendEntry { text, series_idx: Some(series_idx), at });
        x += width + 18.0;
    }
    let n_rows = if entries.is_empty() { 0 } else { row + 1 };
    (entries, n_rows)
}
