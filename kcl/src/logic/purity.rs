//! Keeps I/O, clocks and runtimes out of `logic`.

#[test]
fn logic_does_no_io_and_reads_no_clock() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/logic");
    let forbidden = [
        "async ",
        ".await",
        "tokio::time::sleep",
        "tokio::spawn",
        "Instant::now(",
        "SystemTime::now(",
        "aws_sdk",
        "fastrand::",
    ];
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() || path.ends_with("purity.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in forbidden {
            assert!(!code.contains(word), "{} contains {word:?}", path.display());
        }
        files += 1;
    }
    assert!(files >= 10, "only {files} files of logic found");
}
