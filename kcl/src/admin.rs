//! A look at an application from outside, and changes to it from there.

pub(crate) mod adopt;
pub(crate) mod change;
pub(crate) mod fleet;
pub(crate) mod reset;
pub(crate) mod table_migration;
