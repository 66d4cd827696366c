//! Dead letters as objects, in a folder or in S3.

use kcl::{BoxError, DeadLetter, FailedRecords, ProcessorFactory, Record};
use object_store::path::Path;

use super::{
    CHUNK_BYTES, CHUNK_LETTERS, Redriven, Rerun, position,
    redrive::{Each, Read, Source, redrive},
};
use crate::objects::Objects;

/// An object for each letter, `<application>/<stream>/<shard>/<position>.json`, of any size.
#[derive(Debug, Clone)]
pub struct ObjectLetters(Objects);

impl ObjectLetters {
    /// Letters in a store.
    pub fn new(objects: Objects) -> Self {
        Self(objects)
    }

    /// Keeps the records, for [`ErrorPolicy::dead_letter_after`](kcl::ErrorPolicy::dead_letter_after).
    ///
    /// # Errors
    /// The store refused one. The records are tried again.
    ///
    /// # Cancellation
    /// Some may be kept, each wholly.
    pub fn keep(&self, failed: FailedRecords) -> impl Future<Output = Result<(), BoxError>> + Send + use<> {
        let letters = self.clone();
        async move {
            for letter in failed.letters() {
                letters.put(&letter).await?;
            }
            Ok(())
        }
    }

    /// The letters, in the order of their names.
    ///
    /// # Errors
    /// The store cannot say, or an object is no letter.
    ///
    /// # Cancellation
    /// Changes nothing.
    pub async fn all(&self) -> Result<Vec<DeadLetter>, BoxError> {
        let mut letters = Vec::new();
        for path in self.0.paths().await? {
            letters.extend(self.read(&path).await?);
        }
        Ok(letters)
    }

    /// Has each letter processed by a closure, and deletes those that are.
    ///
    /// # Errors
    /// The store cannot say which letters there are.
    ///
    /// # Cancellation
    /// The one letter in hand may be processed and not deleted; up to 99 before it, too.
    pub async fn redrive(&self, process: impl AsyncFn(Record) -> Result<(), BoxError>) -> Result<Redriven, BoxError> {
        redrive(&mut self.source().await?, &Each(process)).await
    }

    /// Has the letters processed by record processors, up to 100 at a time, and deletes those that are.
    ///
    /// # Errors
    /// The store cannot say which letters there are, or the worker failed.
    ///
    /// # Cancellation
    /// The letters in hand may be processed and not deleted.
    pub async fn redrive_through<F: ProcessorFactory>(&self, rerun: &Rerun<F>) -> Result<Redriven, BoxError> {
        redrive(&mut self.source().await?, rerun).await
    }

    async fn source(&self) -> Result<Places, BoxError> {
        Ok(Places { letters: self.clone(), paths: self.0.paths().await?.into_iter() })
    }

    /// Puts a letter, in place of one of the same position.
    pub(crate) async fn put(&self, letter: &DeadLetter) -> Result<(), BoxError> {
        let put = self.0.put(&self.path(letter), letter.to_json()?.into()).await;
        Ok(put.map_err(|error| format!("a dead letter cannot be put: {error}"))?)
    }

    /// The letter of the same position. None: it is not here.
    pub(super) async fn find(&self, letter: &DeadLetter) -> Result<Option<DeadLetter>, BoxError> {
        self.read(&self.path(letter)).await
    }

    pub(super) async fn delete(&self, letter: &DeadLetter) -> Result<(), BoxError> {
        self.0.delete(&self.path(letter)).await
    }

    async fn read(&self, path: &Path) -> Result<Option<DeadLetter>, BoxError> {
        let Some(object) = self.0.get(path).await? else { return Ok(None) };
        let letter = serde_json::from_slice::<DeadLetter>(&object);
        Ok(Some(letter.map_err(|error| format!("{path} is no dead letter: {error}"))?))
    }

    fn path(&self, letter: &DeadLetter) -> Path {
        let name = format!("{}.json", position(letter));
        self.0.path([letter.application.as_str(), &letter.stream, &letter.shard_id, &name])
    }
}

/// Paths of letters on their way back.
struct Places {
    letters: ObjectLetters,
    paths: std::vec::IntoIter<Path>,
}

impl Source for Places {
    type Handle = Path;

    async fn next(&mut self) -> Result<Vec<Read<Path>>, BoxError> {
        let (mut read, mut bytes) = (Vec::new(), 0);
        while read.len() < CHUNK_LETTERS && bytes < CHUNK_BYTES {
            let Some(path) = self.paths.next() else { break };
            let letter = match self.letters.read(&path).await {
                Ok(Some(letter)) => Ok(letter),
                Ok(None) => Err("it was taken out by somebody else".into()),
                Err(error) => Err(error),
            };
            bytes += letter.as_ref().map_or(0, |letter| letter.data_bytes);
            read.push(Read { name: path.to_string(), letter, handle: path });
        }
        Ok(read)
    }

    async fn take_out(&mut self, path: Path) -> Result<(), BoxError> {
        self.letters.0.delete(&path).await
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::letters::tests::letter;

    fn letters(folder: &TempDir) -> ObjectLetters {
        ObjectLetters::new(Objects::open(&folder.path().display().to_string()).unwrap())
    }

    #[tokio::test]
    async fn a_letter_that_is_kept_twice_is_one_object() {
        let folder = TempDir::new().unwrap();
        let letters = letters(&folder);

        for number in ["1", "1", "2"] {
            letters.put(&letter(number, "tea")).await.unwrap();
        }

        assert_eq!(letters.all().await.unwrap(), [letter("1", "tea"), letter("2", "tea")]);
        assert_eq!(letters.find(&letter("2", "")).await.unwrap(), Some(letter("2", "tea")));
        assert_eq!(letters.find(&letter("3", "")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_redrive_takes_out_what_is_processed_and_leaves_the_rest() {
        let folder = TempDir::new().unwrap();
        let letters = letters(&folder);
        letters.put(&letter("1", "tea")).await.unwrap();
        letters.put(&letter("2", "poison")).await.unwrap();

        let redriven =
            letters.redrive(async |record| if record.data == "tea" { Ok(()) } else { Err("no".into()) }).await;

        let Redriven { processed, failed } = redriven.unwrap();
        assert_eq!((processed, failed.len()), (1, 1));
        assert_eq!(failed[0].1.to_string(), "no");
        assert_eq!(letters.all().await.unwrap(), [letter("2", "poison")]);
    }

    #[tokio::test]
    async fn a_letter_without_data_is_not_processed_as_if_it_had_none() {
        let folder = TempDir::new().unwrap();
        let letters = letters(&folder);
        let mut without = letter("1", "tea");
        without.text = None;
        letters.put(&without).await.unwrap();

        let redriven = letters.redrive(async |_| Ok(())).await.unwrap();

        assert_eq!(redriven.processed, 0);
        assert!(redriven.failed[0].1.to_string().ends_with("use kds redrive"), "{:?}", redriven.failed);
    }
}
