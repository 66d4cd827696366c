//! Trades from a file of daily bars, one per row.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use crate::trade::{Trade, TradeType};

/// First bytes of a gzip file.
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// A file that cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be opened.
    #[error("cannot open {}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Reading the file failed.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: csv::Error,
    },
    /// The first line lacks columns.
    #[error("{} has no column {column:?}; it has {found:?}, and Ticker, Open, Close and Volume are needed", .path.display())]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// A missing column.
        column: &'static str,
        /// The columns there are.
        found: Vec<String>,
    },
}

/// A row that is no trade.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RejectedRow {
    /// Line in the file, from 1, the heading included.
    pub line: u64,
    /// The cause.
    pub reason: String,
}

/// Indices of the columns.
#[derive(Debug)]
struct Columns {
    ticker: usize,
    open: usize,
    close: usize,
    volume: usize,
}

/// Reads a CSV file, plain or gzip, with the columns Ticker, Open, Close and Volume among others.
///
/// Each row is a trade: price = Close, quantity = Volume, a purchase if Close >= Open, else a sale; id = number of the row.
pub struct Replay {
    path: PathBuf,
    rows: csv::StringRecordsIntoIter<Box<dyn Read + Send>>,
    columns: Columns,
    row: i64,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("path", &self.path).field("row", &self.row).finish_non_exhaustive()
    }
}

impl Replay {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file and reads its heading.
    ///
    /// # Errors
    /// The file cannot be opened or read, or lacks one of the columns.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let reader = open(path).map_err(|source| ReplayError::Open { path: path.to_owned(), source })?;
        let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(reader);
        let heading = csv.headers().map_err(|source| ReplayError::Read { path: path.to_owned(), source })?;
        let column = |column: &'static str| {
            heading.iter().position(|name| name.trim() == column).ok_or_else(|| ReplayError::MissingColumn {
                path: path.to_owned(),
                column,
                found: heading.iter().map(str::to_owned).collect(),
            })
        };
        let columns = Columns {
            ticker: column("Ticker")?,
            open: column("Open")?,
            close: column("Close")?,
            volume: column("Volume")?,
        };
        Ok(Self { path: path.to_owned(), rows: csv.into_records(), columns, row: 0 })
    }

    fn trade(&self, row: &csv::StringRecord) -> Result<Trade, String> {
        let field = |index: usize, name: &str| {
            let text = row.get(index).map(str::trim).filter(|text| !text.is_empty());
            text.ok_or_else(|| format!("{name} is missing"))
        };
        let number = |index, name: &str| -> Result<f64, String> {
            let text = field(index, name)?;
            let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
            number.ok_or_else(|| format!("{name} {text:?} is not a price"))
        };
        let (open, close) = (number(self.columns.open, "Open")?, number(self.columns.close, "Close")?);
        let volume = field(self.columns.volume, "Volume")?;
        let quantity: Option<i64> = volume.strip_suffix(".0").unwrap_or(volume).parse().ok();
        Ok(Trade {
            ticker_symbol: field(self.columns.ticker, "Ticker")?.to_owned(),
            trade_type: if close >= open { TradeType::Buy } else { TradeType::Sell },
            price: close,
            quantity: quantity
                .filter(|shares| *shares >= 0)
                .ok_or_else(|| format!("Volume {volume:?} is not a number of shares"))?,
            id: self.row,
        })
    }
}

impl Iterator for Replay {
    /// A trade, a row that is none, or the end of reading by an error.
    type Item = Result<Result<Trade, RejectedRow>, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        self.row += 1;
        Some(match row {
            Ok(row) => {
                let line = row.position().map_or(0, csv::Position::line);
                Ok(self.trade(&row).map_err(|reason| RejectedRow { line, reason }))
            }
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                let line = error.position().map_or(0, csv::Position::line);
                Ok(Err(RejectedRow { line, reason: "it is not UTF-8 text".to_owned() }))
            }
            Err(source) => Err(ReplayError::Read { path: self.path.clone(), source }),
        })
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(GZIP.len() as u64).read_to_end(&mut start)?;
    file.rewind()?;
    let file = BufReader::new(file);
    Ok(if start == GZIP { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const FILE: &str = "Ticker,Date,Open,High,Low,Close,Volume,Adj Close\n\
        AAPL,2000-03-01,118.56,132.06,118.5,130.31,9616100,4.1\n\
        AAPL,2000-03-02,127.0,127.94,120.69,122.0,2779100,3.9\n\
        IBM,2000-03-03,oops,1,1,1,1,1\n\
        IBM,2000-03-06,1,1,1\n\
        IBM,2000-03-07,10,10,10,10,5,10\n";

    fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn rows(bytes: &[u8]) -> Vec<Result<Trade, RejectedRow>> {
        Replay::open(written(bytes).path()).unwrap().map(Result::unwrap).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn each_row_is_a_trade_and_bad_rows_are_reported_with_their_line() {
        let rows = rows(FILE.as_bytes());

        let texts: Vec<String> =
            rows.iter().map(|row| row.as_ref().map_or_else(ToString::to_string, ToString::to_string)).collect();
        assert_eq!(
            texts,
            [
                "ID 1: BUY 9616100 shares of AAPL for $130.31",
                "ID 2: SELL 2779100 shares of AAPL for $122.00",
                "line 4: Open \"oops\" is not a price",
                "line 5: Close is missing",
                "ID 5: BUY 5 shares of IBM for $10.00",
            ]
        );
    }

    #[test]
    fn gzip_is_recognised_by_its_content() {
        assert_eq!(rows(&gzip(FILE.as_bytes())), rows(FILE.as_bytes()));
    }

    #[test]
    fn a_missing_file_and_a_file_without_the_columns_are_named() {
        let missing = Replay::open(Path::new("no-such-file.csv")).unwrap_err();
        assert_eq!(missing.to_string(), "cannot open no-such-file.csv");

        let other = Replay::open(written(b"a,b\n1,2\n").path()).unwrap_err();
        assert!(other.to_string().contains("has no column \"Ticker\""), "{other}");
    }

    #[test]
    fn a_file_that_breaks_off_yields_its_rows_and_then_the_error() {
        let text = format!("{FILE}{}", "IBM,2000-03-08,10,10,10,10,5,10\n".repeat(20_000));
        let whole = gzip(text.as_bytes());

        let rows: Vec<_> = Replay::open(written(&whole[..whole.len() - 20]).path()).unwrap().collect();

        assert!(rows.len() > 5);
        assert!(matches!(rows.iter().find(|row| row.is_err()), Some(Err(ReplayError::Read { .. }))));
    }
}
