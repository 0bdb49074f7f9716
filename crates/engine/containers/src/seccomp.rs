//! Seccomp profiles: Docker's format (`--security-opt seccomp=FILE`) and the default profile.
//!
//! A profile names capabilities, architectures and kernels on which its rules depend; what comes out
//! is the plain list of the OCI configuration. How that becomes a filter is the executor's matter.

use std::sync::LazyLock;

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg,
    LinuxSeccompBuilder, LinuxSeccompFilterFlag, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;

/// The default profile in Docker's format: what a container may call depends on what it may do.
const DEFAULT: &str = include_str!("seccomp_default.json");

static DEFAULT_PROFILE: LazyLock<Result<Profile, SeccompError>> =
    LazyLock::new(|| Profile::parse(DEFAULT));

/// The machine that a profile is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// `amd64`.
    X86_64,
    /// `arm64`.
    Aarch64,
}

impl Machine {
    /// The machine that this program was built for.
    pub(crate) const NATIVE: Self = if cfg!(target_arch = "aarch64") {
        Self::Aarch64
    } else {
        Self::X86_64
    };

    /// The name that profiles use in `includes.arches`.
    const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    const fn arch(self) -> Arch {
        match self {
            Self::X86_64 => Arch::ScmpArchX86_64,
            Self::Aarch64 => Arch::ScmpArchAarch64,
        }
    }
}

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The text is not a profile.
    #[error("Decoding seccomp profile failed")]
    Decode(#[source] serde_json::Error),
    /// Two ways to say the same thing.
    #[error(
        "both 'architectures' and 'archMap' are specified in the seccomp profile, use either \
         'architectures' or 'archMap'"
    )]
    TwoArchitectures,
    /// Two ways to say the same thing.
    #[error(
        "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
    )]
    TwoNames,
    /// A rule depends on a capability that does not exist.
    #[error("unknown capability in the seccomp profile: {0}")]
    Capability(String),
    /// A rule depends on a kernel version that is not one.
    #[error("invalid kernel version in the seccomp profile: {0}")]
    Kernel(String),
    /// The rules do not make a configuration.
    #[error("invalid seccomp profile")]
    Build(#[source] oci_spec::OciSpecError),
    /// The profile that is built in is broken.
    #[error("the default seccomp profile is not valid: {0}")]
    Default(&'static SeccompError),
}

/// Returns Docker's default profile for a container whose bounding set is `capabilities`.
///
/// # Errors
/// [`SeccompError::Default`] when the profile that is built in is broken, which a test excludes.
pub(crate) fn default_profile(
    capabilities: &Capabilities,
    machine: Machine,
) -> Result<LinuxSeccomp, SeccompError> {
    let profile = DEFAULT_PROFILE.as_ref().map_err(SeccompError::Default)?;
    profile.for_container(capabilities, machine)
}

/// Returns the profile in `json` (Docker's format) for a container whose bounding set is
/// `capabilities`.
///
/// # Errors
/// [`SeccompError`] when the text is not a profile or contradicts itself.
pub(crate) fn load_profile(
    json: &str,
    capabilities: &Capabilities,
    machine: Machine,
) -> Result<LinuxSeccomp, SeccompError> {
    Profile::parse(json)?.for_container(capabilities, machine)
}

/// A profile as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<ArchMap>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<std::path::PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Profile {
    fn parse(json: &str) -> Result<Self, SeccompError> {
        let profile: Self = serde_json::from_str(json).map_err(SeccompError::Decode)?;
        let given = |list: Option<usize>| list.is_some_and(|length| length > 0);
        if given(profile.architectures.as_ref().map(Vec::len))
            && given(profile.arch_map.as_ref().map(Vec::len))
        {
            return Err(SeccompError::TwoArchitectures);
        }
        Ok(profile)
    }

    fn for_container(
        &self,
        capabilities: &Capabilities,
        machine: Machine,
    ) -> Result<LinuxSeccomp, SeccompError> {
        let mut syscalls = Vec::new();
        for rule in self.syscalls.iter().flatten() {
            if rule.applies(capabilities, machine)? {
                syscalls.push(rule.to_syscall()?);
            }
        }
        let builder = LinuxSeccompBuilder::default()
            .default_action(self.default_action)
            .architectures(self.architectures(machine))
            .syscalls(syscalls);
        let mut seccomp = builder.build().map_err(SeccompError::Build)?;
        seccomp
            .set_default_errno_ret(self.default_errno_ret)
            .set_flags(self.flags.clone())
            .set_listener_path(self.listener_path.clone())
            .set_listener_metadata(self.listener_metadata.clone());
        Ok(seccomp)
    }

    fn architectures(&self, machine: Machine) -> Vec<Arch> {
        if let Some(plain) = self.architectures.as_ref().filter(|list| !list.is_empty()) {
            return plain.clone();
        }
        let mapped = self
            .arch_map
            .iter()
            .flatten()
            .find(|one| one.architecture == machine.arch());
        mapped.map_or_else(Vec::new, |one| {
            let sub = one.sub_architectures.iter().flatten().copied();
            std::iter::once(one.architecture).chain(sub).collect()
        })
    }
}

impl Rule {
    fn applies(&self, capabilities: &Capabilities, machine: Machine) -> Result<bool, SeccompError> {
        if let Some(excluded) = &self.excludes {
            let machines = excluded.arches.as_ref().filter(|list| !list.is_empty());
            let machine_out =
                machines.is_some_and(|list| list.iter().any(|name| name == machine.name()));
            let kernel_out = match &excluded.min_kernel {
                Some(version) => kernel_is_at_least(version)?,
                None => false,
            };
            if machine_out || kernel_out || excluded.has_any(capabilities)? {
                return Ok(false);
            }
        }
        let Some(included) = &self.includes else {
            return Ok(true);
        };
        let machines = included.arches.as_ref().filter(|list| !list.is_empty());
        let machine_in = machines.is_none_or(|list| list.iter().any(|name| name == machine.name()));
        let kernel_in = match &included.min_kernel {
            Some(version) => kernel_is_at_least(version)?,
            None => true,
        };
        Ok(machine_in && kernel_in && included.has_all(capabilities)?)
    }

    fn to_syscall(&self) -> Result<LinuxSyscall, SeccompError> {
        let names = self.names.clone().unwrap_or_default();
        let names = match &self.name {
            Some(name) if !name.is_empty() && names.is_empty() => vec![name.clone()],
            Some(name) if !name.is_empty() => return Err(SeccompError::TwoNames),
            _ => names,
        };
        let builder = LinuxSyscallBuilder::default()
            .names(names)
            .action(self.action);
        let mut syscall = builder.build().map_err(SeccompError::Build)?;
        syscall
            .set_errno_ret(self.errno_ret)
            .set_args(self.args.clone().filter(|args| !args.is_empty()));
        Ok(syscall)
    }
}

impl Condition {
    fn has_any(&self, capabilities: &Capabilities) -> Result<bool, SeccompError> {
        let known = self.capabilities()?;
        Ok(known.iter().any(|one| capabilities.contains(one)))
    }

    fn has_all(&self, capabilities: &Capabilities) -> Result<bool, SeccompError> {
        let known = self.capabilities()?;
        Ok(known.iter().all(|one| capabilities.contains(one)))
    }

    fn capabilities(&self) -> Result<Vec<Capability>, SeccompError> {
        let parse = |name: &String| {
            name.strip_prefix("CAP_")
                .and_then(|bare| bare.parse().ok())
                .ok_or_else(|| SeccompError::Capability(name.clone()))
        };
        self.caps.iter().flatten().map(parse).collect()
    }
}

/// Compares `major.minor` with the running kernel.
fn kernel_is_at_least(version: &str) -> Result<bool, SeccompError> {
    let wrong = || SeccompError::Kernel(version.to_owned());
    let (major, minor) = version.split_once('.').ok_or_else(wrong)?;
    let wanted: (u32, u32) = (
        major.parse().map_err(|_nan| wrong())?,
        minor.parse().map_err(|_nan| wrong())?,
    );
    static RUNNING: LazyLock<(u32, u32)> = LazyLock::new(|| {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release
            .split(|letter: char| !letter.is_ascii_digit())
            .map_while(|number| number.parse().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    });
    Ok(*RUNNING >= wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(seccomp: &LinuxSeccomp, name: &str) -> bool {
        let rules = seccomp.syscalls().iter().flatten();
        rules
            .filter(|rule| rule.names().iter().any(|one| one == name))
            .any(|rule| rule.action() == LinuxSeccompAction::ScmpActAllow && rule.args().is_none())
    }

    #[test]
    fn what_may_be_called_depends_on_the_capabilities() {
        let none = default_profile(&Capabilities::new(), Machine::X86_64).unwrap();
        let admin = Capabilities::from([Capability::SysAdmin]);
        let admin = default_profile(&admin, Machine::X86_64).unwrap();
        assert!(allowed(&none, "read") && allowed(&admin, "read"));
        assert!(!allowed(&none, "mount") && allowed(&admin, "mount"));
        assert!(!allowed(&none, "clone3") && allowed(&admin, "clone3"));
        assert!(!allowed(&none, "chroot") && !allowed(&admin, "reboot"));
    }

    #[test]
    fn the_architectures_are_those_of_the_machine() {
        let none = Capabilities::new();
        let arm = default_profile(&none, Machine::Aarch64).unwrap();
        assert_eq!(
            arm.architectures().as_deref(),
            Some(&[Arch::ScmpArchAarch64, Arch::ScmpArchArm][..])
        );
        assert!(allowed(&arm, "sync_file_range2") && !allowed(&arm, "modify_ldt"));
        let x86 = default_profile(&none, Machine::X86_64).unwrap();
        assert_eq!(x86.architectures().as_ref().map(Vec::len), Some(3));
        assert!(allowed(&x86, "arch_prctl") && !allowed(&x86, "sync_file_range2"));
    }

    #[test]
    fn a_profile_of_ones_own_may_use_the_old_names() {
        let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": null, "syscalls": [
            {"name": "mkdir", "action": "SCMP_ACT_ERRNO", "args": null, "includes": {}},
            {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "99.0"}}]}"#;
        let seccomp = load_profile(json, &Capabilities::new(), Machine::NATIVE).unwrap();
        let rules = seccomp.syscalls().as_deref().unwrap();
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].names(), &["mkdir"]);
    }

    #[test]
    fn a_profile_that_contradicts_itself_is_refused() {
        let load = |json| load_profile(json, &Capabilities::new(), Machine::NATIVE).unwrap_err();
        let names = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"name": "a", "names": ["b"], "action": "SCMP_ACT_ERRNO"}]}"#;
        assert!(matches!(load(names), SeccompError::TwoNames));
        let arches = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
            "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}"#;
        assert!(matches!(load(arches), SeccompError::TwoArchitectures));
        assert!(matches!(load("{"), SeccompError::Decode(_)));
    }
}
