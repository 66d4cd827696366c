//! The operations, by theme.

pub(super) mod batches;
pub(super) mod descriptions;
pub(super) mod items;
pub(super) mod reads;
pub(super) mod settings;
pub(super) mod statements;
pub(super) mod tables;
pub(super) mod transactions;
