//! Parquet: records in, an object's bytes out. Pure.

use std::{collections::HashMap, sync::Arc, time::UNIX_EPOCH};

use bytes::Bytes;
use kcl::{BoxError, Position, Record};
use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type},
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        reader::{FileReader as _, SerializedFileReader},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::{Type, TypePtr},
};

use super::{
    fields::Fields,
    schema::{Column, ColumnKind, Schema, Value},
};

/// Key in the footer under which an object has the position of its last record.
const END_KEY: &str = "kinesis.end";

type RowGroup<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

/// Rows of an object: the records, and their fields if they are JSON objects.
struct Rows<'a> {
    records: &'a [Record],
    fields: Vec<Option<Fields<'a>>>,
}

/// A row for each record, in their order, in one row group.
pub(super) fn encode(records: &[Record], schema: &Schema) -> Result<Vec<u8>, BoxError> {
    let last = records.last().ok_or("there is nothing to archive")?;
    let end = KeyValue::new(END_KEY.to_owned(), last.position().to_string());
    let properties = WriterProperties::builder();
    let properties = properties.set_compression(Compression::SNAPPY).set_key_value_metadata(Some(vec![end]));
    let mut file = SerializedFileWriter::new(Vec::new(), root(schema)?, Arc::new(properties.build()))?;
    let mut group = file.next_row_group()?;
    let rows = Rows { records, fields: records.iter().map(|record| Fields::of(&record.data)).collect() };
    rows.write_positions(&mut group)?;
    for column in schema.columns() {
        rows.write_field(&mut group, column)?;
    }
    rows.write_rest(&mut group, schema)?;
    group.close()?;
    Ok(file.into_inner()?)
}

/// Position of the last record.
pub(super) fn end(object: Bytes) -> Result<Position, BoxError> {
    let reader = SerializedFileReader::new(object)?;
    let mut entries = reader.metadata().file_metadata().key_value_metadata().into_iter().flatten();
    let end = entries.find(|entry| entry.key == END_KEY).and_then(|entry| entry.value.as_deref());
    let (number, sub) = end.and_then(|end| end.split_once('/')).ok_or("its footer does not say where it ends")?;
    Ok(Position::new(number.parse()?, sub.parse()?))
}

/// Number of rows.
pub(super) fn records(object: Bytes) -> Result<usize, BoxError> {
    let reader = SerializedFileReader::new(object)?;
    Ok(reader.metadata().file_metadata().num_rows().try_into()?)
}

/// Columns for position, key and time, then those of the schema, then what these do not hold.
fn root(schema: &Schema) -> Result<TypePtr, BoxError> {
    let time = LogicalType::timestamp(true, TimeUnit::MILLIS);
    let mut fields = vec![
        field("_sequence_number", Repetition::REQUIRED, Physical::BYTE_ARRAY, Some(LogicalType::String))?,
        field("_sub_sequence_number", Repetition::REQUIRED, Physical::INT64, None)?,
        field("_partition_key", Repetition::REQUIRED, Physical::BYTE_ARRAY, Some(LogicalType::String))?,
        field("_arrival", Repetition::OPTIONAL, Physical::INT64, Some(time))?,
    ];
    for Column { name, kind } in schema.columns() {
        let (physical, logical) = match kind {
            ColumnKind::String | ColumnKind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            ColumnKind::Int64 => (Physical::INT64, None),
            ColumnKind::Double => (Physical::DOUBLE, None),
            ColumnKind::Boolean => (Physical::BOOLEAN, None),
        };
        fields.push(field(name, Repetition::OPTIONAL, physical, logical)?);
    }
    fields.push(field("_rest", Repetition::OPTIONAL, Physical::BYTE_ARRAY, Some(LogicalType::String))?);
    fields.push(field("_data", Repetition::OPTIONAL, Physical::BYTE_ARRAY, None)?);
    Ok(Arc::new(Type::group_type_builder("record").with_fields(fields).build()?))
}

fn field(
    name: &str,
    repetition: Repetition,
    physical: Physical,
    logical: Option<LogicalType>,
) -> Result<TypePtr, BoxError> {
    let field = Type::primitive_type_builder(name, physical).with_repetition(repetition).with_logical_type(logical);
    Ok(Arc::new(field.build()?))
}

impl Rows<'_> {
    fn write_positions(&self, group: &mut RowGroup<'_>) -> Result<(), BoxError> {
        let records = self.records.iter();
        let arrival = |record: &Record| -> Option<i64> {
            record.approximate_arrival?.duration_since(UNIX_EPOCH).ok()?.as_millis().try_into().ok()
        };
        required::<ByteArrayType>(group, records.clone().map(|record| text(record.sequence_number.as_str())))?;
        required::<Int64Type>(group, records.clone().map(|record| record.sub_sequence_number.cast_signed()))?;
        required::<ByteArrayType>(group, records.clone().map(|record| text(&record.partition_key)))?;
        optional::<Int64Type>(group, records.map(arrival))
    }

    fn write_field(&self, group: &mut RowGroup<'_>, column: &Column) -> Result<(), BoxError> {
        let values = self.fields.iter().map(|fields| column.kind.value(fields.as_ref()?.get(&column.name)?));
        match column.kind {
            ColumnKind::String | ColumnKind::Json => optional::<ByteArrayType>(group, values.map(as_text)),
            ColumnKind::Int64 => optional::<Int64Type>(group, values.map(as_integer)),
            ColumnKind::Double => optional::<DoubleType>(group, values.map(as_double)),
            ColumnKind::Boolean => optional::<BoolType>(group, values.map(as_boolean)),
        }
    }

    /// Fields without a column that holds them, and data without fields.
    fn write_rest(&self, group: &mut RowGroup<'_>, schema: &Schema) -> Result<(), BoxError> {
        let kinds = schema.columns().iter().map(|column| (column.name.as_str(), column.kind));
        let kinds: HashMap<&str, ColumnKind> = kinds.collect();
        let is_rest = |name: &str, json: &str| match kinds.get(name) {
            Some(kind) => json != "null" && kind.value(json).is_none(),
            None => true,
        };
        let rest = self.fields.iter().map(|fields| fields.as_ref()?.chosen(is_rest));
        optional::<ByteArrayType>(group, rest.map(|rest| rest.map(|rest| text(&rest))))?;
        let rows = self.records.iter().zip(&self.fields);
        let data = rows.map(|(record, fields)| fields.is_none().then(|| ByteArray::from(record.data.clone())));
        optional::<ByteArrayType>(group, data)
    }
}

fn text(text: &str) -> ByteArray {
    ByteArray::from(text)
}

fn as_text(value: Option<Value>) -> Option<ByteArray> {
    match value? {
        Value::Text(value) => Some(text(&value)),
        _ => None,
    }
}

fn as_integer(value: Option<Value>) -> Option<i64> {
    match value? {
        Value::Integer(value) => Some(value),
        _ => None,
    }
}

fn as_double(value: Option<Value>) -> Option<f64> {
    match value? {
        Value::Double(value) => Some(value),
        _ => None,
    }
}

fn as_boolean(value: Option<Value>) -> Option<bool> {
    match value? {
        Value::Boolean(value) => Some(value),
        _ => None,
    }
}

fn required<T: DataType>(group: &mut RowGroup<'_>, values: impl Iterator<Item = T::T>) -> Result<(), BoxError> {
    write::<T>(group, &values.collect::<Vec<_>>(), None)
}

fn optional<T: DataType>(group: &mut RowGroup<'_>, values: impl Iterator<Item = Option<T::T>>) -> Result<(), BoxError> {
    let (mut levels, mut present) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        present.extend(value);
    }
    write::<T>(group, &present, Some(&levels))
}

fn write<T: DataType>(group: &mut RowGroup<'_>, values: &[T::T], levels: Option<&[i16]>) -> Result<(), BoxError> {
    let mut column = group.next_column()?.ok_or("the schema has fewer columns than the records")?;
    column.typed::<T>().write_batch(values, levels, None)?;
    Ok(column.close()?)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use parquet::record::Field;

    use super::*;

    /// The rows of an object, read by the reader of the crate.
    pub(in crate::archive) fn rows(object: Bytes) -> Vec<BTreeMap<String, Field>> {
        let reader = SerializedFileReader::new(object).unwrap();
        let rows = reader.get_row_iter(None).unwrap();
        rows.map(|row| row.unwrap().into_columns().into_iter().collect()).collect()
    }

    fn record(data: &'static [u8], number: u64) -> Record {
        Record::new("c-7", data, number.to_string().parse().unwrap())
    }

    fn encoded(records: &[Record], schema: &Schema) -> Bytes {
        encode(records, schema).unwrap().into()
    }

    fn column(rows: &[BTreeMap<String, Field>], name: &str) -> Vec<Field> {
        rows.iter().map(|row| row[name].clone()).collect()
    }

    fn string(text: &str) -> Field {
        Field::Str(text.to_owned())
    }

    #[test]
    fn rows_are_read_back_with_the_kinds_of_their_columns() {
        let mut last = record(b"{\"n\":-3,\"d\":0.5,\"b\":true,\"t\":\"\\u00e9\"}", 3);
        last.sub_sequence_number = 9;
        last.approximate_arrival = Some(UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_125));
        let records = [record(b"{\"n\":1,\"t\":\"x\",\"j\":[1, 2]}", 1), record(b"\xff", 2), last];
        let schema = "n:int64,d:double,b:boolean,t:string,j:json".parse().unwrap();

        let object = encoded(&records, &schema);

        assert_eq!(end(object.clone()).unwrap(), Position::new("3".parse().unwrap(), 9));
        assert_eq!(super::records(object.clone()).unwrap(), 3);
        let rows = rows(object);
        assert_eq!(column(&rows, "_sequence_number"), ["1", "2", "3"].map(string));
        assert_eq!(column(&rows, "_sub_sequence_number"), [0, 0, 9].map(Field::Long));
        assert_eq!(column(&rows, "_partition_key"), ["c-7"; 3].map(string));
        let arrival = Field::TimestampMillis(1_700_000_000_125);
        assert_eq!(column(&rows, "_arrival"), [Field::Null, Field::Null, arrival]);
        assert_eq!(column(&rows, "n"), [Field::Long(1), Field::Null, Field::Long(-3)]);
        assert_eq!(column(&rows, "d"), [Field::Null, Field::Null, Field::Double(0.5)]);
        assert_eq!(column(&rows, "b"), [Field::Null, Field::Null, Field::Bool(true)]);
        assert_eq!(column(&rows, "t"), [string("x"), Field::Null, string("é")]);
        assert_eq!(column(&rows, "j"), [string("[1, 2]"), Field::Null, Field::Null]);
        assert_eq!(column(&rows, "_rest"), [Field::Null, Field::Null, Field::Null]);
        let data = Field::Bytes(ByteArray::from(vec![0xff]));
        assert_eq!(column(&rows, "_data"), [Field::Null, data, Field::Null]);
    }

    #[test]
    fn what_no_column_holds_is_in_the_rest() {
        let records = [
            record(b"{\"n\":\"one\",\"m\":2.50}", 1),
            record(b"{\"n\":null,\"m\":null}", 2),
            record(b"{\"n\":1,\"n\":2}", 3),
            record(b"{\"n\":4}", 4),
        ];

        let rows = rows(encoded(&records, &"n:int64".parse().unwrap()));

        assert_eq!(column(&rows, "n"), [Field::Null, Field::Null, Field::Null, Field::Long(4)]);
        let rest = [string("{\"m\":2.50,\"n\":\"one\"}"), string("{\"m\":null}"), Field::Null, Field::Null];
        assert_eq!(column(&rows, "_rest"), rest);
        let data = Field::Bytes(ByteArray::from(records[2].data.clone()));
        assert_eq!(column(&rows, "_data"), [Field::Null, Field::Null, data, Field::Null]);
    }

    #[test]
    fn the_end_of_what_is_no_archive_is_an_error() {
        assert!(end(Bytes::from_static(b"PAR1 and no more PAR1")).is_err());
    }
}
