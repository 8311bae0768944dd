use hubmap_io::{Compression, Error, Layout, RasterReader as _, Size, TiffFile, TiffSlide, TiffSpec, Window};
use hubmap_test_support::fixture;
use ndarray::Array3;

use crate::writing::write;
use crate::{FOLDER, handmade, one_strip, picture, scratch_file, strip_file};

#[test]
fn every_kind_of_pixel_is_shown_as_it_looks() {
    let folder = tempfile::tempdir().unwrap();
    let check = |what: &str, bytes: &[u8], expected: &[u8]| {
        let slide = TiffSlide::open(&scratch_file(&folder, bytes)).unwrap();
        let pixels = slide.read(slide.size().window()).unwrap();
        assert_eq!(pixels.as_slice().unwrap(), expected, "{what}");
    };
    let inverted = strip_file(one_strip((3, 1), 8, 0, 1), &[0, 10, 255], None);
    check("white is zero", &inverted, &[255, 245, 0]);
    let inverted = strip_file(one_strip((4, 1), 1, 0, 1), &[0b1010_0000], None);
    check("white is zero, 1 bit", &inverted, &[0, 1, 0, 1]);
    let nibbles = strip_file(one_strip((4, 1), 4, 1, 1), &[0x0F, 0x81], None);
    check("4 bits", &nibbles, &[0, 255, 136, 17]);
    let mut reversed = one_strip((4, 2), 1, 1, 1);
    reversed.push((266, 3, 1, 2));
    check(
        "lowest bit first",
        &strip_file(reversed, &[0b0000_0001, 0b0000_1100], None),
        &[1, 0, 0, 0, 0, 0, 1, 1],
    );

    let map: Vec<u8> = (0..48_u16).flat_map(|i| (i * 5 * 256 + 77).to_le_bytes()).collect();
    let palette = strip_file(one_strip((3, 1), 4, 3, 1), &[0x1F, 0x20], Some((320, 3, &map)));
    check("palette", &palette, &[5, 85, 165, 75, 155, 235, 10, 90, 170]);

    let mut ink = one_strip((3, 1), 8, 5, 4);
    ink.remove(2);
    let depths = [8, 0, 8, 0, 8, 0, 8, 0];
    let pixels = [0, 0, 0, 0, 255, 0, 100, 0, 0, 51, 0, 128];
    let cmyk = strip_file(ink, &pixels, Some((258, 3, &depths)));
    check("CMYK", &cmyk, &[255, 255, 255, 0, 255, 155, 127, 101, 127]);

    // Two columns and two rows share their chroma, and the blocks stick out of 3 x 3 pixels.
    let mut chroma = one_strip((3, 3), 8, 6, 3);
    chroma.remove(2);
    chroma.push((530, 3, 2, 2 | 2 << 16));
    let blocks =
        [10, 20, 30, 40, 128, 128, 50, 0, 60, 0, 128, 128, 70, 80, 0, 0, 128, 128, 76, 0, 0, 0, 85, 255];
    let ycbcr = strip_file(chroma, &blocks, Some((258, 3, &depths[..6])));
    let gray = [10, 20, 50, 30, 40, 60, 70, 80].map(|level| [level; 3]);
    check("YCbCr", &ycbcr, &[gray.as_flattened(), &[254, 0, 0]].concat());
    let raw =
        TiffFile::open(&scratch_file(&folder, &ycbcr)).unwrap().read_page_window(0, Window::new(1, 1, 2, 2));
    assert_eq!(raw.unwrap().bytes.as_slice().unwrap(), [40, 40, 40, 60, 60, 60, 80, 80, 80, 254, 0, 0]);
}

#[test]
fn wide_samples_come_in_the_byte_order_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let samples = |bytes: &[u8]| {
        let raw = TiffFile::open(&scratch_file(&folder, bytes)).unwrap().read_page(0).unwrap();
        assert_eq!((raw.bands, raw.sample_len), (1, 2));
        raw.bytes
            .as_slice()
            .unwrap()
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| u16::from_ne_bytes(bytes))
            .collect::<Vec<_>>()
    };
    let little = strip_file(one_strip((2, 1), 16, 1, 1), &[0x34, 0x12, 0xCD, 0xAB], None);
    assert_eq!(samples(&little), [0x1234, 0xABCD]);
    let mut big = b"MM\0\x2a\0\0\0\x08\0\x08".to_vec();
    let start = 10 + 12 * 8 + 4;
    for (tag, value) in
        [(256, 2), (257, 1), (258, 16), (259, 1), (262, 1), (273, start), (277, 1), (279, 4_u16)]
    {
        big.extend([tag, 3_u16, 0, 1, value, 0].iter().flat_map(|word: &u16| word.to_be_bytes()));
    }
    big.extend([0, 0, 0, 0, 0x12, 0x34, 0xAB, 0xCD]);
    assert_eq!(samples(&big), [0x1234, 0xABCD]);
}

#[test]
fn the_first_page_that_is_no_copy_or_mask_is_the_slide() {
    let folder = tempfile::tempdir().unwrap();
    let page = |subfile: u32, side: u32| {
        let mut tags = one_strip((side, 1), 8, 1, 1);
        tags.extend([(254, 4, 1, subfile), (273, 4, 1, 8), (279, 4, 1, side)]);
        tags
    };
    let directory_len = 2 + 12 * 10 + 4;
    let mut tail = handmade(&page(4, 3), 8 + 2 * directory_len, &[])[8..].to_vec();
    tail.extend(&handmade(&page(0, 4), 0, &[])[8..]);
    let bytes = handmade(&page(1, 2), 8 + directory_len, &tail);
    let slide = TiffSlide::open(&scratch_file(&folder, &bytes)).unwrap();
    assert_eq!(slide.size(), Size::new(4, 1));
    assert_eq!(slide.info().name, "2");
}

#[test]
fn old_jpeg_pages_of_one_whole_stream_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let picture = Array3::from_shape_fn((32, 48, 3), |(y, x, band)| (y * 3 + x * 2 + band * 20) as u8);
    let path = folder.path().join("new.tiff");
    let spec = TiffSpec {
        layout: Layout::Strips { rows: 32, planar: false },
        compression: Compression::Jpeg { quality: 90 },
        predictor: false,
        ..TiffSpec::rgb(Size::new(48, 32))
    };
    write(&path, spec, &picture);
    let expected = TiffSlide::open(&path).unwrap().read(Window::new(0, 0, 48, 32)).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let start = bytes.windows(3).position(|bytes| bytes == [0xFF, 0xD8, 0xFF]).unwrap();
    let end = bytes.windows(2).rposition(|bytes| bytes == [0xFF, 0xD9]).unwrap() + 2;
    let mut old = one_strip((48, 32), 8, 6, 3);
    old[3].3 = 6;
    old.remove(2);
    old.push((513, 4, 1, 8 + 2 + 12 * 10 + 4));
    let depths = [8, 0, 8, 0, 8, 0];
    let whole = strip_file(old.clone(), &bytes[start..end], Some((258, 3, &depths)));
    let slide = TiffSlide::open(&scratch_file(&folder, &whole)).unwrap();
    assert_eq!(slide.read(slide.size().window()).unwrap(), expected);
    old.pop();
    old.push((513, 4, 1, 1 << 20));
    // A tag that leads nowhere does not matter where the chunk is a stream itself.
    let astray = strip_file(old.clone(), &bytes[start..end], Some((258, 3, &depths)));
    let slide = TiffSlide::open(&scratch_file(&folder, &astray)).unwrap();
    assert_eq!(slide.read(slide.size().window()).unwrap(), expected);
    let parted = strip_file(old, &bytes[start + 2..end], Some((258, 3, &depths)));
    let error = TiffSlide::open(&scratch_file(&folder, &parted)).unwrap_err();
    assert!(matches!(error, Error::Format { .. }) && error.to_string().contains("tag 519"), "{error}");
}

#[test]
fn pages_are_described() {
    let file = TiffFile::open(&fixture(&format!("{FOLDER}/pyramid_tiled_deflate.tiff"))).unwrap();
    assert_eq!(file.pages().len(), 2);
    let (first, second) = (&file.pages()[0], &file.pages()[1]);
    assert_eq!((first.size, first.chunk, first.is_tiled), (Size::new(310, 230), Size::new(64, 64), true));
    assert_eq!((first.compression_name(), first.photometric_name()), ("Deflate", "RGB"));
    assert!(!first.is_reduced() && second.is_reduced());
    let samples = file.read_page(0).unwrap();
    assert_eq!((samples.bands, samples.sample_len), (3, 1));
    assert_eq!(samples.bytes, picture("rgb_chw.npy"));
    let error = file.read_page_window(0, Window::new(300, 0, 20, 20)).unwrap_err();
    assert!(matches!(error, Error::Usage { .. }), "{error}");
}
