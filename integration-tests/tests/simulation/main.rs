//! Simulations of fleets and of processors, many times over, each time from another seed.

mod fleets;
mod large_fleets;
mod processing;
