//! `kds redrive`: puts dead letters into their stream again.

mod letters;
mod payload;
mod unput;

use std::path::PathBuf;

use clap::Args;
use kcl::DeadLetter;
use kpl::{Delivery, DeliveryErrorKind, Producer, UserRecord};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::{letters::Line, unput::Unput};
use crate::{
    aws::{Aws, refusal, stream_name::StreamName},
    failure::Failure,
    output,
    put::{REQUEST_BYTES, entry::Place},
    stop, text,
};

/// Arguments of `kds redrive`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RedriveArguments {
    /// Files of dead letters; "-" is stdin
    #[arg(default_value = "-", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Stream to put to [default: the one that each letter came from]
    #[arg(long, value_name = "STREAM")]
    to: Option<StreamName>,
    /// Only letters of this application
    #[arg(long, value_name = "APP")]
    application: Option<String>,
    /// File for letters that are not put, to be redriven again [default: kds-failed.letters.jsonl, made if it is needed]
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    stored: u64,
    /// Of these, letters without data, which were read from the stream.
    fetched: u64,
    failed: u64,
    of_other_applications: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<PathBuf>,
}

/// Puts the letters. Fails unless each is stored.
pub(crate) async fn run(aws: &Aws, arguments: RedriveArguments) -> Result<(), Failure> {
    let RedriveArguments { files, to, application, failures, json } = arguments;
    let unput = Unput::new(failures)?;
    let mut chunks = letters::read(files)?;
    let stop = stop::on_signal()?;
    let mut redriving = Redriving { aws, to, application, unput, report: Report::default(), lasting: None, last: None };
    let (mut producer, mut unread, mut complete) = (None, None, false);
    while redriving.lasting.is_none() {
        match next(&mut chunks, &stop).await {
            Next::Lines(lines) => redriving.redrive(&mut producer, lines).await?,
            Next::Failed(failure) => {
                unread = Some(failure);
                break;
            }
            Next::End => {
                complete = true;
                break;
            }
            Next::Stop => break,
        }
    }
    if let Some(producer) = &producer {
        producer.shutdown().await;
    }
    redriving.report.failures = redriving.unput.finish()?;
    redriving.report.failed = redriving.unput.letters;
    output::print(json, &redriving.report, || redriving.report.text())?;
    match unread {
        Some(failure) => Err(failure),
        None => redriving.verdict(complete),
    }
}

enum Next {
    Lines(Vec<Line>),
    Failed(Failure),
    End,
    Stop,
}

async fn next(chunks: &mut tokio::sync::mpsc::Receiver<letters::Chunk>, stop: &CancellationToken) -> Next {
    tokio::select! {
        // biased: nothing more is put after a stop.
        biased;
        () = stop.cancelled() => Next::Stop,
        chunk = chunks.recv() => match chunk {
            Some(Ok(lines)) => Next::Lines(lines),
            Some(Err(failure)) => Next::Failed(failure),
            None => Next::End,
        },
    }
}

struct Redriving<'a> {
    aws: &'a Aws,
    to: Option<StreamName>,
    application: Option<String>,
    unput: Unput,
    report: Report,
    /// A refusal that concerns every letter of its stream: action's target, code and message.
    lasting: Option<(String, String, String)>,
    /// The last line that was looked at.
    last: Option<Place>,
}

/// A letter under way.
struct Pending {
    line: Line,
    letter: DeadLetter,
    stream: String,
    is_fetched: bool,
    delivery: Delivery,
}

impl Redriving<'_> {
    /// Puts lines, and waits until each is settled.
    async fn redrive(&mut self, producer: &mut Option<Producer>, lines: Vec<Line>) -> Result<(), Failure> {
        let mut pending = Vec::new();
        for line in lines {
            self.last = Some(line.place.clone());
            let letter = match parse(&line) {
                Ok(letter) => letter,
                Err(reason) => {
                    self.unput.add(&line, None, reason)?;
                    continue;
                }
            };
            if self.application.as_ref().is_some_and(|wanted| *wanted != letter.application) {
                self.report.of_other_applications += 1;
                continue;
            }
            match self.put(producer, &letter).await {
                Ok((stream, is_fetched, delivery)) => {
                    pending.push(Pending { line, letter, stream, is_fetched, delivery });
                }
                Err(reason) => self.unput.add(&line, Some(&letter), reason)?,
            }
        }
        if let Some(producer) = producer {
            producer.flush().await;
        }
        for pending in pending {
            self.settle(pending).await?;
        }
        Ok(())
    }

    /// Puts a letter; an error says why it cannot be put.
    async fn put(
        &self,
        producer: &mut Option<Producer>,
        letter: &DeadLetter,
    ) -> Result<(String, bool, Delivery), String> {
        let stream = self.to.as_ref().map_or(letter.stream.as_str(), StreamName::as_str).to_owned();
        let given = letter.payload().map_err(|error| error.to_string())?;
        let is_fetched = given.is_none();
        let data = match given {
            Some(data) => data,
            None => payload::fetch(self.aws, letter).await?,
        };
        let record = UserRecord::new(letter.partition_key.as_str(), data);
        let record = match &letter.explicit_hash_key {
            Some(key) => record.with_explicit_hash_key(key.parse().map_err(|error| format!("{error}"))?),
            None => record,
        };
        let producer = match producer {
            Some(producer) => producer,
            None => producer.insert(self.producer(&stream)?),
        };
        let of_stream = producer.to_stream(stream.as_str()).map_err(|error| error.to_string())?;
        let delivery = of_stream.put(record).await.map_err(|error| error.to_string())?;
        Ok((stream, is_fetched, delivery))
    }

    fn producer(&self, stream: &str) -> Result<Producer, String> {
        let producer = Producer::builder(&self.aws.config, stream).collection_max_bytes(REQUEST_BYTES);
        producer.build().map_err(|error| error.to_string())
    }

    async fn settle(&mut self, pending: Pending) -> Result<(), Failure> {
        let Pending { line, letter, stream, is_fetched, delivery } = pending;
        let error = match delivery.await {
            Ok(_) => {
                self.report.stored += 1;
                self.report.fetched += u64::from(is_fetched);
                return Ok(());
            }
            Err(error) => error,
        };
        if let DeliveryErrorKind::Rejected { code, message, .. } = error.kind()
            && refusal::is_lasting(code)
        {
            self.lasting.get_or_insert_with(|| (format!("stream {stream}"), code.to_string(), message.to_string()));
        }
        self.unput.add(&line, Some(&letter), error.to_string())
    }

    fn verdict(&self, complete: bool) -> Result<(), Failure> {
        let again = self
            .report
            .failures
            .as_ref()
            .map_or("shorten the lines".to_owned(), |file| format!("redrive {} again", file.display()));
        let end = self.last.as_ref().map_or("its start".to_owned(), ToString::to_string);
        let rest = if complete { String::new() } else { format!(", and the input after {end}") };
        if let Some((target, code, message)) = &self.lasting {
            let cause = refusal::refused(self.aws, "kinesis:PutRecords", target, code, message);
            return Err(Failure::new(cause, format!("then {again}{rest}")));
        }
        if let Some((place, reason)) = &self.unput.first {
            let failed = text::counted(self.report.failed, "letter");
            return Err(Failure::new(
                format!("{failed} not put, the first at {place}: {reason}"),
                format!("{again}{rest}"),
            ));
        }
        if complete {
            return Ok(());
        }
        Err(Failure::new(format!("stopped after {end}"), "everything up to there is stored: redrive the rest"))
    }
}

impl Report {
    fn text(&self) -> String {
        let of_stream = match self.fetched {
            0 => String::new(),
            fetched => format!(" ({} with data from the stream)", text::count(fetched)),
        };
        let others = match self.of_other_applications {
            0 => String::new(),
            others => format!(", {} of other applications left out", text::count(others)),
        };
        format!(
            "put {}{of_stream} again, {} failed{others}\n",
            text::counted(self.stored, "letter"),
            text::count(self.failed)
        )
    }
}

/// The letter in a line; an error says what is wrong with it.
fn parse(line: &Line) -> Result<DeadLetter, String> {
    let Some(text) = &line.text else { return Err("it is longer than a dead letter can be".to_owned()) };
    serde_json::from_slice(text).map_err(|error| format!("it is no dead letter: {error}"))
}
