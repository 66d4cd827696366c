//! Floors of `kpl`, `kcl`, `cloudwatch` and `multilang`: a file imports from its own folder or from a lower floor, and `logic` does no I/O.

mod links;
mod metrics;
mod migration;
mod properties;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Library, Path};

/// Folders of `kpl`, a floor a line, lowest first. A file `foo.rs` at the top belongs to folder `foo`.
const KPL: &[&[&str]] = &[
    &["locked", "digest", "metric", "record_number", "repeats", "shared_text", "trace_context"],
    &["compressed", "hash_key", "id"],
    &["record"],
    &["aggregated", "error"],
    &["config", "delivered", "health", "stream"],
    &["event", "kinesis", "settings"],
    &["logic"],
    &["delivery"],
    &["intake"],
    &["context"],
    &["pipeline"],
    &["streams"],
    &["producer", "testing"],
];

/// Folders of `kcl`, a floor a line, lowest first.
const KCL: &[&[&str]] = &[
    &["locked", "model"],
    &["error", "logic", "time"],
    &["calls", "clock", "contained", "cpu", "metrics"],
    &["event", "settings"],
    &["kinesis", "table"],
    &["stream"],
    &["context"],
    &["keeper", "coordination", "retrieval"],
    &["checkpointer"],
    &["processor"],
    &["shard"],
    &["worker"],
    &["consume", "admin", "dead_letters"],
    &["testing", "bench"],
];

/// Folders of `cloudwatch`, a floor a line, lowest first.
const CLOUDWATCH: &[&[&str]] = &[
    &["declared", "health", "room", "stats"],
    &["datum", "series"],
    &["batch", "catalog", "compose", "request"],
    &["queue", "recorder"],
    &["outbox"],
    &["publisher"],
    &["builder"],
];

/// Files of `cloudwatch` that only decide.
const CLOUDWATCH_PURE: [&str; 7] = ["batch", "compose", "datum", "health", "outbox", "queue", "stats"];

/// Folders of `multilang`, a floor a line, lowest first.
const MULTILANG: &[&[&str]] = &[
    &["causes", "executable", "roster", "settings", "wire"],
    &["aws", "turns"],
    &["child"],
    &["processor"],
    &["daemon"],
    &["observed", "rehearsal"],
];

/// Folders of `multilang` that only decide.
const MULTILANG_PURE: [&str; 2] = ["turns", "wire"];

/// Names that stand for I/O, runtimes, clocks, locks, threads or global randomness.
const IMPURE: [&str; 21] = [
    "async",
    "await",
    "tokio",
    "tokio_util",
    "aws_sdk_kinesis",
    "aws_sdk_dynamodb",
    "tracing",
    "uuid",
    "Instant::now",
    "Instant::elapsed",
    "SystemTime::now",
    "thread",
    "thread_local",
    "Mutex",
    "RwLock",
    "RefCell",
    "OnceLock",
    "LazyLock",
    "atomic",
    "Rng::new",
    "fs",
];

fn libraries() -> [(Library, &'static [&'static [&'static str]]); 4] {
    [
        (Library::read("kpl"), KPL),
        (Library::read("kcl"), KCL),
        (Library::read("cloudwatch"), CLOUDWATCH),
        (Library::read("multilang"), MULTILANG),
    ]
}

/// Floor of each folder.
fn floors(table: &[&[&'static str]]) -> BTreeMap<&'static str, usize> {
    let places = table.iter().enumerate();
    places.flat_map(|(floor, folders)| folders.iter().map(move |&folder| (folder, floor))).collect()
}

#[test]
fn files_import_from_their_own_folder_or_a_lower_floor() {
    for (library, table) in libraries() {
        let floors = floors(table);
        let mut imports = 0;
        let mut faults = Vec::new();
        for file in &library.files {
            let own = file.folder();
            let floor = floors.get(own).unwrap_or_else(|| panic!("{} stands on no floor", file.name()));
            for import in &file.imports {
                imports += 1;
                match floors.get(import.folder()) {
                    _ if import.folder() == own => {}
                    Some(lower) if lower < floor => {}
                    Some(_) => faults.push(format!("{} imports {import} from its own floor or above", file.name())),
                    None => faults.push(format!("{} imports {import} through lib.rs", file.name())),
                }
            }
        }
        assert!(imports > 20, "only {imports} imports found in {}", library.name);
        assert_eq!(faults, Vec::<String>::new(), "in {}", library.name);
    }
}

#[test]
fn every_folder_of_the_floors_exists() {
    for (library, table) in libraries() {
        for &folder in table.iter().copied().flatten() {
            assert!(library.files.iter().any(|file| file.folder() == folder), "{}: no {folder}", library.name);
        }
    }
}

#[test]
fn contributing_names_every_folder_and_only_what_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("CONTRIBUTING.md")).expect("CONTRIBUTING.md can be read");
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let files = named.iter().filter(|name| {
        ["kpl/", "kcl/", "local/", "cloudwatch/", "multilang/"].iter().any(|folder| name.starts_with(folder))
    });
    let missing: Vec<&&str> = files.clone().filter(|name| !root.join(name).exists()).collect();
    assert!(files.count() > 20, "{named:?}");
    assert_eq!(missing, [&""; 0]);

    for (library, table) in libraries() {
        let rows = text.split(&format!("| `{}/src`", library.name)).nth(1).and_then(|rows| rows.split("\n\n").next());
        let rows = rows.unwrap_or_else(|| panic!("no table of {}", library.name));
        let firsts = rows.lines().filter_map(|row| row.split('|').nth(1)).skip(2);
        let named: BTreeSet<&str> = firsts
            .flat_map(|first| first.split('`').skip(1).step_by(2))
            .map(|name| name.trim_end_matches('/'))
            .collect();
        let folders: BTreeSet<&str> =
            table.iter().copied().flatten().copied().filter(|name| *name != "bench").collect();
        assert_eq!(named, folders, "in the table of {}", library.name);
    }
}

#[test]
fn pages_name_only_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = String::new();
    for folder in ["kpl/src", "kcl/src", "local/src", "integration-tests/tests"] {
        collect_sources(&root.join(folder), &mut sources);
    }
    let is_test = |name: &&str| name.matches('_').count() > 2 && !name.contains(|c: char| c.is_uppercase() || c == '/');
    for (page, least) in [("docs/consumer-quirks.md", 60), ("docs/operate.md", 25)] {
        let text = std::fs::read_to_string(root.join(page)).expect("the page can be read");
        let tests: BTreeSet<&str> = text.split('`').skip(1).step_by(2).filter(is_test).collect();
        assert!(tests.len() >= least, "{page}: {tests:?}");
        let missing: Vec<&&str> = tests.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
        assert_eq!(missing, [&""; 0], "{page}");
    }
}

/// Appends the sources below a folder.
fn collect_sources(folder: &std::path::Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            collect_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&std::fs::read_to_string(&path).expect("a source can be read"));
        }
    }
}

#[test]
fn modules_side_by_side_import_in_no_circle() {
    let mut circles = Vec::new();
    for (library, _) in libraries() {
        let mut edges: BTreeMap<Path, BTreeSet<Path>> = BTreeMap::new();
        for file in &library.files {
            for import in &file.imports {
                if let Some((from, to)) = file.path.siblings_towards(import) {
                    edges.entry(from).or_default().insert(to);
                }
            }
        }
        let in_circles = edges.keys().filter(|start| reaches(&edges, start, start));
        circles.extend(in_circles.map(|module| format!("{} {module}", library.name)));
    }
    assert_eq!(circles, [""; 0]);
}

/// True if a way along `edges` leads from one module to another.
fn reaches(edges: &BTreeMap<Path, BTreeSet<Path>>, from: &Path, to: &Path) -> bool {
    let mut seen = Vec::new();
    let mut ahead: Vec<&Path> = edges.get(from).into_iter().flatten().collect();
    while let Some(next) = ahead.pop() {
        if next == to {
            return true;
        }
        if !seen.contains(&next) {
            seen.push(next);
            ahead.extend(edges.get(next).into_iter().flatten());
        }
    }
    false
}

#[test]
fn logic_does_no_io_and_reads_no_clock() {
    for (library, _) in libraries() {
        let (pure, least): (&[&str], usize) = match library.name {
            "cloudwatch" => (&CLOUDWATCH_PURE, 6),
            "multilang" => (&MULTILANG_PURE, 4),
            _ => (&["logic"], 6),
        };
        let files: Vec<_> = library.files.iter().filter(|file| pure.contains(&file.folder())).collect();

        assert!(files.len() >= least, "only {} files of logic in {}", files.len(), library.name);
        for file in files {
            for name in IMPURE {
                assert!(!file.names(name), "{} of {} names {name}", file.name(), library.name);
            }
        }
    }
}

#[test]
fn an_import_is_found_however_it_is_written() {
    let imports = |text: &str| -> Vec<String> {
        source::imports(&"shard::feed".into(), text).iter().map(ToString::to_string).collect()
    };

    assert_eq!(
        imports("use crate::{model::{Lease, lease::Key}, event};"),
        ["model::Lease", "model::lease::Key", "event"]
    );
    assert_eq!(imports("fn f() -> super::super::worker::Worker { todo!() }"), ["worker::Worker"]);
    assert_eq!(imports("fn f() { tracing::info!(at = crate::clock::now()); }"), ["clock::now"]);
    assert_eq!(imports("pub(crate) use super::run::Run;"), ["shard::run::Run"]);
    assert_eq!(imports("#[cfg(test)] mod tests { use crate::worker::Worker; }"), [""; 0]);
    assert_eq!(imports("/// See [`crate::worker`].\nstruct A;"), [""; 0]);
}
