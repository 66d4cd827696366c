//! Sources of settings: a file of properties or TOML, and the environment, which wins.

use std::{collections::BTreeMap, io::ErrorKind, path::Path};

use super::{SettingsError, properties};

/// Beginning of the variables that are settings: `KCL_MULTILANG_APPLICATION_NAME` is `applicationName`.
pub(crate) const PREFIX: &str = "KCL_MULTILANG_";

/// Keys and values, as they are written.
pub(crate) type Entries = BTreeMap<String, String>;

/// Reads a file: TOML if its name ends in `.toml`, else properties.
///
/// # Errors
/// It cannot be opened, or is not in the syntax of its kind.
pub(crate) fn read_file(path: &Path) -> Result<Entries, SettingsError> {
    let name = path.display().to_string();
    let unreadable = |reason: String| SettingsError::File { file: name.clone(), reason };
    let bytes = std::fs::read(path).map_err(|error| unreadable(format!("{error}; {}", advice(path, error.kind()))))?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        let text = String::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
        return toml_entries(&text).map_err(unreadable);
    }
    // Java reads Latin-1. What is valid UTF-8 was hardly meant as that.
    let text =
        String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().iter().copied().map(char::from).collect());
    let pairs = properties::parse(&text).map_err(|error| unreadable(error.to_string()))?;
    Ok(pairs.into_iter().collect())
}

/// Next step of one whose file cannot be opened.
fn advice(path: &Path, error: ErrorKind) -> String {
    match error {
        ErrorKind::NotFound if path.is_relative() => {
            let folder =
                std::env::current_dir().map_or_else(|_| "the current one".to_owned(), |it| it.display().to_string());
            format!("it was looked for in the folder {folder}: start there, or give its whole path")
        }
        ErrorKind::NotFound => "give the path of the file of properties".to_owned(),
        _ => "give a file that this user may read".to_owned(),
    }
}

fn toml_entries(text: &str) -> Result<Entries, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut entries = Entries::new();
    flatten("", &table, &mut entries)?;
    Ok(entries)
}

/// `[pollingConfig] maxRecords = 5` is `pollingConfig.maxRecords`; an array is a comma list.
fn flatten(prefix: &str, table: &toml::Table, entries: &mut Entries) -> Result<(), String> {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        if let toml::Value::Table(table) = value {
            flatten(&format!("{key}."), table, entries)?;
            continue;
        }
        let text =
            scalar(value).ok_or_else(|| format!("{key} is neither text, number, boolean nor a list of these"))?;
        entries.insert(key, text);
    }
    Ok(())
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(is_true) => Some(is_true.to_string()),
        toml::Value::Array(values) => Some(values.iter().map(scalar).collect::<Option<Vec<_>>>()?.join(",")),
        _ => None,
    }
}

/// Adds the variables with the prefix; underscores and case in the rest do not count. `known` are the keys there are.
pub(crate) fn add_environment<'a>(
    entries: &mut Entries,
    known: impl Iterator<Item = &'a str>,
    variables: impl Iterator<Item = (String, String)>,
) {
    let plain = |text: &str| text.replace(['_', '.'], "").to_ascii_lowercase();
    let keys: BTreeMap<String, &str> = known.map(|key| (plain(key), key)).collect();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let key = keys.get(&plain(rest)).map_or_else(|| name.clone(), |key| (*key).to_owned());
        entries.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Entries {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn file(name: &str, bytes: &[u8]) -> Result<Entries, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        read_file(&path)
    }

    #[test]
    fn properties_are_read_as_utf8_or_else_as_latin1() {
        assert_eq!(file("a.properties", "a=\u{e9}".as_bytes()).unwrap(), entries(&[("a", "\u{e9}")]));
        assert_eq!(file("a.properties", b"a=\xe9\nb=1\nb=2").unwrap(), entries(&[("a", "\u{e9}"), ("b", "2")]));
    }

    #[test]
    fn toml_has_the_same_keys_in_tables_or_not() {
        let text = "applicationName = \"app\"\nmaxRecords = 500\nmetricsEnabledDimensions = [\"Operation\", \"ShardId\"]\n\
                    [fanoutConfig]\nconsumerName = \"c\"\n";
        assert_eq!(
            file("a.TOML", text.as_bytes()).unwrap(),
            entries(&[
                ("applicationName", "app"),
                ("fanoutConfig.consumerName", "c"),
                ("maxRecords", "500"),
                ("metricsEnabledDimensions", "Operation,ShardId"),
            ])
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let missing = read_file(Path::new("/no/such.properties")).unwrap_err().to_string();
        assert!(missing.starts_with("/no/such.properties cannot be read: "), "{missing}");
        let broken = file("a.toml", b"a = ").unwrap_err().to_string();
        assert!(broken.contains("a.toml cannot be read: "), "{broken}");
        let date = file("a.toml", b"a = 1979-05-27").unwrap_err().to_string();
        assert!(date.contains("a is neither text, number, boolean nor a list of these"), "{date}");
    }

    #[test]
    fn variables_win_whatever_their_case_and_underscores() {
        let mut found = entries(&[("applicationName", "file"), ("streamName", "s")]);
        let variables = [
            ("KCL_MULTILANG_APPLICATION_NAME", "variable"),
            ("KCL_MULTILANG_fanoutConfig_consumerName", "c"),
            ("KCL_MULTILANG_NO_SUCH", "x"),
            ("PATH", "/bin"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));

        add_environment(
            &mut found,
            ["applicationName", "fanoutConfig.consumerName"].into_iter(),
            variables.into_iter(),
        );

        assert_eq!(
            found,
            entries(&[
                ("KCL_MULTILANG_NO_SUCH", "x"),
                ("applicationName", "variable"),
                ("fanoutConfig.consumerName", "c"),
                ("streamName", "s"),
            ])
        );
    }
}
