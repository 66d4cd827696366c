//! Settings of the worker that the daemon for Java has no keys for: `kcl.` and the name of one of [`WorkerSettings`].

use kcl::WorkerSettings;

use super::{SettingsError, reader::Reader};

/// Beginning of the keys.
const PREFIX: &str = "kcl.";
/// Settings that need what a key of the daemon's own says besides, each with that key.
const OWN: &[(&str, &str)] = &[
    ("metrics_prefixed", "probeAddress"),
    ("on_processor_error", "processorErrorPolicy"),
    ("processor_error_attempts", "processorErrorAttempts"),
];

/// All keys.
pub(super) fn keys() -> Vec<String> {
    let taken = |name: &&&str| !OWN.iter().any(|(own, _)| own == *name);
    WorkerSettings::KEYS.iter().filter(taken).map(|name| format!("{PREFIX}{name}")).collect()
}

/// Reads the keys that are there.
///
/// # Errors
/// There is no such setting, it has a key of its own, or its value cannot be read.
pub(super) fn read(reader: &Reader) -> Result<WorkerSettings, SettingsError> {
    let mut settings = WorkerSettings::default();
    for key in reader.keys() {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let refused = |reason: String| SettingsError::Worker { key: key.to_owned(), reason };
        if let Some((_, own)) = OWN.iter().find(|(taken, _)| *taken == name) {
            return Err(refused(format!("{own} says that here")));
        }
        let Some(text) = reader.filled(key) else { continue };
        settings.set(name, text).map_err(|error| refused(error.to_string()))?;
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, value: &str) -> Result<WorkerSettings, SettingsError> {
        read(&Reader::new([(key.to_owned(), value.to_owned())].into()))
    }

    fn refusal(key: &str, value: &str) -> String {
        of(key, value).unwrap_err().to_string()
    }

    #[test]
    fn settings_of_the_worker_are_read_by_their_names() {
        assert_eq!(of("kcl.max_leases", "7").unwrap().max_leases, Some(7));
        assert_eq!(of("kcl.max_leases", " ").unwrap(), WorkerSettings::default());
        assert_eq!(of("maxRecords", "7").unwrap(), WorkerSettings::default());
    }

    #[test]
    fn what_cannot_be_taken_is_refused_by_its_key() {
        assert_eq!(refusal("kcl.max_lease", "7"), "kcl.max_lease: there is no setting max_lease; max_leases is one");
        let unreadable = refusal("kcl.lease_duration", "soon");
        assert!(unreadable.starts_with(r#"kcl.lease_duration: lease_duration is "soon", accepted: "#), "{unreadable}");
    }

    #[test]
    fn what_the_daemon_has_a_key_for_with_more_behind_it_is_left_to_that_key() {
        for (name, own) in OWN {
            let key = format!("{PREFIX}{name}");
            assert!(WorkerSettings::KEYS.contains(name) && !keys().contains(&key), "{name}");
            assert_eq!(refusal(&key, "1"), format!("{key}: {own} says that here"));
        }
    }
}
