//! Security options (`HostConfig.SecurityOpt`).

use crate::Error;

/// What was asked for, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Security {
    /// Whether programs cannot gain privileges; `None` for the daemon's default.
    pub(crate) no_new_privileges: Option<bool>,
    /// System call filter.
    pub(crate) seccomp: Seccomp,
    /// AppArmor profile, when one was named.
    pub(crate) apparmor: Option<String>,
    /// Whether cgroups are writable.
    pub(crate) writable_cgroups: bool,
}

/// A system call filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Seccomp {
    /// The default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in Docker's JSON.
    Profile(String),
}

/// Parses the options.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn parse(options: &[String]) -> Result<Security, Error> {
    let mut security = Security::default();
    for option in options {
        if option == "no-new-privileges" {
            security.no_new_privileges = Some(true);
            continue;
        }
        if option == "writable-cgroups" {
            security.writable_cgroups = true;
            continue;
        }
        if option == "disable" {
            return Err(Error::Invalid(format!(
                "invalid --security-opt 1: \"{option}\" (label=disable is meant)"
            )));
        }
        let (name, value) = option
            .split_once('=')
            .or_else(|| option.split_once(':'))
            .ok_or_else(|| Error::Invalid(format!("invalid --security-opt 1: \"{option}\"")))?;
        let flag = || {
            parse_bool(value)
                .ok_or_else(|| Error::Invalid(format!("invalid --security-opt 2: \"{option}\"")))
        };
        match name {
            // Without SELinux there is nothing to label, as with dockerd.
            "label" => {}
            "apparmor" => security.apparmor = Some(value.to_owned()),
            "seccomp" => {
                security.seccomp = match value {
                    "unconfined" => Seccomp::Unconfined,
                    "builtin" => Seccomp::Default,
                    profile => Seccomp::Profile(profile.to_owned()),
                };
            }
            "no-new-privileges" => security.no_new_privileges = Some(flag()?),
            "writable-cgroups" => security.writable_cgroups = flag()?,
            _ => {
                return Err(Error::Invalid(format!(
                    "invalid --security-opt 2: \"{option}\""
                )));
            }
        }
    }
    Ok(security)
}

/// A truth value in the spellings that Go knows.
fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(option: &str) -> Result<Security, String> {
        parse(&[option.to_owned()]).map_err(|error| error.to_string())
    }

    #[test]
    fn both_separators_are_understood() {
        assert_eq!(
            of("seccomp:unconfined").unwrap().seccomp,
            Seccomp::Unconfined
        );
        assert_eq!(of("seccomp=builtin").unwrap().seccomp, Seccomp::Default);
        assert_eq!(
            of("no-new-privileges").unwrap().no_new_privileges,
            Some(true)
        );
        assert!(of("writable-cgroups").unwrap().writable_cgroups);
        assert_eq!(
            of("no-new-privileges=false").unwrap().no_new_privileges,
            Some(false)
        );
    }

    #[test]
    fn the_unknown_is_refused_in_dockers_words() {
        assert_eq!(
            of("foo"),
            Err("invalid --security-opt 1: \"foo\"".to_owned())
        );
        assert_eq!(
            of("foo=bar"),
            Err("invalid --security-opt 2: \"foo=bar\"".to_owned())
        );
    }
}
