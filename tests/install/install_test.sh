#!/bin/bash
# A stranger's path: install to a prefix, build plug-ins outside the tree, name
# them in policy files, run them.
#
#   install_test.sh SOURCE_DIR BUILD_DIR CMAKE C_COMPILER CXX_COMPILER CXX_FLAGS
set -euo pipefail
source_dir=$1 build_dir=$2 cmake=$3 cc=$4 cxx=$5 flags=$6
# As an ordinary user has it: what others can write is not loaded.
umask 022

work="$build_dir/install_test"
rm -rf "$work"
mkdir -p "$work"
prefix="$work/prefix"
fail() { echo "install_test: $*" >&2; exit 1; }
say() { echo "== $*"; }
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "$*"; }; }
holds() { grep -qF -- "$2" <<<"$1" || fail "expected \"$2\" in: $1"; }

say "install"
quietly "$cmake" --install "$build_dir" --prefix "$prefix"
tidegate="$prefix/bin/tidegate"
[ -f "$prefix/share/tidegate/policy_files/h100-80gb.toml" ] ||
  fail "no ready policy files"

# The plug-ins of the tutorial, with the models that their policy files name.
cp -r "$source_dir/examples/plugins" "$work/plugins"
mkdir -p "$work/examples"
mv "$work/plugins" "$work/examples/plugins"
cp -r "$source_dir/examples/models" "$work/examples/models"
trace="$source_dir/examples/traces/agentic_coding.csv"

build() { # PROJECT [CMAKE OPTION…]
  local project=$1
  shift
  quietly "$cmake" -S "$project" -B "$project/build" -G Ninja \
    -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" "$@"
  quietly "$cmake" --build "$project/build"
}

for name in deadline paged_tiles lowest_priority; do
  say "plug-in $name"
  project="$work/examples/plugins/$name"
  # Two headers are all that it needs.
  build "$project" -DCMAKE_DISABLE_FIND_PACKAGE_absl=ON \
    -DCMAKE_DISABLE_FIND_PACKAGE_Boost=ON \
    -DCMAKE_C_FLAGS="-Wall -Wextra -pedantic -Werror" \
    -DCMAKE_CXX_FLAGS="-Wall -Wextra -pedantic -Werror $flags"
  policy="$project/policy.toml"
  holds "$("$tidegate" policy check "$policy")" "no complaints"
  holds "$("$tidegate" policy show "$policy")" "($name 1.0;"
  result=$("$tidegate" simulate --policy "$policy" --trace "$trace" \
    --requests 60 --json)
  holds "$result" "\"name\": \"$name\""
  holds "$result" "\"faults\": 0"
  holds "$result" "\"out_of_memory\": 0"
done

say "the tutorial, from an empty folder"
mkdir "$work/tutorial"
# Files and commands as the document has them.
awk -v dir="$work/tutorial" '
  /^<!-- file: .* -->$/ { out = dir "/" $3; next }
  /^<!-- run -->$/ { out = dir "/commands.sh"; next }
  /^```/ && open { open = 0; out = ""; next }
  /^```/ && out != "" { open = 1; next }
  open { print > out }
' "$source_dir/docs/plugins.md"
# But for its licence, the example is what the document shows.
diff "$work/tutorial/deadline.cc" \
  <(tail -n +4 "$source_dir/examples/plugins/deadline/deadline.cc") ||
  fail "docs/plugins.md differs from examples/plugins/deadline"
transcript=$(cd "$work/tutorial" && PREFIX="$prefix" PATH="$prefix/bin:$PATH" CC="$cc" CXX="$cxx" \
  CXXFLAGS="$flags" bash -euo pipefail commands.sh 2>&1) || fail "tutorial: $transcript"
holds "$transcript" "policy.toml: no complaints"
holds "$transcript" "(deadline 1.0; fcfs replaces it if it fails)"
# What the document shows is what is printed.
while IFS= read -r line; do
  holds "$transcript" "$line"
done < <(grep -E '^  order  |^order\.' "$source_dir/docs/plugins.md")
holds "$transcript" "(shortest_first 1.0; fcfs replaces it if it fails)"
echo "$transcript" >"$work/tutorial.txt"

say "a plug-in by pkg-config"
if command -v pkg-config >/dev/null; then
  export PKG_CONFIG_PATH="$prefix/lib/pkgconfig:$(echo "$prefix"/lib/*/pkgconfig)"
  # shellcheck disable=SC2046
  "$cc" -std=c11 -pedantic -Wall -Werror -fPIC -shared \
    $(pkg-config --cflags tidegate-plugin) -o "$work/liblowest.so" \
    "$source_dir/examples/plugins/lowest_priority/lowest_priority.c" ||
    fail "pkg-config tidegate-plugin"
fi

say "a program that links tidegate::tidegate, and one with tidegate::service"
cp -r "$source_dir/tests/install/consumer" "$work/consumer"
build "$work/consumer" -DCMAKE_CXX_FLAGS="$flags"
policy="$work/examples/plugins/paged_tiles/policy.toml"
price=$("$work/consumer/build/price" "$policy")
shown=$("$tidegate" price --policy "$policy" --n 64 --kv-len 100000 --json)
holds "$shown" "\"transient_bytes\": $price"
holds "$("$work/consumer/build/metrics")" "tidegate_requests_submitted_total 0"

say "done"
