//! What of a configuration is not supported: refused by name, never ignored.

use oci_spec::runtime::{Linux, LinuxNamespaceType, Process, Spec};

use crate::error::ExecError;

/// Refuses a configuration that asks for what the built-in runtime does not do.
pub(super) fn configuration(spec: &Spec) -> Result<(&Linux, &Process), ExecError> {
    let linux = spec
        .linux()
        .as_ref()
        .ok_or_else(|| ExecError::other("the configuration lacks linux"))?;
    let process_of = spec.process().as_ref();
    let process_of =
        process_of.ok_or_else(|| ExecError::other("the configuration lacks process"))?;
    process(process_of)?;
    features(linux)?;
    namespaces(spec, linux)?;
    Ok((linux, process_of))
}

fn features(linux: &Linux) -> Result<(), ExecError> {
    let none = |set: bool, name: &str| {
        if set {
            Err(ExecError::other(format!(
                "linux.{name} is not supported by the built-in runtime"
            )))
        } else {
            Ok(())
        }
    };
    none(linux.intel_rdt().is_some(), "intelRdt")?;
    none(linux.memory_policy().is_some(), "memoryPolicy")?;
    none(
        linux
            .net_devices()
            .as_ref()
            .is_some_and(|all| !all.is_empty()),
        "netDevices",
    )?;
    none(
        linux
            .time_offsets()
            .as_ref()
            .is_some_and(|all| !all.is_empty()),
        "timeOffsets",
    )?;
    none(
        linux
            .mount_label()
            .as_ref()
            .is_some_and(|label| !label.is_empty()),
        "mountLabel",
    )
}

fn namespaces(spec: &Spec, linux: &Linux) -> Result<(), ExecError> {
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let has = |kind| namespaces.iter().find(|namespace| namespace.typ() == kind);
    match has(LinuxNamespaceType::Mount) {
        Some(mount) if mount.path().is_none() => {}
        _ => {
            return Err(ExecError::other(
                "the container needs a mount namespace of its own",
            ));
        }
    }
    let hostname = spec
        .hostname()
        .as_ref()
        .is_some_and(|name| !name.is_empty());
    let domainname = spec
        .domainname()
        .as_ref()
        .is_some_and(|name| !name.is_empty());
    if (hostname || domainname) && has(LinuxNamespaceType::Uts).is_none() {
        return Err(ExecError::other(
            "unable to set hostname without a private UTS namespace",
        ));
    }
    if has(LinuxNamespaceType::User).is_none()
        && linux
            .uid_mappings()
            .as_ref()
            .is_some_and(|all| !all.is_empty())
    {
        return Err(ExecError::other(
            "user namespace mappings specified, but user namespace isn't enabled in the config",
        ));
    }
    for key in linux.sysctl().iter().flatten().map(|(key, _)| key) {
        sysctl(key, namespaces.iter().map(|namespace| namespace.typ()))?;
    }
    Ok(())
}
/// Refuses a process that asks for what the built-in runtime does not do.
pub(super) fn process(process: &Process) -> Result<(), ExecError> {
    let none = |set: bool, name: &str| {
        if set {
            Err(ExecError::other(format!(
                "process.{name} is not supported by the built-in runtime"
            )))
        } else {
            Ok(())
        }
    };
    none(
        process
            .selinux_label()
            .as_ref()
            .is_some_and(|label| !label.is_empty()),
        "selinuxLabel",
    )?;
    none(process.io_priority().is_some(), "ioPriority")?;
    none(process.scheduler().is_some(), "scheduler")?;
    none(process.exec_cpu_affinity().is_some(), "execCPUAffinity")?;
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return Err(ExecError::other("args must not be empty"));
    }
    if !process.cwd().as_os_str().is_empty() && !process.cwd().is_absolute() {
        return Err(ExecError::other("Cwd must be an absolute path"));
    }
    Ok(())
}

/// Refuses a kernel parameter that is not the container's own: writing it would change the host.
fn sysctl(key: &str, mut own: impl Iterator<Item = LinuxNamespaceType>) -> Result<(), ExecError> {
    const IPC: [&str; 9] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "fs.mqueue.",
    ];
    let dotted = key.replace('/', ".");
    if dotted == "kernel.hostname" {
        return Err(ExecError::other(format!(
            "sysctl {key:?} is not allowed as it conflicts with the OCI \"hostname\" field"
        )));
    }
    let needed = if dotted.starts_with("net.") {
        LinuxNamespaceType::Network
    } else if dotted == "kernel.domainname" {
        LinuxNamespaceType::Uts
    } else if IPC
        .iter()
        .any(|one| dotted == *one || (one.ends_with('.') && dotted.starts_with(one)))
    {
        LinuxNamespaceType::Ipc
    } else {
        return Err(ExecError::other(format!(
            "sysctl {key:?} is not in a separate kernel namespace"
        )));
    };
    if key
        .split(['.', '/'])
        .any(|part| part.is_empty() || part == "..")
    {
        return Err(ExecError::other(format!(
            "sysctl {key:?} is not a kernel parameter"
        )));
    }
    if own.any(|namespace| namespace == needed) {
        return Ok(());
    }
    Err(ExecError::other(match needed {
        LinuxNamespaceType::Network => {
            format!("sysctl {key:?} not allowed in host network namespace")
        }
        _ => format!("sysctl {key:?} is not allowed in the hosts {needed} namespace"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_parameter_needs_its_namespace() {
        let own = || [LinuxNamespaceType::Network, LinuxNamespaceType::Ipc].into_iter();
        for key in [
            "net.ipv4.ip_forward",
            "net/ipv4/conf/eth0.1/x",
            "kernel.shmmax",
            "fs.mqueue.msg_max",
        ] {
            sysctl(key, own()).unwrap();
        }
        for key in [
            "kernel.hostname",
            "kernel.panic",
            "vm.swappiness",
            "fs.file-max",
            "net...x",
            "net.a//b",
        ] {
            sysctl(key, own()).unwrap_err();
        }
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        let parse = |extra: &str| -> Spec {
            serde_json::from_str(&format!(
                r#"{{"ociVersion": "1.2.1", "process": {{"user": {{}}, "args": ["x"], "cwd": "/"}},
                "linux": {{"namespaces": [{{"type": "mount"}}] {extra}}}}}"#
            ))
            .unwrap()
        };
        configuration(&parse("")).unwrap();
        let error = configuration(&parse(r#", "mountLabel": "x""#)).unwrap_err();
        assert_eq!(
            error.message,
            "linux.mountLabel is not supported by the built-in runtime"
        );
        let error = configuration(&parse(r#", "sysctl": {"kernel.panic": "1"}"#)).unwrap_err();
        assert!(error.message.contains("not in a separate kernel namespace"));
    }
}
