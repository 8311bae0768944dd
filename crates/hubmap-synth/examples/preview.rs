//! Renders a window of a synthetic slide to a PNG file:
//! `preview OUT.png [seed [side of the slide [scale [x y width height [step]]]]]`.

use anyhow::{Context as _, Result};
use hubmap_io::{Size, Window};
use hubmap_synth::{SlideSpec, SyntheticSlide};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let path = args.get(1).context("no output path")?;
    let number = |i: usize, default: f64| args.get(i).map_or(Ok(default), |text| text.parse());
    let side = number(3, 2048.0)? as u32;
    let mut spec = SlideSpec::new(Size::new(side, side), number(2, 1.0)? as u64);
    spec.scale = number(4, 1.0)?;
    let slide = SyntheticSlide::new(spec)?;
    let whole = side as f64;
    let window = Window::new(
        number(5, 0.0)? as i64,
        number(6, 0.0)? as i64,
        number(7, whole)? as u32,
        number(8, whole)? as u32,
    );
    let step = number(9, 1.0)? as u32;
    let pixels = hubmap_io::area_downscale(slide.render(window).view(), step);
    let (height, width, _) = pixels.dim();
    let file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut encoder = png::Encoder::new(file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels.as_slice().context("pixels are not in order")?)?;
    Ok(())
}
