//! SHELL: a file that is replaced as a whole, so that a crash or a full disk leaves the old or the new one.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Replaces a file. The new content is written to a file with `.part` behind its name, which is removed after a failure.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let part = with_suffix(path, "part");
    let replaced = write(&part, content).and_then(|()| fs::rename(&part, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&part); // an error: it was never created
    }
    replaced?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// The path of a file beside another.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}
