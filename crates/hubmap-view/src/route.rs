//! What an address asks for.

use crate::assets::{self, Asset};
use crate::outlines;

/// A picture that is served as tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Layer {
    Slide,
    Mask,
    Probability,
}

/// A set of outlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OutlineSet {
    Predicted,
    Truth,
    Tissue,
}

/// What can be had; slides go by their place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Asset(&'static Asset),
    /// All slides.
    Slides,
    Info {
        slide: usize,
    },
    Objects {
        slide: usize,
    },
    Outlines {
        slide: usize,
        set: OutlineSet,
        scale: u32,
    },
    Dzi {
        slide: usize,
        layer: Layer,
    },
    Tile {
        slide: usize,
        tile: Tile,
    },
}

/// A tile of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    pub(crate) layer: Layer,
    pub(crate) level: u32,
    pub(crate) column: u32,
    pub(crate) row: u32,
    /// Probabilities of at most this, 255 for 1, are left out.
    pub(crate) threshold: u8,
}

impl Layer {
    const ALL: [Self; 3] = [Self::Slide, Self::Mask, Self::Probability];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Slide => "slide",
            Self::Mask => "mask",
            Self::Probability => "probability",
        }
    }

    /// The ending of tiles.
    pub(crate) const fn format(self) -> &'static str {
        match self {
            Self::Slide => "jpeg",
            Self::Mask | Self::Probability => "png",
        }
    }

    fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.name() == name)
    }
}

impl Route {
    /// The route of a path with the part behind the `?`, or `None` if there is nothing there.
    ///
    /// Names of files never come from addresses.
    pub(crate) fn find(path: &str, query: Option<&str>) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let parts: Vec<&str> = path.split('/').collect();
        let [first, slide, rest @ ..] = parts.as_slice() else {
            return if path == "slides.json" {
                Some(Self::Slides)
            } else {
                assets::find(path).map(Self::Asset)
            };
        };
        if *first != "slides" {
            return assets::find(path).map(Self::Asset);
        }
        let slide = number(slide)? as usize;
        match *rest {
            ["info.json"] => Some(Self::Info { slide }),
            ["objects.json"] => Some(Self::Objects { slide }),
            ["outlines", set, file] => {
                let set = match set {
                    "predicted" => OutlineSet::Predicted,
                    "truth" => OutlineSet::Truth,
                    "tissue" => OutlineSet::Tissue,
                    _ => return None,
                };
                let scale =
                    number(file.strip_suffix(".bin")?).filter(|&scale| scale <= outlines::MAX_SCALE)?;
                Some(Self::Outlines { slide, set, scale })
            }
            [file] => Some(Self::Dzi { slide, layer: Layer::find(file.strip_suffix(".dzi")?)? }),
            [folder, level, file] => {
                let layer = Layer::find(folder.strip_suffix("_files")?)?;
                let (place, format) = file.split_once('.')?;
                let (column, row) = place.split_once('_')?;
                if format != layer.format() {
                    return None;
                }
                let (level, column, row) = (number(level)?, number(column)?, number(row)?);
                let threshold = if layer == Layer::Probability { threshold(query)? } else { 0 };
                Some(Self::Tile { slide, tile: Tile { layer, level, column, row, threshold } })
            }
            _ => None,
        }
    }
}

/// Digits only: other spellings would be other addresses of the same thing.
fn number(text: &str) -> Option<u32> {
    let is_plain = text == "0" || !text.starts_with('0');
    (is_plain && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The value of `threshold=0` to `threshold=255`, 0 without one.
fn threshold(query: Option<&str>) -> Option<u8> {
    let mut pairs = query.unwrap_or_default().split('&');
    match pairs.find_map(|pair| pair.strip_prefix("threshold=")) {
        Some(value) => u8::try_from(number(value)?).ok(),
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_is_understood() {
        let tile = |layer, level, column, row, threshold| Tile { layer, level, column, row, threshold };
        let probability = tile(Layer::Probability, 0, 0, 0, 127);
        for (path, query, expected) in [
            ("/slides.json", None, Route::Slides),
            ("/slides/3/info.json", None, Route::Info { slide: 3 }),
            ("/slides/0/objects.json", Some("x=1"), Route::Objects { slide: 0 }),
            (
                "/slides/0/outlines/truth/8.bin",
                None,
                Route::Outlines { slide: 0, set: OutlineSet::Truth, scale: 8 },
            ),
            ("/slides/0/mask.dzi", None, Route::Dzi { slide: 0, layer: Layer::Mask }),
            (
                "/slides/12/slide_files/11/4_5.jpeg",
                Some("threshold=7"),
                Route::Tile { slide: 12, tile: tile(Layer::Slide, 11, 4, 5, 0) },
            ),
            (
                "/slides/1/probability_files/0/0_0.png",
                Some("v=1&threshold=127"),
                Route::Tile { slide: 1, tile: probability },
            ),
        ] {
            assert_eq!(Route::find(path, query), Some(expected), "{path}");
        }
        assert!(
            matches!(Route::find("/", None), Some(Route::Asset(page)) if page.content_type.contains("html"))
        );
    }

    #[test]
    fn nothing_else_is_there() {
        for path in [
            "",
            "slides.json",
            "/slides",
            "/slides/",
            "/slides/0",
            "/slides/-1/info.json",
            "/slides/+1/info.json",
            "/slides/01/info.json",
            "/slides/4294967296/info.json",
            "/slides/0/../1/info.json",
            "/slides/%30/info.json",
            "/../etc/passwd",
            "/..%2f..%2fetc/passwd",
            "/slides/0/slide_files/../../info.json",
            "/slides/0/slide_files/1/0_0.png",
            "/slides/0/slide_files/1/0_0.jpeg/",
            "/slides/0/slide_files/1/0-0.jpeg",
            "/slides/0/mask_files/1/0_0.jpeg",
            "/slides/0/label.dzi",
            "/slides/0/outlines/truth/9.bin",
            "/slides/0/outlines/other/1.bin",
            "//etc/passwd",
        ] {
            assert_eq!(Route::find(path, None), None, "{path}");
        }
        for query in ["threshold=256", "threshold=", "threshold=0.5", "threshold=-1"] {
            assert_eq!(Route::find("/slides/0/probability_files/0/0_0.png", Some(query)), None, "{query}");
        }
    }
}
