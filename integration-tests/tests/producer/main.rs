//! The producer on the embedded AWS, alone and with consumers behind it.

mod aggregate_oddities;
mod bodies;
mod chaos;
mod compression;
mod failures;
mod limits;
mod links;
mod producing;
mod resharding;
mod stripes;
