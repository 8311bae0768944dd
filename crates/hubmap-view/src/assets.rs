//! The files of the page, which are part of the program.

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asset {
    path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! asset {
    ($path:literal, $file:literal, $content_type:expr) => {
        Asset { path: $path, content_type: $content_type, body: include_bytes!(concat!("../assets/", $file)) }
    };
}

static ASSETS: [Asset; 12] = [
    asset!("", "index.html", HTML),
    asset!("viewer.css", "viewer.css", CSS),
    asset!("icon.svg", "icon.svg", SVG),
    asset!("main.js", "main.js", SCRIPT),
    asset!("server.js", "server.js", SCRIPT),
    asset!("layers.js", "layers.js", SCRIPT),
    asset!("outlines.js", "outlines.js", SCRIPT),
    asset!("objects.js", "objects.js", SCRIPT),
    asset!("readout.js", "readout.js", SCRIPT),
    asset!("keys.js", "keys.js", SCRIPT),
    asset!("vendor/openseadragon.min.js", "vendor/openseadragon.min.js", SCRIPT),
    asset!("vendor/openseadragon.LICENSE.txt", "vendor/openseadragon.LICENSE.txt", TEXT),
];

/// The file at a path without its leading slash.
pub(crate) fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_page_loads_is_here() {
        let text = |asset: &Asset| std::str::from_utf8(asset.body).unwrap();
        let page = text(find("").unwrap());
        let loaded = page
            .split(['"', '='])
            .filter(|word| [".js", ".css", ".svg"].iter().any(|end| word.ends_with(end)));
        assert_eq!(loaded.map(|word| assert!(find(word).is_some(), "{word}")).count(), 4);
        for asset in ASSETS.iter().filter(|asset| asset.content_type == SCRIPT && !asset.path.contains('/')) {
            let imports = text(asset).lines().filter(|line| line.starts_with("import "));
            for file in imports.filter_map(|line| line.split("\"./").nth(1)?.strip_suffix("\";")) {
                assert!(find(file).is_some(), "{file} in {}", asset.path);
            }
        }
        assert!(!page.contains("http://") && !page.contains("https://"), "the page needs no network");
    }

    #[test]
    fn the_vendored_viewer_is_the_one_named() {
        let script = std::str::from_utf8(find("vendor/openseadragon.min.js").unwrap().body).unwrap();
        let readme = include_str!("../assets/vendor/README.md");
        let version = script.lines().next().unwrap().strip_prefix("//! openseadragon ").unwrap();
        assert!(readme.contains(&format!("`openseadragon` {version}")), "{version}");
    }
}
