# Aggregated records agree with other implementations of the format, in both directions, on random cases of a printed seed
# and on byte-exact vectors.
# shellcheck shell=bash

vectors=integration-tests/interop/aggregates
seed=${AGGREGATION_SEED:-$RANDOM}
cases=$bin/examples/aggregation_cases

# Writes random cases, and the vectors: write_cases COUNT
write_cases() {
    echo "$1 cases of seed $seed"
    "$cases" write "$1" "$seed" >"$work/cases"
    cat "$vectors/golden.txt" >>"$work/cases"
}

# Has a peer read the cases and write them again, and reads what it wrote: exchange COMMAND...
exchange() {
    "$@" <"$work/cases" >"$work/answers"
    "$cases" check <"$work/answers"
}

# Writes compressed records of all codecs, whole and damaged: write_frames COUNT
write_frames() { "$cases" compress "$1" "$seed" >"$work/frames"; }

# PyPI aws_kinesis_agg and npm aws-kinesis-agg, and readers that do not open aggregates: Powertools for Python and TypeScript
# with Lambda's events, and boto3.
aggregation() {
    install_python
    install_npm
    write_cases 18000
    exchange "$venv/python" kpl/peers/peer.py
    NODE_PATH=$npm exchange node kpl/peers/peer.js
    write_frames 2000
    reader python >"$work/compressed_record.py"
    PYTHONPATH=$work "$venv/python" kpl/peers/compressed.py <"$work/frames"
    reader js >"$work/compressed_record.js"
    NODE_PATH=$npm:$work node kpl/peers/compressed.js <"$work/frames"
    PYTHONPATH=$work "$venv/python" kpl/peers/lambda_events.py "$work/cases" "$work/frames"
    NODE_PATH=$npm node kpl/peers/lambda_events.mjs "$work/cases"
    serve blobs
    # shellcheck disable=SC1091
    (source "$work/blobs.env"; "$venv/python" kpl/peers/boto3_blobs.py "$work/cases")
}

# The aggregation modules for Java, which use KCL 1.x, and KCL 3.5.1: the latter reads only, odd records as well.
aggregation_java() {
    install_kcl 3.5.1
    install_aggregation
    write_cases 10000
    exchange java -cp "$peers/aggregation/classes:$peers/aggregation/*" Aggregation
    write_frames 2000
    java -cp "$peers/aggregation/classes:$peers/aggregation/*" Compressed <"$work/frames"
    for file in "$work/cases" "$vectors/oddities.txt"; do
        java -Dorg.slf4j.simpleLogger.defaultLogLevel=off \
            -cp "$peers/kcl-3.5.1/classes:$peers/kcl-3.5.1/*" Deaggregate <"$file"
    done
}
