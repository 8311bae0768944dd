//! Lines, dots and text on pixels.

use epaint_default_fonts::UBUNTU_LIGHT;
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Mask, Paint, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform,
};
use ttf_parser::{Face, OutlineBuilder};

/// Pixels per unit; all lengths and places are in units, `y` downwards.
const SCALE: f32 = 1.5;

/// Red, green and blue.
pub(crate) type Rgb = [u8; 3];

/// Where the given place of a text is: at its start, middle or end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A white sheet.
pub(crate) struct Canvas {
    pixmap: Pixmap,
    font: Face<'static>,
}

impl Canvas {
    /// A white sheet of this size, unless it would be empty or too large.
    pub(crate) fn new(width: f32, height: f32) -> Option<Self> {
        let mut pixmap = Pixmap::new((width * SCALE) as u32, (height * SCALE) as u32)?;
        pixmap.fill(Color::WHITE);
        #[expect(clippy::expect_used, reason = "the font is part of the executable, and every test reads it")]
        let font = Face::parse(UBUNTU_LIGHT, 0).expect("the embedded font is whole");
        Some(Self { pixmap, font })
    }

    /// The picture as a PNG file.
    pub(crate) fn into_png(self) -> Result<Vec<u8>, String> {
        self.pixmap.encode_png().map_err(|error| error.to_string())
    }

    /// A line through points; with a `clip`, only within it.
    pub(crate) fn polyline(&mut self, points: &[(f32, f32)], clip: Option<&Mask>, pen: &Pen) {
        let mut path = PathBuilder::new();
        for (i, &(x, y)) in points.iter().enumerate() {
            if i == 0 {
                path.move_to(x, y);
            } else {
                path.line_to(x, y);
            }
        }
        // Fewer than two different points are no path.
        let Some(path) = path.finish() else { return };
        let stroke = Stroke {
            width: pen.width,
            line_cap: LineCap::Butt,
            line_join: LineJoin::Round,
            dash: pen.dash.and_then(|(on, off)| StrokeDash::new(vec![on, off], 0.0)),
            ..Stroke::default()
        };
        self.pixmap.stroke_path(&path, &paint(pen.color), &stroke, scale(), clip);
    }

    /// A filled circle; with a `clip`, only within it.
    pub(crate) fn dot(&mut self, (x, y): (f32, f32), radius: f32, clip: Option<&Mask>, color: Rgb) {
        if let Some(circle) = PathBuilder::from_circle(x, y, radius) {
            self.pixmap.fill_path(&circle, &paint(color), FillRule::Winding, scale(), clip);
        }
    }

    /// A thin straight line along the pixels.
    pub(crate) fn rule(&mut self, from: (f32, f32), to: (f32, f32), color: Rgb) {
        let (left, top) = (from.0.min(to.0), from.1.min(to.1));
        let snap = |place: f32| (place * SCALE).round();
        let (width, height) = (snap((to.0 - from.0).abs()).max(1.0), snap((to.1 - from.1).abs()).max(1.0));
        if let Some(rect) = Rect::from_xywh(snap(left), snap(top), width, height) {
            self.pixmap.fill_rect(rect, &paint(color), Transform::identity(), None);
        }
    }

    /// Text whose anchor on the base line is at a place; `upwards` turns it to be read from below.
    pub(crate) fn text(
        &mut self,
        text: &str,
        at: (f32, f32),
        style: TextStyle,
        anchor: Anchor,
        upwards: bool,
    ) {
        let em = style.size / f32::from(self.font.units_per_em());
        let shift = match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -0.5 * self.text_width(text, style.size),
            Anchor::End => -self.text_width(text, style.size),
        };
        let turn = if upwards { -90.0 } else { 0.0 };
        let place =
            scale().pre_translate(at.0, at.1).pre_rotate(turn).pre_translate(shift, 0.0).pre_scale(em, -em);
        let mut outline = Outline { path: PathBuilder::new(), x: 0.0 };
        for character in text.chars() {
            let glyph = self.font.glyph_index(character).unwrap_or_default();
            self.font.outline_glyph(glyph, &mut outline);
            outline.x += f32::from(self.font.glyph_hor_advance(glyph).unwrap_or_default());
        }
        if let Some(path) = outline.path.finish() {
            self.pixmap.fill_path(&path, &paint(style.color), FillRule::Winding, place, None);
        }
    }

    /// Length of a text.
    pub(crate) fn text_width(&self, text: &str, size: f32) -> f32 {
        let advance = |character| {
            let glyph = self.font.glyph_index(character).unwrap_or_default();
            f32::from(self.font.glyph_hor_advance(glyph).unwrap_or_default())
        };
        text.chars().map(advance).sum::<f32>() * size / f32::from(self.font.units_per_em())
    }

    /// A text of at most `width`, cut at its end if it is longer.
    pub(crate) fn fit(&self, text: &str, size: f32, width: f32) -> String {
        if self.text_width(text, size) <= width {
            return text.to_owned();
        }
        let room = width - self.text_width("…", size);
        let mut used = 0.0;
        let kept = text.chars().take_while(|&character| {
            used += self.text_width(character.encode_utf8(&mut [0; 4]), size);
            used <= room
        });
        kept.chain(['…']).collect()
    }

    /// A clip that lets through what is in a rectangle.
    pub(crate) fn clip(&self, inside: Rect) -> Option<Mask> {
        let mut mask = Mask::new(self.pixmap.width(), self.pixmap.height())?;
        mask.fill_path(&PathBuilder::from_rect(inside), FillRule::Winding, false, scale());
        Some(mask)
    }

    /// Red, green and blue of the pixel that a place falls on.
    #[cfg(test)]
    pub(crate) fn pixel(&self, (x, y): (f32, f32)) -> Option<Rgb> {
        let color = self.pixmap.pixel((x * SCALE) as u32, (y * SCALE) as u32)?;
        Some([color.red(), color.green(), color.blue()])
    }
}

/// How a line is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Pen {
    pub(crate) color: Rgb,
    pub(crate) width: f32,
    /// Lengths of dashes and of the gaps between them.
    pub(crate) dash: Option<(f32, f32)>,
}

/// How text is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextStyle {
    pub(crate) size: f32,
    pub(crate) color: Rgb,
}

fn scale() -> Transform {
    Transform::from_scale(SCALE, SCALE)
}

fn paint([red, green, blue]: Rgb) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(red, green, blue, 0xff);
    paint
}

/// Glyphs one behind the other, in the font's units.
struct Outline {
    path: PathBuilder,
    x: f32,
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.x + x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.x + x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path.quad_to(self.x + x1, y1, self.x + x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.path.cubic_to(self.x + x1, y1, self.x + x2, y2, self.x + x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
