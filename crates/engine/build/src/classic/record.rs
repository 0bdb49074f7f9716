//! What is on disk about instructions that were done.

use arca_store::Record;
use arca_types::ImageId;
use serde::{Deserialize, Serialize};

/// The image that an instruction gave. The key is made of the image below, the instruction and its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InstructionRecord {
    pub(super) image: ImageId,
}

impl Record for InstructionRecord {
    const TABLE: &'static str = "build_instructions";
    const VERSION: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_stays_readable() {
        let text = format!(r#"{{"image":"sha256:{}"}}"#, "a".repeat(64));
        let read: InstructionRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}
