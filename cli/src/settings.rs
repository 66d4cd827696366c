//! SHELL: `kds settings`: the settings that the libraries read from files and variables.

use clap::{Args, ValueEnum};
use kcl::WorkerSettings;
use kpl::settings::{Described, ProducerSettings, schema};

use crate::{
    failure::Failure,
    output::{self, Output},
};

/// Arguments of `kds settings`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SettingsArguments {
    /// Library
    #[arg(value_enum)]
    library: Library,
    /// Print a JSON schema, by which editors complete and check a file
    #[arg(long)]
    schema: bool,
    /// Print as JSON
    #[arg(long, conflicts_with = "schema")]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Library {
    Producer,
    Worker,
}

impl Library {
    fn described(self) -> Vec<Described> {
        match self {
            Self::Producer => ProducerSettings::described(),
            Self::Worker => WorkerSettings::described(),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Producer => "Settings of a producer of kinesis-kpl",
            Self::Worker => "Settings of a worker of kinesis-kcl",
        }
    }
}

/// Prints the settings of a library.
pub(crate) fn run(arguments: &SettingsArguments) -> Result<(), Failure> {
    let library = arguments.library;
    if arguments.schema {
        let mut output = Output::new();
        output.raw(format!("{:#}\n", schema(library.title(), library.described())).as_bytes())?;
        return output.flush();
    }
    let described = library.described();
    output::print(arguments.json, &described, || table(&described))
}

fn table(rows: &[Described]) -> String {
    let width = rows.iter().map(|row| row.key.len()).max().unwrap_or_default();
    let line = |Described { key, description, accepted, .. }: &Described| {
        format!("{key:width$}  {}: {accepted}\n", description.trim())
    };
    rows.iter().map(line).collect()
}
