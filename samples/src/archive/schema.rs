//! Columns of Parquet: given, or those that records have. Pure.

use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::fields::Fields;

/// Columns of a schema that is inferred, at most; fields beyond are in `_rest`.
const MAX_INFERRED_COLUMNS: usize = 1_000;
/// Beginning of the names of the archive's own columns.
const OWN_PREFIX: char = '_';

/// Columns for the fields of JSON objects, as a text `symbol:string, quantity:int64, price:double, open:boolean, more:json`.
///
/// A record need not have all fields: each column is optional. A field without a column, or with a value that its column
/// cannot hold, is in the column `_rest`. So no schema loses anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Column>", into = "Vec<Column>")]
pub struct Schema(Vec<Column>);

/// A column for the field of its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name of the field.
    pub name: String,
    /// Kind of its values.
    #[serde(rename = "type")]
    pub kind: ColumnKind,
}

/// Kind of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// Text in UTF-8.
    String,
    /// Integer of 64 bits, signed.
    Int64,
    /// Floating-point number of 64 bits.
    Double,
    /// True or false.
    Boolean,
    /// Text of any JSON.
    Json,
}

/// Value of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Double(f64),
    Boolean(bool),
}

/// Columns that are no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{column:?} in a schema is not NAME:TYPE with a type string, int64, double, boolean or json and a name of its own that does not begin with _"
)]
pub struct SchemaError {
    column: String,
}

impl TryFrom<Vec<Column>> for Schema {
    type Error = SchemaError;

    fn try_from(columns: Vec<Column>) -> Result<Self, SchemaError> {
        match refused(&columns) {
            Some(column) => Err(SchemaError { column }),
            None => Ok(Self(columns)),
        }
    }
}

impl From<Schema> for Vec<Column> {
    fn from(schema: Schema) -> Self {
        schema.0
    }
}

impl FromStr for Schema {
    type Err = SchemaError;

    fn from_str(text: &str) -> Result<Self, SchemaError> {
        let columns: Result<Vec<Column>, SchemaError> = text.split(',').map(column).collect();
        Self::try_from(columns?)
    }
}

impl Schema {
    /// The columns, in their order.
    pub fn columns(&self) -> &[Column] {
        &self.0
    }

    /// Columns for the fields that these data have, in the order of their names: of the one kind that all values have, doubles
    /// if some are integers, else JSON. Empty: none of the data are a JSON object.
    pub(super) fn inferred<'a>(data: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut kinds: BTreeMap<String, ColumnKind> = BTreeMap::new();
        for (name, value) in data.filter_map(Fields::of).flat_map(Fields::all) {
            let Some(kind) = ColumnKind::of(value.get()) else { continue };
            let has_room = kinds.len() < MAX_INFERRED_COLUMNS;
            match kinds.entry(name) {
                Entry::Occupied(mut known) => {
                    let common = known.get().common(kind);
                    known.insert(common);
                }
                Entry::Vacant(new) if has_room && is_free(new.key()) => {
                    new.insert(kind);
                }
                Entry::Vacant(_) => {}
            }
        }
        Self(kinds.into_iter().map(|(name, kind)| Column { name, kind }).collect())
    }
}

impl ColumnKind {
    /// The value that this JSON is, if a column of this kind holds it to its last digit. None for null, too.
    pub(super) fn value(self, json: &str) -> Option<Value> {
        match self {
            _ if json == "null" => None,
            Self::String => serde_json::from_str::<String>(json).ok().map(Value::Text),
            Self::Int64 => json.parse::<i64>().ok().filter(|number| number.to_string() == json).map(Value::Integer),
            Self::Double => double(json).map(Value::Double),
            Self::Boolean => json.parse::<bool>().ok().map(Value::Boolean),
            Self::Json => Some(Value::Text(json.to_owned())),
        }
    }

    /// The narrowest kind that holds this JSON. None: null, which any column holds.
    fn of(json: &str) -> Option<Self> {
        let narrowest = [Self::Boolean, Self::Int64, Self::Double, Self::String, Self::Json];
        narrowest.into_iter().find(|kind| kind.value(json).is_some())
    }

    fn common(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Int64, Self::Double) | (Self::Double, Self::Int64) => Self::Double,
            _ => Self::Json,
        }
    }
}

fn column(text: &str) -> Result<Column, SchemaError> {
    let refused = || SchemaError { column: text.trim().to_owned() };
    let (name, kind) = text.trim().rsplit_once(':').ok_or_else(refused)?;
    let kind = match kind {
        "string" => ColumnKind::String,
        "int64" => ColumnKind::Int64,
        "double" => ColumnKind::Double,
        "boolean" => ColumnKind::Boolean,
        "json" => ColumnKind::Json,
        _ => return Err(refused()),
    };
    Ok(Column { name: name.to_owned(), kind })
}

/// Name of the first column that must not have it.
fn refused(columns: &[Column]) -> Option<String> {
    let mut names = HashSet::new();
    let refused = columns.iter().find(|column| !is_free(&column.name) || !names.insert(column.name.as_str()))?;
    Some(refused.name.clone())
}

/// True: a field of this name may have a column.
fn is_free(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(OWN_PREFIX)
}

/// The double whose shortest decimal text is this number. None: there is none, or the JSON is no number.
fn double(json: &str) -> Option<f64> {
    let number: f64 = json.parse().ok()?;
    let is_exact =
        number.is_finite() && decimal(json).is_some_and(|exact| decimal(&format!("{number:e}")) == Some(exact));
    is_exact.then_some(number)
}

/// Sign, digits without zeros at either end and exponent of a decimal number: the same for all texts of one number.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (is_negative, unsigned) = text.strip_prefix('-').map_or((false, text), |unsigned| (true, unsigned));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let shortest = significant.trim_end_matches('0');
    if shortest.is_empty() {
        return Some((is_negative, String::new(), 0));
    }
    let zeros = i64::try_from(significant.len() - shortest.len()).ok()?;
    let behind_point = i64::try_from(fraction.len()).ok()?;
    let exponent = exponent.parse::<i64>().ok()?.checked_add(zeros)?.checked_sub(behind_point)?;
    Some((is_negative, shortest.to_owned(), exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_read_from_its_text_and_from_json() {
        let schema: Schema = "symbol:string, at:time:int64,price:double".parse().unwrap();

        let kinds = [("symbol", ColumnKind::String), ("at:time", ColumnKind::Int64), ("price", ColumnKind::Double)];
        let columns = schema.columns().iter().map(|column| (column.name.as_str(), column.kind));
        assert_eq!(columns.collect::<Vec<_>>(), kinds);
        let json = serde_json::to_string(&schema).unwrap();
        assert!(json.contains(r#"{"name":"price","type":"double"}"#), "{json}");
        assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
    }

    #[test]
    fn what_is_no_schema_is_refused_with_its_column() {
        for text in ["", "a", "a:int", ":string", "a:string,a:json", "_rest:string", "a:string,"] {
            assert!(text.parse::<Schema>().is_err(), "{text}");
        }
        let error = serde_json::from_str::<Schema>(r#"[{"name":"_data","type":"json"}]"#).unwrap_err();
        assert!(error.to_string().starts_with("\"_data\" in a schema"), "{error}");
    }

    #[test]
    fn all_fields_of_all_objects_have_columns_of_what_their_values_have_in_common() {
        let data: [&[u8]; 4] = [
            br#"{"i":1,"d":1,"t":"x","b":true,"m":1,"n":null,"o":{"a":1},"_x":1,"":1}"#,
            br#"{"i":-2,"d":1.5,"m":"x","big":18446744073709551615}"#,
            b"\xff",
            b"[1]",
        ];

        let schema = Schema::inferred(data.into_iter());

        assert_eq!(schema, "b:boolean,big:json,d:double,i:int64,m:json,o:json,t:string".parse::<Schema>().unwrap());
        assert_eq!(Schema::inferred(data[2..].iter().copied()), Schema::default());
    }

    #[test]
    fn a_double_is_a_number_that_it_holds_to_the_last_digit() {
        let held =
            ["0", "-0", "1.10", "2", "1e3", "1E+3", "0.30000000000000004", "-12.5e-7", "9007199254740992", "5e-324"];
        for json in held {
            assert_eq!(ColumnKind::Double.value(json), Some(Value::Double(json.parse().unwrap())), "{json}");
        }
        let not_held =
            ["9007199254740993", "0.300000000000000041", "1e400", "1e-400", "1e99999999999999999999", "\"1\"", "null"];
        for json in not_held {
            assert_eq!(ColumnKind::Double.value(json), None, "{json}");
        }
    }

    #[test]
    fn a_value_of_another_kind_is_not_bent_into_its_column() {
        for (kind, json) in [
            (ColumnKind::Int64, "1.0"),
            (ColumnKind::Int64, "-0"),
            (ColumnKind::Int64, "9223372036854775808"),
            (ColumnKind::Int64, "true"),
            (ColumnKind::Boolean, "1"),
            (ColumnKind::String, "1"),
            (ColumnKind::String, r#""\ud800""#),
        ] {
            assert_eq!(kind.value(json), None, "{kind:?} {json}");
        }
        assert_eq!(ColumnKind::Json.value("[1, 2]"), Some(Value::Text("[1, 2]".to_owned())));
        assert_eq!(ColumnKind::String.value(r#""\u00e9""#), Some(Value::Text("é".to_owned())));
    }
}
