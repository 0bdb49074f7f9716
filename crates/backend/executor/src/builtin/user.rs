//! Who the process is: user, groups, capabilities, home.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::error::{Context, ExecError};

/// A passwd file longer than this is not read.
const LONGEST_PASSWD: u64 = 4 << 20;

/// Drops what the process may not have, and becomes its user. Capabilities that only the user's
/// change needs are still there; [`drop_capabilities`] takes them.
pub(super) fn switch(process: &Process, setgroups: bool) -> Result<(), ExecError> {
    let wanted = process.capabilities().as_ref();
    let bounding = bits(wanted.and_then(|sets| sets.bounding().as_ref()));
    for number in 0..64_u32 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if bounding.contains(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // The first number that the kernel does not know.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(ExecError::os("unable to apply bounding set", &error.into())),
        }
    }
    set_keep_capabilities(true).context(|| "unable to set keep caps")?;
    let user = process.user();
    if setgroups {
        let groups = user.additional_gids().iter().flatten();
        let groups: Vec<Gid> = groups.map(|&gid| Gid::from_raw(gid)).collect();
        set_thread_groups(&groups).context(|| "unable to setup user: setgroups")?;
    }
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
    set_thread_res_gid(gid, gid, gid).context(|| "unable to setup user: setgid")?;
    set_thread_res_uid(uid, uid, uid).context(|| "unable to setup user: setuid")?;
    if let Some(mask) = user.umask() {
        umask(Mode::from_bits_truncate(mask));
    }
    Ok(())
}

/// Takes every capability that the configuration does not name.
pub(super) fn drop_capabilities(process: &Process) -> Result<(), ExecError> {
    set_keep_capabilities(false).context(|| "unable to clear keep caps")?;
    let named = process.capabilities().as_ref();
    let set = |pick: fn(&LinuxCapabilities) -> &Option<Capabilities>| {
        named.map_or_else(CapabilitySet::empty, |sets| bits(pick(sets).as_ref()))
    };
    // What this process lacks itself cannot be given: dockerd leaves that out, other callers may not.
    let own = capabilities(None)
        .context(|| "unable to get capabilities")?
        .permitted;
    let sets = CapabilitySets {
        effective: set(LinuxCapabilities::effective) & own,
        permitted: set(LinuxCapabilities::permitted) & own,
        inheritable: set(LinuxCapabilities::inheritable) & own,
    };
    let ambient = set(LinuxCapabilities::ambient) & sets.permitted & sets.inheritable;
    set_capabilities(None, sets).context(|| "unable to apply caps")?;
    clear_ambient_capability_set().context(|| "unable to apply caps")?;
    for number in 0..64_u32 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if ambient.contains(one) {
            configure_capability_in_ambient_set(one, true).context(|| "unable to apply caps")?;
        }
    }
    Ok(())
}

fn bits(capabilities: Option<&Capabilities>) -> CapabilitySet {
    let all = capabilities.into_iter().flatten();
    CapabilitySet::from_bits_retain(all.fold(0, |bits, &one| bits | 1 << number(one)))
}

/// The number of a capability (linux/capability.h).
fn number(capability: Capability) -> u32 {
    match capability {
        Capability::Chown => 0,
        Capability::DacOverride => 1,
        Capability::DacReadSearch => 2,
        Capability::Fowner => 3,
        Capability::Fsetid => 4,
        Capability::Kill => 5,
        Capability::Setgid => 6,
        Capability::Setuid => 7,
        Capability::Setpcap => 8,
        Capability::LinuxImmutable => 9,
        Capability::NetBindService => 10,
        Capability::NetBroadcast => 11,
        Capability::NetAdmin => 12,
        Capability::NetRaw => 13,
        Capability::IpcLock => 14,
        Capability::IpcOwner => 15,
        Capability::SysModule => 16,
        Capability::SysRawio => 17,
        Capability::SysChroot => 18,
        Capability::SysPtrace => 19,
        Capability::SysPacct => 20,
        Capability::SysAdmin => 21,
        Capability::SysBoot => 22,
        Capability::SysNice => 23,
        Capability::SysResource => 24,
        Capability::SysTime => 25,
        Capability::SysTtyConfig => 26,
        Capability::Mknod => 27,
        Capability::Lease => 28,
        Capability::AuditWrite => 29,
        Capability::AuditControl => 30,
        Capability::Setfcap => 31,
        Capability::MacOverride => 32,
        Capability::MacAdmin => 33,
        Capability::Syslog => 34,
        Capability::WakeAlarm => 35,
        Capability::BlockSuspend => 36,
        Capability::AuditRead => 37,
        Capability::Perfmon => 38,
        Capability::Bpf => 39,
        Capability::CheckpointRestore => 40,
    }
}

/// Returns the environment with HOME in it: the home of `uid` in the container's `/etc/passwd`, or
/// `/`. Of variables that are there twice the last counts.
pub(super) fn environment(variables: &[String], uid: u32) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<String> = Vec::new();
    for variable in variables.iter().rev() {
        let name = variable.split('=').next().unwrap_or_default();
        // An empty HOME is none.
        if variable != "HOME=" && seen.insert(name) {
            kept.push(variable.clone());
        }
    }
    kept.reverse();
    if !seen.contains("HOME") {
        let home = read_passwd(Path::new("/etc/passwd")).and_then(|text| home_of(&text, uid));
        kept.push(format!("HOME={}", home.unwrap_or_else(|| "/".to_owned())));
    }
    kept
}

/// Reads the container's file; what is in it, and what it is, is the container's choice.
fn read_passwd(path: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(fstat(&file).ok()?.st_mode);
    if kind != FileType::RegularFile {
        return None;
    }
    let mut text = Vec::new();
    File::from(file)
        .take(LONGEST_PASSWD)
        .read_to_end(&mut text)
        .ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn home_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let id = fields.nth(2)?.parse::<u32>().ok()?;
        let home = fields.nth(2)?;
        (id == uid && !home.is_empty()).then(|| home.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_that_of_the_user_with_the_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:33::/var/www:/bin/sh\n";
        assert_eq!(home_of(passwd, 0).as_deref(), Some("/root"));
        assert_eq!(home_of(passwd, 33).as_deref(), Some("/var/www"));
        assert_eq!(home_of(passwd, 7), None);
    }

    #[test]
    fn the_environment_keeps_its_order_and_the_last_of_each_name() {
        let variables = ["A=1", "HOME=/x", "B=2", "A=3"].map(str::to_owned);
        assert_eq!(environment(&variables, 0), ["HOME=/x", "B=2", "A=3"]);
        let variables = ["HOME=/x", "HOME=", "Z=1"].map(str::to_owned);
        assert_eq!(environment(&variables, 0), ["HOME=/x", "Z=1"]);
    }

    #[test]
    fn capabilities_have_the_numbers_of_the_kernel() {
        let set = Capabilities::from([Capability::Chown, Capability::CheckpointRestore]);
        assert_eq!(bits(Some(&set)).bits(), 1 | 1 << 40);
        assert_eq!(
            bits(Some(&Capabilities::from([Capability::SysAdmin]))),
            CapabilitySet::SYS_ADMIN
        );
    }
}
