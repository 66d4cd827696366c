//! Sizes and keys of the items of a transaction, as far as the request says them.
//!
//! An update says what it changes and not what the item comes to, so its size is a lower bound.
//! Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};

use crate::table::item::Item;

/// Bytes of a list or a map beside its elements, and of each element beside itself.
const COLLECTION: usize = 3;
const ELEMENT: usize = 1;

/// Bytes of the key, the attributes and the values that an item names.
pub(super) fn size(item: &TransactWriteItem) -> usize {
    let (_, key) = target(item).unzip();
    let values = [
        item.put().and_then(|put| put.expression_attribute_values()),
        item.update().and_then(|update| update.expression_attribute_values()),
        item.delete().and_then(|delete| delete.expression_attribute_values()),
        item.condition_check().and_then(|check| check.expression_attribute_values()),
    ];
    let values = values.into_iter().flatten().flat_map(Item::values).map(value_size);
    key.map_or(0, item_size) + values.sum::<usize>()
}

/// Value of that key attribute, if the item is in the table.
pub(super) fn named_key<'a>(item: &'a TransactWriteItem, table: &str, attribute: &str) -> Option<&'a str> {
    let (name, key) = target(item)?;
    // A name, or an ARN that ends with it.
    let name = name.rsplit_once(":table/").map_or(name, |(_, name)| name);
    key.get(attribute).filter(|_| name == table)?.as_s().ok().map(String::as_str)
}

/// Table of an item, and attributes with its key.
fn target(item: &TransactWriteItem) -> Option<(&str, &Item)> {
    let put = item.put().map(|put| (put.table_name(), put.item()));
    let update = || item.update().map(|update| (update.table_name(), update.key()));
    let delete = || item.delete().map(|delete| (delete.table_name(), delete.key()));
    let check = || item.condition_check().map(|check| (check.table_name(), check.key()));
    put.or_else(update).or_else(delete).or_else(check)
}

fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number_size(number),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::Ns(numbers) => numbers.iter().map(|number| number_size(number)).sum(),
        AttributeValue::Bs(all) => all.iter().map(|bytes| bytes.as_ref().len()).sum(),
        AttributeValue::L(list) => COLLECTION + list.iter().map(|value| ELEMENT + value_size(value)).sum::<usize>(),
        AttributeValue::M(map) => COLLECTION + map.len() * ELEMENT + item_size(map),
        _ => 1, // true, false, null
    }
}

/// One byte for each two digits, and one.
fn number_size(number: &str) -> usize {
    number.bytes().filter(u8::is_ascii_digit).count().div_ceil(2) + 1
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::{ConditionCheck, Delete, Put};

    use super::*;
    use crate::table::dynamodb::{n, s};

    #[test]
    fn counts_names_and_values_as_the_service_does() {
        let map = AttributeValue::M(Item::from([("a".to_owned(), s("bc"))]));
        let values = [s("äb"), n("-12.345"), AttributeValue::Bool(true), AttributeValue::L(vec![s("ab"), n(1)]), map];

        assert_eq!(values.map(|value| value_size(&value)), [3, 4, 1, 3 + 2 + 2 + 2, 3 + 1 + 3]);
    }

    #[test]
    fn finds_the_key_in_items_of_any_kind_and_behind_an_arn() {
        let arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/leases";
        let put = Put::builder().table_name("leases").item("leaseKey", s("a")).item("n", n(1)).build().unwrap();
        let delete = Delete::builder().table_name(arn).key("leaseKey", s("b")).build().unwrap();
        let check = ConditionCheck::builder().table_name("other").key("leaseKey", s("c"));
        let check = check.condition_expression("n = :n").expression_attribute_values(":n", n(1)).build().unwrap();
        let item = TransactWriteItem::builder;
        let items = [item().put(put).build(), item().delete(delete).build(), item().condition_check(check).build()];

        let keys = [0, 1, 2].map(|index| named_key(&items[index], "leases", "leaseKey"));

        assert_eq!(keys, [Some("a"), Some("b"), None]);
        assert_eq!(items.each_ref().map(size), [8 + 1 + 1 + 2, 8 + 1, 8 + 1 + 2]);
    }
}
