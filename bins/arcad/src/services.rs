//! The settings, split: one small configuration for each service.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use arca_containers::Config as ContainersConfig;
use arca_containers::model::{CgroupnsMode, IpcMode, Ulimit};
use arca_engine::{Config, GcPolicy, SystemConfig};
use arca_networks::{AddressPool, Config as NetworksConfig, DefaultBridge, DnsSettings};
use arca_registry::{Config as RegistryConfig, Insecure, Mirror, Proxies};
use arca_runtime::{Config as RuntimeConfig, RuntimeKind};
use arca_storage::{Config as StorageConfig, Driver};
use arca_volumes::Config as VolumesConfig;

use crate::VERSION;
use crate::parse;
use crate::settings::Settings;

/// Where dockerd looks for certificates of registries, and arca too.
const CERTS_DIRS: &[&str] = &["/etc/arca/certs.d", "/etc/docker/certs.d"];

/// The configuration of the engine: one for each service.
///
/// # Errors
/// A value that a service cannot take.
pub(crate) fn engine(settings: &Settings) -> anyhow::Result<Config> {
    Ok(Config {
        data_root: settings.data_root.clone(),
        exec_root: settings.exec_root.clone(),
        storage: storage(settings)?,
        runtime: runtime(settings)?,
        volumes: volumes(settings),
        networks: networks(settings)?,
        containers: containers(settings)?,
        builds: crate::builds::builds(settings)?,
        system: system(settings)?,
    })
}

/// What the engine says about itself.
///
/// # Errors
/// An address pool that is none.
pub(crate) fn system(settings: &Settings) -> anyhow::Result<SystemConfig> {
    let (mut networks, hosts): (Vec<_>, Vec<_>) = settings
        .insecure_registries
        .iter()
        .cloned()
        .partition(|registry| matches!(registry.parse(), Ok(Insecure::Network(_))));
    // The loopback is never asked for a certificate.
    networks.extend(["127.0.0.0/8", "::1/128"].map(str::to_owned));
    Ok(SystemConfig {
        version: VERSION.to_owned(),
        git_commit: option_env!("ARCA_GIT_COMMIT")
            .unwrap_or_default()
            .to_owned(),
        build_time: option_env!("ARCA_BUILD_TIME")
            .unwrap_or_default()
            .to_owned(),
        root_dir: settings.data_root.clone(),
        debug: settings.debug,
        labels: settings.labels.clone(),
        mirrors: settings.registry_mirrors.clone(),
        insecure_cidrs: networks,
        insecure_registries: hosts,
        http_proxy: settings.http_proxy.clone(),
        https_proxy: settings.https_proxy.clone(),
        no_proxy: settings.no_proxy.clone(),
        address_pools: pools(settings)?
            .into_iter()
            .map(|pool| (pool.base, pool.size))
            .collect(),
    })
}

/// The name of this host.
pub(crate) fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Directories below the roots, and the choice of the storage driver.
///
/// # Errors
/// A driver that arca has not.
pub(crate) fn storage(settings: &Settings) -> anyhow::Result<StorageConfig> {
    let driver = match settings.storage_driver.as_str() {
        "" => None,
        "overlay2" | "overlay" => Some(Driver::Overlay),
        "vfs" => Some(Driver::Vfs),
        other => bail!("failed to start daemon: driver not supported: {other}"),
    };
    Ok(StorageConfig {
        root: settings.data_root.clone(),
        driver,
        size: settings.root_size().map_err(anyhow::Error::msg)?,
    })
}

/// Where volumes are.
pub(crate) fn volumes(settings: &Settings) -> VolumesConfig {
    VolumesConfig {
        root: settings.data_root.join("volumes"),
        plugins: arca_volumes::PluginConfig {
            sockets: vec!["/run/docker/plugins".into()],
            specs: vec![
                "/etc/docker/plugins".into(),
                "/usr/lib/docker/plugins".into(),
            ],
        },
    }
}

/// Where shims are, and which program is one.
///
/// # Errors
/// There is no such program.
pub(crate) fn runtime(settings: &Settings) -> anyhow::Result<RuntimeConfig> {
    let shim = if settings.shim.is_empty() {
        beside("arca-shim")?
    } else {
        PathBuf::from(&settings.shim)
    };
    if !shim.is_file() {
        bail!("{} is missing: it runs the containers", shim.display());
    }
    Ok(RuntimeConfig {
        exec_root: settings.exec_root.clone(),
        shim,
    })
}

/// A program that is installed with arcad: in its directory, or in `/usr/libexec/arca`.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where arcad is")?;
    let path = own.with_file_name(name);
    if path.is_file() {
        Ok(path)
    } else {
        Ok(Path::new("/usr/libexec/arca").join(name))
    }
}

/// Mirrors, insecure registries, limits of downloads, proxies.
///
/// # Errors
/// An entry that is not an address.
pub(crate) fn registry(settings: &Settings) -> anyhow::Result<RegistryConfig> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    // As dockerd: what the configuration does not say is taken from the daemon's environment.
    let proxy = |set: &str, names: [&str; 2]| {
        text(set).or_else(|| {
            names
                .iter()
                .find_map(|name| std::env::var(name).ok())
                .filter(|v| !v.is_empty())
        })
    };
    Ok(RegistryConfig {
        mirrors: parsed::<Mirror>(&settings.registry_mirrors)?,
        insecure: parsed::<Insecure>(&settings.insecure_registries)?,
        certs_dirs: if settings.certs_dir.as_os_str().is_empty() {
            CERTS_DIRS.iter().map(PathBuf::from).collect()
        } else {
            vec![settings.certs_dir.clone()]
        },
        max_downloads: positive(settings.max_concurrent_downloads, 3),
        max_uploads: positive(settings.max_concurrent_uploads, 5),
        max_attempts: u32::try_from(positive(settings.max_download_attempts, 5))?,
        proxies: Proxies {
            http: proxy(&settings.http_proxy, ["HTTP_PROXY", "http_proxy"]),
            https: proxy(&settings.https_proxy, ["HTTPS_PROXY", "https_proxy"]),
            no_proxy: proxy(&settings.no_proxy, ["NO_PROXY", "no_proxy"]),
        },
        user_agent: format!("arca/{VERSION}"),
        ..RegistryConfig::default()
    })
}

/// Which images go when the disk is full.
///
/// # Errors
/// A pattern of names that is none.
pub(crate) fn image_gc(settings: &Settings) -> anyhow::Result<GcPolicy> {
    let gc = &settings.image_gc;
    let policy = GcPolicy {
        high: gc.high_watermark,
        low: gc.low_watermark,
        keep: parse::duration(&gc.keep_last_used).context("invalid image-gc: keep-last-used")?,
        pin_label: gc.pin_label.clone(),
        pinned: gc.pin.clone(),
    };
    policy.check().context("invalid image-gc: pin")?;
    Ok(policy)
}

fn parsed<T>(texts: &[String]) -> anyhow::Result<Vec<T>>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    texts
        .iter()
        .map(|text| text.parse::<T>().map_err(anyhow::Error::from))
        .collect()
}

/// As dockerd, 0 means the default.
fn positive(number: i64, default: usize) -> usize {
    usize::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .unwrap_or(default)
}

/// The default bridge, address pools, name servers. Fails with an address that is none.
pub(crate) fn networks(settings: &Settings) -> anyhow::Result<NetworksConfig> {
    let address = |text: &str, what: &str| -> anyhow::Result<std::net::IpAddr> {
        text.parse()
            .map_err(|_error| anyhow!("invalid {what}: {text}"))
    };
    let addresses = |texts: &[String], what: &str| {
        texts
            .iter()
            .map(|text| address(text, what))
            .collect::<anyhow::Result<Vec<_>>>()
    };
    Ok(NetworksConfig {
        exec_root: settings.exec_root.clone(),
        firewall_table: table(&settings.data_root),
        ip_forward: settings.ip_forward,
        bridge: bridge(settings)?,
        pools: pools(settings)?,
        mtu: u32::try_from(settings.mtu)?,
        default_host_ip: match settings.ip.as_str() {
            "" => None,
            text => Some(address(text, "ip")?).filter(|address| !address.is_unspecified()),
        },
        host_gateway_ips: addresses(&settings.host_gateway_ips, "host gateway IP")?,
        userland_proxy: settings.userland_proxy,
        direct_routing: settings.allow_direct_routing,
        exposure: settings.exposure.parse().context("exposure")?,
        dns_program: beside("arca-dns").ok().filter(|program| program.is_file()),
        dns: DnsSettings {
            servers: addresses(&settings.dns, "DNS server")?,
            search: settings.dns_search.clone(),
            options: settings.dns_opts.clone(),
        },
        default_network_options: settings.default_network_opts.clone(),
        ..NetworksConfig::default()
    })
}

fn pools(settings: &Settings) -> anyhow::Result<Vec<AddressPool>> {
    let pools = settings.default_address_pools.iter();
    pools
        .map(|pool| {
            let base = pool
                .base
                .parse()
                .map_err(|_error| anyhow!("invalid base pool {:?}", pool.base))?;
            let size = u8::try_from(pool.size).ok().filter(|size| *size <= 128);
            let size = size.with_context(|| format!("invalid pool size {}", pool.size))?;
            Ok(AddressPool { base, size })
        })
        .collect()
}

fn bridge(settings: &Settings) -> anyhow::Result<DefaultBridge> {
    let default = DefaultBridge::default();
    Ok(DefaultBridge {
        name: match settings.bridge.as_str() {
            "none" => None,
            "" => default.name,
            name => Some(name.to_owned()),
        },
        address: network(&settings.bip, "bip")?,
        fixed_cidr: network(&settings.fixed_cidr, "fixed-cidr")?,
        default_gateway: match settings.default_gateway.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|_error| anyhow!("invalid default-gateway: {text}"))?,
            ),
        },
        ipv6: settings.ipv6,
        address6: network(&settings.bip6, "bip6")?,
        fixed_cidr6: network(&settings.fixed_cidr_v6, "fixed-cidr-v6")?,
        default_gateway6: match settings.default_gateway_v6.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|_error| anyhow!("invalid default-gateway-v6: {text}"))?,
            ),
        },
        icc: settings.icc,
        masquerade: settings.ip_masq,
    })
}

/// A subnet or an address with its prefix; empty is none.
fn network<T: std::str::FromStr>(text: &str, what: &str) -> anyhow::Result<Option<T>> {
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_error| anyhow!("invalid {what}: invalid CIDR address: {text}")),
    }
}

/// The name of the firewall table: engines with different data roots may live on one host.
fn table(data_root: &Path) -> String {
    if data_root == Settings::default().data_root {
        return "arca".to_owned();
    }
    // FNV-1a: the name has to be the same in every run.
    let hash = data_root
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
    format!("arca-{hash:08x}")
}

/// Defaults of containers.
///
/// # Errors
/// A runtime that is not there, a log driver or options of it that there are not, a seccomp profile that
/// cannot be read.
pub(crate) fn containers(settings: &Settings) -> anyhow::Result<ContainersConfig> {
    let default = ContainersConfig::default();
    let mut runtimes = default.runtimes.clone();
    for (name, runtime) in &settings.runtimes {
        let path = PathBuf::from(&runtime.path);
        let args = runtime.runtime_args.clone();
        runtimes.insert(name.clone(), RuntimeKind::Binary { path, args });
    }
    let default_runtime = match settings.default_runtime.as_str() {
        "" => default.default_runtime.clone(),
        name if runtimes.contains_key(name) => name.to_owned(),
        name => bail!("specified default runtime '{name}' does not exist"),
    };
    let init_path = match settings.init_path.as_str() {
        "" => beside("arca-init")?,
        path => PathBuf::from(path),
    };
    Ok(ContainersConfig {
        data_root: settings.data_root.clone(),
        daemon_name: default.daemon_name,
        default_runtime,
        runtimes,
        log: crate::container_log::default(settings)?,
        restart_unhealthy: settings.restart_on_unhealthy,
        ulimits: settings
            .default_ulimits
            .iter()
            .map(|(name, limit)| Ulimit {
                name: name.clone(),
                soft: limit.soft,
                hard: limit.hard,
            })
            .collect(),
        init: settings.init,
        init_path,
        shm_size: i64::try_from(settings.default_shm_size)?,
        ipc_mode: match settings.default_ipc_mode.as_str() {
            "shareable" => IpcMode::Shareable,
            _ => IpcMode::Private,
        },
        cgroupns_mode: CgroupnsMode::parse(&settings.default_cgroupns_mode)?,
        cgroup_parent: settings.cgroup_parent.clone(),
        systemd_cgroups: settings
            .exec_opts
            .iter()
            .any(|o| o == "native.cgroupdriver=systemd"),
        no_new_privileges: settings.no_new_privileges,
        users: None,
        cdi_dirs: cdi_dirs(&settings.cdi_spec_dirs),
        seccomp_profile: match settings.seccomp_profile.as_str() {
            "" | "builtin" => None,
            "unconfined" => Some("unconfined".to_owned()),
            path => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("opening seccomp profile ({path}) failed"))?,
            ),
        },
    })
}

/// As dockerd: one empty name stands for no directory.
fn cdi_dirs(dirs: &[String]) -> Vec<PathBuf> {
    let named = dirs.iter().filter(|dir| !dir.is_empty());
    named.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_of_different_roots_have_different_tables() {
        assert_eq!(table(Path::new("/var/lib/arca")), "arca");
        assert_ne!(table(Path::new("/a")), table(Path::new("/b")));
        assert_eq!(table(Path::new("/a")), table(Path::new("/a")));
    }

    #[test]
    fn networks_are_checked() {
        let settings = Settings {
            bip: "10.1.0.1/24".to_owned(),
            bridge: "br9".to_owned(),
            dns: vec!["192.0.2.1".to_owned()],
            ..Settings::default()
        };
        let config = networks(&settings).unwrap();
        assert_eq!(config.bridge.name.as_deref(), Some("br9"));
        assert_eq!(config.bridge.address.unwrap().to_string(), "10.1.0.1/24");
        let wrong = Settings {
            bip: "10.1".to_owned(),
            ..Settings::default()
        };
        assert!(
            networks(&wrong)
                .unwrap_err()
                .to_string()
                .contains("invalid CIDR address: 10.1")
        );
        let none = Settings {
            bridge: "none".to_owned(),
            ..Settings::default()
        };
        assert_eq!(networks(&none).unwrap().bridge.name, None);
    }

    #[test]
    fn an_unknown_default_runtime_is_refused() {
        let settings = Settings {
            default_runtime: "nope".to_owned(),
            ..Settings::default()
        };
        assert!(
            containers(&settings)
                .unwrap_err()
                .to_string()
                .contains("nope")
        );
    }
}
