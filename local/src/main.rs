//! Nothing is served yet.
fn main() {}
