#!/usr/bin/env bash
# metrics-exporter-prometheus 0.18.3 (Rust) writes a gauge and a histogram of one name as two families of that name, which
# the Go parser of the format, prometheus/common 0.67.4, gives up at.
#
# The facade `metrics` 0.24.6 keeps kinds apart: a gauge and a histogram may have one name, and differ in their labels. The
# exporter renders each kind by itself, so the name gets a TYPE line as gauge and another as summary. A Prometheus server
# reads such a page, and takes the gauge for a summary; what reads by expfmt (promtool, Pushgateway) gets the family that
# stands before, and an error.
#
# Seen (rustc 1.94, go 1.26): the lines that this script prints. Fails if one of the packages behaves otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
mkdir -p "$work/exporter/src" "$work/parser"

cd "$work/exporter"
cat >Cargo.toml <<'TOML'
[package]
name = "exporter"
version = "0.0.0"
edition = "2021"

[workspace]
TOML
cat >src/main.rs <<'RUST'
fn main() {
    let page = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().expect("is the only one");
    metrics::gauge!("lag", "shard" => "1").set(3.0);
    metrics::histogram!("lag", "operation" => "all").record(4.0);
    print!("{}", page.render());
}
RUST
cargo add --quiet metrics@0.24.6
cargo add --quiet --no-default-features metrics-exporter-prometheus@0.18.3
cargo update --quiet metrics --precise 0.24.6
cargo update --quiet metrics-exporter-prometheus --precise 0.18.3
CARGO_TARGET_DIR="$work/target" cargo run --quiet >"$work/page"

cd "$work/parser"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func main() {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(os.Stdin)
	fmt.Printf("%d families, error: %v\n", len(families), err)
}
GO
export GOMODCACHE="$work/modules" GOTOOLCHAIN=local
go mod init parser 2>/dev/null
go get github.com/prometheus/common/expfmt@v0.67.4 github.com/prometheus/common/model@v0.67.4 2>/dev/null
go run . <"$work/page" >"$work/parsed"

{
    grep '^# TYPE' "$work/page"
    cat "$work/parsed"
} | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
# TYPE lag gauge
# TYPE lag summary
1 families, error: text format parsing error in line 4: second TYPE line for metric name "lag", or TYPE reported after samples
SEEN
