//! Keeps I/O, clocks and runtimes out of `logic`.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn logic_does_no_io_and_reads_no_clock() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/logic");
    let forbidden = ["async ", ".await", "tokio", "Instant::now(", "SystemTime::now(", "aws_sdk", "fastrand::"];
    let files = files_below(Path::new(folder));
    assert!(files.len() >= 10, "only {} files of logic found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for word in forbidden {
            assert!(!text.contains(word), "{} contains {word:?}", file.display());
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
