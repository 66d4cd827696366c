//! Parts of a refused request, to find the entry at fault.

use std::collections::HashSet;

use crate::{
    config::{Config, RecordOrder},
    logic::{
        collector::Sent,
        compress::{Compressing, packed},
        kinesis_record::KinesisRecord,
        pending::Detach,
    },
};

/// Returns whether a request is one user record.
pub(super) fn is_single<T: Detach>(sent: &[Sent<T>]) -> bool {
    sent.iter().map(|sent| sent.record.courses().len()).sum::<usize>() == 1
}

/// The first user record alone, and the rest: if both are refused, all requests are.
pub(super) fn peel<T: Detach>(sent: Vec<Sent<T>>, compressing: Option<&Compressing>) -> Vec<Vec<Sent<T>>> {
    let mut rest = sent.into_iter();
    let Some(Sent { record, origin, predicted }) = rest.next() else { return Vec::new() };
    let (key, max_bytes) = (record.key(), if record.is_aggregate() { usize::MAX } else { 0 });
    let mut records = record.into_records().into_iter();
    let first = records.next().map(|mut record| {
        record.course.set_alone();
        Sent { record: KinesisRecord::alone(record, key, max_bytes), origin, predicted: predicted.clone() }
    });
    let others = packed(records.collect(), key, compressing).into_iter();
    let others = others.map(|record| Sent { record, origin, predicted: predicted.clone() });
    vec![first.into_iter().collect(), others.chain(rest).collect()]
}

/// Two halves of a request; of a single aggregate, its records each alone.
pub(super) fn split<T: Detach>(mut sent: Vec<Sent<T>>, config: &Config) -> Vec<Vec<Sent<T>>> {
    if sent.len() > 1 {
        let second = sent.split_off(sent.len() / 2);
        return vec![sent, second];
    }
    let alone = sent.into_iter().flat_map(|Sent { record, origin, predicted }| {
        let key = record.key();
        record.into_records().into_iter().map(move |mut record| {
            record.course.set_alone();
            Sent { record: KinesisRecord::alone(record, key, usize::MAX), origin, predicted: predicted.clone() }
        })
    });
    let (mut parts, mut part, mut keys) = (Vec::new(), Vec::new(), HashSet::new());
    for sent in alone {
        let repeated = config.record_order == RecordOrder::Strict && !keys.insert(sent.record.hash_keys().first);
        if part.len() == config.collection_max_records || repeated {
            parts.push(std::mem::take(&mut part));
            keys = HashSet::from([sent.record.hash_keys().first]);
        }
        part.push(sent);
    }
    parts.push(part);
    parts
}
