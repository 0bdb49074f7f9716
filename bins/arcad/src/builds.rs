//! The settings of builds: the object `builder` of `daemon.json`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use arca_build::{GcPolicy, HistoryConfig};
use serde::Deserialize;

use crate::parse;
use crate::settings::Settings;

/// What the build cache may keep, how long builds are remembered, what builds may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Builder {
    #[serde(alias = "GC")]
    gc: Gc,
    #[serde(alias = "Entitlements")]
    entitlements: Entitlements,
    #[serde(alias = "History")]
    history: History,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Gc {
    #[serde(alias = "Enabled")]
    enabled: Option<bool>,
    /// The name of `defaultReservedSpace` before dockerd 28.
    #[serde(alias = "DefaultKeepStorage")]
    default_keep_storage: String,
    #[serde(alias = "DefaultReservedSpace")]
    default_reserved_space: String,
    #[serde(alias = "DefaultMaxUsedSpace")]
    default_max_used_space: String,
    #[serde(alias = "DefaultMinFreeSpace")]
    default_min_free_space: String,
    #[serde(alias = "Policy")]
    policy: Option<Vec<Rule>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Rule {
    #[serde(alias = "All")]
    all: bool,
    /// Each `key=value`.
    #[serde(alias = "Filter")]
    filter: Vec<String>,
    #[serde(alias = "KeepStorage")]
    keep_storage: String,
    #[serde(alias = "ReservedSpace")]
    reserved_space: String,
    #[serde(alias = "MaxUsedSpace")]
    max_used_space: String,
    #[serde(alias = "MinFreeSpace")]
    min_free_space: String,
    #[serde(alias = "KeepDuration")]
    keep_duration: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct Entitlements {
    network_host: Option<bool>,
    security_insecure: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct History {
    #[serde(alias = "MaxAge")]
    max_age: String,
    #[serde(alias = "MaxEntries")]
    max_entries: Option<usize>,
}

/// Per cent of the disk that the cache may always have, that it may have at most, that are to be free.
const SHARES: [u64; 3] = [10, 80, 20];
/// Hundred-thousandths of the reserved space that are left to what is reproduced easily: transfers,
/// checkouts and cache mounts. dockerd's number.
const EASILY_MADE: u64 = 13_818;
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Builder {
    /// Checks the values.
    ///
    /// # Errors
    /// What is wrong, with the name of the key.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.policies(0)?;
        self.history().map(drop)
    }

    /// The rules, on a disk of so many bytes.
    fn policies(&self, disk: u64) -> Result<Vec<GcPolicy>, String> {
        let gc = &self.gc;
        if gc.enabled == Some(false) {
            return Ok(Vec::new());
        }
        match &gc.policy {
            Some(rules) => rules.iter().map(|rule| rule.policy(disk)).collect(),
            None => gc.defaults(disk),
        }
    }

    /// How many builds are remembered, and for how long.
    fn history(&self) -> Result<HistoryConfig, String> {
        let default = HistoryConfig::default();
        let age = match self.history.max_age.as_str() {
            "" => default.age,
            text => parse::duration(text).ok_or_else(|| {
                format!("invalid builder: history.maxAge: invalid duration {text:?}")
            })?,
        };
        Ok(HistoryConfig {
            entries: self.history.max_entries.unwrap_or(default.entries),
            age,
        })
    }
}

impl Gc {
    /// The rules that hold without others: BuildKit's.
    fn defaults(&self, disk: u64) -> Result<Vec<GcPolicy>, String> {
        let reserved = match self.default_reserved_space.as_str() {
            "" => &self.default_keep_storage,
            text => text,
        };
        let mut reserved = space("defaultReservedSpace", reserved, disk)?;
        let mut used = space("defaultMaxUsedSpace", &self.default_max_used_space, disk)?;
        let mut free = space("defaultMinFreeSpace", &self.default_min_free_space, disk)?;
        if (reserved, used, free) == (0, 0, 0) {
            [reserved, used, free] = SHARES.map(|percent| rounded(share(disk, percent)));
        }
        let limited = GcPolicy {
            reserved_space: reserved,
            max_used_space: used,
            min_free_space: free,
            ..GcPolicy::default()
        };
        let easily = ["source.local", "exec.cachemount", "source.git.checkout"];
        Ok(vec![
            GcPolicy {
                filters: BTreeMap::from([("type".to_owned(), easily.map(str::to_owned).into())]),
                keep_duration: Some(2 * DAY),
                max_used_space: (reserved / 100_000).saturating_mul(EASILY_MADE),
                ..GcPolicy::default()
            },
            GcPolicy {
                keep_duration: Some(60 * DAY),
                ..limited.clone()
            },
            limited.clone(),
            GcPolicy {
                all: true,
                ..limited
            },
        ])
    }
}

impl Rule {
    fn policy(&self, disk: u64) -> Result<GcPolicy, String> {
        let reserved = match self.reserved_space.as_str() {
            "" => &self.keep_storage,
            text => text,
        };
        let mut filters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for filter in &self.filter {
            let (key, value) = filter
                .split_once("==")
                .or_else(|| filter.split_once('='))
                .ok_or_else(|| format!("invalid builder: gc.policy: filter {filter:?}"))?;
            let values = filters.entry(key.to_owned()).or_default();
            values.push(value.to_owned());
        }
        let keep_duration = match self.keep_duration.as_str() {
            "" => None,
            text => Some(parse::duration(text).ok_or_else(|| {
                format!("invalid builder: gc.policy: keepDuration: invalid duration {text:?}")
            })?),
        };
        let policy = GcPolicy {
            filters,
            all: self.all,
            keep_duration,
            reserved_space: space("reservedSpace", reserved, disk)?,
            max_used_space: space("maxUsedSpace", &self.max_used_space, disk)?,
            min_free_space: space("minFreeSpace", &self.min_free_space, disk)?,
        };
        let invalid = |error| format!("invalid builder: gc.policy: {error}");
        policy.check().map_err(|error| invalid(error.to_string()))?;
        Ok(policy)
    }
}

/// Bytes: a size or a share of the disk, `20GB` or `10%`; 0 for none.
fn space(key: &str, text: &str, disk: u64) -> Result<u64, String> {
    let invalid = || format!("invalid builder: gc: {key}: invalid size {text:?}");
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent = percent
                .parse::<u64>()
                .ok()
                .filter(|percent| *percent <= 100);
            Ok(share(disk, percent.ok_or_else(invalid)?))
        }
        None if text.is_empty() => Ok(0),
        None => parse::size(text).map_err(|_error| invalid()),
    }
}

fn share(disk: u64, percent: u64) -> u64 {
    (disk / 100).saturating_mul(percent)
}

/// As BuildKit rounds sizes that it has found itself.
fn rounded(bytes: u64) -> u64 {
    ((bytes >> 30) + 1).saturating_mul(1_000_000_000)
}

/// The bytes of the disk that has `path`, or will have it.
fn disk(path: &Path) -> u64 {
    let mut tried = path.ancestors();
    let found = tried.find_map(|path| rustix::fs::statvfs(path).ok());
    found.map_or(0, |found| found.f_blocks.saturating_mul(found.f_frsize))
}

/// Where builds keep their cache, and what they may do.
///
/// # Errors
/// What [`Builder::check`] finds.
pub(crate) fn builds(settings: &Settings) -> anyhow::Result<arca_build::Config> {
    let builder = &settings.builder;
    let policies = builder.policies(disk(&settings.data_root));
    Ok(arca_build::Config {
        data_root: settings.data_root.clone(),
        exec_root: settings.exec_root.clone(),
        gc: policies.map_err(anyhow::Error::msg)?,
        history: builder.history().map_err(anyhow::Error::msg)?,
        network_host: builder.entitlements.network_host.unwrap_or(true),
        security_insecure: builder.entitlements.security_insecure.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Builder {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn rules_are_read_with_sizes_and_shares() {
        let builder = read(
            r#"{"gc":{"enabled":true,"policy":[
                {"keepStorage":"10GB","filter":["unused-for=48h"]},
                {"reservedSpace":"1GB","maxUsedSpace":"50%","minFreeSpace":"2g","keepDuration":"24h","all":true}]}}"#,
        );
        let policies = builder.policies(1000).unwrap();
        assert_eq!(policies[0].reserved_space, 10 << 30);
        assert_eq!(policies[0].filters["unused-for"], ["48h"]);
        let second = &policies[1];
        assert_eq!(
            (second.reserved_space, second.max_used_space),
            (1 << 30, 500)
        );
        assert_eq!((second.min_free_space, second.all), (2 << 30, true));
        assert_eq!(second.keep_duration, Some(DAY));
    }

    #[test]
    fn without_rules_there_are_dockerds() {
        let policies = Builder::default().policies(251 << 30).unwrap();
        assert_eq!(policies.len(), 4);
        assert_eq!(policies[0].max_used_space, 3_592_680_000);
        let limits = &policies[2];
        let limits = (
            limits.reserved_space,
            limits.max_used_space,
            limits.min_free_space,
        );
        assert_eq!(limits, (26_000_000_000, 201_000_000_000, 51_000_000_000));
        assert_eq!((policies[2].all, policies[3].all), (false, true));
        let own = read(r#"{"gc":{"defaultKeepStorage":"20GB"}}"#);
        assert_eq!(own.policies(1).unwrap()[3].reserved_space, 20 << 30);
        assert!(
            read(r#"{"gc":{"enabled":false}}"#)
                .policies(1)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, key) in [
            (
                r#"{"gc":{"defaultMaxUsedSpace":"x"}}"#,
                "defaultMaxUsedSpace",
            ),
            (r#"{"gc":{"policy":[{"filter":["x"]}]}}"#, "filter"),
            (r#"{"gc":{"policy":[{"filter":["colour=red"]}]}}"#, "colour"),
            (
                r#"{"gc":{"policy":[{"keepDuration":"x"}]}}"#,
                "keepDuration",
            ),
            (r#"{"history":{"maxAge":"x"}}"#, "maxAge"),
        ] {
            let error = read(text).check().unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        assert!(serde_json::from_str::<Builder>(r#"{"gc":{"more":1}}"#).is_err());
    }
}
