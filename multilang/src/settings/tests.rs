//! Every key with its meaning and default, and every error.

use std::time::UNIX_EPOCH;

use kcl::{InitialPosition, MetricsDimension, MetricsLevel};

use super::{consume::Read, keys::HONOURED, *};

const NEEDED: [(&str, &str); 4] = [
    ("executableName", "node app.js  --fast"),
    ("applicationName", "App"),
    ("streamName", "Stream"),
    ("AwsCredentialsProvider", "DefaultCredentialsProvider"),
];

fn with(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let all = NEEDED.iter().chain(pairs);
    Settings::of(all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

fn set(key: &str, value: &str) -> Settings {
    with(&[(key, value)]).unwrap()
}

fn refusal(key: &str, value: &str) -> String {
    with(&[(key, value)]).unwrap_err().to_string()
}

#[test]
fn needed_keys_are_named_when_they_are_missing() {
    for (missing, _) in NEEDED {
        let rest = NEEDED.iter().filter(|(key, _)| *key != missing);
        let error = Settings::of(rest.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{missing} is missing: ")), "{error}");
        assert!(refusal(missing, " ").starts_with(&format!("{missing} is missing: ")), "empty counts as missing");
    }
}

#[test]
fn defaults_are_those_of_the_daemon_for_java_but_for_time_limits() {
    let settings = with(&[]).unwrap();
    let consume = &settings.consume;

    assert_eq!(settings.executable, ["node", "app.js", "--fast"]);
    assert_eq!((consume.application.as_str(), consume.stream.as_str()), ("App", "Stream"));
    assert_eq!((consume.table.as_deref(), consume.worker_id.as_deref()), (None, None));
    assert_eq!(consume.initial_position, InitialPosition::Latest);
    assert_eq!(consume.read, Read::FanOut { name: None, arn: None });
    assert_eq!((consume.max_records, consume.lease_duration), (10_000, Duration::from_secs(10)));
    assert_eq!((consume.metrics_level, &consume.dimensions), (MetricsLevel::Detailed, &None));
    assert_eq!((consume.shutdown_grace, settings.call_limit), (Duration::from_secs(30), Duration::from_secs(3600)));
    assert_eq!((settings.exit_limit, consume.give_up.clone()), (Duration::from_secs(10), GiveUp::Never));
    let tables = ("App-CoordinatorState".to_owned(), "App-WorkerMetricStats".to_owned());
    assert_eq!(consume.legacy_tables, tables);
    assert_eq!((settings.notes.len(), settings.taken.len()), (0, 4));
}

#[test]
fn an_arn_wins_and_only_its_name_counts() {
    for arn in ["arn:aws:kinesis:eu-west-1:1:stream/Other", "arn:aws:kinesis:eu-west-1:1:stream/Other/consumer/c:17"] {
        assert_eq!(set("streamArn", arn).consume.stream, "Other");
    }
    assert_eq!(set("streamArn", "").consume.stream, "Stream");
    for arn in ["X", "arn:aws:sqs:eu-west-1:1:stream/Other", "arn:aws:kinesis:eu-west-1:1:Other"] {
        assert!(refusal("streamArn", arn).starts_with(&format!("streamArn is {arn:?}, accepted: an ARN")));
    }
}

#[test]
fn positions_are_words_or_a_time_which_wins() {
    let position = |pairs: &[(&str, &str)]| with(pairs).unwrap().consume.initial_position;
    assert_eq!(position(&[("initialPositionInStream", "trim_horizon")]), InitialPosition::TrimHorizon);
    let time = InitialPosition::AtTimestamp(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let extended = ("initialPositionInStreamExtended", "1700000000");
    assert_eq!(position(&[extended, ("initialPositionInStream", "TRIM_HORIZON")]), time);
    assert_eq!(position(&[extended, ("initialPositionInStream", "AT_TIMESTAMP")]), time);
    assert!(refusal("initialPositionInStream", "AT_TIMESTAMP").contains("initialPositionInStreamExtended"));
    assert!(
        refusal("initialPositionInStreamExtended", "abc").ends_with("accepted: a time in whole seconds since 1970")
    );
}

#[test]
fn fan_out_is_the_default_unless_polling_is_set() {
    let read = |pairs: &[(&str, &str)]| with(pairs).unwrap().consume.read;
    let polling = |millis| Read::Polling { idle: Duration::from_millis(millis) };
    assert_eq!(read(&[("retrievalMode", "Polling")]), polling(1500));
    assert_eq!(read(&[("idleTimeBetweenReadsInMillis", "500")]), polling(500));
    assert_eq!(read(&[("pollingConfig.idleTimeBetweenReadsInMillis", "20")]), polling(200));
    assert_eq!(read(&[("maxRecords", "100"), ("retrievalMode", "DEFAULT")]), polling(1500));
    let name = ("fanoutConfig.consumerName", "c");
    let named = Read::FanOut { name: Some("c".to_owned()), arn: None };
    assert_eq!(read(&[name, ("retrievalMode", "FANOUT"), ("maxRecords", "100")]), named);
    assert!(refusal("retrievalMode", "PULL").ends_with("accepted: one of FANOUT, POLLING, DEFAULT"));
}

#[test]
fn numbers_are_bounded_and_refused_by_name() {
    assert_eq!(set("maxRecords", "500").consume.max_records, 500);
    assert_eq!(set("pollingConfig.maxRecords", "7").consume.max_records, 7);
    assert!(refusal("maxRecords", "10001").ends_with("accepted: a whole number from 1 to 10000"));
    assert_eq!(set("memoryBudgetMiB", "0").consume.memory_budget, None);
    assert_eq!(set("memoryBudgetMiB", "256").consume.memory_budget, Some(256 << 20));
    for value in ["-1", "x", "99999999999999999"] {
        assert!(refusal("memoryBudgetMiB", value).ends_with("accepted: a whole number of MiB from 1"));
    }
    assert_eq!(set("failoverTimeMillis", "30000").consume.lease_duration, Duration::from_secs(30));
    assert_eq!(set("failoverTimeMillis", "0").consume.lease_duration, Duration::from_secs(10));
    assert_eq!(refusal("failoverTimeMillis", "abc"), "failoverTimeMillis is \"abc\", accepted: a whole number from 0");
    assert_eq!(set("gracefulLeaseHandoffTimeoutMillis", "0").consume.handoff_timeout, Some(Duration::ZERO));
    assert_eq!(set("maxLeasesForWorker", "3").consume.max_leases, Some(3));
    assert_eq!(set("timeoutInSeconds", "20").call_limit, Duration::from_secs(20));
    for value in ["0", "-1", "x"] {
        assert!(refusal("timeoutInSeconds", value).ends_with("accepted: a whole number of seconds from 1"));
    }
}

#[test]
fn metrics_have_a_level_and_dimensions() {
    assert_eq!(set("metricsLevel", "none").consume.metrics_level, MetricsLevel::None);
    let some = set("metricsEnabledDimensions", "Operation, WorkerIdentifier").consume.dimensions;
    assert_eq!(some, Some(vec![MetricsDimension::Operation, MetricsDimension::WorkerIdentifier]));
    assert_eq!(set("metricsEnabledDimensions", "Operation,ALL").consume.dimensions, None);
    assert!(refusal("metricsEnabledDimensions", "Colour").contains("ALL, or a comma list"));
}

#[test]
fn a_dead_letter_file_makes_the_policy() {
    assert_eq!(set("deadLetterFile", "/a").consume.give_up, GiveUp::DeadLetter("/a".into()));
    assert_eq!(set("processorErrorPolicy", "skip").consume.give_up, GiveUp::Skip);
    assert_eq!(set("processorErrorPolicy", "STOP_SHARD").consume.give_up, GiveUp::StopShard);
    assert!(refusal("processorErrorPolicy", "DEAD_LETTER").starts_with("deadLetterFile is missing"));
    assert_eq!(set("processorErrorAttempts", "2").consume.attempts, 2);
}

#[test]
fn services_have_addresses_regions_and_credentials_of_their_own() {
    let settings = with(&[
        ("regionName", "eu-west-1"),
        ("kinesisEndpoint", "http://127.0.0.1:1"),
        ("dynamoDBEndpoint", "http://127.0.0.1:2"),
        ("dynamoDbClient.endpointOverride", "https://db"),
        ("cloudWatchClient.endpointOverride", "http://127.0.0.1:3"),
        ("kinesisClient.region", "us-east-1"),
        ("awsCredentialsProviderDynamoDB", "EnvironmentVariableCredentialsProvider"),
    ]);
    let aws = settings.unwrap().aws;
    assert_eq!((aws.region.as_deref(), aws.kinesis.region.as_deref()), (Some("eu-west-1"), Some("us-east-1")));
    let endpoints = [&aws.kinesis, &aws.dynamodb, &aws.cloudwatch].map(|service| service.endpoint.clone().unwrap());
    assert_eq!(endpoints, ["http://127.0.0.1:1", "https://db", "http://127.0.0.1:3"]);
    assert_eq!(
        (aws.dynamodb.credentials, aws.cloudwatch.credentials),
        (vec![Credentials::Environment], vec![Credentials::Default])
    );
    assert!(refusal("kinesisEndpoint", "localhost:1").ends_with("accepted: a URL with http:// or https://"));
}

#[test]
fn a_fleet_with_workers_of_2_x_is_refused() {
    set("clientVersionConfig", "CLIENT_VERSION_CONFIG_3X");
    assert!(
        refusal("clientVersionConfig", "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X").contains("CLIENT_VERSION_CONFIG_3X")
    );
}

#[test]
fn keys_without_effect_are_named() {
    let settings =
        with(&[("maxActiveThreads", "0"), ("RetrievalMode", "POLLING"), ("isGracefulLeaseHandoffEnabled", "false")]);

    assert_eq!(
        settings.unwrap().notes,
        [
            "isGracefulLeaseHandoffEnabled = false has no effect: leases are always handed over in good order",
            "RetrievalMode is unknown and has no effect; is retrievalMode meant?",
            "maxActiveThreads has no effect: a child takes no thread",
        ]
    );
}

#[test]
fn the_list_of_keys_is_what_is_asked_for() {
    let entries = NEEDED.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let reader = Reader::new(entries);
    Consume::read(&reader, &mut Vec::new()).unwrap();
    Aws::read(&reader).unwrap();
    for own in ["executableName", "timeoutInSeconds", "childExitMillis", "probeAddress"] {
        let _ = reader.text(own);
    }

    let mut listed: Vec<&str> = HONOURED.to_vec();
    listed.sort_unstable();
    assert_eq!(reader.asked().iter().map(String::as_str).collect::<Vec<_>>(), listed);
}

#[test]
fn a_file_and_the_environment_are_read_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.properties");
    let text: String = NEEDED.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    std::fs::write(&path, text).unwrap();
    let variables = [("KCL_MULTILANG_STREAM_NAME", "Env"), ("KCL_MULTILANG_STREAM_NAMES", "x")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));

    let settings = Settings::read(Some(&path), variables.into_iter()).unwrap();

    assert_eq!(settings.consume.stream, "Env");
    assert_eq!(settings.notes(), ["KCL_MULTILANG_STREAM_NAMES is unknown and has no effect"]);
}

#[test]
fn settings_that_are_not_there_are_an_error_with_the_next_step() {
    let error = |file: Option<&str>| Settings::read(file.map(Path::new), std::iter::empty()).unwrap_err().to_string();

    assert!(error(None).starts_with("there are no settings: name a file, as in kcl-multilang app.properties, or set"));
    let missing = error(Some("/no/such.properties"));
    assert!(missing.starts_with("/no/such.properties cannot be read: No such file"), "{missing}");
    assert!(missing.ends_with("; give the path of the file of properties"), "{missing}");
    let here = std::env::current_dir().unwrap();
    let relative = format!("; it was looked for in the folder {}: start there, or give its whole path", here.display());
    assert!(error(Some("no-such.properties")).ends_with(&relative));
    assert!(error(Some("/")).ends_with("; give a file that this user may read"));
}
