//! JSON schema of settings, for editors and checks of files.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Setting with its description.
#[derive(Debug, Clone, Serialize)]
pub struct Described {
    /// Name.
    pub key: &'static str,
    /// Text of one line.
    pub description: &'static str,
    /// Values that are accepted, with an example.
    pub accepted: String,
    /// JSON schema of these.
    pub schema: Value,
}

/// JSON schema of settings under a title.
pub fn schema(title: &str, settings: impl IntoIterator<Item = Described>) -> Value {
    let property = |setting: Described| {
        let mut schema = setting.schema;
        schema["description"] = json!(format!("{}: {}.", setting.description.trim(), setting.accepted));
        (setting.key.to_owned(), schema)
    };
    let properties: Map<String, Value> = settings.into_iter().map(property).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}
