# The pages of kds serve and kds report in Chromium, a package of Debian's.
# shellcheck shell=bash

puppeteer=puppeteer-core@24.23.0

install_puppeteer() {
    cached "$peers/puppeteer" "$puppeteer" timeout 240 npm install --silent --prefix "$peers/puppeteer" --no-audit --no-fund \
        --ignore-scripts "$puppeteer"
}

install_chromium() {
    if type -P chromium; then return; fi
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends chromium
}

# A fleet of one worker, which hangs: the lag of its shards is to be seen in the browser within 3 s.
pages() {
    local url
    start puppeteer install_puppeteer
    start chromium install_chromium
    finish
    serve pages
    # shellcheck disable=SC1091
    source "$work/pages.env"
    "$bin/kds" stream create orders --shards 3 --yes 2>/dev/null
    "$bin/kds" stream split orders shardId-000000000001 --yes 2>/dev/null
    "$bin/stock-consumer" printer orders --worker-id worker-1 --start trim-horizon >/dev/null 2>"$work/consumer.log" &
    consumer=$!
    # A process that is stopped ends by SIGKILL alone.
    trap 'kill -KILL "$consumer" || true; stop_all' EXIT
    for _ in $(seq 200); do
        if [ "$(grep -c 'lease taken' "$work/consumer.log")" -ge 4 ]; then break; fi
        sleep 0.1
    done
    kill -STOP "$consumer"
    seq 100 | "$bin/kds" put orders --key hash
    "$bin/kds" serve printer --stream orders --port 0 --every 1s >"$work/url" 2>"$work/serve.peer" &
    for _ in $(seq 100); do
        if [ -s "$work/url" ]; then break; fi
        sleep 0.1
    done
    url=$(cat "$work/url")
    chromium "$url" kds-serve.png || { cat "$work/serve.peer" "$work/consumer.log"; exit 1; }
    "$bin/kds" report printer --stream orders -o "$work/report.html"
    chromium "file://$work/report.html" kds-report.png
}

# Opens a page, and takes a picture: chromium ADDRESS PICTURE
chromium() {
    NODE_PATH=$peers/puppeteer/node_modules timeout 60 node integration-tests/peers/pages_check.cjs \
        "$(type -P chromium)" "$work/browser" "$1" "${KDS_PICTURES:-$work}/$2"
}
