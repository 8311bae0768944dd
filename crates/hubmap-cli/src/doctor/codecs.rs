//! Whether what is written comes back, and files of other programs are read as those read them.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hubmap_io::{
    ByteSource, Compression, RasterReader as _, Size, TiffFile, TiffSlide, TiffSpec, TiffWriter,
};
use sha2::{Digest as _, Sha256};

use super::Check;
use super::speed::picture;

/// Files of `tests/fixtures/tiff_layouts` with the SHA-256 of their pixels, by tifffile, and by rasterio for fax.
const SAMPLES: [(&str, &[u8], &str); 5] = [
    (
        "progressive JPEG",
        include_bytes!("samples/jpeg_progressive.tif"),
        "41be95bb7870bfe46b452a41c5c022823039cf413a8dbbe865db9995fa04a279",
    ),
    ("WebP", include_bytes!("samples/webp_lossless.tif"), PICTURE),
    ("LZMA", include_bytes!("samples/lzma.tif"), PICTURE),
    (
        "fax",
        include_bytes!("samples/fax4.tif"),
        "40aeea7298a7b12282fe9638a37d5916eaeea09c9b3274231c4f54b865b146ad",
    ),
    (JPEG_2000, include_bytes!("samples/aperio_33005.tif"), PICTURE),
];

/// The picture that lossless samples hold.
const PICTURE: &str = "4598eabbbd4881e8b884ef7fe20b87457f8077599200958096d3eea018c3409d";

/// The one that needs a feature.
const JPEG_2000: &str = "JPEG 2000";

/// Most that a level may be off after JPEG of quality 90.
const JPEG_TOLERANCE: u8 = 40;

pub(super) fn checks(folder: &Path) -> [Check; 2] {
    let codecs = match super::place_in(folder) {
        Ok(place) => codecs(place.path()),
        Err(error) => super::cannot_write("codecs", &error.into()),
    };
    [codecs, features()]
}

/// Writes to `folder` and reads back, and reads the samples.
fn codecs(folder: &Path) -> Check {
    let has_jpeg2000 = hubmap_io::OPTIONAL_FEATURES.contains(&("jpeg2000", true));
    let written = [
        ("uncompressed", Compression::None),
        ("LZW", Compression::Lzw),
        ("Deflate", Compression::Deflate),
        ("Zstandard", Compression::Zstd),
        ("JPEG", Compression::Jpeg { quality: 90 }),
    ];
    let written = written.map(|(name, compression)| (name, round_trip(compression, folder)));
    let samples = SAMPLES.iter().filter(|(name, ..)| has_jpeg2000 || *name != JPEG_2000);
    let read = samples.map(|(name, bytes, sha256)| (*name, decode(bytes, sha256)));
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (name, result) in written.into_iter().chain(read) {
        match result {
            Ok(()) => good.push(name),
            Err(problem) => bad.push(format!("{name}: {problem}")),
        }
    }
    let codecs = if bad.is_empty() {
        Check::ok("codecs", format!("{} come back as they should", good.join(", ")))
    } else {
        Check::ok("codecs", bad.join("; "))
            .fail("this build is broken: build anew, and report it if that does not help")
    };
    codecs.with("sound", good)
}

/// What was built in.
fn features() -> Check {
    let of_cli =
        [("tch", cfg!(feature = "tch")), ("wgpu", cfg!(feature = "wgpu")), ("cuda", cfg!(feature = "cuda"))];
    let all: Vec<_> = of_cli.into_iter().chain(hubmap_io::OPTIONAL_FEATURES).collect();
    let names = |is_in: bool| {
        let names = all.iter().filter(|(_, is)| *is == is_in).map(|(name, _)| *name).collect::<Vec<_>>();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let check = Check::ok("features", format!("built in: {}; left out: {}", names(true), names(false)));
    all.iter().fold(check, |check, (name, is_in)| check.with(name, *is_in))
}

/// Writes a small picture to `folder` and reads it back.
fn round_trip(compression: Compression, folder: &Path) -> Result<(), String> {
    let size = Size::new(300, 200);
    let pixels = picture(size);
    let is_lossy = matches!(compression, Compression::Jpeg { .. });
    let predictor = matches!(compression, Compression::Lzw | Compression::Deflate | Compression::Zstd);
    let back = || -> anyhow::Result<_> {
        let path = folder.join("codec.tiff");
        let mut writer =
            TiffWriter::create(&path, TiffSpec { compression, predictor, ..TiffSpec::rgb(size) })?;
        writer.write_rows(&pixels)?;
        writer.finish()?;
        Ok(TiffSlide::open(&path)?.read(size.window())?)
    };
    let back = back().map_err(|error| format!("{error:#}"))?;
    let farthest = pixels.iter().zip(&back).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    if farthest <= if is_lossy { JPEG_TOLERANCE } else { 0 } {
        Ok(())
    } else {
        Err(format!("levels come back {farthest} off"))
    }
}

/// Decodes a sample.
fn decode(bytes: &'static [u8], sha256: &str) -> Result<(), String> {
    let file = TiffFile::from_source(Path::new("sample"), Arc::new(Memory(bytes)));
    let samples = file.and_then(|file| file.read_page(0)).map_err(|error| error.to_string())?;
    let pixels = samples.bytes.into_raw_vec_and_offset().0;
    let found = Sha256::digest(&pixels).iter().fold(String::new(), |mut hex, byte| {
        let _to_memory = write!(hex, "{byte:02x}");
        hex
    });
    if found == sha256 { Ok(()) } else { Err("decodes to other pixels than it should".to_owned()) }
}

/// A file that is part of the program.
#[derive(Debug)]
struct Memory(&'static [u8]);

impl ByteSource for Memory {
    fn byte_len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.0.get(start..));
        let bytes = rest.and_then(|rest| rest.get(..buffer.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_that_is_broken_is_told() {
        let (_, lzma, _) = SAMPLES[2];
        assert_eq!(decode(lzma, PICTURE), Ok(()));
        assert!(decode(lzma, SAMPLES[0].2).is_err());
        let cut: &'static [u8] = &lzma[..lzma.len() / 2];
        assert!(decode(cut, PICTURE).is_err());
    }

    #[test]
    fn samples_are_those_of_the_fixtures() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tiff_layouts");
        let index = std::fs::read_to_string(fixtures.join("index.json")).unwrap();
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doctor/samples");
        for entry in std::fs::read_dir(samples).unwrap() {
            let sample = entry.unwrap();
            let fixture = std::fs::read(fixtures.join(sample.file_name())).unwrap();
            assert!(std::fs::read(sample.path()).unwrap() == fixture, "{sample:?}");
        }
        for (name, _, sha256) in SAMPLES {
            assert!(index.contains(sha256), "{name}");
        }
    }
}
