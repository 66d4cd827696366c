//! kcl
