use serde_json::json;

use super::super::super::value::item_from_json;
use super::*;

fn placeholders() -> Placeholders {
    let names = json!({ "#s": "status" });
    let values = json!({
        ":one": { "N": "1" }, ":ten": { "N": "10" }, ":x": { "S": "x" }, ":m": { "S": "M" }, ":t": { "BOOL": true },
    });
    Placeholders::new(names.as_object(), values.as_object()).unwrap()
}

fn parse(text: &str) -> Result<Condition, Error> {
    Condition::parse("ConditionExpression", text, &mut placeholders())
}

fn holds(text: &str) -> bool {
    let item = json!({
        "n": { "N": "5" }, "t": { "S": "xyz" }, "status": { "S": "x" }, "m": { "M": { "l": { "L": [{ "N": "1" }] } } },
        "marks": { "SS": ["x", "y"] },
    });
    parse(text).unwrap().holds(&item_from_json(&item).unwrap())
}

#[test]
fn conditions_hold_as_documented() {
    for text in [
        "n BETWEEN :one AND :ten",
        "n > :one AND n <= :ten",
        "#s = :x OR n = :one",
        "NOT n = :one",
        "n IN (:one, n)",
        "attribute_exists(m.l[0]) AND attribute_not_exists(m.l[1])",
        "begins_with(t, :x) AND contains(marks, :x) AND contains(t, :x)",
        "attribute_type(m, :m)",
        "size(marks) > :one",
        "m.l[0] = :one",
        "gone <> :one",
        "n <> :x",
        "(n = :one OR n < :ten) AND t <> :x",
        "n = :ten OR n > :one AND #s = :x",
    ] {
        assert!(holds(text), "{text}");
    }
}

#[test]
fn conditions_fail_on_what_is_missing_or_of_another_type() {
    for text in ["gone = :one", "gone < :one", "t > :one", "size(n) >= :one", "gone IN (:one)", "n = :x"] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn what_is_no_condition_is_refused() {
    for (text, problem) in [
        ("", "can not be empty"),
        ("n =", "Syntax error; token: \"<EOF>\""),
        ("n = :one n", "Syntax error; token: \"n\""),
        ("status = :x", "reserved keyword: status"),
        ("#none = :x", "attribute name: #none"),
        ("n = :none", "attribute value: :none"),
        ("n < :t", "operand type: BOOL"),
        ("n BETWEEN :ten AND :one", "upper bound"),
        ("nothing(n)", "function: nothing"),
        ("n != :one", "Syntax error"),
        ("n = 'x'", "Syntax error; token: \"'\""),
    ] {
        let message = parse(text).unwrap_err().message;
        assert!(message.starts_with("Invalid ConditionExpression: ") && message.contains(problem), "{message}");
    }
    assert!(parse(&format!("{}n = :one{}", "(".repeat(90), ")".repeat(90))).unwrap_err().message.contains("nesting"));
    let long = vec!["n = :one"; 160].join(" OR ");
    assert!(parse(&long).unwrap_err().message.contains("too many operators"));
}
