//! The pages on migration, checked against the code. `.ci/peers migrate` checks them against Java.

use std::collections::BTreeSet;

use aws_types::SdkConfig;

use crate::{collect_sources, properties::table};

const PRODUCER: &str = include_str!("../../../docs/migrate/producer.md");
const CONSUMER: &str = include_str!("../../../docs/migrate/consumer.md");
const MULTILANG: &str = include_str!("../../../docs/migrate/multilang.md");

/// A row of a page's tables of settings: Java's name, ours, our default, the difference.
struct Row {
    name: &'static str,
    ours: &'static str,
    default: &'static str,
    note: &'static str,
}

fn rows(page: &'static str) -> Vec<Row> {
    let (_, settings) = page.split_once("\n## Settings\n").expect("there are tables of settings");
    let rows = settings.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.strip_suffix(" |")?.split(" | ").collect();
        let [name, _, ours, default, note] = cells.as_slice() else { panic!("a row has five cells: {line}") };
        Some(Row { name: name.trim_end_matches('`'), ours, default, note })
    });
    rows.collect()
}

/// Names in a cell, without the types that they belong to.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).filter_map(|name| name.rsplit("::").next())
}

#[test]
fn settings_of_ours_that_the_pages_name_are_public() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (page, folder) in [(PRODUCER, "kpl/src"), (CONSUMER, "kcl/src")] {
        let mut sources = String::new();
        collect_sources(&root.join(folder), &mut sources);
        collect_sources(&root.join("cloudwatch/src"), &mut sources);
        let is_public = |name: &str| {
            let forms = [format!("pub fn {name}("), format!("pub fn {name}<"), format!("pub async fn {name}(")];
            name == "SdkConfig" || forms.iter().any(|form| sources.contains(form))
        };
        let found: BTreeSet<&str> = rows(page).iter().flat_map(|row| names(row.ours)).collect();
        let private: Vec<&&str> = found.iter().filter(|name| !is_public(name)).collect();

        assert!(found.len() > 15, "only {found:?} in {folder}");
        assert_eq!(private, [&""; 0], "in {folder}");
    }
}

/// Value of a field as `Debug` writes it, without its parts.
fn shown<'a>(settings: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = settings.split_once(&format!(" {name}: "))?;
    let value = value.strip_prefix("Some(").unwrap_or(value);
    value.split([',', ' ', '(', ')', '}']).next()
}

/// A default of a page as `Debug` writes it; None if it is in words.
fn written(default: &str) -> Option<String> {
    match default {
        "none" => Some("None".to_owned()),
        "no limit" => Some(usize::MAX.to_string()),
        _ if default.starts_with('`') => names(default).next().map(str::to_owned),
        _ => default.split_once(' ').filter(|(_, unit)| ["ms", "s"].contains(unit)).map(|_| default.replace(' ', "")),
    }
}

#[test]
fn defaults_of_ours_on_the_pages_are_those_of_the_builders() {
    let aws = SdkConfig::builder().behavior_version(aws_sdk_kinesis::config::BehaviorVersion::latest()).build();
    let cloudwatch = format!("{:?}", kinesis_cloudwatch::builder(&aws));
    let producer = format!("{:?}", kpl::Producer::builder(&aws, "orders"));
    let worker = format!("{:?}", kcl::Worker::builder(&aws, "printer", "orders"));
    let (_, worker) = worker.split_once(" settings: ").expect("a worker shows its settings");

    for (page, builder, least) in [(PRODUCER, producer.as_str(), 14), (CONSUMER, worker, 10)] {
        let builders = format!("{builder} {cloudwatch}");
        let mut compared = BTreeSet::new();
        for row in rows(page) {
            let Some((name, default)) = names(row.ours).next().zip(written(row.default)) else { continue };
            let field =
                ["with_", "metrics_", "prefetch_"].iter().fold(name, |name, part| name.trim_start_matches(part));
            if let Some(value) = shown(&builders, field) {
                assert_eq!(value, default, "{} in the place of {}", name, row.name);
                compared.insert(name);
            }
        }
        assert!(compared.len() >= least, "only {compared:?}");
    }
}

#[test]
fn keys_without_effect_have_the_reason_that_the_daemon_gives() {
    let (honoured, without) = (table("HONOURED"), table("WITHOUT_EFFECT"));
    let reason = |key: &str| without.chunks(2).find(|pair| pair[0] == key).map(|pair| pair[1]);
    let rows = rows(MULTILANG);

    assert!(rows.len() > 60, "only {} rows", rows.len());
    for row in rows {
        match row.ours {
            "the same" => assert!(honoured.contains(&row.name), "{} has no effect", row.name),
            _ => {
                assert!(!honoured.contains(&row.name), "{} has an effect", row.name);
                assert_eq!(row.note, reason(row.name).unwrap_or(row.note), "{}", row.name);
            }
        }
    }
}
