//! The description of an image in OME-XML, schema of June 2016.

use std::fmt::Write as _;
use std::path::Path;

use super::spec::PyramidSpec;
use crate::tiff::sample_kind::SampleKind;

/// The OME-XML of a pyramid in the file `path`.
///
/// It is UTF-8 without references by number: Bio-Formats takes `&#181;` apart before it parses the text.
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
            " PhysicalSizeX=\"{microns}\" PhysicalSizeXUnit=\"µm\" \
             PhysicalSizeY=\"{microns}\" PhysicalSizeYUnit=\"µm\""
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
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push('\n'),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => out.push(' '),
            _ => out.push(c),
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
        assert_eq!(escaped("a<b>&\"c'\n\u{0}µ😀\u{ffff}"), "a&lt;b&gt;&amp;&quot;c&apos;\n µ😀 ");
    }

    #[test]
    fn states_size_type_and_pixel_size() {
        let spec = PyramidSpec { microns_per_px: Some(0.5), ..PyramidSpec::rgb(Size::new(30, 20)) };
        let xml = ome_xml(&spec, Path::new("folder/a&b.ome.tiff"));
        for part in [
            "Name=\"a&amp;b.ome.tiff\"",
            "Type=\"uint8\"",
            "SizeX=\"30\" SizeY=\"20\" SizeZ=\"1\" SizeC=\"3\" SizeT=\"1\"",
            "PhysicalSizeX=\"0.5\" PhysicalSizeXUnit=\"µm\"",
            "SamplesPerPixel=\"3\"",
        ] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
        assert!(!xml.contains("&#"));
    }
}
