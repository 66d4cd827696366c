//! Expressions of requests: conditions, filters, updates, projections; PartiQL statements share the parser. Pure.

pub(super) mod condition;
pub(super) mod key_condition;
pub(super) mod lexer;
pub(super) mod parser;
pub(super) mod placeholders;
pub(super) mod projection;
pub(super) mod update;
