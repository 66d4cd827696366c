//! `kds completions` and `kds man`: what shells and manuals need.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Command};
use clap_complete::Shell;

use crate::{failure::Failure, output::Output};

/// Arguments of `kds completions`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CompletionArguments {
    /// The shell
    shell: Shell,
}

/// Arguments of `kds man`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ManualArguments {
    /// Folder in which a page for each command is written [default: the page of kds on stdout]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Prints the completions of a shell.
pub(crate) fn completions(mut command: Command, arguments: &CompletionArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "kds", &mut script);
    let mut output = Output::new();
    output.raw(&script)?;
    output.flush()
}

/// Writes man pages.
pub(crate) fn pages(command: Command, arguments: &ManualArguments) -> Result<(), Failure> {
    if let Some(folder) = &arguments.output {
        let unwritten = |error| Failure::new(format!("man pages cannot be written to {}", folder.display()), error);
        fs::create_dir_all(folder).map_err(unwritten)?;
        return write_pages(folder, command, "kds").map_err(unwritten);
    }
    let mut output = Output::new();
    output.raw(&page(command)?)?;
    output.flush()
}

fn write_pages(folder: &Path, command: Command, name: &str) -> std::io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        write_pages(folder, sub.clone(), &format!("{name}-{}", sub.get_name()))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.display_name(name.to_owned())).title(name).render(&mut page)?;
    fs::write(folder.join(format!("{name}.1")), page)
}

fn page(command: Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.map(|()| page).map_err(|error| Failure::new("the man page cannot be made", error))
}
