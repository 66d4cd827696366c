//! The check of signatures: their time must be near that of the services.

use std::time::Duration;

use crate::refusal::Refusal;
use crate::services::Service;
use crate::timestamp::Millis;

/// Maximum difference of the time of a signature, either way.
/// docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
const TOLERANCE: Duration = Duration::from_secs(300);

/// Passes unless the request says that it was signed too early or too late.
pub(crate) fn require_current(service: Service, signed_at: &str, now: Millis) -> Result<(), Refusal> {
    let Some(signed) = Millis::parse_signed(signed_at) else { return Ok(()) };
    let now = Millis(now.0 / 1000 * 1000);
    let (at, right_now) = (signed.as_signed(), now.as_signed());
    let (earliest, latest) = (now.minus(TOLERANCE), now.plus(TOLERANCE));
    let message = if signed < earliest {
        format!("Signature expired: {at} is now earlier than {} ({right_now} - 5 min.)", earliest.as_signed())
    } else if signed > latest {
        format!("Signature not yet current: {at} is still later than {} ({right_now} + 5 min.)", latest.as_signed())
    } else {
        return Ok(());
    };
    Err(match service {
        Service::Kinesis => Refusal::new(400, "InvalidSignatureException", &message),
        Service::DynamoDb => Refusal::new(400, "com.amazon.coral.service#InvalidSignatureException", &message),
        Service::CloudWatch => Refusal::new(403, "SignatureDoesNotMatch", &message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_may_be_five_minutes_off() {
        let now = Millis::parse_signed("20261128T101500Z").unwrap();
        let refused = |signed_at| {
            let refusal = require_current(Service::Kinesis, signed_at, now.shifted(900)).err()?;
            let body: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap();
            Some(body["message"].as_str().unwrap().to_owned())
        };

        assert_eq!(refused(""), None);
        assert_eq!(refused("20261128T101000Z"), None);
        assert_eq!(refused("20261128T102000Z"), None);
        assert_eq!(
            refused("20261128T100959Z").unwrap(),
            "Signature expired: 20261128T100959Z is now earlier than 20261128T101000Z (20261128T101500Z - 5 min.)"
        );
        assert_eq!(
            refused("20261128T102001Z").unwrap(),
            "Signature not yet current: 20261128T102001Z is still later than 20261128T102000Z (20261128T101500Z + 5 \
             min.)"
        );
    }
}
