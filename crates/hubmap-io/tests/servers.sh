#!/usr/bin/env bash
# Starts a web server (nginx) and an S3 server (moto) on this machine, and runs the tests of remote slides against them.
#
# Needs nginx (Debian: nginx-light) and Python with `moto[server,s3]`; PYTHON names another interpreter. Arguments go
# to cargo. Both servers listen on 127.0.0.1 only and end with the script.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
# Runs of one machine share nothing: each has ports and a folder of its own.
work=$(mktemp -d)
read -r http_port s3_port < <("$python" -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in sockets])')

pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

mkdir -p "$work/served" "$work/nginx"
cat > "$work/nginx.conf" <<EOF
daemon off;
pid $work/nginx/pid;
error_log $work/nginx/error.log;
worker_processes 2;
events {}
http {
  access_log off;
  client_body_temp_path $work/nginx;
  proxy_temp_path $work/nginx;
  fastcgi_temp_path $work/nginx;
  uwsgi_temp_path $work/nginx;
  scgi_temp_path $work/nginx;
  server { listen 127.0.0.1:$http_port; root $work/served; }
}
EOF
chmod -R a+rX "$work"
nginx -c "$work/nginx.conf" &
pids+=($!)
"$python" -m moto.server -H 127.0.0.1 -p "$s3_port" > "$work/moto.log" 2>&1 &
pids+=($!)

# A slide of this repository, in the bucket and beside the web server's files.
cp ../../tests/fixtures/numerics/14_e2e/slide.tiff "$work/served/bucket.tiff"
"$python" - "$http_port" "$s3_port" "$work/served/bucket.tiff" <<'EOF'
import sys
import time
import urllib.error
import urllib.request

import boto3

http_port, s3_port, slide = sys.argv[1:]
for port in (http_port, s3_port):
    for attempt in range(300):
        try:
            urllib.request.urlopen("http://127.0.0.1:%s/" % port)
            break
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.1)
    else:
        sys.exit("nothing listens on port " + port)
client = boto3.client("s3", endpoint_url="http://127.0.0.1:" + s3_port, region_name="us-east-1",
                      aws_access_key_id="test", aws_secret_access_key="test")
client.create_bucket(Bucket="slides")
for key in ("kidney/bucket.tiff", "kidney/a % b.tiff", "kidney/deeper/c.tiff"):
    client.upload_file(slide, "slides", key)
client.put_object(Bucket="slides", Key="kidney/")
EOF

HUBMAP_SERVED="$work/served" HUBMAP_HTTP_SERVER="http://127.0.0.1:$http_port" \
  HUBMAP_S3_SERVER="http://127.0.0.1:$s3_port" \
  cargo test -p hubmap-io --features servers --test remote --test servers "$@"
