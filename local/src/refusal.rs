//! A refusal as it goes over the wire: a status and a JSON body with the error's type and message.

use serde::Serialize;

use crate::kinesis;

/// What a client gets instead of the answer it wants.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
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
        Self { status, body }
    }
}

impl From<kinesis::Error> for Refusal {
    fn from(error: kinesis::Error) -> Self {
        Self { status: 400, body: error.to_json() }
    }
}
