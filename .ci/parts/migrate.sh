# The pages on migration beside the libraries for Java: names and defaults of all settings, and the code of Java, compiled.
# shellcheck shell=bash

# A page, and the program that prints the settings of its library: check_page PAGE PEER PROGRAM PACKAGES...
check_page() {
    local page=docs/migrate/$1.md settings=$java/settings folder=$work/$1
    mkdir -p "$folder"
    {
        printf 'import %s.*;\n' java.nio java.nio.charset java.util java.util.concurrent "${@:4}"
        echo 'final class Page {'
        awk '$0 == "```java" { on = 1; next } /^```/ { on = 0 } on' "$page"
        echo '}'
    } >"$folder/Page.java"
    compile "$2" "$settings/Fields.java" "$settings/$3.java" "$folder/Page.java"
    java -cp "$peers/$2/classes:$peers/$2/*" "$3" >"$folder/settings"
    python3 integration-tests/peers/settings_check.py "$page" "$folder/settings"
}

migrate() {
    local kcl=software.amazon.kinesis sdk=software.amazon.awssdk.services
    start kpl install_maven kpl "$java/kpl"
    start kcl install_kcl_jars 3.5.1
    start daemon install_maven multilang-java "$java/multilang"
    finish
    start producer check_page producer kpl Kpl $kcl.producer com.google.common.util.concurrent
    start consumer check_page consumer kcl-3.5.1 Kcl $kcl.common $kcl.coordinator $kcl.exceptions $kcl.leases \
        $kcl.lifecycle.events $kcl.processor $kcl.retrieval $kcl.retrieval.fanout $kcl.retrieval.polling \
        $sdk.cloudwatch $sdk.dynamodb $sdk.kinesis
    start multilang check_page multilang multilang-java Multilang
    finish
}
