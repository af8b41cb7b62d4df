#!/bin/sh
# For quickstart and test: what the machine needs, said before it is installed, and how long phases take.

phase_name='' phase_begun='' phase_list=''

# Ends the phase that runs and begins another one.
phase() {
  end_phase
  phase_name=$1 phase_begun=$(date +%s)
  printf '\n== %s\n' "$1"
}

end_phase() {
  [ -n "$phase_name" ] || return 0
  phase_list="$phase_list$(printf '%5d s  %s' "$(($(date +%s) - phase_begun))" "$phase_name")
"
  phase_name=''
}

phase_times() {
  end_phase
  printf '\n== How long it took\n%s%5d s  in all\n' "$phase_list" "$(($(date +%s) - $1))"
}

missing() {
  echo "missing: $1" >&2
  echo "         $2" >&2
  exit 1
}

# Debian packages, where they are not installed.
need_packages() {
  command -v dpkg-query >/dev/null || missing "Debian's packages $*" "on other systems install them in your own way and run this again"
  wanted=''
  for package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || wanted="$wanted $package"
  done
  [ -n "$wanted" ] || { echo "there: $*"; return 0; }
  [ "$(id -u)" = 0 ] || missing "packages$wanted" "as root: apt-get install$wanted"
  echo "installing$wanted"
  # shellcheck disable=SC2086 # A list of package names.
  { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $wanted ||
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $wanted; }; } >/tmp/muster-apt.log 2>&1 || {
    tail -20 /tmp/muster-apt.log >&2
    missing "packages$wanted" "apt-get could not install them; its last words are above"
  }
}

# at_least HAVE WANT: compares versions.
at_least() {
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$2" ]
}

need_rust() {
  need_packages gcc libc6-dev
  wanted=1.95
  PATH=$PATH:$HOME/.cargo/bin
  if command -v cargo >/dev/null; then
    have=$(cargo --version | cut -d' ' -f2)
    at_least "$have" "$wanted" && { echo "there: Rust $have"; return 0; }
    echo "Rust $have is older than $wanted"
  fi
  command -v rustup >/dev/null || missing "Rust $wanted or newer (rustup)" "install it from https://rustup.rs and run this again"
  rustup toolchain install "$wanted"
}

# The bundle is compiled with Go. An old Go can get a new one as a module.
need_go() {
  need_packages gcc libc6-dev libseccomp-dev pkg-config
  wanted=1.26
  command -v go >/dev/null || need_packages golang-go
  have=$(go env GOVERSION | sed 's/^go//')
  if ! at_least "$have" "$wanted"; then
    toolchain=golang.org/toolchain@v0.0.1-go$wanted.0.linux-$(dpkg --print-architecture)
    echo "Go $have is older than $wanted: getting $toolchain"
    (cd / && go mod download "$toolchain") || missing "Go $wanted or newer" "install it from https://go.dev/dl and run this again"
    PATH=$(go env GOMODCACHE)/$toolchain/bin:$PATH
    chmod -R u+x "$(go env GOMODCACHE)/$toolchain/bin" "$(go env GOMODCACHE)/$toolchain/pkg/tool"
    export PATH GOTOOLCHAIN=local
    have=$(go env GOVERSION | sed 's/^go//')
  fi
  echo "there: Go $have"
}

# cargo-deny, which checks licenses, versions and sources of the dependencies.
need_cargo_deny() {
  wanted=0.20.2
  PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  have=$(cargo-deny --version 2>/dev/null | cut -d' ' -f2)
  if [ -n "$have" ] && at_least "$have" "$wanted"; then
    echo "there: cargo-deny $have"
    return 0
  fi
  echo "installing cargo-deny $wanted with cargo install (compiled from source, once; two minutes of two cores)"
  # Not optimised: it compiles in half the time, and a check takes a second all the same.
  env -u CARGO_TARGET_DIR cargo install --quiet --locked --debug cargo-deny --version "$wanted" ||
    missing "cargo-deny $wanted" "install it and run this again: cargo install --locked cargo-deny --version $wanted"
}
