//! [`named`]: the streams and tables that a request names, in plain names, ARNs and statements.

use serde_json::Value;

/// Fields that name a stream, a consumer of one, or a table.
const FIELDS: [&str; 7] =
    ["StreamName", "StreamARN", "ConsumerARN", "ResourceARN", "ResourceArn", "TableName", "TableArn"];

/// Words of PartiQL that a table follows.
const BEFORE_A_TABLE: [&str; 3] = ["FROM", "INTO", "UPDATE"];

/// Names of the streams and tables in the body of a request. What cannot be read is an empty name.
pub(super) fn named(body: &Value) -> Vec<String> {
    let mut names = Vec::new();
    collect(body, &mut names);
    names
}

fn collect(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| match (field.as_str(), value) {
            (field, Value::String(text)) if FIELDS.contains(&field) => names.push(resource(text).to_owned()),
            ("Statement", Value::String(text)) => names.extend(tables(text)),
            ("RequestItems", Value::Object(requests)) => {
                names.extend(requests.keys().map(|table| resource(table).to_owned()));
            }
            (_, nested) => collect(nested, names),
        }),
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        _ => {}
    }
}

/// The stream or table that a name or ARN is of.
fn resource(text: &str) -> &str {
    let Some(("arn", rest)) = text.split_once(':') else { return text };
    // Partition, service, region, account.
    let resource = rest.splitn(5, ':').nth(4).unwrap_or_default();
    let name = resource.strip_prefix("stream/").or_else(|| resource.strip_prefix("table/")).unwrap_or_default();
    name.split('/').next().unwrap_or_default()
}

/// The tables of a statement of PartiQL, whose names are quoted.
fn tables(statement: &str) -> Vec<String> {
    let words: Vec<&str> = statement.split(|c: char| c.is_whitespace() || c == '(').filter(|w| !w.is_empty()).collect();
    let pairs = words.windows(2).filter(|pair| BEFORE_A_TABLE.iter().any(|word| word.eq_ignore_ascii_case(pair[0])));
    let quoted = |word: &str| word.strip_prefix('"').and_then(|rest| rest.split('"').next()).map(str::to_owned);
    let tables: Vec<String> = pairs.map(|pair| quoted(pair[1]).unwrap_or_default()).collect();
    if tables.is_empty() { vec![String::new()] } else { tables }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_found_however_a_request_writes_them() {
        let cases = [
            (json!({"StreamName": "orders", "ShardCount": 1}), vec!["orders"]),
            (json!({"StreamARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"}), vec!["orders"]),
            (json!({"ConsumerARN": "arn:aws:kinesis:eu-west-1:1:stream/orders/consumer/app:17"}), vec!["orders"]),
            (json!({"ResourceArn": "arn:aws:dynamodb:eu-west-1:1:table/leases"}), vec!["leases"]),
            (json!({"TableName": "leases"}), vec!["leases"]),
            (json!({"RequestItems": {"leases": [], "others": []}}), vec!["leases", "others"]),
            (json!({"TransactItems": [{"Put": {"TableName": "a"}}, {"Delete": {"TableName": "b"}}]}), vec!["a", "b"]),
            (json!({"Statements": [{"Statement": "UPDATE \"a\" SET b = 1"}]}), vec!["a"]),
            (json!({"Statement": "EXISTS(SELECT * FROM \"a\".\"index\" WHERE b = 'c')"}), vec!["a"]),
            (json!({"Statement": "insert into \"a\" value {'b': 'c'}"}), vec!["a"]),
            (json!({"Limit": 1}), vec![]),
        ];
        for (body, names) in cases {
            assert_eq!(named(&body), names, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_empty_name() {
        let bodies = [
            json!({"Statement": "DELETE FROM a WHERE b = 'c'"}),
            json!({"Statement": "?"}),
            json!({"ResourceARN": "arn:aws:lambda:eu-west-1:1:function:f"}),
            json!({"StreamARN": "arn:aws"}),
        ];
        for body in bodies {
            assert_eq!(named(&body), [""], "{body}");
        }
    }
}
