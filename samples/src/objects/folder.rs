//! Objects as files of a folder, each of which is there whole or not at all.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::PathBuf,
};

use bytes::Bytes;
use kcl::BoxError;
use object_store::path::Path;
use tempfile::{NamedTempFile, PersistError};
use tokio::task::spawn_blocking;

/// Beginning of the names of files that are not objects yet.
const UNFINISHED: &str = ".unfinished-";

/// A folder. Its files have the paths of the objects.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A folder, which is made unless it is there.
    pub(super) fn open(path: &str) -> Result<Self, BoxError> {
        fs::create_dir_all(path).map_err(|error| format!("folder {path} cannot be made: {error}"))?;
        Ok(Self(path.into()))
    }

    /// Writes an object. False: there is one.
    pub(super) async fn create(&self, path: &Path, object: Bytes) -> Result<bool, BoxError> {
        let folder = self.clone();
        self.run(path, move |file| match folder.write(file, &object)?.persist_noclobber(file) {
            Ok(_) => folder.keep(file).map(|()| true),
            Err(PersistError { error, .. }) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(PersistError { error, .. }) => Err(error),
        })
        .await
    }

    pub(super) async fn put(&self, path: &Path, object: Bytes) -> Result<(), BoxError> {
        let folder = self.clone();
        self.run(path, move |file| {
            folder.write(file, &object)?.persist(file).map_err(|refused| refused.error)?;
            folder.keep(file)
        })
        .await
    }

    pub(super) async fn get(&self, path: &Path) -> Result<Option<Bytes>, BoxError> {
        self.run(path, |file| match fs::read(file) {
            Ok(object) => Ok(Some(object.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    pub(super) async fn delete(&self, path: &Path) -> Result<(), BoxError> {
        self.run(path, |file| match fs::remove_file(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        })
        .await
    }

    pub(super) async fn paths(&self) -> Result<Vec<Path>, BoxError> {
        let root = self.0.clone();
        self.run(&Path::default(), move |folder| {
            let mut files = Vec::new();
            add_files(folder, &mut files)?;
            let below = |file: &PathBuf| Path::parse(file.strip_prefix(&root).ok()?.to_str()?).ok();
            Ok(files.iter().filter_map(below).collect())
        })
        .await
    }

    /// Runs what blocks where it delays nothing else; an error names the file.
    async fn run<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&std::path::Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BoxError> {
        let relative: &str = path.as_ref();
        let file = self.0.join(relative);
        spawn_blocking(move || work(&file).map_err(|error| format!("{}: {error}", file.display()).into())).await?
    }

    /// A file beside the one that it will be, with the data on the disk.
    fn write(&self, file: &std::path::Path, object: &[u8]) -> io::Result<NamedTempFile> {
        let parent = file.parent().unwrap_or(&self.0);
        fs::create_dir_all(parent)?;
        let mut unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(parent)?;
        unfinished.write_all(object)?;
        unfinished.as_file().sync_all()?;
        Ok(unfinished)
    }

    /// Has the names that lead to a file on the disk, too.
    fn keep(&self, file: &std::path::Path) -> io::Result<()> {
        for folder in file.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.0)) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

/// Adds the files below a folder; one that is gone has none.
fn add_files(folder: &std::path::Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            add_files(&entry.path(), files)?;
        } else if !entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn an_object_is_created_once_and_replaced_only_by_a_put() {
        let root = TempDir::new().unwrap();
        let folder = Folder::open(root.path().to_str().unwrap()).unwrap();
        let path = Path::from("a").join("b/c");

        assert_eq!(folder.get(&path).await.unwrap(), None);
        assert!(folder.create(&path, "1".into()).await.unwrap());
        assert!(!folder.create(&path, "2".into()).await.unwrap());
        assert_eq!(folder.get(&path).await.unwrap().unwrap(), "1");
        folder.put(&path, "3".into()).await.unwrap();
        assert_eq!(folder.get(&path).await.unwrap().unwrap(), "3");
        assert_eq!(folder.paths().await.unwrap(), std::slice::from_ref(&path));
        folder.delete(&path).await.unwrap();
        assert_eq!(folder.paths().await.unwrap(), []);
    }

    #[tokio::test]
    async fn an_obstacle_is_named() {
        let root = TempDir::new().unwrap();
        fs::write(root.path().join("a"), "").unwrap();
        let folder = Folder::open(root.path().to_str().unwrap()).unwrap();

        let error = folder.create(&Path::from("a/b"), "1".into()).await.unwrap_err().to_string();

        assert!(error.contains("a/b: "), "{error}");
    }
}
