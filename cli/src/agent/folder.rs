//! SHELL: the files that a flow's patterns match, and those that were followed under another name.

use std::{fs, io, path::PathBuf, time::SystemTime};

use super::{config::Flow, file::FileId};

/// A file in one of a flow's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    /// Its name matches.
    pub(super) is_wanted: bool,
    modified: SystemTime,
}

/// All plain files of the flow's folders, those that were changed last at the end. A folder that does not exist is empty.
pub(super) fn look(flow: &Flow) -> io::Result<Vec<Seen>> {
    let mut seen: Vec<Seen> = Vec::new();
    for pattern in &flow.patterns {
        let entries = match fs::read_dir(&pattern.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            // It may have gone in the meantime.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if !metadata.is_file() {
                continue;
            }
            let is_wanted = path.file_name().is_some_and(|name| pattern.name.is_match(name));
            let (id, modified) = (FileId::of(&metadata), metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            match seen.iter_mut().find(|it| it.id == id) {
                Some(known) if is_wanted && !known.is_wanted => (known.path, known.is_wanted) = (path, true),
                Some(_) => {}
                None => seen.push(Seen { path, id, is_wanted, modified }),
            }
        }
    }
    seen.sort_by(|a, b| a.modified.cmp(&b.modified).then_with(|| b.path.cmp(&a.path)));
    Ok(seen)
}
