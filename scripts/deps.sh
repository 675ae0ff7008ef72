# Sourced by run and test: installs what the build needs and what is missing.
# Debian 12 names first; Ubuntu 24.04 where they differ.

# Nothing is left outside build/, the compiler cache included.
mkdir -p build
export CCACHE_DIR="${CCACHE_DIR:-$PWD/build/ccache}"

tidegate_say() { printf '== %s\n' "$*" >&2; }

# The first of the names that this system knows.
tidegate_first_known() {
  local name
  for name in "$@"; do
    if apt-cache show "$name" >/dev/null 2>&1; then
      printf '%s' "$name"
      return 0
    fi
  done
  return 1
}

# The browser in which the report is tested: half a minute and 130 MB to fetch,
# so only in CI (variable CI) and on request (TIDEGATE_BROWSER=1), once. Without
# it that test is skipped.
tidegate_install_browser() {
  [ -n "${CI:-}${TIDEGATE_BROWSER:-}" ] || return 0
  if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    return 0
  fi
  command -v apt-get >/dev/null 2>&1 || return 0
  local sudo=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || return 0
    sudo="sudo"
  fi
  tidegate_say "installing: chromium chromium-driver python3-selenium"
  $sudo apt-get update -q >/dev/null 2>&1 || true
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    chromium chromium-driver python3-selenium fonts-dejavu-core >/dev/null 2>&1 ||
    tidegate_say "no browser could be installed: its test is skipped"
}

tidegate_install_missing() {
  # A stamp per set of packages makes a second call quick.
  local stamp="build/.packages-ok-4"
  if [ -f "$stamp" ] && command -v cmake >/dev/null && command -v ninja >/dev/null && command -v g++ >/dev/null; then
    return 0
  fi
  if ! command -v apt-get >/dev/null 2>&1; then
    tidegate_say "no apt-get here: expecting the packages of docs/building.md to be installed"
    return 0
  fi
  local sudo=""
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
      tidegate_say "packages may be missing and there is neither root nor sudo: trying to build as it is"
      return 0
    fi
    sudo="sudo"
  fi

  # Each word is one need; | separates the names it goes by.
  local needs="g++ cmake ninja-build ccache ca-certificates
    libboost1.81-dev|libboost1.83-dev
    libboost-container1.81-dev|libboost-container1.83-dev
    libabsl-dev libtomlplusplus-dev nlohmann-json3-dev libcli11-dev prometheus-cpp-dev libmuparser-dev
    libgtest-dev libgmock-dev libbenchmark-dev"
  local missing="" need name found
  for need in $needs; do
    found=""
    for name in $(printf '%s' "$need" | tr '|' ' '); do
      if dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed'; then
        found=1
        break
      fi
    done
    [ -n "$found" ] || missing="$missing $need"
  done
  if [ -n "$missing" ]; then
    tidegate_say "installing:$missing"
    $sudo apt-get update -q >/dev/null || tidegate_say "apt-get update failed: going on with the lists that are here"
    local packages=""
    for need in $missing; do
      # shellcheck disable=SC2046
      name=$(tidegate_first_known $(printf '%s' "$need" | tr '|' ' ')) || {
        tidegate_say "this system has no package named $need"
        return 1
      }
      packages="$packages $name"
    done
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages >/dev/null || {
      tidegate_say "apt-get could not install:$packages"
      return 1
    }
  fi
  : >"$stamp"
}

# tidegate_build PRESET [TARGET…]
tidegate_build() {
  local preset="$1"
  shift
  if [ ! -f "build/$preset/build.ninja" ]; then
    tidegate_say "configuring build/$preset"
    cmake --preset "$preset" >"build/$preset.configure.log" 2>&1 || {
      cat "build/$preset.configure.log" >&2
      return 1
    }
  fi
  tidegate_say "building build/$preset (first time: some minutes on 2 cores)"
  ninja -C "build/$preset" -j"${TIDEGATE_JOBS:-$(nproc)}" "$@" >"build/$preset.build.log" 2>&1 || {
    tail -n 60 "build/$preset.build.log" >&2
    return 1
  }
}
