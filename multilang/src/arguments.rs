//! The command line: that of the daemon for Java, and of `java` before it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::Parser;

/// Runs Kinesis record processors in Python, Node.js, Ruby and .NET, with the properties of the KCL's multi-language daemon.
///
/// Settings are those of FILE, and variables KCL_MULTILANG_*, which win: KCL_MULTILANG_APPLICATION_NAME is
/// applicationName. Logs are written to stderr; RUST_LOG sets what is logged (default: info).
#[derive(Debug, Parser)]
#[command(version, after_help = "SIGTERM, SIGINT and SIGHUP stop it in good order; a second one at once.")]
pub(crate) struct Arguments {
    /// File of properties; of TOML if its name ends in .toml
    #[arg(value_name = "FILE", conflicts_with = "properties_file")]
    pub(crate) file: Option<PathBuf>,

    /// The same
    #[arg(short, long, value_name = "FILE")]
    pub(crate) properties_file: Option<PathBuf>,

    /// Accepted, and without effect: RUST_LOG sets what is logged
    #[arg(short, long, value_name = "FILE")]
    pub(crate) log_configuration: Option<PathBuf>,

    /// Play scripted lives with the child, without any AWS, and report what is wrong with it
    #[arg(long)]
    pub(crate) check: bool,

    /// Data of the records of --check
    #[arg(long, value_name = "TEXT", default_value = "check", requires = "check")]
    pub(crate) check_data: String,

    /// Ask the daemon that runs with these settings for its health, at probeAddress: 0 if it is live, else 1
    #[arg(long, conflicts_with = "check")]
    pub(crate) health: bool,

    /// Folders in which a FILE that does not exist is looked for.
    #[arg(skip)]
    class_path: Vec<PathBuf>,
}

impl Arguments {
    /// Reads the arguments; ends the process if they are wrong.
    pub(crate) fn read() -> Self {
        let (class_path, rest) = without_java(std::env::args_os());
        let mut arguments = Self::parse_from(rest);
        arguments.class_path = class_path;
        arguments
    }

    /// The file of settings.
    pub(crate) fn settings_file(&self) -> Option<PathBuf> {
        let file = self.file.as_ref().or(self.properties_file.as_ref())?;
        Some(found(file, &self.class_path))
    }
}

fn found(file: &Path, class_path: &[PathBuf]) -> PathBuf {
    if file.exists() {
        return file.to_owned();
    }
    class_path.iter().map(|folder| folder.join(file)).find(|path| path.is_file()).unwrap_or_else(|| file.to_owned())
}

/// Arguments without those for `java`, for callers that start the daemon as `JAVA -cp .. CLASS ..`; and the class path.
fn without_java(arguments: impl Iterator<Item = OsString>) -> (Vec<PathBuf>, Vec<OsString>) {
    let (mut class_path, mut rest) = (Vec::new(), Vec::new());
    let mut arguments = arguments;
    rest.extend(arguments.next());
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-cp" | "-classpath" | "--class-path") => {
                class_path.extend(arguments.next().iter().flat_map(std::env::split_paths));
            }
            Some(text) if text.starts_with("-X") || text.starts_with("-D") => {}
            Some(text) if text.ends_with(".MultiLangDaemon") => {}
            _ => rest.push(argument),
        }
    }
    (class_path, rest)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn read(line: &str) -> (Vec<PathBuf>, Arguments) {
        let (class_path, rest) = without_java(line.split_whitespace().map(OsString::from));
        (class_path, Arguments::try_parse_from(rest).unwrap())
    }

    #[test]
    fn the_definition_of_the_arguments_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_file_is_given_in_one_of_two_ways() {
        let file = |line: &str| read(line).1.settings_file().unwrap();
        for line in ["x a.properties", "x --properties-file a.properties", "x -p a.properties -l logback.xml"] {
            assert_eq!(file(line), Path::new("a.properties"), "{line}");
        }
        assert!(Arguments::try_parse_from(["x", "a", "-p", "b"]).is_err());
        assert!(Arguments::try_parse_from(["x", "a", "b"]).is_err());
        assert!(Arguments::try_parse_from(["x", "--bogus"]).is_err());
    }

    #[test]
    fn arguments_of_java_are_skipped() {
        let line = "x -Xmx512m -Da=b -cp /jars/a.jar:/app software.amazon.kinesis.multilang.MultiLangDaemon --properties-file s.properties";
        let (class_path, arguments) = read(line);

        assert_eq!(class_path, [Path::new("/jars/a.jar"), Path::new("/app")]);
        assert_eq!(arguments.settings_file().unwrap(), Path::new("s.properties"));
    }

    #[test]
    fn a_file_may_be_in_a_folder_of_the_class_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.properties");
        std::fs::write(&path, "").unwrap();

        assert_eq!(found(Path::new("s.properties"), &["/no/such".into(), folder.path().to_owned()]), path);
        assert_eq!(found(Path::new("t.properties"), &[folder.path().to_owned()]), Path::new("t.properties"));
    }
}
