//! The daemon on the embedded AWS, with real children. Time is real, and every wait is for something that comes.

#![cfg(unix)]

mod life;
mod misuse;
mod scene;
mod stopping;
