//! A pack of texts that share an allocation.

use std::{mem, sync::Arc};

use super::SharedText;

/// Texts that are put into one allocation. Used again, it keeps its own room.
#[derive(Debug, Default)]
pub struct TextPack {
    joined: String,
    ends: Vec<usize>,
}

impl TextPack {
    /// An empty pack.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text.
    pub fn push(&mut self, text: &str) {
        self.joined.push_str(text);
        self.ends.push(self.joined.len());
    }

    /// Bytes of all texts added.
    pub fn size_bytes(&self) -> usize {
        self.joined.len()
    }

    /// The texts in the order in which they were added, in one allocation. The pack is empty from then on.
    pub fn texts(&mut self) -> impl Iterator<Item = SharedText> {
        let (whole, mut start) = (Arc::<str>::from(self.joined.as_str()), 0);
        self.joined.clear();
        self.ends.drain(..).map(move |end| SharedText::part(&whole, mem::replace(&mut start, end), end))
    }
}
