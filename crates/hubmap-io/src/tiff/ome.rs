//! OME-XML: which pages of an OME-TIFF make up which image.
//!
//! The model is that of the OME-TIFF specification, version 2016-06: an image has planes in Z, C and T, a `TiffData`
//! element says in which page of the chain a run of planes starts, and channels of several samples share a plane.

use roxmltree::{Document, Node, ParsingOptions};

use crate::Size;

/// An image of an OME-TIFF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OmeImage {
    /// Its name, such as `macro`.
    pub(super) name: String,
    /// Full-resolution size.
    pub(super) size: Size,
    /// For each channel, the page that holds its plane of the first section and time; `None` if it is not in
    /// this file.
    pub(super) planes: Vec<Option<usize>>,
}

/// Elements in one document beyond which it is not read.
const MAX_ELEMENTS: u32 = 2_000_000;

/// Channels of one image beyond which it is not read.
const MAX_CHANNELS: usize = 1024;

/// The images of a document, or `None` if it is not OME-XML.
pub(super) fn images(xml: &str) -> Option<Vec<OmeImage>> {
    if !xml.contains("<OME") && !xml.contains(":OME") {
        return None;
    }
    let options = ParsingOptions { nodes_limit: MAX_ELEMENTS, ..ParsingOptions::default() };
    let document = Document::parse_with_options(xml.trim_start_matches('\u{feff}').trim(), options).ok()?;
    let root = Some(document.root_element()).filter(|root| root.tag_name().name() == "OME")?;
    let images: Vec<_> = children(root, "Image").filter_map(image).collect();
    (!images.is_empty()).then_some(images)
}

fn children<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}

fn number(node: Node<'_, '_>, name: &str) -> Option<usize> {
    node.attribute(name)?.trim().parse().ok()
}

fn image(node: Node<'_, '_>) -> Option<OmeImage> {
    let pixels = children(node, "Pixels").next()?;
    let side = |name| number(pixels, name).and_then(|side| u32::try_from(side).ok());
    let size = Size::new(side("SizeX")?, side("SizeY")?);
    let count = |name| number(pixels, name).unwrap_or(1).max(1);
    // Channels of several samples, such as RGB, share one plane.
    let samples = children(pixels, "Channel").filter_map(|channel| number(channel, "SamplesPerPixel"));
    let samples_per_plane = samples.max().unwrap_or(1).max(1);
    let axes = Axes {
        order: pixels.attribute("DimensionOrder").unwrap_or("XYZCT").to_owned(),
        z: count("SizeZ"),
        c: count("SizeC").div_ceil(samples_per_plane),
        t: count("SizeT"),
    };
    if axes.c > MAX_CHANNELS {
        return None;
    }
    let mut planes = vec![None; axes.c];
    let mut has_data = false;
    for data in children(pixels, "TiffData") {
        has_data = true;
        // Planes of a set of files are named by the identifier of their file; those of this file come without or
        // with a name, which cannot be told apart once the file has been renamed: the first page decides.
        let first = ["FirstZ", "FirstC", "FirstT"].map(|name| number(data, name).unwrap_or(0));
        let start = number(data, "IFD");
        let n_planes = number(data, "PlaneCount");
        let n_planes = n_planes.unwrap_or(if start.is_some() { 1 } else { usize::MAX });
        axes.place(&mut planes, first, start.unwrap_or(0), n_planes);
    }
    if !has_data {
        axes.place(&mut planes, [0; 3], 0, usize::MAX);
    }
    let name = node.attribute("Name").unwrap_or_default().to_owned();
    Some(OmeImage { name, size, planes })
}

/// How many planes an image has in each direction, and which runs fastest.
struct Axes {
    /// Such as `XYCZT`.
    order: String,
    z: usize,
    c: usize,
    t: usize,
}

impl Axes {
    /// Notes the pages of the planes at Z = T = 0 among `n_planes` planes that start at `first` in page `start`.
    fn place(&self, planes: &mut [Option<usize>], first: [usize; 3], start: usize, n_planes: usize) {
        let index = |z, c, t| self.index(z, c, t);
        let Some(origin) = index(first[0], first[1], first[2]) else { return };
        for (channel, page) in planes.iter_mut().enumerate() {
            let Some(plane) = index(0, channel, 0) else { continue };
            let place = plane.checked_sub(origin).filter(|&place| place < n_planes);
            if let Some(place) = place.filter(|_| page.is_none()) {
                *page = start.checked_add(place);
            }
        }
    }

    /// Place of a plane in the order of the file.
    fn index(&self, z: usize, c: usize, t: usize) -> Option<usize> {
        let (mut index, mut stride) = (0_usize, 1_usize);
        for axis in self.order.chars() {
            let (at, count) = match axis {
                'Z' => (z, self.z),
                'C' => (c, self.c),
                'T' => (t, self.t),
                _ => continue,
            };
            index = index.checked_add(at.checked_mul(stride)?)?;
            stride = stride.checked_mul(count)?;
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(order: &str, sizes: &str, inside: &str) -> String {
        format!(
            r#"<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
            <Image ID="Image:0" Name="slide"><Pixels ID="Pixels:0" DimensionOrder="{order}" {sizes}
            SizeX="30" SizeY="20" Type="uint8">{inside}</Pixels></Image></OME>"#
        )
    }

    fn planes(order: &str, sizes: &str, inside: &str) -> Vec<Option<usize>> {
        let found = images(&document(order, sizes, inside)).unwrap();
        assert_eq!((found.len(), found[0].size), (1, Size::new(30, 20)));
        found[0].planes.clone()
    }

    #[test]
    fn channels_are_found_in_every_order() {
        let sizes = r#"SizeZ="5" SizeC="3" SizeT="2""#;
        let in_pages = |pages: [usize; 3]| pages.map(Some).to_vec();
        assert_eq!(planes("XYCZT", sizes, "<TiffData/>"), in_pages([0, 1, 2]));
        assert_eq!(planes("XYZCT", sizes, ""), in_pages([0, 5, 10]));
        assert_eq!(planes("XYTZC", sizes, r#"<TiffData IFD="4" PlaneCount="30"/>"#), in_pages([4, 14, 24]));
        let one_by_one = r#"<TiffData IFD="7" FirstC="2"/><TiffData IFD="9" FirstC="0"/>"#;
        assert_eq!(planes("XYCZT", sizes, one_by_one), [Some(9), None, Some(7)]);
    }

    #[test]
    fn samples_of_one_channel_share_a_page() {
        let sizes = r#"SizeZ="1" SizeC="3" SizeT="1""#;
        let channel = r#"<Channel ID="Channel:0" SamplesPerPixel="3"/><TiffData IFD="2" PlaneCount="1"/>"#;
        assert_eq!(planes("XYCZT", sizes, channel), [Some(2)]);
    }

    #[test]
    fn other_text_is_no_ome() {
        assert_eq!(images(""), None);
        assert_eq!(images("<OME"), None);
        assert_eq!(images("Aperio <OME> in a sentence"), None);
        assert_eq!(images(r#"<OME><Image><Pixels SizeX="-1" SizeY="2"/></Image></OME>"#), None);
    }
}
