//! The key `image-gc` of the configuration.

use serde::Deserialize;

use crate::parse;

/// When images that nobody uses are removed to make room.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct ImageGc {
    /// Collect by itself.
    pub(crate) enabled: bool,
    /// Percent of the disk.
    pub(crate) high_watermark: u8,
    pub(crate) low_watermark: u8,
    /// A duration, `24h`.
    pub(crate) keep_last_used: String,
    pub(crate) interval: String,
    pub(crate) pin_label: String,
    /// Patterns of names.
    pub(crate) pin: Vec<String>,
}

impl Default for ImageGc {
    fn default() -> Self {
        Self {
            enabled: false,
            high_watermark: 85,
            low_watermark: 80,
            keep_last_used: "24h".to_owned(),
            interval: "5m".to_owned(),
            pin_label: "arca.pin".to_owned(),
            pin: Vec::new(),
        }
    }
}

impl ImageGc {
    /// Checks the values.
    ///
    /// # Errors
    /// Watermarks that are none, and what is no duration.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (high, low) = (self.high_watermark, self.low_watermark);
        if high > 100 || low > high {
            return Err(format!(
                "invalid image-gc: watermarks are percentages, low ({low}) not above high ({high})"
            ));
        }
        for (key, text) in [
            ("keep-last-used", &self.keep_last_used),
            ("interval", &self.interval),
        ] {
            let found = parse::duration(text);
            if found.is_none_or(|found| key == "interval" && found.is_zero()) {
                return Err(format!(
                    "invalid image-gc: {key}: invalid duration {text:?}"
                ));
            }
        }
        Ok(())
    }
}
