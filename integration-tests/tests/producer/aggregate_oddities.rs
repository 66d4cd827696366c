//! Records that look like aggregates and are damaged. The same file tells what the KCL for
//! Java makes of them, which `.ci/peers aggregation-java` checks.

use bytes::Bytes;
use kpl::aggregated::Deaggregator;

/// Lines of: the record, what the KCL makes of it, and what is made of it here; see
/// `kpl/examples/aggregation_cases.rs` for the format.
const ODDITIES: &str = include_str!("../../interop/aggregates/oddities.txt");

fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn odd_aggregates_lose_nothing() {
    let lines: Vec<&str> = ODDITIES.lines().collect();
    assert_eq!(lines.len(), 15);
    for line in lines {
        let [record, _java, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("three columns: {line}")
        };

        let found = Deaggregator::new().deaggregate("a", &bytes(record));

        let shown = found.records.iter().map(|record| {
            let hash_key = record.explicit_hash_key.map(|key| key.to_string()).unwrap_or_default();
            format!("{}:{hash_key}:{}", hex(record.partition_key.as_bytes()), hex(&record.data))
        });
        let shown: Vec<String> = shown.collect();
        let plain = [format!("{}::{record}", hex(b"a"))];
        let shown = if shown == plain { "plain".to_owned() } else { shown.join(",") };
        assert_eq!(shown, expected, "{record}");
    }
}
