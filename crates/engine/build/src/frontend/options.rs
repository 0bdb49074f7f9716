//! The options of the front end, as clients name them.

use std::collections::{BTreeMap, BTreeSet};

use arca_dockerfile::{LintConfig, boolean, csv_fields, quoted};
use arca_types::{Platform, Timestamp};

use crate::Error;
use crate::graph::{ExtraHost, NetworkMode, ProxyEnv, ResolveMode, Ulimit};

/// What is asked of the front end.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    /// Everything, by name.
    pub(super) all: BTreeMap<String, String>,
    pub(super) build_args: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) target: String,
    /// Empty: the default one.
    pub(super) platforms: Vec<Platform>,
    pub(super) multi_platform: bool,
    pub(super) resolve: ResolveMode,
    pub(super) extra_hosts: Vec<ExtraHost>,
    pub(super) shm_size: u64,
    pub(super) ulimits: Vec<Ulimit>,
    pub(super) cgroup_parent: String,
    pub(super) network: NetworkMode,
    /// `None`: the cache is used. An empty set: it is not.
    pub(super) ignore_cache: Option<BTreeSet<String>>,
    pub(super) cache_namespace: String,
    pub(super) hostname: String,
    /// `SOURCE_DATE_EPOCH`.
    pub(super) epoch: Option<Timestamp>,
    pub(super) lint: Option<LintConfig>,
    pub(super) proxy: Option<ProxyEnv>,
}

impl Options {
    /// Reads options.
    pub(super) fn parse(all: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut options = Self {
            build_args: with_prefix(all, "build-arg:"),
            labels: with_prefix(all, "label:"),
            all: all.clone(),
            ..Self::default()
        };
        options.target = options.text("target").to_owned();
        options.platforms = platforms(options.text("platform"))?;
        let mode = options.text("image-resolve-mode");
        options.resolve = ResolveMode::parse(mode)
            .ok_or_else(|| invalid(format!("invalid image-resolve-mode: {mode}")))?;
        options.extra_hosts = extra_hosts(options.text("add-hosts"))?;
        options.shm_size = shm_size(options.text("shm-size"))?;
        options.ulimits = ulimits(options.text("ulimit"))?;
        options.network = match options.text("force-network-mode") {
            "" | "sandbox" => NetworkMode::Default,
            "none" => NetworkMode::None,
            "host" => NetworkMode::Host,
            other => return Err(invalid(format!("invalid netmode {other}"))),
        };
        options.ignore_cache = all.get("no-cache").map(|names| {
            names
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_lowercase)
                .collect()
        });
        options.multi_platform = options.many_platforms()?;
        options.cgroup_parent = options.text("cgroup-parent").to_owned();
        options.build_argument_options()?;
        Ok(options)
    }

    /// The build arguments that are meant for the front end.
    fn build_argument_options(&mut self) -> Result<(), Error> {
        self.cache_namespace = self.argument("BUILDKIT_CACHE_MOUNT_NS").to_owned();
        self.hostname = match self.argument("BUILDKIT_SANDBOX_HOSTNAME") {
            "" => self.text("hostname").to_owned(),
            name => name.to_owned(),
        };
        self.epoch = match self.argument("SOURCE_DATE_EPOCH") {
            "" => None,
            text => Some(epoch(text)?),
        };
        if let Some(text) = self.build_args.get("BUILDKIT_DOCKERFILE_CHECK") {
            let config = LintConfig::parse(text).map_err(|error| {
                invalid(format!(
                    "failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: {error}"
                ))
            })?;
            self.lint = Some(config);
        }
        let disabled = self.argument("BUILDKIT_DISABLE_FILEOP");
        if boolean(disabled) == Some(true) {
            let text =
                "support for \"BUILDKIT_DISABLE_FILEOP\" build-arg was removed in BuildKit 0.11";
            return Err(invalid(text.to_owned()));
        }
        self.proxy = proxy(&self.build_args);
        Ok(())
    }

    fn many_platforms(&self) -> Result<bool, Error> {
        let many = self.platforms.len() > 1;
        let said = match self.argument("BUILDKIT_MULTI_PLATFORM") {
            "" => self.text("multi-platform"),
            said => said,
        };
        match (said, boolean(said)) {
            ("", _) => Ok(many),
            (_, Some(false)) if many => {
                let text = "conflicting config: returning multiple target platforms is not allowed";
                Err(invalid(text.to_owned()))
            }
            (_, Some(said)) => Ok(said),
            (_, None) => Err(invalid(format!(
                "invalid boolean value for multi-platform: {said}"
            ))),
        }
    }

    /// An option, empty where it is not given.
    pub(super) fn text(&self, name: &str) -> &str {
        self.all.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A build argument, empty where it is not given.
    pub(super) fn argument(&self, name: &str) -> &str {
        self.build_args
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    }

    /// Is the stage to be run whatever is in the cache?
    pub(super) fn ignores_cache(&self, stage: &str) -> bool {
        let names = self.ignore_cache.as_ref();
        names.is_some_and(|names| names.is_empty() || names.contains(&stage.to_lowercase()))
    }

    /// `SOURCE_DATE_EPOCH` as images have it.
    pub(super) fn epoch_text(&self) -> Option<String> {
        self.epoch.map(|epoch| epoch.to_string())
    }
}

fn invalid(text: String) -> Error {
    Error::Invalid(text)
}

fn with_prefix(all: &BTreeMap<String, String>, prefix: &str) -> BTreeMap<String, String> {
    let given = all
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value)));
    given
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect()
}

fn platforms(text: &str) -> Result<Vec<Platform>, Error> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let parse = |text: &str| {
        text.parse()
            .map_err(|error| invalid(format!("failed to parse target platform {text}: {error}")))
    };
    text.split(',').map(parse).collect()
}

fn extra_hosts(text: &str) -> Result<Vec<ExtraHost>, Error> {
    let prefix = "failed to parse additional hosts";
    let fields = fields(text).map_err(|error| invalid(format!("{prefix}: {error}")))?;
    let host = |field: String| {
        let field = field.to_lowercase();
        let Some((host, ip)) = field.split_once('=') else {
            return Err(invalid(format!("{prefix}: invalid key-value pair {field}")));
        };
        if ip.parse::<std::net::IpAddr>().is_err() {
            return Err(invalid(format!("{prefix}: failed to parse IP {ip}")));
        }
        Ok(ExtraHost {
            host: host.to_owned(),
            ip: ip.to_owned(),
        })
    };
    fields.into_iter().map(host).collect()
}

fn fields(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        Ok(Vec::new())
    } else {
        csv_fields(text)
    }
}

fn shm_size(text: &str) -> Result<u64, Error> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_error| {
        let number = quoted(text);
        invalid(format!(
            "failed to parse shm size: strconv.ParseInt: parsing {number}: invalid syntax"
        ))
    })
}

fn ulimits(text: &str) -> Result<Vec<Ulimit>, Error> {
    let prefix = "failed to parse ulimit";
    let fields = fields(text).map_err(|error| invalid(format!("{prefix}: {error}")))?;
    let ulimit = |field: String| {
        let wrong = || invalid(format!("{prefix}: invalid ulimit argument: {field}"));
        let (name, limits) = field.split_once('=').ok_or_else(wrong)?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let number = |text: &str| text.parse::<i64>().ok();
        let (Some(soft), Some(hard)) = (number(soft), number(hard)) else {
            return Err(wrong());
        };
        if hard != -1 && (soft == -1 || soft > hard) {
            let text = "ulimit soft limit must be less than or equal to hard limit";
            return Err(invalid(format!("{prefix}: {text}: {soft} > {hard}")));
        }
        Ok(Ulimit {
            name: name.to_owned(),
            soft,
            hard,
        })
    };
    fields.into_iter().map(ulimit).collect()
}

fn epoch(text: &str) -> Result<Timestamp, Error> {
    let refused = |why: String| invalid(format!("invalid SOURCE_DATE_EPOCH: {text}: {why}"));
    let seconds = text.parse().map_err(|_error| {
        let number = quoted(text);
        refused(format!(
            "strconv.ParseInt: parsing {number}: invalid syntax"
        ))
    })?;
    let time = Timestamp::shown_of_unix(seconds);
    time.ok_or_else(|| refused("year outside of range [1,9999]".to_owned()))
}

/// The proxy variables among the build arguments: they need no `ARG`.
fn proxy(arguments: &BTreeMap<String, String>) -> Option<ProxyEnv> {
    let mut proxy = ProxyEnv::default();
    let mut any = false;
    for (name, value) in arguments {
        let place = match name.to_lowercase().as_str() {
            "http_proxy" => &mut proxy.http_proxy,
            "https_proxy" => &mut proxy.https_proxy,
            "ftp_proxy" => &mut proxy.ftp_proxy,
            "no_proxy" => &mut proxy.no_proxy,
            "all_proxy" => &mut proxy.all_proxy,
            _ => continue,
        };
        place.clone_from(value);
        any = true;
    }
    any.then_some(proxy)
}
