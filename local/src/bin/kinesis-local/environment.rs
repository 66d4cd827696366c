//! The environment in which the SDKs and the AWS CLI find the services, and nothing else.

use std::io;
use std::path::Path;

use kinesis_local::Server;

/// A file with nothing in it.
const NO_FILE: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };

/// Variables by which a shell's own settings would win over ours, or be mixed with them. `run` removes every AWS_*.
pub(crate) const REMOVED: [&str; 10] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
    "AWS_ENDPOINT_URL_STS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
];

/// The variables to set.
///
/// # Errors
/// The current directory, which the certificate's path starts from, cannot be found.
pub(crate) fn variables(server: &Server, certificate: Option<&Path>) -> io::Result<Vec<(&'static str, String)>> {
    let mut variables = vec![
        ("AWS_ENDPOINT_URL_KINESIS", server.kinesis_url()),
        ("AWS_ENDPOINT_URL_DYNAMODB", server.dynamodb_url()),
        ("AWS_ENDPOINT_URL_CLOUDWATCH", server.cloudwatch_url()),
        // All other services: a call to them is refused here rather than sent to the real ones.
        ("AWS_ENDPOINT_URL", server.kinesis_url()),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "false".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ("AWS_CONFIG_FILE", NO_FILE.to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", NO_FILE.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    if let Some(path) = certificate {
        let path = std::path::absolute(path)?.display().to_string();
        variables.extend([("AWS_CA_BUNDLE", path.clone()), ("NODE_EXTRA_CA_CERTS", path)]);
    }
    Ok(variables)
}

/// A caller's list of hosts to reach without a proxy, with the host of the services.
pub(crate) fn no_proxy(callers: Option<&str>) -> String {
    match callers {
        None | Some("") => "127.0.0.1".to_owned(),
        Some(hosts) => format!("{hosts},127.0.0.1"),
    }
}
