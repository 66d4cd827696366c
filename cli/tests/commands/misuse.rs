//! Misuses: each a clear error in one line, nothing lost, nothing half-written.

use kinesis_local::LocalAws;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_exist_is_named_with_the_region() {
    let world = World::start().await;

    world.feed("put missing", "line\n").await.fails_with(&["stream missing does not exist in us-east-1", "--region"]);
    world.run("tail missing").await.fails_with(&["stream missing does not exist in us-east-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named() {
    let world = World::serve(LocalAws::builder().deny("kinesis:ListShards").start().await).await;

    world.run("tail orders").await.fails_with(&["kinesis:ListShards on stream orders is denied", "IAM policy"]);

    world.aws.allow("kinesis:ListShards");
    world.aws.deny("kinesis:GetRecords");
    world.run("tail orders").await.fails_with(&["kinesis:GetRecords on shardId-", "of stream orders is denied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_region_or_missing_credentials_say_what_to_pass() {
    let world = World::start().await;
    let run = |remove: &'static [&'static str]| {
        let mut command = world.command("tail orders");
        for name in remove {
            command.env_remove(name);
        }
        crate::support::ended(command.spawn().unwrap())
    };

    run(&["AWS_REGION"]).await.fails_with(&["no AWS region is configured", "--region"]);
    run(&["AWS_ACCESS_KEY_ID"]).await.fails_with(&["no AWS credentials were found", "--profile"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_nobody_serves_is_named() {
    let world = World::start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let mut command = world.command(&format!("tail orders --endpoint-url http://{address}"));
    command.env_remove("AWS_ENDPOINT_URL_KINESIS");

    let refused = crate::support::ended(command.spawn().unwrap()).await;

    refused.fails_with(&["cannot be reached", "--endpoint-url"]);
    world.run("tail orders --endpoint-url localhost:1").await.fails_with(&["localhost:1 is no endpoint"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_the_environment_that_is_empty_is_named() {
    let world = World::start().await;
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL_DYNAMODB"] {
        let mut command = world.command("stream orders");
        command.env(name, "");

        let refused = crate::support::ended(command.spawn().unwrap()).await;

        refused.fails_with(&[&format!("{name} is empty"), "unset it"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_named_counts_more_than_keys_in_the_environment() {
    let world = World::start().await;
    world.run("stream orders --profile nobody").await.fails_with(&["no AWS credentials were found", "nobody"]);

    world.write("config", "[profile mine]\naws_access_key_id = mine\naws_secret_access_key = secret\n");
    let mut command = world.command("stream orders --profile mine");
    command.env("AWS_CONFIG_FILE", world.path().join("config"));
    crate::support::ended(command.spawn().unwrap()).await.succeeds();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_ends_before_it_begins_or_lies_in_the_future_is_refused() {
    let world = World::start().await;
    for (arguments, texts) in [
        ("tail orders --from 1h --to 2h", ["ends before it begins", "--to"]),
        ("replay orders --from 1h --to 2h", ["ends before it begins", "--to"]),
        ("tail orders --from 2099-01-01", ["begins in the future", "--from"]),
    ] {
        let refused = world.run(arguments).await;
        assert_eq!(refused.code, 2, "{arguments}: {refused:?}");
        assert!(texts.iter().all(|text| refused.stderr.contains(text)), "{arguments}: {}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_and_names_that_are_none_are_refused_before_any_call() {
    let world = World::start().await;
    for (arguments, text) in [
        ("tail orders --from yesterday", "RFC 3339"),
        ("tail orders --to soon", "RFC 3339"),
        ("tail orders --grep (", "unclosed group"),
        ("tail or/ders", "a stream's name has"),
        ("put orders --key md5", "expected random, hash, field:NAME"),
        ("tail orders --from 49590338271490256608559692538361571095921575989136588898", "add --shard"),
    ] {
        let refused = world.run(arguments).await;
        assert_eq!(refused.code, 2, "{arguments}");
        assert!(refused.stderr.contains(text), "{arguments}: {}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_does_not_exist_is_named() {
    let world = World::start().await;

    let refused = world.run("tail orders --shard shardId-000000000009").await;

    refused.fails_with(&["stream orders has no shardId-000000000009", "kds stream orders"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_named_before_anything_is_put() {
    let world = World::start().await;
    world.write("a.log", "one\n");
    std::fs::create_dir(world.path().join("folder")).unwrap();

    world.run("put orders a.log missing.log").await.fails_with(&["missing.log cannot be read"]);
    world.run("put orders a.log folder").await.fails_with(&["folder is a folder"]);

    assert!(world.stored().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_above_the_record_limit_is_named_and_the_rest_stored() {
    let world = World::start().await;
    let longer_than_the_stream_takes = "x".repeat((1 << 20) + 1);
    let longer_than_any_record = "y".repeat((10 << 20) + 5);
    world.write("a.log", format!("one\n{longer_than_the_stream_takes}\n{longer_than_any_record}\ntwo\n"));

    let put = world.run("put orders a.log").await;

    put.fails_with(&["2 records not stored", "a.log:2", "1048576", "without the lines that are too long"]);
    assert_eq!(world.stored().await, ["one", "two"]);
    assert_eq!(world.read("kds-failed.records.jsonl").lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_are_data_as_lines_and_refused_as_json() {
    let world = World::start().await;
    world.write("a.log", b"\xff\xfe\n");
    world.write("a.jsonl", b"{\"a\":\"\xff\"}\n");

    world.run("put orders a.log").await.succeeds();
    world.run("put orders a.jsonl").await.fails_with(&["a.jsonl:1", "not JSON"]);

    let tail = world.run("tail orders --from horizon --no-follow --json").await.succeeds();
    assert!(tail.lines().count() == 1 && tail.contains("\"data\":\"//4=\""), "{tail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_file_without_the_column_or_with_an_open_quote_is_refused() {
    let world = World::start().await;
    world.write("a.csv", "id,side\n1,buy\n");
    world.write("open.csv", format!("id,side\n1,\"{}", "x\n".repeat(6 << 20)));

    world.run("put orders a.csv --key column:customer").await.fails_with(&["no column customer", "id, side"]);
    world.run("put orders open.csv").await.fails_with(&["open.csv cannot be read as CSV", "a quote is not closed"]);

    assert!(world.stored().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_that_cannot_be_written_end_the_put_with_the_place() {
    let world = World::start().await;
    world.write("a.jsonl", "{}\nbad\n{}\n");
    world.write("taken", "");

    world.run("put orders a.jsonl --failures taken").await.fails_with(&["taken exists", "--failures"]);
    let full = world.run("put orders a.jsonl --failures missing/folder").await;

    full.fails_with(&["cannot be written to missing/folder", "a.jsonl:2 and what follows may not be stored"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_region_is_named_where_the_stream_is_not_found() {
    let world = World::start().await;

    world.run("tail missing --region eu-west-1").await.fails_with(&["stream missing does not exist in eu-west-1"]);
    world.run("fleet missing --region eu-west-1").await.fails_with(&["missing does not exist in eu-west-1"]);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_for_the_output_is_named() {
    let world = World::start().await;
    world.put("k", "one").await;
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();

    for arguments in ["tail orders --from horizon --no-follow", "stream orders --json"] {
        let child = world.command(arguments).stdout(full()).spawn().unwrap();
        crate::support::ended(child).await.fails_with(&["stdout cannot be written", "No space left"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_no_file_that_looks_complete() {
    let world = World::start().await;
    world.put("k", "x".repeat(10_000)).await;
    let small = |arguments: &'static str| {
        crate::support::ended(world.limited("trap '' XFSZ; ulimit -f 2", arguments).spawn().unwrap())
    };

    small("replay orders --folder window --output raw").await.fails_with(&["window/shardId-", "cannot be written"]);
    let complete = std::fs::read_dir(world.path().join("window")).unwrap().filter_map(Result::ok);
    assert!(complete.map(|file| file.file_name().into_string().unwrap()).all(|name| name.ends_with(".part")));

    let worker = world.worker("w1");
    world.until_fleet("--no-lag", |fleet| fleet["leases"].as_array().unwrap().len() == 2).await;
    world.write("report.html", "the one before");
    small("report printer -o report.html").await.fails_with(&["report.html cannot be written"]);
    assert_eq!(world.read("report.html"), "the one before");
    assert_eq!(std::fs::read_dir(world.path()).unwrap().count(), 2, "nothing else is left");
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_worker_or_shard_of_a_fleet_is_named_and_nothing_changed() {
    let world = World::start().await;
    let worker = world.worker("w1");
    world.until_fleet("--no-lag", |fleet| fleet["leases"].as_array().unwrap().len() == 2).await;

    world.run("drain printer w9 --yes").await.fails_with(&["w9"]);
    let unknown = world.run("explain printer shardId-000000000009").await.succeeds();
    assert!(unknown.contains("there is no shardId-000000000009"), "{unknown}");
    world.run("stream split orders shardId-000000000000 --at 0% --yes").await.fails_with(&["cannot be split at 0"]);
    worker.stop().await.unwrap();
}
