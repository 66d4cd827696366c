//! Sources of credentials: a comma list of the class names that the daemon for Java takes, with their arguments.

use super::{SettingsError, reader::Reader};

/// A source of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Environment, profile, web identity, container, instance: the first that has some.
    Default,
    Environment,
    Profile(Option<String>),
    WebIdentity,
    Container,
    Instance,
    AssumeRole {
        arn: String,
        session: String,
        region: Option<String>,
        external_id: Option<String>,
    },
}

const EXPECTED: &str = "a comma list of DefaultCredentialsProvider, EnvironmentVariableCredentialsProvider, \
    ProfileCredentialsProvider[|name], WebIdentityTokenFileCredentialsProvider, ContainerCredentialsProvider, \
    InstanceProfileCredentialsProvider, StsAssumeRoleCredentialsProvider|arn|session[|endpointRegion=..][|externalId=..]";

/// The list under a key, whose case does not count; None if there is none.
pub(super) fn read(reader: &Reader, key: &str) -> Result<Option<Vec<Credentials>>, SettingsError> {
    let written = reader.spelled(key);
    // So that the key itself counts as known.
    let _ = reader.text(key);
    let Some(list) = reader.filled(&written) else { return Ok(None) };
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    let parsed: Option<Vec<_>> = parts.map(one).collect();
    match parsed.filter(|list| !list.is_empty()) {
        Some(sources) => Ok(Some(sources)),
        None => Err(Reader::unreadable(&written, list, EXPECTED)),
    }
}

fn one(text: &str) -> Option<Credentials> {
    let mut arguments = text.split('|').map(str::trim);
    let class = arguments.next()?;
    let arguments: Vec<&str> = arguments.collect();
    let name = class.rsplit('.').next()?;
    match (name, arguments.as_slice()) {
        // The second is the name of the SDK 1, still found in old files.
        ("DefaultCredentialsProvider" | "DefaultAWSCredentialsProviderChain", []) => Some(Credentials::Default),
        ("EnvironmentVariableCredentialsProvider", []) => Some(Credentials::Environment),
        ("ProfileCredentialsProvider", []) => Some(Credentials::Profile(None)),
        ("ProfileCredentialsProvider", [name]) => Some(Credentials::Profile(Some((*name).to_owned()))),
        ("WebIdentityTokenFileCredentialsProvider" | "WebIdentityTokenCredentialsProvider", []) => {
            Some(Credentials::WebIdentity)
        }
        ("ContainerCredentialsProvider", []) => Some(Credentials::Container),
        ("InstanceProfileCredentialsProvider", []) => Some(Credentials::Instance),
        ("StsAssumeRoleCredentialsProvider", [arn, session, options @ ..]) => assume_role(arn, session, options),
        _ => None,
    }
}

fn assume_role(arn: &str, session: &str, options: &[&str]) -> Option<Credentials> {
    let (mut region, mut external_id) = (None, None);
    for option in options {
        match option.split_once('=')? {
            ("endpointRegion", value) => region = Some(value.to_owned()),
            ("externalId", value) => external_id = Some(value.to_owned()),
            _ => return None,
        }
    }
    let is_arn = arn.starts_with("arn:") && !session.is_empty();
    is_arn.then(|| Credentials::AssumeRole { arn: arn.to_owned(), session: session.to_owned(), region, external_id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::source::Entries;

    fn list(value: &str) -> Result<Option<Vec<Credentials>>, SettingsError> {
        let key = "AWSCREDENTIALSPROVIDER".to_owned();
        read(&Reader::new(Entries::from([(key, value.to_owned())])), "AwsCredentialsProvider")
    }

    fn only(value: &str) -> Credentials {
        list(value).unwrap().unwrap().remove(0)
    }

    #[test]
    fn class_names_are_read_with_and_without_their_package() {
        let full = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider";
        assert_eq!(
            (only(full), only("DefaultAWSCredentialsProviderChain")),
            (Credentials::Default, Credentials::Default)
        );
        assert_eq!(only("ProfileCredentialsProvider|ops"), Credentials::Profile(Some("ops".to_owned())));
        assert_eq!(
            list("EnvironmentVariableCredentialsProvider, InstanceProfileCredentialsProvider"),
            Ok(Some(vec![Credentials::Environment, Credentials::Instance]))
        );
    }

    #[test]
    fn a_role_has_a_session_and_may_have_a_region_and_an_external_id() {
        let text = "StsAssumeRoleCredentialsProvider|arn:aws:iam::1:role/r|s|endpointRegion=eu-west-1|externalId=x";
        let Credentials::AssumeRole { arn, session, region, external_id } = only(text) else { panic!() };
        assert_eq!((arn.as_str(), session.as_str()), ("arn:aws:iam::1:role/r", "s"));
        assert_eq!((region.as_deref(), external_id.as_deref()), (Some("eu-west-1"), Some("x")));
    }

    #[test]
    fn an_unknown_class_is_refused_with_those_that_are_known() {
        for value in ["MyProvider", "StsAssumeRoleCredentialsProvider|arn:x", "ProfileCredentialsProvider|a|b", ","] {
            let error = list(value).unwrap_err().to_string();
            assert!(
                error.starts_with("AWSCREDENTIALSPROVIDER is ") && error.contains("DefaultCredentialsProvider"),
                "{error}"
            );
        }
        assert_eq!(list(""), Ok(None));
    }
}
