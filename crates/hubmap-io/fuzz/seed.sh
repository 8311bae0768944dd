#!/usr/bin/env bash
# Fills the corpora of the fuzz targets: seed.sh CORPUS
#
# CORPUS is the folder of real files that the corpus tests read.
# Run it again at any time; files that a fuzzer found stay.
set -euo pipefail
corpus=$(cd "${1:?usage: seed.sh CORPUS}" && pwd)
cd "$(dirname "$0")"
mkdir -p corpus/{tiff_window,rle_parse,geojson}

# Files of at most 64 KiB under a folder, named by their content so that two of one name do not collide.
take() {
  local target=$1 folder=$2
  shift 2
  find "$folder" -type f -size -65k "$@" -print0 | while IFS= read -r -d '' file; do
    cp -f "$file" "corpus/$target/$(sha1sum <"$file" | cut -c1-40)"
  done
  chmod -R u+w "corpus/$target"
}
take tiff_window "$corpus/tiff" ! -name manifest.json
take tiff_window "$corpus/wsi" ! -name manifest.json
take tiff_window ../../../tests/fixtures/numerics/11_tiff -name '*.tiff'
take geojson "$corpus/annotations" -name '*.json' ! -name manifest.json ! -name '*.expected.json'

# Run lengths as rle_parse takes them: the height of the image less one in two bytes, low byte first, then text.
# Real rows once as they are, up to 24 kB of them, and once moved and thinned into a small image, which is drawn.
seed_rle() {
  awk -F, -v column="$2" -v every="$3" -v out="corpus/rle_parse/$4" '
    NR == 1 { for (i = 1; i <= NF; i++) if ($i == column) idx = i; next }
    (NR - 2) % every == 0 {
      n = split($idx, tokens, " "); whole = ""; small = ""; base = tokens[1] - 1; previous = -1
      for (i = 1; i < n; i += 2) {
        if (length(whole) < 24000) whole = whole tokens[i] " " tokens[i + 1] " "
        start = int((tokens[i] - base) / 8) + 1
        if (start < 60000 && start > previous + 1 && length(small) < 4000) {
          len = int(tokens[i + 1] / 8) + 1; previous = start + len - 1
          small = small start " " len " "
        }
      }
      printf "\267\013%s", whole > (out "-" NR); close(out "-" NR)
      printf "\166\001%s", small > (out "-small-" NR); close(out "-small-" NR)
    }' "$1"
}
LC_ALL=C seed_rle "$corpus/annotations/rle_hubmap2021_2f6ecfcdf.csv" encoding 1 hubmap2021
LC_ALL=C seed_rle "$corpus/annotations/rle_hpa_hubmap2022.csv" rle 9 hpa2022
i=0
for text in '' '1 1' '1 3 5 1' '1 2 3 4 9 1' '18446744073709551614 1' '1 18446744073709551615' '3 2 1 1' '0 1' '1 0' \
  '+1 1' '1.5 2' '1 2 3' '99999999999999999999 1' $'2 3\t7 1\r\n9 2\f20 4'; do
  i=$((i + 1))
  printf '\007\001%s' "$text" >"corpus/rle_parse/plain-$i"
done

# Small annotation files of every shape that the reader knows.
cat >corpus/geojson/shapes-1 <<'JSON'
{"type":"FeatureCollection","features":[{"type":"Feature","id":"PathAnnotationObject","geometry":{"type":"Polygon","coordinates":[[[1,2],[30.25,4],[5,36.5],[1,2]],[[8,9],[12,9],[9,14],[8,9]]]},"properties":{"object_type":"annotation","classification":{"name":"glomerulus","colorRGB":-3140401},"isLocked":true,"measurements":[{"name":"b","value":1.5},{"name":"a","value":-2e-3}]}}]}
JSON
cat >corpus/geojson/shapes-2 <<'JSON'
[{"type":"Feature","id":7,"geometry":{"type":"MultiPolygon","coordinates":[[[[0,0],[4,0],[4,4],[0,0]]],[[[9,9,1],[12,9,1],[9,12,1],[9,9,1]]]]},"properties":{"objectType":"detection","classification":{"names":["a","b"],"color":[1,2,3]},"measurements":{"x":1e15,"y":0.1}}},{"type":"Feature","geometry":null,"properties":null},{"type":"Feature","geometry":{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]},{"coordinates":[[[5,5],[6,5],[6,6]]]}]},"properties":{"classification":"tubule"}}]
JSON
printf '\357\273\277{"type":"Feature","geometry":{"type":"LineString","coordinates":[[1,2],[3,4]]}}' >corpus/geojson/shapes-3
gzip -nc corpus/geojson/shapes-1 >corpus/geojson/shapes-1-gzip
gzip -nc corpus/geojson/shapes-2 >corpus/geojson/shapes-2-gzip

# Every layout and codec that TiffWriter offers.
if [ "${SKIP_LAYOUTS:-}" != 1 ]; then
  cargo run --quiet --release --example layouts -- corpus/tiff_window
fi
for target in tiff_window rle_parse geojson; do
  echo "$target: $(find "corpus/$target" -type f | wc -l) inputs"
done
