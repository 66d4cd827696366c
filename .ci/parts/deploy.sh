# Dashboards and alarms: the template by cfn-lint; the rules by a real Prometheus, which reads a sample.
# shellcheck shell=bash

cfn_lint=1.58.0

# Prometheus is a package of Debian's, unpacked rather than installed.
install_prometheus() { cached "$peers/prometheus" debian fetch_prometheus; }

fetch_prometheus() {
    (
        cd "$peers/prometheus"
        apt-get -qq download prometheus || { apt-get -qq update && apt-get -qq download prometheus; }
        dpkg -x prometheus_*.deb .
    ) 2>&1 | grep -v unsandboxed || true
    [ -x "$peers/prometheus/usr/bin/prometheus" ]
}

install_cfn_lint() {
    cached "$peers/cfn-lint" "$cfn_lint" timeout 240 bash -c \
        'python3 -m venv "$0" && "$0/bin/pip" install --quiet --disable-pip-version-check "cfn-lint==$1"' \
        "$peers/cfn-lint" "$cfn_lint"
}

deploy() {
    local tools=$peers/prometheus/usr/bin port web
    start prometheus install_prometheus
    start cfn-lint install_cfn_lint
    finish

    "$peers/cfn-lint/bin/cfn-lint" deploy/cloudwatch/cloudformation.yaml
    "$tools/promtool" check config deploy/prometheus/prometheus.yml
    (cd deploy/prometheus && "$tools/promtool" test rules rules_test.yml)

    echo "--- Prometheus reads a sample and evaluates the rules"
    port=$(free_port) web=$(free_port)
    "$bin/examples/probes" "127.0.0.1:$port" >"$work/probes.peer" 2>&1 &
    listening $! "$work/probes.peer" "$port"
    sed -e "s/127.0.0.1:9464/127.0.0.1:$port/" -e 's/15s/1s/' deploy/prometheus/prometheus.yml >"$work/prometheus.yml"
    cp deploy/prometheus/rules.yml "$work"
    "$tools/prometheus" --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" \
        --web.listen-address="127.0.0.1:$web" >"$work/prometheus.peer" 2>&1 &
    listening $! "$work/prometheus.peer" "$web"
    python3 integration-tests/peers/prometheus_check.py "127.0.0.1:$web" "127.0.0.1:$port" ||
        { cat "$work/prometheus.peer"; exit 1; }
    # 3: it can be read, though labels and counters have not the names that Prometheus' own conventions ask for.
    curl -sf "127.0.0.1:$port/metrics" | "$tools/promtool" check metrics >"$work/lints" 2>&1 || [ $? -eq 3 ] ||
        { cat "$work/lints"; exit 1; }
}
