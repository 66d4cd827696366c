//! Query and Scan: pages of a table or an index.

use std::ops::Bound;

use serde_json::{Value as Json, json};

use super::super::Answer;
use super::super::capacity::{Units, read_units};
use super::super::error::Error;
use super::super::expression::condition::Condition;
use super::super::expression::key_condition;
use super::super::expression::placeholders::Placeholders;
use super::super::key::{KeyPart, Position};
use super::super::legacy;
use super::super::path::Path;
use super::super::request::{Fields, constraint};
use super::super::table::{Index, Projection, Table};
use super::super::value::{Item, item_from_json, item_json, stored_bytes};
use super::super::writes::{Tables, table};
use super::items::projected;

/// Maximum size of the items that a page is made from, before the filter.
/// docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html
const MAX_PAGE: usize = 1 << 20;

/// Maximum number of segments of a scan.
/// docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html
const MAX_SEGMENTS: i64 = 1_000_000;

/// Scope of a read: a part of a table or an index, in an order, up to a number of items.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) table: &'a Table,
    pub(super) index: Option<(&'a str, &'a Index)>,
    pub(super) range: Range,
    /// Position after which it starts.
    pub(super) start: Option<Item>,
    pub(super) is_backward: bool,
    pub(super) limit: Option<usize>,
    pub(super) filter: Option<Condition>,
}

/// The part that is read.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each read")]
pub(super) enum Range {
    /// A partition, of which only what meets the condition on the sort key is read.
    Partition(KeyPart, Option<Condition>),
    /// Hashes from the first to the last, inclusive.
    Hashes(u64, u64),
}

/// Result of a read.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) items: Vec<Item>,
    pub(super) scanned: usize,
    pub(super) bytes: usize,
    /// The key after which the next page starts, if there may be one.
    pub(super) last: Option<Item>,
}

impl Reading<'_> {
    pub(super) fn page(&self) -> Result<Page, Error> {
        let mut page = Page::default();
        match self.index {
            None => {
                let after = self.start.as_ref().map(|key| self.table.key.require_key(key).map_err(|_| bad_start()));
                if let Some((from, to)) = self.bounds(after.transpose()?, |position| position) {
                    self.collect(self.table.range(from, to), &mut page);
                }
            }
            Some((_, index)) => {
                let after = self.start.as_ref().map(|key| {
                    let positions = index.key.position(key).zip(self.table.key.position(key));
                    positions.ok_or_else(bad_start)
                });
                if let Some((from, to)) = self.bounds(after.transpose()?, |position| (position, Position::FIRST)) {
                    self.collect(self.table.index_range(index, from, to), &mut page);
                }
            }
        }
        Ok(page)
    }

    /// Bounds of the read: what was read already is cut off. `None` if nothing is left.
    fn bounds<P: Ord>(&self, after: Option<P>, at: impl Fn(Position) -> P) -> Option<(Bound<P>, Bound<P>)> {
        let (first, last) = match &self.range {
            Range::Partition(partition, _) => {
                let start = Position::of_partition(partition.clone());
                (Position::of_hash(start.hash), start.hash.checked_add(1))
            }
            Range::Hashes(from, to) => (Position::of_hash(*from), to.checked_add(1)),
        };
        let (first, end) = (at(first), last.map(|hash| at(Position::of_hash(hash))));
        let Some(after) = after else {
            return Some((Bound::Included(first), end.map_or(Bound::Unbounded, Bound::Excluded)));
        };
        if after < first || end.as_ref().is_some_and(|end| after >= *end) {
            return None;
        }
        Some(match (self.is_backward, end) {
            (true, _) => (Bound::Included(first), Bound::Excluded(after)),
            (false, None) => (Bound::Excluded(after), Bound::Unbounded),
            (false, Some(end)) => (Bound::Excluded(after), Bound::Excluded(end)),
        })
    }

    fn collect<'i, P: 'i>(&self, items: impl DoubleEndedIterator<Item = (&'i P, &'i Item)>, page: &mut Page) {
        if self.is_backward { self.take(items.rev(), page) } else { self.take(items, page) }
    }

    fn take<'i, P: 'i>(&self, items: impl Iterator<Item = (&'i P, &'i Item)>, page: &mut Page) {
        let key = self.index.map_or(&self.table.key, |(_, index)| &index.key);
        let mut last = None;
        for (_, item) in items {
            if let Range::Partition(partition, sort) = &self.range {
                let is_of_partition = key.position(item).is_some_and(|position| position.partition == *partition);
                if !is_of_partition || !sort.as_ref().is_none_or(|sort| sort.holds(item)) {
                    continue;
                }
            }
            if self.limit == Some(page.scanned) || page.bytes >= MAX_PAGE {
                page.last = last;
                return;
            }
            let seen = self.index.map_or_else(|| item.clone(), |(_, index)| index.projected(item, &self.table.key));
            page.scanned += 1;
            page.bytes += stored_bytes(&seen);
            last = Some(self.key(item));
            if self.filter.as_ref().is_none_or(|filter| filter.holds(&seen)) {
                page.items.push(seen);
            }
        }
        // The service does not look whether anything follows.
        page.last = last.filter(|_| self.limit == Some(page.scanned));
    }

    /// The key of an item in the table, and in the index.
    fn key(&self, item: &Item) -> Item {
        let mut key = self.table.key.key(item);
        if let Some((_, index)) = self.index {
            key.extend(index.key.key(item));
        }
        key
    }

    /// Hash of the partition key at which it begins.
    pub(super) fn hash(&self) -> u64 {
        let key = self.index.map_or(&self.table.key, |(_, index)| &index.key);
        let start = self.start.as_ref().and_then(|start| key.position(start)).map(|position| position.hash);
        start.unwrap_or_else(|| match &self.range {
            Range::Partition(partition, _) => Position::of_partition(partition.clone()).hash,
            Range::Hashes(from, _) => *from,
        })
    }

    pub(super) fn units(&self, page: &Page, is_consistent: bool) -> Units {
        let units = read_units(page.bytes, is_consistent);
        self.index.map_or_else(|| Units::of_table(units), |(name, _)| Units::of_index(name, units))
    }
}

fn bad_start() -> Error {
    Error::validation("The provided starting key is invalid")
}

const QUERY_EXPRESSIONS: [&str; 3] = ["KeyConditionExpression", "FilterExpression", "ProjectionExpression"];

/// Parameters that no expression of a query may stand beside.
const QUERY_LEGACY: [&str; 3] = ["AttributesToGet", "QueryFilter", "ConditionalOperator"];

pub(in super::super) fn query(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    fields.require_one_style(&QUERY_EXPRESSIONS, &QUERY_LEGACY)?;
    // Other expressions may stand beside KeyConditions, as the authors of dynalite observed at the service.
    fields.require_one_style(&["KeyConditionExpression"], &["KeyConditions"])?;
    let mut placeholders = fields.placeholders()?;
    let condition = match fields.condition("KeyConditionExpression", &mut placeholders)? {
        Some(condition) => Some(condition),
        None => legacy::conditions(fields, "KeyConditions")?,
    };
    let condition = condition.ok_or_else(|| {
        Error::validation(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
        )
    })?;
    let filter = filter(fields, "QueryFilter", &mut placeholders)?;
    let select = Select::read(fields, &mut placeholders)?;
    placeholders.finish(QUERY_EXPRESSIONS.iter().any(|name| fields.has(name)))?;
    let table = table(tables, fields.required("TableName")?)?;
    let index = index(table, fields)?;
    let key = index.map_or(&table.key, |(_, index)| &index.key);
    if let Some(filter) = &filter
        && let Some(name) = filter.attributes().into_iter().find(|name| key.names().any(|key| key == *name))
    {
        return Err(Error::validation(format!(
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: {name}"
        )));
    }
    let (partition, sort) = key_condition::of_query(condition, key)?;
    let is_backward = fields.has("ScanIndexForward") && !fields.flag("ScanIndexForward")?;
    let range = Range::Partition(partition, sort);
    let (start, limit) = (start(fields)?, fields.count("Limit")?);
    answer(&Reading { table, index, range, start, is_backward, limit, filter }, fields, &select)
}

pub(in super::super) fn scan(tables: &Tables, fields: Fields<'_>) -> Result<Answer, Error> {
    const EXPRESSIONS: [&str; 2] = ["FilterExpression", "ProjectionExpression"];
    fields.require_one_style(&EXPRESSIONS, &["ScanFilter", "AttributesToGet", "ConditionalOperator"])?;
    let mut placeholders = fields.placeholders()?;
    let filter = filter(fields, "ScanFilter", &mut placeholders)?;
    let select = Select::read(fields, &mut placeholders)?;
    placeholders.finish(EXPRESSIONS.iter().any(|name| fields.has(name)))?;
    let range = segment(fields)?;
    let table = table(tables, fields.required("TableName")?)?;
    let index = index(table, fields)?;
    let (start, limit) = (start(fields)?, fields.count("Limit")?);
    answer(&Reading { table, index, range, start, is_backward: false, limit, filter }, fields, &select)
}

/// The hashes of a segment, or all.
fn segment(fields: Fields<'_>) -> Result<Range, Error> {
    let (segment, total) = match (fields.integer("Segment")?, fields.integer("TotalSegments")?) {
        (None, None) => return Ok(Range::Hashes(0, u64::MAX)),
        (Some(segment), Some(total)) => (segment, total),
        (None, Some(_)) => {
            return Err(Error::validation(
                "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
            ));
        }
        (Some(_), None) => {
            return Err(Error::validation(
                "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
            ));
        }
    };
    if !(1..=MAX_SEGMENTS).contains(&total) {
        let rule = "Member must have value between 1 and 1000000";
        return Err(constraint(&total.to_string(), "TotalSegments", rule));
    }
    if !(0..total).contains(&segment) {
        return Err(Error::validation(format!(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {segment} is not \
             less than TotalSegments: {total}"
        )));
    }
    let first_of = |segment: i64| {
        let share = (u128::from(segment.unsigned_abs()) << 64) / u128::from(total.unsigned_abs());
        u64::try_from(share).unwrap_or(u64::MAX)
    };
    let last = if segment + 1 == total { u64::MAX } else { first_of(segment + 1) - 1 };
    Ok(Range::Hashes(first_of(segment), last))
}

fn filter(fields: Fields<'_>, legacy: &str, placeholders: &mut Placeholders) -> Result<Option<Condition>, Error> {
    match fields.condition("FilterExpression", placeholders)? {
        Some(condition) => Ok(Some(condition)),
        None => legacy::conditions(fields, legacy),
    }
}

fn start(fields: Fields<'_>) -> Result<Option<Item>, Error> {
    fields.get("ExclusiveStartKey").map(item_from_json).transpose()
}

/// The index that a request reads. None is ever read consistently.
fn index<'a>(table: &'a Table, fields: Fields<'a>) -> Result<Option<(&'a str, &'a Index)>, Error> {
    let Some(name) = fields.text("IndexName")? else { return Ok(None) };
    let index = table.index(name)?;
    if fields.flag("ConsistentRead")? {
        return Err(Error::validation("Consistent reads are not supported on global secondary indexes"));
    }
    Ok(Some((name, index)))
}

/// Parts of the items that an answer shows.
#[derive(Debug)]
struct Select {
    is_count: bool,
    is_all: bool,
    paths: Option<Vec<Path>>,
}

impl Select {
    fn read(fields: Fields<'_>, placeholders: &mut Placeholders) -> Result<Self, Error> {
        let paths = fields.projection(placeholders)?;
        let words = ["", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "COUNT"];
        let select = fields.choice("Select", &words)?;
        let problem = match (select, &paths) {
            ("ALL_ATTRIBUTES" | "ALL_PROJECTED_ATTRIBUTES" | "COUNT", Some(_)) => {
                format!("Cannot specify the AttributesToGet when choosing to get {select}")
            }
            ("SPECIFIC_ATTRIBUTES", None) => {
                "Must specify the AttributesToGet or ProjectionExpression when choosing to get \
                                              SPECIFIC_ATTRIBUTES"
                    .to_owned()
            }
            ("ALL_PROJECTED_ATTRIBUTES", None) if !fields.has("IndexName") => {
                "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName".to_owned()
            }
            _ => return Ok(Self { is_count: select == "COUNT", is_all: select == "ALL_ATTRIBUTES", paths }),
        };
        Err(Error::validation(problem))
    }

    /// Passes when the index holds what is asked for.
    fn require_held(&self, table: &Table, (name, index): (&str, &Index)) -> Result<(), Error> {
        if self.is_all && index.projection != Projection::All {
            return Err(Error::invalid(format!(
                "Select type ALL_ATTRIBUTES is not supported for global secondary index {name} because its projection type is \
                 not ALL"
            )));
        }
        let lacking = index.lacks(self.paths.as_deref().unwrap_or_default(), &table.key);
        if lacking.is_empty() {
            return Ok(());
        }
        let lacking = lacking.join(", ");
        Err(Error::invalid(format!("Global secondary index {name} does not project [{lacking}]")))
    }
}

fn answer(reading: &Reading<'_>, fields: Fields<'_>, select: &Select) -> Result<Answer, Error> {
    let (shown, is_consistent) = (fields.consumption()?, fields.flag("ConsistentRead")?);
    if let Some(index) = reading.index {
        select.require_held(reading.table, index)?;
    }
    let page = reading.page()?;
    let mut answer = Answer::default();
    answer.consumed.read(&reading.table.name, reading.hash(), &reading.units(&page, is_consistent));
    answer.body.insert("Count".to_owned(), page.items.len().into());
    answer.body.insert("ScannedCount".to_owned(), page.scanned.into());
    if !select.is_count {
        let item = |item: &Item| item_json(&projected(item, select.paths.as_deref()));
        answer.body.insert("Items".to_owned(), page.items.iter().map(item).collect::<Json>());
    }
    if let Some(last) = &page.last {
        answer.body.insert("LastEvaluatedKey".to_owned(), json!(item_json(last)));
    }
    Ok(answer.with_consumption(shown))
}
