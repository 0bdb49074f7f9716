//! The daemon's settings: flags and file together, checked, with defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use serde_json::{Map, Value};

use crate::builds::Builder;
use crate::cli::{Cli, Program};
use crate::file::{self, FileError};
use crate::image_gc::ImageGc;
use crate::objects::{Pool, Runtime, Ulimit};
use crate::options::{OPTIONS, Opt, Support};
use crate::parse;

/// Everything that flags and file say, by the keys of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    pub(crate) allow_direct_routing: bool,
    pub(crate) exposure: String,
    pub(crate) bip: String,
    pub(crate) bip6: String,
    pub(crate) bridge: String,
    pub(crate) builder: Builder,
    pub(crate) cdi_spec_dirs: Vec<String>,
    /// Empty: `certs.d` in arca's directory and in dockerd's.
    pub(crate) certs_dir: PathBuf,
    pub(crate) cgroup_parent: String,
    pub(crate) data_root: PathBuf,
    pub(crate) debug: bool,
    pub(crate) default_address_pools: Vec<Pool>,
    pub(crate) default_cgroupns_mode: String,
    pub(crate) default_gateway: String,
    pub(crate) default_gateway_v6: String,
    pub(crate) default_ipc_mode: String,
    pub(crate) default_network_opts: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) default_runtime: String,
    /// Bytes.
    pub(crate) default_shm_size: u64,
    pub(crate) default_ulimits: BTreeMap<String, Ulimit>,
    pub(crate) dns: Vec<String>,
    pub(crate) dns_opts: Vec<String>,
    pub(crate) dns_search: Vec<String>,
    pub(crate) exec_opts: Vec<String>,
    pub(crate) exec_root: PathBuf,
    pub(crate) experimental: bool,
    pub(crate) fixed_cidr: String,
    pub(crate) fixed_cidr_v6: String,
    pub(crate) ipv6: bool,
    pub(crate) group: String,
    pub(crate) host_gateway_ips: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) http_proxy: String,
    pub(crate) https_proxy: String,
    pub(crate) icc: bool,
    pub(crate) image_gc: ImageGc,
    pub(crate) init: bool,
    pub(crate) init_path: String,
    pub(crate) insecure_registries: Vec<String>,
    pub(crate) ip: String,
    pub(crate) ip_forward: bool,
    pub(crate) ip_masq: bool,
    pub(crate) labels: Vec<String>,
    pub(crate) live_restore: bool,
    pub(crate) log_driver: String,
    pub(crate) log_format: String,
    pub(crate) log_level: String,
    pub(crate) log_opts: BTreeMap<String, String>,
    pub(crate) max_concurrent_downloads: i64,
    pub(crate) max_concurrent_uploads: i64,
    pub(crate) max_download_attempts: i64,
    /// Bytes.
    pub(crate) mtu: i64,
    pub(crate) no_new_privileges: bool,
    pub(crate) no_proxy: String,
    pub(crate) pidfile: PathBuf,
    pub(crate) raw_logs: bool,
    pub(crate) restart_on_unhealthy: bool,
    pub(crate) registry_mirrors: Vec<String>,
    pub(crate) runtimes: BTreeMap<String, Runtime>,
    pub(crate) seccomp_profile: String,
    /// The program that runs a container; empty: `arca-shim` beside arcad.
    pub(crate) shim: String,
    /// Seconds.
    pub(crate) shutdown_timeout: i64,
    pub(crate) storage_driver: String,
    pub(crate) storage_opts: Vec<String>,
    pub(crate) userland_proxy: bool,
    /// `USER` or `USER:GROUP`, or `default`.
    pub(crate) userns_remap: String,
}

impl Default for Settings {
    #[expect(clippy::too_many_lines, reason = "one line a field")]
    fn default() -> Self {
        Self {
            allow_direct_routing: false,
            exposure: "open".to_owned(),
            bip: String::new(),
            bip6: String::new(),
            bridge: String::new(),
            builder: Builder::default(),
            cdi_spec_dirs: ["/etc/cdi", "/var/run/cdi"].map(str::to_owned).into(),
            certs_dir: PathBuf::new(),
            cgroup_parent: String::new(),
            data_root: "/var/lib/arca".into(),
            debug: false,
            default_address_pools: Vec::new(),
            default_cgroupns_mode: String::new(),
            default_gateway: String::new(),
            default_gateway_v6: String::new(),
            default_network_opts: BTreeMap::new(),
            default_ipc_mode: "private".to_owned(),
            default_runtime: String::new(),
            default_shm_size: 64 << 20,
            default_ulimits: BTreeMap::new(),
            dns: Vec::new(),
            dns_opts: Vec::new(),
            dns_search: Vec::new(),
            exec_opts: Vec::new(),
            exec_root: "/run/arca".into(),
            experimental: false,
            fixed_cidr: String::new(),
            fixed_cidr_v6: String::new(),
            ipv6: false,
            group: "docker".to_owned(),
            host_gateway_ips: Vec::new(),
            hosts: Vec::new(),
            http_proxy: String::new(),
            https_proxy: String::new(),
            icc: true,
            image_gc: ImageGc::default(),
            init: false,
            init_path: String::new(),
            insecure_registries: Vec::new(),
            ip: String::new(),
            ip_forward: true,
            ip_masq: true,
            labels: Vec::new(),
            live_restore: true,
            log_driver: "json-file".to_owned(),
            log_format: "text".to_owned(),
            log_level: "info".to_owned(),
            log_opts: BTreeMap::new(),
            max_concurrent_downloads: 3,
            max_concurrent_uploads: 5,
            max_download_attempts: 5,
            mtu: 1500,
            no_new_privileges: false,
            no_proxy: String::new(),
            pidfile: PathBuf::new(),
            raw_logs: false,
            restart_on_unhealthy: false,
            registry_mirrors: Vec::new(),
            runtimes: BTreeMap::new(),
            seccomp_profile: "builtin".to_owned(),
            shim: String::new(),
            shutdown_timeout: 15,
            storage_driver: String::new(),
            storage_opts: Vec::new(),
            userland_proxy: true,
            userns_remap: String::new(),
        }
    }
}

/// Why there are no settings. The texts are dockerd's, where it has one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "unable to configure the Docker daemon with file {}: merged configuration validation from file and command line flags failed: {why}",
        .path.display()
    )]
    Invalid { path: PathBuf, why: String },
    #[error("conflict labels for {0} and {1}")]
    Labels(String, String),
}

impl Settings {
    /// Reads the file and joins it with the flags.
    ///
    /// # Errors
    /// See [`SettingsError`]: what dockerd refuses, and what arca does not honour.
    pub(crate) fn load(program: &Program, cli: &Cli) -> Result<Self, SettingsError> {
        let named = cli.text("config-file");
        let path = Path::new(named.unwrap_or(program.config_file));
        let from_file = file::load(path, named.is_some(), cli)?;
        let invalid = |why| SettingsError::Invalid {
            path: path.to_owned(),
            why,
        };
        let mut merged: Map<String, Value> = from_file.into_iter().collect();
        for (flag, value) in &cli.values {
            let Some(option) = OPTIONS.iter().find(|option| option.flag == *flag) else {
                continue;
            };
            let key = Some(option.key).filter(|key| !key.is_empty());
            let key = key.unwrap_or(option.flag);
            match (merged.get_mut(key), value) {
                // Runtimes are the one key that both may have.
                (Some(Value::Object(present)), Value::Object(added)) => {
                    present.extend(added.clone());
                }
                _ => drop(merged.insert(key.to_owned(), value.clone())),
            }
        }
        honoured(&merged).map_err(invalid)?;
        let mut settings: Self = serde_json::from_value(Value::Object(merged))
            .map_err(|error| invalid(error.to_string()))?;
        settings.check().map_err(invalid)?;
        settings.check_labels()?;
        if settings.hosts.is_empty() {
            settings.hosts.push(program.host.to_owned());
        }
        if settings.pidfile.as_os_str().is_empty() {
            settings.pidfile = program.pidfile.into();
        }
        Ok(settings)
    }

    /// Checks the values themselves, and completes them.
    fn check(&mut self) -> Result<(), String> {
        if !["debug", "info", "warn", "error", "fatal", "trace", "panic"]
            .contains(&self.log_level.as_str())
        {
            return Err(format!("invalid logging level: {}", self.log_level));
        }
        if !["text", "json"].contains(&self.log_format.as_str()) {
            return Err(format!("invalid log format: {}", self.log_format));
        }
        for (what, number) in [
            (
                "invalid max concurrent downloads",
                self.max_concurrent_downloads,
            ),
            (
                "invalid max concurrent uploads",
                self.max_concurrent_uploads,
            ),
            ("invalid max download attempts", self.max_download_attempts),
            ("invalid default MTU", self.mtu),
        ] {
            if number < 0 {
                return Err(format!("{what}: {number}"));
            }
        }
        let exposure = self.exposure.parse::<arca_networks::Exposure>();
        exposure.map_err(|error| error.to_string())?;
        for label in &self.labels {
            parse::label(label)?;
        }
        for mirror in &self.registry_mirrors {
            parse::mirror(mirror)?;
        }
        for host in &mut self.hosts {
            *host = parse::host(host)?;
        }
        self.root_size()?;
        self.image_gc.check()?;
        self.builder.check()?;
        self.check_runtime()
    }

    /// The bytes that a container may write unless it says another number: `overlay2.size`, as dockerd has it.
    ///
    /// # Errors
    /// An option that arca does not have, or that is no size.
    pub(crate) fn root_size(&self) -> Result<Option<u64>, String> {
        let mut size = None;
        for option in &self.storage_opts {
            let (key, value) = option
                .split_once('=')
                .ok_or_else(|| format!("unable to parse key/value option: {option}"))?;
            match key.trim().to_ascii_lowercase().as_str() {
                "overlay2.size" => size = Some(parse::size(value.trim())?),
                _ => return Err(format!("overlay2: unknown option {key}")),
            }
        }
        Ok(size)
    }

    /// Checks what concerns runtimes and namespaces.
    fn check_runtime(&self) -> Result<(), String> {
        for option in &self.exec_opts {
            match option.split_once('=') {
                None => {
                    return Err(format!(
                        "invalid exec-opt ({option}): must be formatted 'opt=value'"
                    ));
                }
                Some(("native.cgroupdriver", "cgroupfs" | "systemd")) => {}
                Some(_) => return Err(format!("invalid exec-opt ({option}): unknown option")),
            }
        }
        if !["", "host", "private"].contains(&self.default_cgroupns_mode.as_str()) {
            return Err(format!(
                "invalid default cgroup namespace ({})",
                self.default_cgroupns_mode
            ));
        }
        if !["private", "shareable"].contains(&self.default_ipc_mode.as_str()) {
            return Err(format!(
                "IPC mode {:?} is not supported as a default",
                self.default_ipc_mode
            ));
        }
        if self.runtimes.contains_key("runc")
            && self.runtimes.get("runc").is_some_and(|r| r.path.is_empty())
        {
            return Err("runtime name 'runc' is reserved".to_owned());
        }
        Ok(())
    }

    fn check_labels(&self) -> Result<(), SettingsError> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for label in &self.labels {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            if let Some(before) = seen.insert(key, value)
                && before != value
            {
                return Err(SettingsError::Labels(
                    label.clone(),
                    format!("{key}={before}"),
                ));
            }
        }
        Ok(())
    }
}

/// Refuses by name what arca would otherwise ignore.
fn honoured(merged: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in merged {
        let named =
            |option: &&Opt| option.key == key || (option.key.is_empty() && option.flag == key);
        let Some(option) = OPTIONS.iter().find(named) else {
            continue;
        };
        match option.support {
            Support::Honoured => {}
            Support::Removed(why) => return Err(why.to_owned()),
            Support::Only(only) => {
                let same =
                    serde_json::from_str::<Value>(only).is_ok_and(|only| is_part(value, &only));
                // Off and empty ask for nothing, whatever the type.
                let nothing = matches!(value, Value::Null)
                    || value.as_str().is_some_and(str::is_empty)
                    || value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(Map::is_empty);
                if !same && !nothing {
                    return Err(format!(
                        "the option {key:?} is not supported by arca with the value {}",
                        parse::go(value)
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Whether `value` is `only`, or an object with no other members. A flag gives members as text.
fn is_part(value: &Value, only: &Value) -> bool {
    match (value, only) {
        (Value::Object(value), Value::Object(only)) => value.iter().all(|(name, value)| {
            only.get(name)
                .is_some_and(|only| parse::go(only) == parse::go(value))
        }),
        _ => value == only,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;

    fn load(file: &str, flags: &[&str]) -> Result<Settings, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.json");
        std::fs::write(&path, file).unwrap();
        let program = Program::from_arg0(None);
        let path = path.to_str().unwrap().to_owned();
        let arguments = ["--config-file".to_owned(), path.clone()]
            .into_iter()
            .chain(flags.iter().map(|flag| (*flag).to_owned()));
        let cli = match Cli::parse(&program, arguments).map_err(|error| error.to_string())? {
            Command::Run(cli) => cli,
            other => panic!("{other:?}"),
        };
        Settings::load(&program, &cli).map_err(|error| error.to_string().replace(&path, "F"))
    }

    #[test]
    fn flags_and_file_are_joined() {
        let settings = load(
            r#"{"hosts":["unix:///run/x.sock"],"debug":true,"default-ulimits":{"nofile":{"Name":"nofile","Hard":2,"Soft":1}},
               "runtimes":{"crun":{"path":"/bin/crun","runtimeArgs":["--debug"]}},"proxies":{"http-proxy":"http://p"}}"#,
            &["--mtu", "1400", "--add-runtime", "runsc=/bin/runsc", "--default-shm-size", "1m"],
        )
        .unwrap();
        assert_eq!(settings.hosts, ["unix:///run/x.sock"]);
        assert!(settings.debug);
        assert_eq!(settings.mtu, 1400);
        assert_eq!(settings.default_shm_size, 1 << 20);
        assert_eq!(settings.http_proxy, "http://p");
        assert_eq!(
            settings.runtimes.keys().collect::<Vec<_>>(),
            ["crun", "runsc"]
        );
        assert_eq!(settings.default_ulimits["nofile"].hard, 2);
        assert_eq!(settings.pidfile, Path::new("/var/run/arca.pid"));
    }

    #[test]
    fn invalid_values_are_refused_in_dockerds_words() {
        for (file, flags, text) in [
            (
                r#"{"log-level":"warning"}"#,
                &[][..],
                "invalid logging level: warning",
            ),
            ("{}", &["--log-format", "x"], "invalid log format: x"),
            (
                r#"{"max-concurrent-downloads":-1}"#,
                &[],
                "invalid max concurrent downloads: -1",
            ),
            (r#"{"mtu":-5}"#, &[], "invalid default MTU: -5"),
            (r#"{"labels":["a"]}"#, &[], "bad attribute format: a"),
            (
                r#"{"storage-opts":["overlay2.size=x"]}"#,
                &[],
                "invalid size: 'x'",
            ),
            (
                r#"{"storage-opts":["dm.basesize=1g"]}"#,
                &[],
                "overlay2: unknown option dm.basesize",
            ),
            (
                "{}",
                &["--storage-opt=size"],
                "unable to parse key/value option: size",
            ),
            (
                "{}",
                &["--exec-opt", "x"],
                "invalid exec-opt (x): must be formatted 'opt=value'",
            ),
        ] {
            assert_eq!(
                load(file, flags).unwrap_err(),
                format!(
                    "unable to configure the Docker daemon with file F: merged configuration validation from file and command line flags failed: {text}"
                )
            );
        }
        assert_eq!(
            load(r#"{"labels":["a=b","a=c"]}"#, &[]).unwrap_err(),
            "conflict labels for a=c and a=b"
        );
    }

    #[test]
    fn what_arca_does_not_do_is_refused_by_name() {
        assert!(
            load(r#"{"rootless":true}"#, &[])
                .unwrap_err()
                .ends_with("the option \"rootless\" is not supported by arca with the value true")
        );
        assert!(load(r#"{"rootless":false,"iptables":true}"#, &["--tls=false"]).is_ok());
        assert!(load("{}", &["--iptables=false"]).is_err());
        assert!(load(r#"{"features":{"buildkit":true,"cdi":true}}"#, &[]).is_ok());
        assert!(load("{}", &["--feature", "buildkit=true"]).is_ok());
        assert!(
            load(
                r#"{"features":{"buildkit":true,"containerd-snapshotter":true}}"#,
                &[]
            )
            .unwrap_err()
            .contains("the option \"features\" is not supported by arca with the value map[")
        );
        assert!(
            load("{}", &["--api-cors-header", "x"])
                .unwrap_err()
                .contains("DEPRECATED")
        );
    }
}
