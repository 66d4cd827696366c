//! The page of `kcl-multilang`, checked against its tables of properties.

use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../../docs/multilang.md");
const KEYS: &str = include_str!("../../../multilang/src/settings/keys.rs");

/// Texts in quotes within a table of `keys.rs`.
pub(crate) fn table(name: &str) -> Vec<&'static str> {
    let (_, table) = KEYS.split_once(&format!("const {name}:")).expect("the table is there");
    let (table, _) = table.split_once("];").expect("it ends");
    table.split('"').skip(1).step_by(2).collect()
}

#[test]
fn every_property_is_on_the_page() {
    // Those of polling are named by their prefix.
    let keys = table("HONOURED").into_iter().map(|key| key.trim_start_matches("pollingConfig."));
    let missing: Vec<&str> = keys.filter(|key| !PAGE.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/multilang.md lacks {missing:?}");
}

#[test]
fn properties_without_effect_are_on_the_page_with_their_reasons() {
    let mut keys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for pair in table("WITHOUT_EFFECT").chunks(2) {
        keys.entry(pair[1]).or_default().push(format!("`{}`", pair[0]));
    }
    assert!(keys.len() > 20, "{keys:?}");
    for (reason, keys) in keys {
        let row = format!("| {} | {reason} |", keys.join(", "));
        assert!(PAGE.contains(&row), "docs/multilang.md lacks {row}");
    }
}
