//! Processes of definitions.

use arca_build::graph::{
    BindMount, CacheMount, CacheSharing, Exec, ExecMount, ExecMountKind, ExtraHost, NetworkMode,
    ProxyEnv, SecretEnv, SecretMount, SecurityMode, SshMount, TmpfsMount, Ulimit,
};
use tonic::Status;

use super::{index, invalid};
use crate::pb;

pub(super) fn exec(op: pb::ExecOp) -> Result<Exec, Status> {
    let pb::ExecOp {
        meta,
        mounts,
        network,
        security,
        secretenv,
        cdi_devices,
    } = op;
    if !cdi_devices.is_empty() {
        return Err(Status::unimplemented("devices in builds are not supported"));
    }
    let meta = meta.ok_or_else(|| invalid("invalid exec op with no meta"))?;
    if meta.args.is_empty() {
        return Err(invalid("invalid exec op with no args"));
    }
    if mounts.is_empty() {
        return Err(invalid("invalid exec op with no mounts"));
    }
    let pb::Meta {
        args,
        env,
        cwd,
        user,
        proxy_env,
        extra_hosts,
        hostname,
        ulimit,
        cgroup_parent,
        remove_mount_stubs_recursive,
        valid_exit_codes,
    } = meta;
    let hosts = extra_hosts.into_iter();
    let limits = ulimit.into_iter();
    let secrets = secretenv.into_iter();
    Ok(Exec {
        args,
        env,
        cwd,
        user,
        hostname,
        mounts: mounts.into_iter().map(mount).collect::<Result<_, _>>()?,
        network: net(network)?,
        security: isolation(security)?,
        extra_hosts: hosts
            .map(|pb::HostIp { host, ip }| ExtraHost { host, ip })
            .collect(),
        ulimits: limits
            .map(|pb::Ulimit { name, soft, hard }| Ulimit { name, soft, hard })
            .collect(),
        cgroup_parent,
        proxy: proxy_env.map(proxy),
        secret_env: secrets
            .map(|pb::SecretEnv { id, name, optional }| SecretEnv { id, name, optional })
            .collect(),
        valid_exit_codes,
        remove_mount_stubs: remove_mount_stubs_recursive,
    })
}

fn net(mode: i32) -> Result<NetworkMode, Status> {
    match pb::NetMode::try_from(mode) {
        Ok(pb::NetMode::Unset) => Ok(NetworkMode::Default),
        Ok(pb::NetMode::Host) => Ok(NetworkMode::Host),
        Ok(pb::NetMode::None) => Ok(NetworkMode::None),
        Err(_) => Err(invalid(format!("unknown network mode {mode}"))),
    }
}

fn isolation(mode: i32) -> Result<SecurityMode, Status> {
    match pb::SecurityMode::try_from(mode) {
        Ok(pb::SecurityMode::Sandbox) => Ok(SecurityMode::Sandbox),
        Ok(pb::SecurityMode::Insecure) => Ok(SecurityMode::Insecure),
        Err(_) => Err(invalid(format!("unknown security mode {mode}"))),
    }
}

fn proxy(env: pb::ProxyEnv) -> ProxyEnv {
    let pb::ProxyEnv {
        http_proxy,
        https_proxy,
        ftp_proxy,
        no_proxy,
        all_proxy,
    } = env;
    ProxyEnv {
        http_proxy,
        https_proxy,
        ftp_proxy,
        no_proxy,
        all_proxy,
    }
}

fn mount(mount: pb::Mount) -> Result<ExecMount, Status> {
    let pb::Mount {
        input,
        selector,
        dest,
        output,
        readonly,
        mount_type,
        tmpfs_opt,
        cache_opt,
        secret_opt,
        ssh_opt,
        result_id: _,
        // How the cache key of a mount is made is the solver's business.
        content_cache: _,
    } = mount;
    let input = index(input);
    let kind = match pb::MountType::try_from(mount_type) {
        Ok(pb::MountType::Bind) => ExecMountKind::Bind(BindMount {
            input,
            selector,
            output: index(output),
        }),
        Ok(pb::MountType::Cache) => {
            let options = cache_opt.ok_or_else(|| invalid("missing cache mount options"))?;
            ExecMountKind::Cache(cache(options, input, selector))
        }
        Ok(pb::MountType::Tmpfs) => {
            let size = tmpfs_opt.map_or(0, |options| options.size);
            ExecMountKind::Tmpfs(TmpfsMount {
                size: u64::try_from(size).unwrap_or(0),
            })
        }
        Ok(pb::MountType::Secret) => {
            let options = secret_opt.ok_or_else(|| invalid("invalid secret mount options"))?;
            ExecMountKind::Secret(secret(options))
        }
        Ok(pb::MountType::Ssh) => {
            let options = ssh_opt.ok_or_else(|| invalid("invalid ssh mount options"))?;
            ExecMountKind::Ssh(ssh(options))
        }
        Err(_) => return Err(invalid(format!("mount type {mount_type} not implemented"))),
    };
    Ok(ExecMount {
        target: dest,
        kind,
        read_only: readonly,
    })
}

fn cache(options: pb::CacheOpt, input: Option<usize>, selector: String) -> CacheMount {
    CacheMount {
        sharing: match pb::CacheSharingOpt::try_from(options.sharing) {
            Ok(pb::CacheSharingOpt::Private) => CacheSharing::Private,
            Ok(pb::CacheSharingOpt::Locked) => CacheSharing::Locked,
            _ => CacheSharing::Shared,
        },
        id: options.id,
        input,
        selector,
    }
}

fn secret(options: pb::SecretOpt) -> SecretMount {
    let pb::SecretOpt {
        id,
        uid,
        gid,
        mode,
        optional,
    } = options;
    SecretMount {
        id,
        uid,
        gid,
        mode,
        optional,
    }
}

fn ssh(options: pb::SshOpt) -> SshMount {
    let pb::SshOpt {
        id,
        uid,
        gid,
        mode,
        optional,
    } = options;
    SshMount {
        id,
        uid,
        gid,
        mode,
        optional,
    }
}
