//! The conformance suite against the embedded services, and against another emulator in process.

use std::collections::BTreeSet;

use integration_tests::conformance::{self, Divergences, Peer};
use kinesis_local::LocalAws;

/// An embedded AWS of a check's own.
async fn ours() -> Peer {
    let config = LocalAws::start().await.sdk_config();
    Peer::new(&config).with_dynamodb(&config).with_virtual_time()
}

#[tokio::test(start_paused = true)]
async fn the_embedded_services_pass_every_check() {
    let checks = conformance::checks();

    let report = conformance::run(&checks, ours, 1, &Divergences::default()).await;

    println!("{report}");
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.passed(), checks.len());
}

#[test]
fn every_check_has_a_name_of_its_own_and_a_source() {
    let checks = conformance::checks();

    let names: BTreeSet<_> = checks.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), checks.len());
    assert!(checks.len() >= 80, "{} checks", checks.len());
    let has_source =
        |source: &str| source.starts_with("https://docs.aws.amazon.com/") || source.starts_with("observed");
    assert!(checks.iter().all(|check| has_source(check.source)));
}
