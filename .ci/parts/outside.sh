# A crate outside of the workspace: depends on the packaged archives, and is the README's "Getting started" and the service of
# the guide's first page, taken from there.
# shellcheck shell=bash

outside=$target/outside
unpacked=$outside/packages

# Archives of the published crates, unpacked. Their files are as old as the unpacking, or cargo would not see that they changed.
packages() {
    local archive folder
    rm -rf "$outside" "$target"/package/*.crate
    cargo package --workspace --exclude examples --exclude samples --exclude integration-tests --no-verify --locked --allow-dirty
    mkdir -p "$unpacked"
    for archive in "$target"/package/*.crate; do
        folder=$(basename "$archive" .crate)
        tar xzmf "$archive" -C "$unpacked"
        for file in Cargo.toml README.md LICENSE-APACHE LICENSE-MIT; do
            [ -s "$unpacked/$folder/$file" ] || fail "$folder does not contain $file"
        done
    done
}

# Blocks of a language in the README's "Getting started", each into a file: blocks LANGUAGE PREFIX SUFFIX
blocks() {
    awk -v fence="^\`\`\`$1(,|$)" -v prefix="$2" -v suffix="$3" '
        /^## / { inside = ($0 == "## Getting started") }
        /^```$/ && file { close(file); file = ""; next }
        file { print > file }
        inside && $0 ~ fence { file = prefix (++count) suffix }' README.md
}

# Manifest of the outside crate: the README's dependencies, with the archives in the registry's place.
manifest() {
    local package
    printf '[package]\nname = "outside"\nversion = "0.0.0"\nedition = "2024"\n\n'
    cat "$outside/dependencies1.toml"
    printf '\n[workspace]\nmembers = ["packages/*"]\n\n[profile.dev]\ndebug = false\n\n[patch.crates-io]\n'
    for package in kinesis-kpl kinesis-kcl kinesis-local kinesis-cloudwatch kcl-multilang; do
        printf '%s = { path = "%s" }\n' "$package" "packages/$(basename "$unpacked/$package"-[0-9]*)"
    done
}

# Runs the consumer and, until it has processed something, the producer; then stops the consumer by SIGINT, as Ctrl-C does.
# Within `kinesis-local run`: together FOLDER PRODUCER CONSUMER
together() {
    local consumer
    "$3" >"$1/processed" &
    consumer=$!
    for _ in $(seq 30); do
        "$2" >"$1/stored"
        if [ -s "$1/processed" ]; then break; fi
    done
    kill -INT "$consumer"
    wait "$consumer"
    echo "stored $(wc -l <"$1/stored") user records in the last run, processed $(wc -l <"$1/processed") in all"
    [ -s "$1/stored" ] && [ -s "$1/processed" ]
}

# Runs the guide's service until it has processed its record; then stops it by SIGTERM, as platforms do.
# Within `kinesis-local run`: serves FOLDER SERVICE
serves() {
    local service
    "$2" >"$1/served" &
    service=$!
    for _ in $(seq 150); do
        if grep -qsx 'customer-7: tea' "$1/served"; then break; fi
        sleep 0.2
    done
    kill -TERM "$service"
    wait "$service"
    grep -x 'customer-7: tea' "$1/served"
}

# Builds the programs of README and guide and kinesis-local from the archives, and runs the programs on it.
outside() {
    local producer consumer
    packages
    mkdir -p "$outside/src/bin"
    blocks toml "$outside/dependencies" .toml
    blocks rust "$outside/src/bin/outside" .rs
    awk '$0 == "```rust,no_run" { on = 1; next } /^```/ { on = 0 } on' docs/start.md >"$outside/src/bin/service.rs"
    [ -e "$outside/dependencies1.toml" ] || fail "the README has no dependencies under Getting started"
    manifest >"$outside/Cargo.toml"
    cp Cargo.lock "$outside"
    # In the workspace's folder, where build scripts and macros have been compiled. Runs too briefly to be optimized.
    command cargo build --workspace --manifest-path "$outside/Cargo.toml" --target-dir "$target"
    producer=$(basename "$(grep -l 'use kpl::.*Producer' "$outside"/src/bin/outside*.rs)" .rs)
    consumer=$(basename "$(grep -l 'use kcl::.*Worker' "$outside"/src/bin/outside*.rs)" .rs)
    export -f together serves
    timeout 180 "$bin/kinesis-local" run --stream StockTradeStream:2 -- bash -c 'set -e; together "$@"' together \
        "$work" "$bin/$producer" "$bin/$consumer"
    timeout 60 "$bin/kinesis-local" run --stream orders:2 -- bash -c 'set -e; serves "$@"' serves "$work" "$bin/service"
}
