//! The init process of a container, and what further processes have in common with it.

use super::oci;
use crate::model::ContainerSpec;
use crate::users::Account;

/// Search path of containers whose image names none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything that decides about the init process.
#[derive(Debug)]
pub(crate) struct ProcessInput<'a> {
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) command: (&'a str, &'a [String]),
    pub(crate) hostname: &'a str,
    pub(crate) account: &'a Account,
    pub(crate) capabilities: &'a [String],
    pub(crate) init: bool,
    pub(crate) rlimits: Vec<oci::Rlimit>,
    pub(crate) no_new_privileges: bool,
}

/// The init process.
pub(crate) fn process(input: &ProcessInput<'_>) -> oci::Process {
    let spec = input.spec;
    let (path, args) = input.command;
    let mut words = Vec::with_capacity(args.len() + 3);
    if input.init {
        words.extend(["/sbin/docker-init".to_owned(), "--".to_owned()]);
    }
    words.push(path.to_owned());
    words.extend(args.iter().cloned());
    let mut env = environment(spec, input.hostname, spec.tty);
    add_home(&mut env, &input.account.home);
    let (height, width) = spec.host.console_size;
    let sized = spec.tty && (height, width) != (0, 0);
    oci::Process {
        terminal: spec.tty,
        console_size: sized.then_some(oci::ConsoleSize { height, width }),
        user: input.account.user.clone(),
        args: words,
        env,
        cwd: if spec.working_dir.is_empty() {
            "/".to_owned()
        } else {
            spec.working_dir.clone()
        },
        capabilities: Some(capability_sets(input.account.user.uid, input.capabilities)),
        rlimits: input.rlimits.clone(),
        no_new_privileges: input.no_new_privileges,
        apparmor_profile: None,
        oom_score_adj: Some(spec.host.oom_score_adj),
    }
}

/// The capability sets of a process; only root has any in effect.
pub(crate) fn capability_sets(uid: u32, capabilities: &[String]) -> oci::Capabilities {
    let bounding = capabilities.to_vec();
    if uid == 0 {
        oci::Capabilities {
            effective: bounding.clone(),
            permitted: bounding.clone(),
            bounding,
        }
    } else {
        oci::Capabilities {
            bounding,
            ..oci::Capabilities::default()
        }
    }
}

/// The environment: what every container has, overridden by its own.
pub(crate) fn environment(spec: &ContainerSpec, hostname: &str, tty: bool) -> Vec<String> {
    let mut env = vec![format!("PATH={PATH}"), format!("HOSTNAME={hostname}")];
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    override_with(&mut env, &spec.env);
    env
}

/// Replaces or appends variables; a bare name takes one away.
pub(crate) fn override_with(env: &mut Vec<String>, own: &[String]) {
    for variable in own {
        let name = variable.split_once('=').map(|(name, _)| name);
        let wanted = name.unwrap_or(variable);
        let same = |other: &String| {
            other
                .split_once('=')
                .is_some_and(|(name, _)| name == wanted)
        };
        match (name, env.iter().position(same)) {
            (None, Some(index)) => drop(env.remove(index)),
            (None, None) => {}
            (Some(_), Some(index)) => {
                if let Some(place) = env.get_mut(index) {
                    place.clone_from(variable);
                }
            }
            (Some(_), None) => env.push(variable.clone()),
        }
    }
}

/// Adds the home directory unless the environment has one.
pub(crate) fn add_home(env: &mut Vec<String>, home: &str) {
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(format!("HOME={home}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_in_dockers_order() {
        let spec = ContainerSpec {
            env: vec!["A=1".into(), "PATH=/bin".into(), "HOSTNAME".into()],
            ..ContainerSpec::default()
        };
        assert_eq!(
            environment(&spec, "h", true),
            ["PATH=/bin", "TERM=xterm", "A=1"]
        );
    }

    #[test]
    fn a_home_of_the_user_is_kept() {
        let mut env = vec!["HOME=/x".to_owned()];
        add_home(&mut env, "/root");
        assert_eq!(env, ["HOME=/x"]);
    }

    #[test]
    fn only_root_has_capabilities_in_effect() {
        let all = ["CAP_CHOWN".to_owned()];
        assert_eq!(capability_sets(0, &all).effective, all);
        assert!(capability_sets(1000, &all).effective.is_empty());
        assert_eq!(capability_sets(1000, &all).bounding, all);
    }
}
