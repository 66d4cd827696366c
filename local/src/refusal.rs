//! A refusal on the wire: a status and a JSON body with the error's type and message.

use serde::Serialize;
use serde_json::json;

use crate::kinesis;

/// An answer that refuses the call.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// True if this comes from something in between rather than the service: the body is no JSON.
    pub(crate) is_bare: bool,
}

impl Refusal {
    pub(crate) fn new(status: u16, error_type: &str, message: &str) -> Self {
        #[derive(Serialize)]
        struct Wire<'a> {
            #[serde(rename = "__type")]
            error_type: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            message: &'a str,
        }
        let body = serde_json::to_vec(&Wire { error_type, message }).expect("two strings always serialize");
        Self::json(status, body)
    }

    /// A transaction was canceled because of one of its items, counted from 0, by a code and a message.
    pub(crate) fn transaction_canceled(items: usize, at: usize, (code, message): (&str, &str)) -> Self {
        let reason = |n| if n == at { json!({ "Code": code, "Message": message }) } else { json!({ "Code": "None" }) };
        let code = |n| if n == at { code } else { "None" };
        let items = 0..items.max(at + 1);
        let body = json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": Self::canceled_because(&items.clone().map(code).collect::<Vec<_>>()),
            "CancellationReasons": items.map(reason).collect::<Vec<_>>(),
        });
        Self::json(400, body.to_string().into_bytes())
    }

    /// Message of a canceled transaction, from a code for each item.
    pub(crate) fn canceled_because(codes: &[&str]) -> String {
        format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes.join(", "))
    }

    /// With a body that is written already.
    pub(crate) fn json(status: u16, body: Vec<u8>) -> Self {
        Self { status, body, is_bare: false }
    }
}

impl From<kinesis::Error> for Refusal {
    fn from(error: kinesis::Error) -> Self {
        Self::json(400, error.to_json())
    }
}
