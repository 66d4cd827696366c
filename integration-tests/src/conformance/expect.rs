//! Expectations of checks, and the texts of their failures.

use std::fmt::{self, Debug, Display};
use std::panic::Location;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};

/// Outcome of a check.
pub(super) type Outcome = Result<(), Failure>;

/// Maximum length of a failure's text, in characters: nobody reads a record of a megabyte.
const MAX_TEXT: usize = 300;

/// Actual value, expected value, and line of the check.
#[derive(Clone, Debug)]
pub struct Failure {
    text: String,
    /// The value that was wanted, if it is one.
    wanted: Option<String>,
    at: &'static Location<'static>,
}

impl Failure {
    #[track_caller]
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: shortened(&text.into()), wanted: None, at: Location::caller() }
    }

    fn wanting(self, wanted: &str) -> Self {
        Self { wanted: Some(shortened(wanted)), ..self }
    }

    /// The value that was wanted, if it is one.
    pub(super) fn wanted(&self) -> Option<&str> {
        self.wanted.as_deref()
    }
}

/// A text on one line, of bounded length.
fn shortened(text: &str) -> String {
    let mut text = text.replace(char::is_whitespace, " ");
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.at.file().rsplit('/').next().unwrap_or_default();
        write!(f, "{} ({file}:{})", self.text, self.at.line())
    }
}

impl<E: ProvideErrorMetadata + Debug, R: Debug> From<SdkError<E, R>> for Failure {
    #[track_caller]
    fn from(error: SdkError<E, R>) -> Self {
        Self::new(format!("refused: {}", describe(&error)))
    }
}

/// The code and the message of a refusal, or what became of the call.
fn describe<E: ProvideErrorMetadata + Debug, R: Debug>(error: &SdkError<E, R>) -> String {
    match error.as_service_error() {
        Some(refusal) => {
            format!("{}: {}", refusal.code().unwrap_or("no code"), refusal.message().unwrap_or("no message"))
        }
        None => format!("{error:?}"),
    }
}

/// Passes when both are equal.
#[track_caller]
pub(super) fn equal<G: PartialEq<W> + Debug, W: Debug>(what: &str, got: G, want: W) -> Outcome {
    if got == want {
        return Ok(());
    }
    let failure = Failure::new(format!("{what}: got {got:?}, want {want:?}"));
    Err(failure.wanting(&format!("{what}: {want:?}")))
}

/// Passes when it holds.
#[track_caller]
pub(super) fn holds(holds: bool, what: impl Display) -> Outcome {
    if holds { Ok(()) } else { Err(Failure::new(format!("does not hold: {what}"))) }
}

/// The value, if there is one; `what` names it in the failure if not.
#[track_caller]
pub(super) fn present<T>(value: Option<T>, what: &str) -> Result<T, Failure> {
    match value {
        Some(value) => Ok(value),
        None => Err(Failure::new(format!("no {what}"))),
    }
}

/// Passes when the service refused with the code.
#[track_caller]
pub(super) fn refused<T: Debug, E: ProvideErrorMetadata + Debug, R: Debug>(
    answer: Result<T, SdkError<E, R>>,
    code: &str,
) -> Outcome {
    refused_with(answer, &[code])
}

/// Passes when the service refused with one of the codes, where the documentation does not say with which.
#[track_caller]
pub(super) fn refused_with<T: Debug, E: ProvideErrorMetadata + Debug, R: Debug>(
    answer: Result<T, SdkError<E, R>>,
    codes: &[&str],
) -> Outcome {
    let wanted = codes.join(" or ");
    match answer {
        Ok(answer) => Err(Failure::new(format!("accepted, want {wanted}: {answer:?}")).wanting(&wanted)),
        Err(SdkError::ServiceError(refusal)) if refusal.err().code().is_some_and(|code| codes.contains(&code)) => {
            Ok(())
        }
        Err(error) => Err(Failure::new(format!("refused with {}; want {wanted}", describe(&error))).wanting(&wanted)),
    }
}

/// Passes when the service refused, and the client knows the error by this type.
#[track_caller]
pub(super) fn refused_as<T: Debug, E: ProvideErrorMetadata + Debug, R: Debug>(
    answer: Result<T, SdkError<E, R>>,
    is_wanted: fn(&E) -> bool,
) -> Outcome {
    match answer {
        Ok(answer) => Err(Failure::new(format!("accepted: {answer:?}"))),
        Err(SdkError::ServiceError(refusal)) if is_wanted(refusal.err()) => Ok(()),
        Err(error) => Err(Failure::new(format!("refused as another error: {}", describe(&error)))),
    }
}
