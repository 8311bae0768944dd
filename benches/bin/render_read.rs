//! Draws the results of the bench `read` as a table (Markdown) and a picture (SVG).
//!
//! Arguments: the folder of criterion's results (`target/criterion`), and the path of both files without extension.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Codecs from the fastest, and what they are called.
const CODECS: [(&str, &str); 5] = [
    ("none", "uncompressed"),
    ("zstd", "ZSTD"),
    ("deflate", "Deflate"),
    ("lzw", "LZW"),
    ("jpeg", "JPEG, quality 85"),
];

const LAYOUTS: [(&str, &str); 6] = [
    ("tile256", "tiles of 256 px"),
    ("tile512", "tiles of 512 px"),
    ("tile1024", "tiles of 1024 px"),
    ("planar256", "256 px, a plane per band"),
    ("pages256", "256 px, a page per band"),
    ("strips64", "strips of 64 rows"),
];

const PLACES: [&str; 2] = ["aligned", "unaligned"];

/// MB/s by codec, layout, place and threads.
type Speeds = BTreeMap<(String, String, String, String), f64>;

fn main() -> Result<()> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [results, out] = args.as_slice() else {
        bail!("usage: render-read target/criterion docs/throughput")
    };
    let speeds = read_speeds(&results.join("read"))?;
    let n_expected = CODECS.len() * LAYOUTS.len() * PLACES.len() * 2;
    if speeds.len() != n_expected {
        bail!("{} results of {n_expected} in {}: run the whole bench first", speeds.len(), results.display());
    }
    write(&out.with_extension("md"), &table(&speeds, out))?;
    write(&out.with_extension("svg"), &picture(&speeds))
}

fn write(path: &Path, text: &str) -> Result<()> {
    hubmap_files::write_whole(path, text.as_bytes()).with_context(|| path.display().to_string())
}

/// Criterion keeps each bench in a folder of its own, with what it is and how long it took.
fn read_speeds(folder: &Path) -> Result<Speeds> {
    let mut speeds = Speeds::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if !path.is_dir() {
                continue;
            }
            if !path.ends_with("new") {
                folders.push(path);
                continue;
            }
            let bench = read_json(&path.join("benchmark.json"))?;
            let estimates = read_json(&path.join("estimates.json"))?;
            let parts: Vec<&str> = bench["function_id"].as_str().unwrap_or_default().split('/').collect();
            let threads = bench["value_str"].as_str().unwrap_or_default();
            let n_bytes = bench["throughput"]["Bytes"].as_f64();
            let nanoseconds = estimates["median"]["point_estimate"].as_f64();
            let ([codec, layout, place], Some(n_bytes), Some(nanoseconds)) =
                (parts.as_slice(), n_bytes, nanoseconds)
            else {
                bail!("{} is no result of the bench `read`", path.display());
            };
            let key = [codec, layout, place, &threads].map(|part| (*part).to_owned());
            speeds.insert(key.into(), n_bytes / nanoseconds * 1e3);
        }
    }
    Ok(speeds)
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

fn speed(speeds: &Speeds, codec: &str, layout: &str, place: &str, threads: &str) -> f64 {
    let key = [codec, layout, place, threads].map(str::to_owned);
    speeds.get(&key.into()).copied().unwrap_or(0.0)
}

fn table(speeds: &Speeds, out: &Path) -> String {
    let n_threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let mut text = format!(
        "# Throughput of windowed reads\n\n\
        Megabytes of decoded pixels per second, `TiffSlide::read_into` of a 3072 px RGB window of a 4096 px slide in\n\
        the page cache, on one thread and on all {n_threads} of the machine that made this page.\n\
        `aligned` windows begin at a tile's corner, `unaligned` ones 357 px off it.\n\
        Speeds differ from machine to machine: compare numbers of one run.\n\
        On a shared machine, differences of a quarter are noise.\n\n\
        ![Bars of the aligned reads, by codec and layout]({name}.svg)\n\n\
        Made by\n\n```sh no-run: takes an hour\ncargo bench -p hubmap-benches --bench read\n\
        cargo run --release -p hubmap-benches --bin render-read -- target/criterion docs/{name}\n```\n"
    );
    for (codec, codec_name) in CODECS {
        let _ = write!(
            text,
            "\n## {codec_name}\n\n\
            | layout | aligned, 1 thread | aligned, {n_threads} | unaligned, 1 | unaligned, {n_threads} |\n\
            | --- | ---: | ---: | ---: | ---: |\n"
        );
        for (layout, layout_name) in LAYOUTS {
            let _ = write!(text, "| {layout_name} |");
            for place in PLACES {
                let one = speed(speeds, codec, layout, place, "1");
                let all = speed(speeds, codec, layout, place, "all");
                let _ = write!(text, " {one:.0} | {all:.0} ({:.2}×) |", all / one);
            }
            text.push('\n');
        }
    }
    text
}

const WIDTH: f64 = 900.0;
const LEFT: f64 = 250.0;
const ROW: f64 = 20.0;
const HEAD: f64 = 26.0;

/// Two bars for every layout, on a scale of its own for each codec: their speeds differ tenfold.
fn picture(speeds: &Speeds) -> String {
    let group_height = HEAD + ROW * LAYOUTS.len() as f64 + 14.0;
    let height = 40.0 + group_height * CODECS.len() as f64;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<rect x="{LEFT}" y="12" width="12" height="12" fill="#1f5a7a"/><text x="{}" y="22">one thread</text>
<rect x="{}" y="12" width="12" height="12" fill="#9cc5d8"/><text x="{}" y="22">all threads</text>
<text x="{}" y="22" text-anchor="end" fill="#555">MB/s of decoded pixels, aligned windows</text>
"##,
        LEFT + 18.0,
        LEFT + 110.0,
        LEFT + 128.0,
        WIDTH - 10.0,
    );
    for (group, (codec, codec_name)) in CODECS.iter().enumerate() {
        let top = 40.0 + group as f64 * group_height;
        let of = |layout, threads| speed(speeds, codec, layout, "aligned", threads);
        let most =
            LAYOUTS.iter().map(|(layout, _)| of(layout, "all").max(of(layout, "1"))).fold(1.0, f64::max);
        let _ = writeln!(svg, r#"<text x="10" y="{}" font-weight="bold">{codec_name}</text>"#, top + 16.0);
        for (row, (layout, layout_name)) in LAYOUTS.iter().enumerate() {
            let y = top + HEAD + row as f64 * ROW;
            let bar = |value: f64| (WIDTH - LEFT - 110.0) * value / most;
            let (one, all) = (of(layout, "1"), of(layout, "all"));
            let _ = writeln!(
                svg,
                r##"<text x="{}" y="{}" text-anchor="end">{layout_name}</text>
<rect x="{LEFT}" y="{y}" width="{:.1}" height="14" fill="#9cc5d8"/><rect x="{LEFT}" y="{}" width="{:.1}" height="6" fill="#1f5a7a"/>
<text x="{:.1}" y="{}" fill="#333">{one:.0} / {all:.0}</text>"##,
                LEFT - 8.0,
                y + 11.0,
                bar(all),
                y + 4.0,
                bar(one),
                LEFT + bar(all.max(one)) + 6.0,
                y + 11.0,
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}
