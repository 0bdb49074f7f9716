//! Health checks.

use std::time::Duration;

use arca_containers::model::{HealthTest, Healthcheck};
use arca_wire::container::HealthConfig;

use crate::error::ApiError;

pub(super) fn healthcheck(config: HealthConfig) -> Result<Healthcheck, ApiError> {
    let HealthConfig {
        test,
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
    } = config;
    let duration = |name: &str, nanoseconds: i64| {
        u64::try_from(nanoseconds)
            .map(Duration::from_nanos)
            .map_err(|_negative| {
                ApiError::bad(format!("{name} in Healthcheck cannot be less than 1ms"))
            })
    };
    Ok(Healthcheck {
        test: HealthTest::parse(&test)?,
        interval: duration("Interval", interval)?,
        timeout: duration("Timeout", timeout)?,
        start_period: duration("StartPeriod", start_period)?,
        start_interval: duration("StartInterval", start_interval)?,
        retries: u32::try_from(retries)
            .map_err(|_negative| ApiError::bad("Retries in Healthcheck cannot be negative"))?,
    })
}

pub(super) fn health_config(check: &Healthcheck) -> HealthConfig {
    let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    HealthConfig {
        test: check.test.words(),
        interval: nanoseconds(check.interval),
        timeout: nanoseconds(check.timeout),
        start_period: nanoseconds(check.start_period),
        start_interval: nanoseconds(check.start_interval),
        retries: i32::try_from(check.retries).unwrap_or(i32::MAX),
    }
}
