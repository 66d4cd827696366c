//! Errors of the SDK in words: what failed, where, and what to do.

use std::fmt::Debug;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::Aws;
use crate::failure::{Failure, chain};

/// Codes of signatures and credentials that the services refuse.
const CREDENTIALS: [&str; 6] = [
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "MissingAuthenticationTokenException",
    "IncompleteSignatureException",
];
const DENIED: [&str; 2] = ["AccessDeniedException", "AccessDenied"];
const THROTTLED: [&str; 4] = [
    "ThrottlingException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "KMSThrottlingException",
];
const MISSING: &str = "ResourceNotFoundException";

/// Returns whether no record can be stored or read before somebody changes something.
pub(crate) fn is_lasting(code: &str) -> bool {
    CREDENTIALS.contains(&code)
        || DENIED.contains(&code)
        || code == MISSING
        || code.starts_with("KMS") && !is_throttle(code)
}

/// Returns whether a later call may succeed.
pub(crate) fn is_throttle(code: &str) -> bool {
    THROTTLED.contains(&code)
}

/// A service's refusal in words. `action` is its name in policies, `target` what it is about, such as "stream orders".
pub(crate) fn refused(aws: &Aws, action: &str, target: &str, code: &str, message: &str) -> Failure {
    let region = aws.region();
    if DENIED.contains(&code) {
        let what = format!("{action} on {target} is denied");
        return Failure::new(what, format!("allow {action} in the caller's IAM policy, or pass --profile ({message})"));
    }
    if code == MISSING {
        let advice = "check the name, --region and --profile";
        return Failure::new(format!("{target} does not exist in {region}"), advice);
    }
    if CREDENTIALS.contains(&code) {
        let what = format!("the AWS credentials are refused by {action} ({code})");
        return Failure::new(what, "sign in again, for example by aws sso login, or pass --profile");
    }
    if code == "ResourceInUseException" {
        return Failure::new(
            format!("{target} is being changed, or exists already"),
            format!("try again in a minute ({message})"),
        );
    }
    if is_throttle(code) {
        return Failure::new(
            format!("{action} on {target} is throttled ({code})"),
            format!("try again in a minute ({message})"),
        );
    }
    Failure::new(format!("{action} on {target} failed with {code}"), message)
}

impl Aws {
    /// An error of a call in words. See [`refused`] for the arguments.
    pub(crate) fn explain<E>(&self, action: &str, target: &str, error: SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + Debug + Send + Sync + 'static,
    {
        match &error {
            SdkError::ServiceError(refusal) => {
                let (code, message) = (refusal.err().code(), refusal.err().message());
                refused(
                    self,
                    action,
                    target,
                    code.unwrap_or("an unknown error"),
                    message.unwrap_or("no reason was given"),
                )
            }
            SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) | SdkError::ConstructionFailure(_) => {
                self.unreached(action, &error)
            }
            _ => Failure::new(format!("the answer to {action} on {target} cannot be read"), chain(&error)),
        }
    }

    fn unreached(&self, action: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
        let cause = chain(error);
        if is_without_credentials(error) || cause.contains("credentials") {
            let advice = "sign in, for example by aws sso login, or pass --profile";
            let place = self.profile.iter().map(|profile| format!(" in profile {profile}")).collect::<String>();
            return Failure::new(format!("no AWS credentials were found{place} for {action} ({cause})"), advice);
        }
        let endpoint = self.config.endpoint_url().map(|url| format!(" at {url}")).unwrap_or_default();
        let what = format!("AWS{endpoint} cannot be reached in {} ({cause})", self.region());
        Failure::new(what, "check --region, --endpoint-url and the network")
    }
}

/// True if credentials could not be had: the SDK's text does not always name them.
fn is_without_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|cause| cause.is::<CredentialsError>())
}
