# Processors on Amazon's clients for Python and Node.js, under kcl-multilang: as rehearsals, in one fleet, and beside the daemon
# for Java.
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

install_clients() {
    start python install_python
    start kclpy install_kclpy
    start kcl-node install_kcl_node
    finish
    export PYTHONPATH=$peers/kclpy NODE_PATH=$peers/kcl-node/node_modules PATH=$venv:$PATH
}

# A script of integration-tests/peers on a kinesis-local of its own: on_kinesis_local SCRIPT ARGUMENTS...
on_kinesis_local() {
    serve multilang
    # shellcheck disable=SC1091
    source "$work/multilang.env"
    mkdir -p "$work/multilang"
    timeout 700 "$venv/python" "integration-tests/peers/$1" "$bin/kcl-multilang" "${@:2}"
}

multilang() {
    local language
    install_clients
    for language in python node; do
        echo "--- a rehearsal of the sample for $language"
        (cd "multilang/samples/$language" && PATH=$PWD:$PATH timeout 60 "$bin/kcl-multilang" --check "$language.properties")
    done
    echo "--- both in one fleet"
    on_kinesis_local multilang_check.py 100000 "$work/multilang"
}

# The daemon for Java beside ours. Its start alone takes a minute and a half.
multilang_java() {
    install_clients
    install_maven multilang-java "$java/multilang"
    on_kinesis_local multilang_java_check.py "$work/multilang" "$peers/multilang-java"
}
