#!/bin/sh
# Makes stand-ins for the two base images of docs/cluster/Containerfile, under their own names, where no registry of images
# is to be reached. Needs root, debootstrap, buildah and the Rust toolchain of rust-toolchain.toml as rustup installs it.
#
#   tests/cluster/base_images.sh          # afterwards: podman build -f docs/cluster/Containerfile -t hubmap .
#
# debian:bookworm-slim is what debootstrap makes of its smallest variant. rust:1.95-bookworm is that with a C compiler,
# certificates, rustup and its toolchain from this machine, at the places and with the variables of the real one, and with
# cargo's downloads. Neither is what the registry has: the names of packages and of folders are, not the layers.
set -eu

MIRROR=http://deb.debian.org/debian
DEBIAN=docker.io/library/debian:bookworm-slim
RUST=docker.io/library/rust:1.95-bookworm
TOOLCHAIN=1.95.0-x86_64-unknown-linux-gnu

# Below the current folder: where temporary folders are, devices and executables may be forbidden.
place=$(mktemp -d ./base-images.XXXXXX)
trap 'rm -rf "$place"' EXIT

debootstrap --variant=minbase bookworm "$place/slim" "$MIRROR"
rm -rf "$place"/slim/var/cache/apt/archives/*.deb "$place"/slim/var/lib/apt/lists/* "$place"/slim/usr/share/doc/*
container=$(buildah from scratch)
buildah copy --quiet "$container" "$place/slim" / >/dev/null
buildah config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
buildah commit --quiet --rm "$container" "$DEBIAN"
rm -rf "$place/slim"

cargo=${CARGO_HOME:-$HOME/.cargo} rustup=${RUSTUP_HOME:-$HOME/.rustup}
mkdir -p "$place/cargo/registry" "$place/rustup/toolchains/$TOOLCHAIN"
cp -a "$cargo/bin" "$place/cargo/bin"
cp -a "$cargo/registry/index" "$cargo/registry/cache" "$place/cargo/registry/"
for part in bin lib libexec etc; do
    cp -a "$rustup/toolchains/$TOOLCHAIN/$part" "$place/rustup/toolchains/$TOOLCHAIN/"
done
printf 'version = "12"\ndefault_toolchain = "%s"\nprofile = "minimal"\n' "$TOOLCHAIN" >"$place/rustup/settings.toml"

container=$(buildah from "$DEBIAN")
buildah run --isolation chroot "$container" -- sh -c \
    'apt-get update && apt-get install -y --no-install-recommends build-essential ca-certificates && rm -rf /var/lib/apt/lists/*'
buildah copy --quiet "$container" "$place/cargo" /usr/local/cargo >/dev/null
buildah copy --quiet "$container" "$place/rustup" /usr/local/rustup >/dev/null
buildah config --env CARGO_HOME=/usr/local/cargo --env RUSTUP_HOME=/usr/local/rustup --env RUST_VERSION=1.95.0 \
    --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
buildah commit --quiet --rm "$container" "$RUST"
