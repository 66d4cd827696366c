//! [`require_consent`]: whether a run may begin. Account and region are typed back, or given beforehand.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::bail;

use super::place::Place;

/// Decision about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Consent {
    /// It may begin.
    Given,
    /// It has to be asked for at the terminal.
    Ask,
    /// It must not begin, for this reason.
    Refused(String),
}

/// Decides by what `--confirm` says, and by whether somebody is there to be asked.
fn consent(place: &Place, confirm: Option<&str>, is_terminal: bool) -> Consent {
    match confirm {
        Some(text) if place.is(text) => Consent::Given,
        Some(text) => Consent::Refused(format!("{text} was confirmed, but this is {place}")),
        None if is_terminal => Consent::Ask,
        None => Consent::Refused(format!("nobody is there to be asked: give --confirm {place}")),
    }
}

/// Decides by what `--confirm` says, or else asks at the terminal.
///
/// # Errors
/// The run must not begin, or the terminal cannot be written or read.
pub fn require_consent(place: &Place, confirm: Option<&str>) -> anyhow::Result<()> {
    let decided = match consent(place, confirm, io::stdin().is_terminal()) {
        Consent::Ask => ask(place)?,
        decided => decided,
    };
    match decided {
        Consent::Given => Ok(()),
        Consent::Refused(why) => bail!("nothing was done: {why}"),
        Consent::Ask => bail!("nothing was done: nobody answered"),
    }
}

/// Asks at the terminal, and decides by the answer.
fn ask(place: &Place) -> io::Result<Consent> {
    let mut errors = io::stderr();
    write!(errors, "Type account and region, as {place}, to go on: ")?;
    errors.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(consent(place, Some(answer.trim()), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_and_region_must_be_those_of_the_run() {
        let place = Place::new("123456789012", "eu-west-1");
        let refused = |confirm, is_terminal| matches!(consent(&place, confirm, is_terminal), Consent::Refused(_));

        assert_eq!(consent(&place, Some("123456789012/eu-west-1"), false), Consent::Given);
        assert_eq!(consent(&place, None, true), Consent::Ask);
        assert!(refused(None, false));
        for other in ["", "y", "123456789012", "123456789012/us-east-1", "210987654321/eu-west-1"] {
            assert!(refused(Some(other), true), "{other}");
        }
    }
}
