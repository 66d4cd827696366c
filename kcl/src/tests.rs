//! What concerns the crate as a whole: the lease protocol explored exhaustively, and whole fleets simulated.

mod model;
mod simulation;
