# Processors on Amazon's clients for Python and Node.js, under kcl-multilang: as rehearsals, and in one fleet.
# shellcheck shell=bash

kclpy=3.1.3
kcl_node=2.3.2

# Its source package builds only with the jars of the daemon for Java, which are not needed: unpacked, it can be imported.
install_kclpy() {
    cached "$peers/kclpy" "$kclpy" timeout 240 bash -c '
        python3 -m venv "$0/pip" && cd "$0" &&
        pip/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: "amazon_kclpy==$1" &&
        tar xzf amazon_kclpy-*.tar.gz --strip-components 1' "$peers/kclpy" "$kclpy"
}

install_kcl_node() {
    cached "$peers/kcl-node" "$kcl_node" timeout 120 npm install --silent --prefix "$peers/kcl-node" --no-audit --no-fund \
        --ignore-scripts "aws-kcl@$kcl_node"
}

multilang() {
    local language
    start python install_python
    start kclpy install_kclpy
    start kcl-node install_kcl_node
    finish
    export PYTHONPATH=$peers/kclpy NODE_PATH=$peers/kcl-node/node_modules PATH=$venv:$PATH

    for language in python node; do
        echo "--- a rehearsal of the sample for $language"
        (cd "multilang/samples/$language" && PATH=$PWD:$PATH timeout 60 "$bin/kcl-multilang" --check "$language.properties")
    done

    echo "--- both in one fleet"
    serve multilang
    # shellcheck disable=SC1091
    source "$work/multilang.env"
    mkdir -p "$work/multilang"
    timeout 180 "$venv/python" integration-tests/peers/multilang_check.py "$bin/kcl-multilang" 100000 "$work/multilang"
}
