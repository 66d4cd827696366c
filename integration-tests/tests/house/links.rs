//! Links of all pages: each leads to a file or folder that exists, and to a heading that is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

/// Folders that have no pages of ours.
const LEFT_OUT: [&str; 4] = ["target", "book", "node_modules", "fuzz"];

/// Lines of a page outside of its blocks of code, without what is written as code in them.
fn prose(text: &str) -> impl Iterator<Item = String> {
    let mut in_block = false;
    text.lines().filter_map(move |line| {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            return None;
        }
        (!in_block).then(|| line.split('`').step_by(2).collect::<Vec<_>>().join("`"))
    })
}

/// Targets of the links in a page.
fn links(text: &str) -> Vec<String> {
    let targets = prose(text).flat_map(|line| {
        let ends =
            line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned());
        ends.collect::<Vec<_>>()
    });
    targets.filter(|target| !target.is_empty()).collect()
}

/// Anchors of a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_block = false;
    let headings = text.lines().filter(|line| {
        in_block ^= line.starts_with("```");
        !in_block && line.starts_with('#')
    });
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
        plain
    })
}

/// Pages below a folder, by their paths.
fn pages(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') && !LEFT_OUT.contains(&name) {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(&path).expect("a page can be read");
            found.insert(path, text);
        }
    }
}

#[test]
fn links_of_all_pages_lead_to_what_exists() {
    let root = plain(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let mut found = BTreeMap::new();
    pages(&root, &mut found);
    let (mut count, mut broken) = (0, Vec::new());
    for (page, text) in &found {
        for link in links(text).into_iter().filter(|link| !link.contains("://")) {
            count += 1;
            let (file, part) = link.split_once('#').map_or((link.as_str(), None), |(file, part)| (file, Some(part)));
            let folder = page.parent().expect("a page is in a folder");
            let target = if file.is_empty() { page.clone() } else { plain(&folder.join(file)) };
            let there = match part {
                None => target.exists(),
                Some(part) => found.get(&target).is_some_and(|text| anchors(text).contains(part)),
            };
            if !there {
                broken.push(format!("{}: {link}", page.strip_prefix(&root).unwrap_or(page).display()));
            }
        }
    }
    assert!(count > 150, "only {count} links in {} pages", found.len());
    assert_eq!(broken, [""; 0]);
}

#[test]
fn every_page_of_the_guide_is_in_its_summary() {
    let docs = plain(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs"));
    let mut found = BTreeMap::new();
    pages(&docs, &mut found);
    let summary = found.remove(&docs.join("SUMMARY.md")).expect("there is a summary");
    let listed: BTreeSet<PathBuf> = links(&summary).iter().map(|link| docs.join(link)).collect();
    let left_out: Vec<&PathBuf> = found.keys().filter(|page| !listed.contains(*page)).collect();

    assert!(found.len() > 20, "only {} pages", found.len());
    assert_eq!(left_out, Vec::<&PathBuf>::new());
}

#[test]
fn anchors_and_links_are_found_as_a_page_writes_them() {
    assert_eq!(anchor("`kds watch APP`"), "kds-watch-app");
    assert_eq!(anchor("Prometheus, and others"), "prometheus-and-others");
    assert_eq!(links("See [a](b.md#c), `[no](link)` and ![d](e.png).\n```\n[f](g)\n```"), ["b.md#c", "e.png"]);
    assert_eq!(anchors("# A b\n```sh\n# no heading\n```\n## C"), BTreeSet::from(["a-b".to_owned(), "c".to_owned()]));
}
