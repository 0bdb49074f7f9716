//! The log of containers that do not say one.

use anyhow::anyhow;
use arca_containers::model::LogConfig;

use crate::settings::Settings;

/// Driver and options, checked here: else each container would be refused.
///
/// # Errors
/// A driver that there is not, or an option that it does not have.
pub(crate) fn default(settings: &Settings) -> anyhow::Result<LogConfig> {
    let (driver, options) = (&settings.log_driver, &settings.log_opts);
    arca_logging::validate(driver, options)
        .map_err(|error| anyhow!("failed to set log opts: {}", arca_types::chain(&error)))?;
    Ok(LogConfig {
        driver: driver.clone(),
        options: options.clone(),
    })
}
