# Images without a base image, by buildah, a package of Debian's: built of the programs of this build, looked at, and run as their
# user in their root. The manifests and the unit that run them, by schemas that others publish.
# shellcheck shell=bash

images=(kinesis-local kds kcl-multilang stock-consumer)
sources=(local/src/bin/kinesis-local/main.rs cli/src/bin/kds.rs multilang/src/main.rs examples/src/bin/stock-consumer.rs)
user=65532

install_buildah() {
    if type -P buildah && type -P systemd-analyze; then return; fi
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends buildah systemd
}

# The programs of the last build, linked once more, with the C library inside: $work/static/out.
link_statically() {
    local out=$work/static/out image
    mkdir -p "$out"
    touch "${sources[@]}"
    # All targets of the workspace, for the features of the last build.
    STATIC_OUT=$out RUSTC_WRAPPER=$PWD/.ci/static-rustc cargo build --workspace --bins --examples --locked
    rm "$out"/*.d
    for image in "${images[@]}"; do
        mv "$out/${image//-/_}"-* "$out/$image"
        if readelf --program-headers "$out/$image" | grep INTERP; then fail "$image wants shared libraries"; fi
    done
    cp /etc/ssl/certs/ca-certificates.crt "$out"
}

store() { buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs "$@"; }

# An image whose first stage is the folder of static programs; its root is $work/roots/IMAGE: build IMAGE
build() {
    store build --quiet --isolation chroot --format docker --build-context "build=$work/static" --target "$1" \
        --tag "localhost/$1" --file deploy/images/Containerfile . >/dev/null
    mkdir -p "$work/roots"
    ln -s "$(store mount "$(store from "localhost/$1")")" "$work/roots/$1"
    store inspect --type image "localhost/$1" >"$work/$1.json"
    python3 integration-tests/peers/image_check.py "$1" "$work/$1.json" "$work/roots/$1/"
}

# A program in an image's root, which is read-only, as the image's user, with no more than these variables. Of the host it sees
# a folder at /volume, names, and the devices that any runtime of containers gives: contained IMAGE PROGRAM...
contained() {
    # shellcheck disable=SC2016
    exec env -i "${aws[@]}" RUST_LOG=info unshare --mount bash -c 'set -e
        root=$(readlink -f "$1") user=$2 volume=$3
        mkdir -p "$root/volume" "$root/etc" "$root/dev"
        touch "$root"/dev/{null,random,urandom}
        printf "127.0.0.1 localhost\n127.0.0.1 kinesis.test\n" >"$root/etc/hosts"
        mount --bind "$root" "$root"
        mount -o remount,bind,ro "$root"
        mount --bind "$volume" "$root/volume"
        for device in null random urandom; do mount --bind "/dev/$device" "$root/dev/$device"; done
        exec chroot --userspec="$user:$user" --groups="$user" "$root" "${@:4}"' \
        bash "$work/roots/$1" "$user" "$work/volume" "${@:2}"
}

# Runs one to its end.
within() { (contained "$@"); }

# Waits until a command succeeds: soon SECONDS COMMAND...
soon() {
    for _ in $(seq $(($1 * 10))); do
        if "${@:2}" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    "${@:2}"
}

# Asks to end, and waits for an end in good order: end NAME PID
end() {
    kill -TERM "$2"
    wait "$2" || { cat "$work/$1.log"; fail "$1 does not end in good order"; }
}

# The worker has read and processed both shards to their ends.
has_caught_up() {
    curl -sf "http://127.0.0.1:$1/readyz" | python3 -c 'import json, sys
shards = json.load(sys.stdin)["shards"]
sys.exit(not (len(shards) == 2 and all(shard["behind_latest_millis"] == 0 for shard in shards)))'
}

images() {
    local image port probes server worker arguments aws
    start buildah install_buildah
    start python install_python
    finish

    echo "--- manifests and unit"
    "$venv/kubernetes-validate" --strict deploy/kubernetes/worker.yaml
    "$venv/python" integration-tests/peers/manifests_check.py
    sed "s#/usr/local/bin/kds#$bin/kds#" deploy/systemd/kds-agent.service >"$work/kds-agent.service"
    # It warns of settings that it does not know, and succeeds nevertheless.
    if systemd-analyze verify --man=no "$work/kds-agent.service" 2>&1 | grep .; then fail "the unit is not as systemd wants it"; fi
    systemd-analyze security --offline=true --threshold=20 "$work/kds-agent.service" | tail -n 1

    echo "--- images"
    link_statically
    for image in "${images[@]}"; do build "$image"; done

    echo "--- kinesis-local serves, and kds finds it by its name"
    mkdir "$work/volume"
    chown "$user:$user" "$work/volume"
    port=$(free_port) probes=$(free_port)
    aws=(AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_ENDPOINT_URL="http://kinesis.test:$port")
    if within kinesis-local /kinesis-local health "http://127.0.0.1:$port/livez"; then fail "healthy before the start"; fi
    contained kinesis-local /kinesis-local --bind 0.0.0.0 --stream StockTradeStream:2 --kinesis-port "$port" \
        --dynamodb-port 0 >"$work/kinesis-local.log" 2>&1 &
    server=$!
    soon 10 within kinesis-local /kinesis-local health "http://127.0.0.1:$port/livez"
    curl -sf "http://127.0.0.2:$port/livez"
    within kds /kds stream StockTradeStream
    within kds /kds stream StockTradeStream --endpoint-url "http://localhost:$port" --json | grep -o '"status":"ACTIVE"'
    if within kds /kds man --output /pages 2>"$work/written"; then fail "the root of an image can be written"; fi
    grep -i 'read-only file system' "$work/written"

    echo "--- the worker of the manifests reads records"
    AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local \
        "$bin/stock-producer" --every 1 --trades 200 2>"$work/producer.log" || { cat "$work/producer.log"; exit 1; }
    mapfile -t arguments < <("$venv/python" integration-tests/peers/manifests_check.py arguments)
    contained stock-consumer /stock-consumer "${arguments[@]/%:8080/:$probes}" >"$work/worker.log" 2>&1 &
    worker=$!
    soon 20 has_caught_up "$probes" || { cat "$work/worker.log"; exit 1; }
    within stock-consumer /stock-consumer --health="http://127.0.0.1:$probes/livez"
    end worker "$worker"
    grep 'Most popular stock being bought' "$work/worker.log" | sed -n 1p
    grep -c 'checkpointed' "$work/worker.log"
    if within stock-consumer /stock-consumer --health="http://127.0.0.1:$probes/livez"; then fail "healthy after the end"; fi

    echo "--- kds agent runs by the command of its unit"
    agent_of_the_unit "$probes"
    end kinesis-local "$server"

    echo "--- authorities are those of the file in the image"
    certificates

    echo "--- kcl-multilang runs in an image"
    within kcl-multilang /kcl-multilang --version
    if within kcl-multilang /kcl-multilang --health 2>"$work/multilang"; then fail "healthy without a daemon"; fi
    cat "$work/multilang"
}

# An agent that puts two lines, asked for its health: agent_of_the_unit PORT
agent_of_the_unit() {
    local command agent
    mkdir "$work/volume/log" "$work/volume/state"
    chown "$user:$user" "$work/volume/state"
    printf '%s\n' '{"flows": [{"filePattern": "/volume/log/app.log*", "kinesisStream": "StockTradeStream", "initialPosition": "START_OF_FILE"}]}' \
        >"$work/volume/agent.json"
    printf 'of the agent\nof the agent\n' >"$work/volume/log/app.log"
    read -ra command < <(sed -n 's#^ExecStart=/usr/local/bin/kds ##p' deploy/systemd/kds-agent.service |
        sed "s#/etc/kds#/volume#; s#/var/lib/kds-agent#/volume/state#; s#:7879#:$1#")
    contained kds /kds "${command[@]}" >"$work/agent.log" 2>&1 &
    agent=$!
    soon 10 within kds /kds health "http://127.0.0.1:$1/readyz" || { cat "$work/agent.log"; exit 1; }
    soon 10 are_put
    end agent "$agent"
    grep 'stored 2 records' "$work/agent.log"
    if within kds /kds health "http://127.0.0.1:$1/livez"; then fail "healthy after the end"; fi
}

are_put() { [ "$(within kds /kds tail StockTradeStream --from horizon --no-follow | grep -c 'of the agent')" = 2 ]; }

# TLS by an authority that is, and before is not, in the image's file.
certificates() {
    local server aws
    "$bin/kinesis-local" --kinesis-port 0 --dynamodb-port 0 --stream secret --tls-certificate "$work/authority.pem" \
        >"$work/tls.env" 2>"$work/tls.log" &
    server=$!
    soon 10 grep -qx ready "$work/tls.env"
    aws=(AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
        "AWS_ENDPOINT_URL=$(sed -n 's/^export AWS_ENDPOINT_URL_KINESIS=//p' "$work/tls.env")")
    if within kds /kds stream secret 2>"$work/refused"; then fail "any authority is accepted"; fi
    cat "$work/refused"
    cp "$work/authority.pem" "$work/volume"
    chown "$user" "$work/volume/authority.pem"
    aws+=(SSL_CERT_FILE=/volume/authority.pem)
    within kds /kds stream secret | sed -n 1p
    unset 'aws[-1]'
    cat "$work/authority.pem" >>"$work/roots/kds/etc/ssl/certs/ca-certificates.crt"
    within kds /kds stream secret | sed -n 1p
    end tls "$server"
}
