//! SHELL: the file of letters that were not put, which can be redriven again.

use std::{
    fmt::Display,
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use kcl::DeadLetter;
use serde::Serialize;

use super::letters::Line;
use crate::{
    failure::Failure,
    put::{entry::Place, failed::create},
};

/// The file, made with the first letter. An existing one is never written to.
#[derive(Debug)]
pub(super) struct Unput {
    named: Option<PathBuf>,
    open: Option<(PathBuf, BufWriter<File>)>,
    pub(super) letters: u64,
    /// The first: its place and reason.
    pub(super) first: Option<(Place, String)>,
}

/// A letter with the reason why it was not put, which readers of letters do not notice.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained<'a> {
    #[serde(flatten)]
    letter: &'a DeadLetter,
    redrive_error: &'a str,
}

impl Unput {
    /// Fails if `named` exists.
    pub(super) fn new(named: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(path) = named.as_ref().filter(|path| path.exists()) {
            let what = format!("the file of failures {} exists", path.display());
            return Err(Failure::new(what, "redrive it again or name another by --failures"));
        }
        Ok(Self { named, open: None, letters: 0, first: None })
    }

    /// Adds a line: as a letter if it is one, else as it is. One that was too long to be held is only counted.
    pub(super) fn add(&mut self, line: &Line, letter: Option<&DeadLetter>, reason: String) -> Result<(), Failure> {
        self.letters += 1;
        let text = match (letter, &line.text) {
            (Some(letter), _) => serde_json::to_vec(&Explained { letter, redrive_error: &reason }),
            (None, Some(text)) => Ok(text.clone()),
            (None, None) => Ok(Vec::new()),
        };
        self.first.get_or_insert_with(|| (line.place.clone(), reason));
        let unwritten = |path: &Path, error: &dyn Display| {
            let what = format!("failures cannot be written to {} ({error})", path.display());
            Failure::new(what, format!("{} and what follows may not be put: redrive it again", line.place))
        };
        let (path, file) = match &mut self.open {
            Some(open) => open,
            None => {
                let opened = create(self.named.as_deref(), "letters");
                self.open.insert(opened.map_err(|(path, error)| unwritten(&path, &error))?)
            }
        };
        let written = text.map_err(std::io::Error::from).and_then(|text| match text.is_empty() {
            true => Ok(()),
            false => file.write_all(&text).and_then(|()| file.write_all(b"\n")),
        });
        written.map_err(|error| unwritten(path, &error))
    }

    /// Writes what is buffered; returns the file's name if there is one.
    pub(super) fn finish(&mut self) -> Result<Option<PathBuf>, Failure> {
        let Some((path, file)) = &mut self.open else { return Ok(None) };
        let written = file.flush().and_then(|()| file.get_ref().sync_all());
        written.map_err(|error| {
            Failure::new(format!("failures cannot be written to {} ({error})", path.display()), "redrive all again")
        })?;
        Ok(Some(path.clone()))
    }
}
