# Amazon's KPL and KCL for Java beside kpl and kcl, and the samples on emulators of others. `bin/interop.rs` has the scenarios.
# shellcheck shell=bash

# Runs a scenario, and prints the ends of its processes' logs if it fails: scenario NAME OPTIONS...
scenario() {
    local log logs=$work/$1
    if timeout 600 "$bin/interop" "$1" --peers "$peers" --logs "$logs" "${@:2}"; then return; fi
    for log in "$logs"/*.log "$work"/*.peer; do
        [ -e "$log" ] || continue
        printf -- '--- end of %s\n' "$log"
        tail -n 40 "$log" | cut -c 1-400
    done
    return 1
}

# The samples on the Kinesis of npm's kinesis-local, with the DynamoDBs of ministack and dynalite.
emulators() {
    local dynamodb kinesis_port dynamodb_port
    install_npm
    install_python
    for dynamodb in ministack dynalite; do
        kinesis_port=$(free_port)
        start_kinesis_mock "$kinesis_port" SHARD_LIMIT=100
        dynamodb_port=$(free_port)
        "start_$dynamodb" "$dynamodb_port"
        echo "with $dynamodb:"
        scenario samples --kinesis "http://127.0.0.1:$kinesis_port" --dynamodb "http://127.0.0.1:$dynamodb_port"
        stop_all
    done
}

interop() {
    case $1 in
    kpl-to-java) for version in 3.5.1 2.7.2; do install_kcl "$version"; done ;;
    fleet | fleet-heartbeats | roads) install_kcl 3.5.1 ;;
    refused) install_kcl 2.7.2 ;;
    adopted)
        install_kcl_1 1.14.10
        install_kcl 2.7.2
        install_daemon 2.7.2
        ;;
    fleet-legacy) for version in 3.5.1 3.4.2; do install_kcl "$version"; done ;;
    java-to-kcl)
        install_kcl 3.5.1
        install_kpl
        ;;
    esac
    scenario "$1"
}

# Fleets of old versions, side by side, as they mostly wait: for signs of life, and for leases that expire.
old_fleets() {
    local version
    for version in 3.5.1 3.4.2 2.7.2; do install_kcl "$version"; done
    install_kcl_1 1.14.10
    install_daemon 2.7.2
    start fleet-legacy scenario fleet-legacy
    start adopted scenario adopted
    finish
}
