//! The dashboards and alarms of `deploy/` name nothing that the libraries do not record, in any of their languages.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use kpl::metric::{Metric, MetricKind};
use serde_json::Value;

/// Metrics of the services that the dashboard shows, by namespace. docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html,
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
const OF_SERVICES: [(&str, &[&str]); 2] = [
    (
        "AWS/Kinesis",
        &[
            "GetRecords.Bytes",
            "GetRecords.IteratorAgeMilliseconds",
            "IncomingBytes",
            "ReadProvisionedThroughputExceeded",
            "WriteProvisionedThroughputExceeded",
        ],
    ),
    (
        "AWS/DynamoDB",
        &["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits", "ReadThrottleEvents", "WriteThrottleEvents"],
    ),
];
const PRODUCER: &str = "KinesisProducerLibrary";
const APPLICATION: &str = "${application}";

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A metric as a dashboard or an alarm names it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
    /// By a SELECT.
    by_query: bool,
}

impl Named {
    #[track_caller]
    fn assert_is_recorded(&self) {
        let Self { namespace, name, dimensions, .. } = self;
        // A query finds a metric by any of its dimensions; else CloudWatch wants all of them. A producer's are published by
        // stream, too, and an application of one stream has no StreamId.
        let is_whole = |metric: &Metric| {
            let needed =
                |dimension: &&&str| !matches!(**dimension, "StreamId") && !dimensions.contains_key(**dimension);
            self.by_query || *namespace == PRODUCER || metric.dimensions.iter().find(needed).is_none()
        };
        let has = |metric: &&Metric| {
            let own = |(dimension, value): (&String, &String)| match &**dimension {
                "Operation" => metric.operation == Some(value),
                other => metric.dimensions.contains(&other),
            };
            metric.name == name && dimensions.iter().all(own) && is_whole(metric)
        };
        let is_recorded = match &**namespace {
            PRODUCER => kpl::METRICS.iter().any(|metric| has(&metric)),
            APPLICATION => kcl::METRICS.iter().any(|metric| has(&metric)),
            service => OF_SERVICES.iter().any(|(of, names)| *of == service && names.contains(&&**name)),
        };
        assert!(is_recorded, "nobody records {self:?}");
    }
}

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

/// The metric of a SEARCH or a SELECT.
fn named_by_expression(expression: &str) -> Named {
    let mut dimensions = BTreeMap::new();
    let (namespace, name) = if expression.starts_with("SEARCH(") {
        let schema = between(expression, "'{", "} MetricName").expect("it has a schema");
        let mut schema = schema.split(',').map(|part| part.trim_matches('"'));
        let namespace = schema.next().expect("it has a namespace");
        dimensions.extend(schema.filter(|name| *name != "Operation").map(|name| (name.to_owned(), String::new())));
        if let Some(operation) = between(expression, "Operation=\"", "\"") {
            dimensions.insert("Operation".to_owned(), operation.to_owned());
        }
        (namespace, between(expression, "MetricName=\"", "\"").expect("it has a name"))
    } else {
        let operation = between(expression, "Operation = '", "'").expect("it has an operation");
        dimensions.insert("Operation".to_owned(), operation.to_owned());
        let name = between(expression, "(", ")").expect("it has a name").trim_matches('"');
        (between(expression, "FROM \"", "\"").expect("it has a namespace"), name)
    };
    let by_query = expression.starts_with("SELECT");
    Named { namespace: namespace.to_owned(), name: name.to_owned(), dimensions, by_query }
}

/// The metric of an entry of a widget.
fn named_by_entry(entry: &Value) -> Named {
    let parts = entry.as_array().expect("it is a list");
    if let Some(expression) = parts[0].get("expression") {
        return named_by_expression(expression.as_str().expect("it is text"));
    }
    let texts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
    let dimensions = texts[2..].chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
    let dimensions = dimensions.collect();
    Named { namespace: texts[0].to_owned(), name: texts[1].to_owned(), dimensions, by_query: false }
}

#[test]
fn the_dashboard_shows_what_is_recorded() {
    let dashboard: Value = serde_json::from_str(&file("cloudwatch/dashboard.json")).expect("it is JSON");
    let widgets = dashboard["widgets"].as_array().expect("it has widgets");
    let metrics = widgets.iter().filter_map(|widget| widget["properties"]["metrics"].as_array()).flatten();
    let named: Vec<Named> = metrics.map(named_by_entry).collect();

    assert!(named.len() >= 40, "{}", named.len());
    named.iter().for_each(Named::assert_is_recorded);
}

/// The alarms of the CloudFormation template: name, metric, and the lines that say when it rises.
fn alarms_of_cloudformation() -> BTreeMap<String, (Named, Vec<String>)> {
    let template = file("cloudwatch/cloudformation.yaml");
    let mut alarms = BTreeMap::new();
    for alarm in template.split("\n\n").filter(|part| part.contains("Type: AWS::CloudWatch::Alarm")) {
        let value = |key: &str| {
            let line = alarm.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
            line.map(|value| value.replace("!Ref ApplicationName", APPLICATION))
        };
        let named = match value("MetricName") {
            Some(name) => {
                let names = alarm.lines().filter_map(|line| line.trim().strip_prefix("- Name: "));
                let values = alarm.lines().filter_map(|line| line.trim().strip_prefix("Value: "));
                let dimensions = names.zip(values).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                let namespace = value("Namespace").expect("it has a namespace");
                Named { namespace, name, dimensions, by_query: false }
            }
            None => {
                let line = alarm.lines().find_map(|line| line.trim().strip_prefix("- \"")).expect("it has a query");
                named_by_expression(&line.trim_end_matches('"').replace("\\\"", "\""))
            }
        };
        let name = between(alarm, "${ApplicationName}-", "\"").expect("it has a name");
        let keys = ["MetricName", "Statistic", "Period", "EvaluationPeriods", "ComparisonOperator", "Threshold"];
        let rises = keys.into_iter().chain(["TreatMissingData"]).map(|key| {
            let value = value(key).unwrap_or_default().replace("!Ref MaxLagMillis", "var.max_lag_millis");
            format!("{key} {value}")
        });
        alarms.insert(name.to_owned(), (named, rises.collect()));
    }
    alarms
}

#[test]
fn alarms_rise_by_what_is_recorded() {
    let alarms = alarms_of_cloudformation();

    assert!(alarms.len() >= 12, "{alarms:?}");
    alarms.values().for_each(|(named, _)| named.assert_is_recorded());
}

#[test]
fn cloudformation_has_the_dashboard_of_the_file_and_terraform_the_same_alarms() {
    let template = file("cloudwatch/cloudformation.yaml");
    let body = between(&template, "        - |\n", "        - region:").expect("it has a dashboard");
    let body: String =
        body.lines().map(|line| format!("{}\n", line.strip_prefix("          ").unwrap_or(line))).collect();
    assert_eq!(body, file("cloudwatch/dashboard.json"));

    let terraform = file("cloudwatch/terraform/main.tf");
    let mut alarms = BTreeMap::new();
    for alarm in terraform.split("\n\nresource ").filter(|part| part.contains("aws_cloudwatch_metric_alarm")) {
        let value = |key: &str| {
            let of_key = |line: &str| line.trim().strip_prefix(key)?.trim_start().strip_prefix("= ").map(str::to_owned);
            alarm.lines().find_map(of_key).unwrap_or_default().trim_matches('"').to_owned()
        };
        let rises = [
            ("MetricName", "metric_name"),
            ("Statistic", "statistic"),
            ("Period", "period"),
            ("EvaluationPeriods", "evaluation_periods"),
            ("ComparisonOperator", "comparison_operator"),
            ("Threshold", "threshold"),
            ("TreatMissingData", "treat_missing_data"),
        ];
        let rises = rises.map(|(key, argument)| format!("{key} {}", value(argument)));
        alarms.insert(value("alarm_name").replace("${var.application}-", ""), rises.to_vec());
    }
    let expected: BTreeMap<_, _> =
        alarms_of_cloudformation().into_iter().map(|(name, (_, rises))| (name, rises)).collect();
    assert_eq!(alarms, expected);
}

/// Arguments of the resources, and which of them must be there. Source: types of the provider hashicorp/aws 6.25.0, in the npm
/// package @cdktf/provider-aws 21.22.1.
const ARGUMENTS: [(&str, &str, &str); 3] = [
    (
        "aws_cloudwatch_metric_alarm",
        "alarm_name comparison_operator evaluation_periods",
        "actions_enabled alarm_actions alarm_description datapoints_to_alarm dimensions evaluate_low_sample_count_percentiles \
         extended_statistic insufficient_data_actions metric_name metric_query namespace ok_actions period region statistic \
         tags threshold threshold_metric_id treat_missing_data unit",
    ),
    ("metric_query", "id", "account_id expression label metric period return_data"),
    ("aws_cloudwatch_dashboard", "dashboard_body dashboard_name", "region"),
];

/// Arguments and blocks at an indentation.
fn arguments(block: &str, indentation: usize) -> BTreeSet<&str> {
    let is_here = |line: &&str| line.len() - line.trim_start().len() == indentation;
    let parts = block.lines().filter(is_here).filter_map(|line| line.trim_start().split_once(' '));
    parts.filter(|(_, rest)| rest.trim_start().starts_with(['=', '{'])).map(|(name, _)| name).collect()
}

#[track_caller]
fn assert_provider_has(kind: &str, found: &BTreeSet<&str>) {
    let (_, needed, further) = ARGUMENTS.iter().find(|(of, ..)| *of == kind).expect("it is in the table");
    let needed: BTreeSet<&str> = needed.split(' ').collect();
    let all: BTreeSet<&str> = needed.iter().copied().chain(further.split(' ')).collect();
    assert!(needed.is_subset(found), "{kind} lacks one of {needed:?}: {found:?}");
    assert!(found.is_subset(&all), "{kind} has no {:?}", found.difference(&all));
}

#[test]
fn terraform_gives_resources_the_arguments_that_the_provider_knows() {
    let terraform = file("cloudwatch/terraform/main.tf");
    let mut resources = 0;
    for resource in terraform.split("\n\nresource ").skip(1) {
        let kind = between(resource, "\"", "\"").expect("it has a type");
        assert_provider_has(kind, &arguments(resource, 2));
        for query in resource.split("\n  metric_query {\n").skip(1) {
            let query = query.split("\n  }").next().expect("it ends");
            assert_provider_has("metric_query", &arguments(query, 4));
        }
        resources += 1;
    }
    assert!(resources >= 13, "{resources}");
}

#[test]
#[should_panic(expected = "has no")]
fn an_argument_that_the_provider_does_not_know_is_noticed() {
    let resource = "  dashboard_body = x\n  dashboard_name = y\n  dashboard = z\n";
    assert_provider_has("aws_cloudwatch_dashboard", &arguments(resource, 2));
}

/// Names of metrics in queries, and the operation that each query selects.
fn named_by_queries(text: &str) -> BTreeSet<(String, Option<String>)> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let mut named = BTreeSet::new();
    for (at, _) in text.match_indices("kpl_").chain(text.match_indices("kcl_")) {
        if text[..at].ends_with(is_part) {
            continue;
        }
        let rest = &text[at..];
        let name = rest.split(|char| !is_part(char)).next().unwrap_or_default();
        let selector = rest[name.len()..].strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        let operation = between(selector, "Operation=\\\"", "\\\"").or_else(|| between(selector, "Operation=\"", "\""));
        named.insert((name.to_owned(), operation.map(str::to_owned)));
    }
    named
}

#[test]
fn queries_of_prometheus_and_grafana_ask_for_what_is_recorded() {
    let mut named = named_by_queries(&file("prometheus/rules.yml"));
    assert!(named.len() >= 10, "{named:?}");
    named.extend(named_by_queries(&file("grafana/dashboard.json")));
    assert!(named.len() >= 30, "{named:?}");

    let all: Vec<&Metric> = kpl::METRICS.iter().chain(kcl::METRICS).collect();
    for (name, operation) in named {
        let is_recorded = all.iter().any(|metric| {
            let of_values = ["_sum", "_count"].map(|suffix| format!("{}{suffix}", metric.prefixed_name()));
            let has_name = match metric.kind {
                MetricKind::Histogram => of_values.contains(&name),
                _ => metric.prefixed_name() == name,
            };
            has_name && operation.as_deref().is_none_or(|operation| metric.operation == Some(operation))
        });
        assert!(is_recorded, "nobody records {name} of {operation:?}");
    }
}

#[test]
fn a_query_for_a_metric_that_is_not_recorded_is_noticed() {
    let named = named_by_queries("rate(kcl_no_such_metric{Operation=\"ProcessTask\"}[5m]) / my_kcl_thing");

    assert_eq!(named, BTreeSet::from([("kcl_no_such_metric".to_owned(), Some("ProcessTask".to_owned()))]));
}

/// Metrics that AWS's pages on monitoring the KPL and the KCL describe, by operation; the KPL's have none.
/// docs.aws.amazon.com/streams/latest/dev/monitoring-with-kpl.html, docs.aws.amazon.com/streams/latest/dev/monitoring-with-kcl.html
const ON_AWSS_PAGES: [(&str, &str); 8] = [
    (
        "",
        "UserRecordsReceived UserRecordsPending UserRecordsPut UserRecordsDataPut KinesisRecordsPut \
         KinesisRecordsDataPut ErrorsByCode AllErrors RetriesPerRecord BufferingTime RequestTime \
         UserRecordsPerKinesisRecord KinesisRecordsPerPutRecordsRequest UserRecordsPerPutRecordsRequest",
    ),
    (
        "LeaseAssignmentManager",
        "LeaseAndWorkerMetricsLoad.Time TotalLeases NumWorkers NumWorkersWithFailingWorkerMetric \
         ExpiredLeases LeaseSpillover NumOfLeasesReassignment FailedAssignmentCount Success Time",
    ),
    ("InitializeTask", "RecordProcessor.initialize.Time Success"),
    (
        "ShutdownTask",
        "CreateLease.Success CreateLease.Time UpdateLease.Success UpdateLease.Time \
         RecordProcessor.shutdown.Time Success Time",
    ),
    ("ShardSyncTask", "CreateLease.Success CreateLease.Time Success Time"),
    ("PeriodicShardSyncManager", "NumStreamsWithPartialLeases NumStreamsToSync Success Time"),
    ("RenewAllLeases", "RenewLease.Success RenewLease.Time CurrentLeases LostLeases Success Time"),
    (
        "ProcessTask",
        "KinesisDataFetcher.getRecords.Success KinesisDataFetcher.getRecords.Time UpdateLease.Success \
         UpdateLease.Time DataBytesProcessed RecordsProcessed ExpiredIterator MillisBehindLatest \
         RecordProcessor.processRecords.Time Success Time",
    ),
];

#[test]
fn the_metrics_of_awss_pages_are_recorded() {
    for (operation, names) in ON_AWSS_PAGES {
        for name in names.split_whitespace() {
            let table = if operation.is_empty() { kpl::METRICS } else { kcl::METRICS };
            let has = |metric: &Metric| metric.name == name && metric.operation.unwrap_or_default() == operation;
            assert!(table.iter().any(has), "{operation} {name}");
        }
    }
}
