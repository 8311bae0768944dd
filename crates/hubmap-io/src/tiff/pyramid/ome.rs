//! The description of an image in OME-XML, schema of June 2016.

use std::fmt::Write as _;
use std::path::Path;

use super::spec::PyramidSpec;
use crate::tiff::sample_kind::SampleKind;

/// The OME-XML of a pyramid in the file `path`, in 7-bit characters, as TIFF wants its texts.
///
/// Levels are not mentioned: readers find them as `SubIFDs` of the page that `TiffData` names.
pub(super) fn ome_xml(spec: &PyramidSpec, path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kind = match spec.samples {
        SampleKind::Bit => "bit",
        SampleKind::U8 => "uint8",
        SampleKind::U16 => "uint16",
        SampleKind::F32 => "float",
    };
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xsi:schemaLocation=\"http://www.openmicroscopy.org/Schemas/OME/2016-06 \
         http://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd\">",
    );
    let _ = write!(xml, "<Image ID=\"Image:0\" Name=\"{}\">", escaped(&name));
    if let Some(text) = &spec.description {
        let _ = write!(xml, "<Description>{}</Description>", escaped(text));
    }
    let _ = write!(
        xml,
        "<Pixels ID=\"Pixels:0\" DimensionOrder=\"XYCZT\" Type=\"{kind}\" BigEndian=\"false\" \
         Interleaved=\"true\" SizeX=\"{}\" SizeY=\"{}\" SizeZ=\"1\" SizeC=\"{}\" SizeT=\"1\"",
        spec.size.width, spec.size.height, spec.bands
    );
    if let Some(microns) = spec.microns_per_px {
        let _ = write!(
            xml,
            " PhysicalSizeX=\"{microns}\" PhysicalSizeXUnit=\"&#181;m\" \
             PhysicalSizeY=\"{microns}\" PhysicalSizeYUnit=\"&#181;m\""
        );
    }
    let _ = write!(
        xml,
        "><Channel ID=\"Channel:0:0\" SamplesPerPixel=\"{}\"/>\
         <TiffData IFD=\"0\" PlaneCount=\"1\"/></Pixels></Image></OME>",
        spec.bands
    );
    xml
}

/// Text inside an element or attribute; characters that XML 1.0 cannot hold become spaces.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{fffe}' | '\u{ffff}' => out.push(' '),
            '<' | '>' | '&' | '"' | '\'' | '\n' | '\r' | '\t' | '\u{7f}'.. => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            ' '..='~' => out.push(c),
            _ => out.push(' '),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(
            escaped("a<b>&\"c'\n\u{0}µ😀\u{ffff}"),
            "a&#60;b&#62;&#38;&#34;c&#39;&#10; &#181;&#128512; "
        );
    }

    #[test]
    fn states_size_type_and_pixel_size() {
        let spec = PyramidSpec { microns_per_px: Some(0.5), ..PyramidSpec::rgb(Size::new(30, 20)) };
        let xml = ome_xml(&spec, Path::new("folder/a&b.ome.tiff"));
        for part in [
            "Name=\"a&#38;b.ome.tiff\"",
            "Type=\"uint8\"",
            "SizeX=\"30\" SizeY=\"20\" SizeZ=\"1\" SizeC=\"3\" SizeT=\"1\"",
            "PhysicalSizeX=\"0.5\" PhysicalSizeXUnit=\"&#181;m\"",
            "SamplesPerPixel=\"3\"",
        ] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
        assert!(xml.is_ascii());
    }
}
