use std::path::Path;

use hubmap_io::{Layout, Size, TiffSpec, TiffWriter};
use ndarray::Array3;

use super::*;

/// Noise, so that tiles are large.
fn slide(path: &Path) {
    let size = Size::new(2100, 1100);
    let spec = TiffSpec { layout: Layout::Tiled { tile: 256, planar: false }, ..TiffSpec::rgb(size) };
    let mut writer = TiffWriter::create(path, spec).unwrap();
    let shape = (size.height as usize, size.width as usize, 3);
    let noise = |(y, x, c)| {
        let mixed = (y * 7919 + x * 104_729 + c * 31) as u32;
        (mixed.wrapping_mul(2_654_435_761) >> 24) as u8
    };
    writer.write_rows(&Array3::from_shape_fn(shape, noise)).unwrap();
    writer.finish().unwrap();
}

fn library(folder: &Path, n_slides: usize, bytes: u64) -> Library {
    (0..n_slides).for_each(|i| slide(&folder.join(format!("{i}.tiff"))));
    let config = ViewConfig {
        slides: hubmap_infer::find_slides(&[folder.into()]).unwrap(),
        predictions: None,
        truth: None,
    };
    Library::with_cache(&config, bytes).unwrap()
}

fn tile(slide: usize, column: u32, row: u32) -> Route {
    Route::Tile { slide, tile: Tile { layer: Layer::Slide, level: 12, column, row, threshold: 0 } }
}

#[test]
fn encoded_tiles_stay_within_their_limit() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 1 << 20;
    let library = library(folder.path(), 1, limit);
    let mut n_sent = 0;
    for (column, row) in (0..3).flat_map(|row| (0..5).map(move |column| (column, row))) {
        let body = library.answer(tile(0, column, row), None).unwrap().body.unwrap();
        n_sent += body.len() as u64;
        assert!(library.encoded.weight() <= limit);
        assert_eq!(library.answer(tile(0, column, row), None).unwrap().body.unwrap(), body);
    }
    assert!(n_sent > limit + limit / 2, "{n_sent} bytes test nothing");
    assert!(library.encoded.weight() > 0);
}

#[test]
fn a_known_tile_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path(), 1, 1 << 20);
    let info = library.answer(Route::Info { slide: 0 }, None).unwrap();
    let answer = library.answer(tile(0, 0, 0), info.tag.as_deref()).unwrap();
    assert!(answer.body.is_none() && library.encoded.is_empty());
}

#[test]
fn the_slides_looked_at_last_stay_open() {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path(), 5, 1 << 20);
    let open = || library.open.lock().unwrap().iter().map(|(index, _)| *index).collect::<Vec<_>>();
    for index in [0, 1, 2, 0, 3] {
        library.answer(Route::Info { slide: index }, None).unwrap();
    }
    assert_eq!(open(), [2, 0, 3]);
    let first = library.slide(0).unwrap();
    assert!(Arc::ptr_eq(&first, &library.slide(0).unwrap()), "opened once");
    assert_eq!(
        first.layer(Layer::Slide).unwrap().zoom().size(),
        hubmap_io::open(&folder.path().join("0.tiff")).unwrap().size()
    );
    assert_eq!(open(), [2, 3, 0]);
    assert_eq!(library.answer(Route::Info { slide: 5 }, None).unwrap_err().status.as_u16(), 404);
}
