//! Samples whose dependencies are not needed elsewhere in the workspace: `cargo run -p samples --example NAME`.
