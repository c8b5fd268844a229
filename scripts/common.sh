# Shared by ./quickstart and ./test: where builds go, what must be installed, how a step is told. Sourced, not run.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$HOME/.cache/catchment
if [ -n "${CI:-}" ] && [ -z "${CARGO_TARGET_DIR:-}" ]; then
  export CARGO_TARGET_DIR=$cache/target
fi
bin=${CARGO_TARGET_DIR:-$root/target}/release

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# install PACKAGE… : Debian's packages, where they are missing.
install() {
  local missing=() p
  for p in "$@"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  echo "installing ${missing[*]}"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# venv NAME REQUIREMENTS : a Python environment of that name in the cache, made once for each state of the file.
venv() {
  local dir=$cache/venv-$1 stamp
  stamp=$(sha256sum "$2" | cut -c1-16)
  if [ ! -f "$dir/made-$stamp" ]; then
    rm -rf "$dir"
    python3 -m venv "$dir"
    "$dir/bin/pip" install -q --disable-pip-version-check -r "$2"
    touch "$dir/made-$stamp"
  fi
  printf '%s\n' "$dir"
}

need_rust() { command -v cargo >/dev/null || die "cargo is not here: install Rust (https://rustup.rs), then run this again"; }
build_packages=(libgdal-dev gdal-bin gdal-data proj-data lld cmake g++ make pkg-config)
