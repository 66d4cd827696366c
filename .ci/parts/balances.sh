# Effects exactly once while worker processes are killed each second: with a real PostgreSQL, a package of Debian's, which is
# restarted too, and with DynamoDB transactions on kinesis-local and on moto. Outside of CI longer: BALANCES_SECONDS=1800.
# shellcheck shell=bash

install_postgres() {
    if compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then return; fi
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends postgresql
}

# Trades into balances: trades SECONDS STORE OPTIONS...
trades() { timeout $(($1 + 150)) "$bin/examples/balances" "${@:2}" --seconds "$1"; }

# With the DynamoDB of kinesis-local, and after that with moto's.
balances_in_dynamodb() {
    local port
    trap stop_all EXIT
    trades "$1" dynamodb
    port=$(free_port)
    start_moto_in_turns "$port"
    serve balances
    # shellcheck disable=SC1091
    source "$work/balances.env"
    AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:$port trades "$1" dynamodb --aws
}

balances() {
    local seconds=${BALANCES_SECONDS:-60}
    start python install_python
    start postgres install_postgres
    finish
    start postgres trades "$seconds" postgres
    start dynamodb balances_in_dynamodb $((seconds / 2))
    finish
}
