//! Parsing of `HostConfig.Binds` and `VolumesFrom`, and what is allowed in `HostConfig.Mounts`.

use crate::Error;
use crate::model::{Bind, MountRequest, MountType, Propagation};

/// Options of a bind in the short form, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mode {
    /// Whether it is read-only.
    pub(crate) read_only: bool,
    /// Whether a volume is not filled from the image.
    pub(crate) no_copy: bool,
    /// Propagation, if named.
    pub(crate) propagation: Option<Propagation>,
}

/// Parses `source:destination[:options]` or `destination`.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn parse(text: &str) -> Result<Bind, Error> {
    let invalid =
        |reason: String| Error::Invalid(format!("invalid volume specification: '{text}'{reason}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(invalid(String::new())),
    };
    if target.is_empty() || (parts.len() > 1 && source.is_empty()) {
        return Err(invalid(String::new()));
    }
    let kind = if source.starts_with('/') {
        MountType::Bind
    } else {
        MountType::Volume
    };
    let bad = |reason: &str| {
        invalid(format!(
            ": invalid mount config for type \"{kind}\": {reason}"
        ))
    };
    if !target.starts_with('/') {
        return Err(bad(&format!(
            "invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    if clean(target) == "/" {
        return Err(bad("invalid specification: destination can't be '/'"));
    }
    parse_mode(mode)?;
    Ok(Bind {
        source: source.to_owned(),
        target: clean(target),
        mode: mode.to_owned(),
    })
}

/// Parses the options of a bind.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn parse_mode(text: &str) -> Result<Mode, Error> {
    let invalid = || Error::Invalid(format!("invalid mode: {text}"));
    let mut mode = Mode::default();
    let (mut access, mut label) = (0, 0);
    for option in text.split(',').filter(|_| !text.is_empty()) {
        match option {
            "ro" => {
                mode.read_only = true;
                access += 1;
            }
            "rw" => access += 1,
            // Labels of SELinux; there is nothing to label without it.
            "z" | "Z" => label += 1,
            "nocopy" if !mode.no_copy => mode.no_copy = true,
            other => match Propagation::parse(other) {
                Some(propagation) if mode.propagation.is_none() => {
                    mode.propagation = Some(propagation);
                }
                _ => return Err(invalid()),
            },
        }
    }
    if access > 1 || label > 1 {
        Err(invalid())
    } else {
        Ok(mode)
    }
}

/// Splits `container[:mode]` of `VolumesFrom`.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn parse_volumes_from(text: &str) -> Result<(&str, Mode), Error> {
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    if text.is_empty() {
        let text = "volumes-from specification cannot be an empty string";
        return Err(Error::Invalid(text.to_owned()));
    }
    let understood = parse_mode(mode)?;
    Ok((container, understood))
}

/// Checks a mount in the long form.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn check(mount: &MountRequest) -> Result<(), Error> {
    let reason = check_target(&mount.target).and_then(|()| match mount.kind {
        MountType::Bind => check_bind(mount),
        MountType::Volume => check_volume(mount),
        MountType::Tmpfs => check_tmpfs(mount),
    });
    reason.map_err(|reason| {
        let kind = mount.kind;
        Error::Invalid(format!(
            "invalid mount config for type \"{kind}\": {reason}"
        ))
    })
}

fn check_target(target: &str) -> Result<(), String> {
    if target.is_empty() {
        return Err("field Target must not be empty".to_owned());
    }
    check_absolute(target)?;
    check_not_root(target)
}

/// Refuses the root directory; says why.
pub(crate) fn check_not_root(path: &str) -> Result<(), String> {
    if clean(path) == "/" {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    Ok(())
}

/// Refuses a relative path; says why.
pub(crate) fn check_absolute(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Ok(());
    }
    Err(format!(
        "invalid mount path: '{path}' mount path must be absolute"
    ))
}

/// Options of another kind of mount make no sense.
fn check_absent(present: bool, name: &str) -> Result<(), String> {
    if present {
        Err(format!("field {name} must not be specified"))
    } else {
        Ok(())
    }
}

fn check_bind(mount: &MountRequest) -> Result<(), String> {
    if mount.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    check_absent(mount.volume.is_some(), "VolumeOptions")?;
    check_absolute(&mount.source)?;
    let bind = mount.bind.as_ref();
    let create = bind.is_some_and(|bind| bind.create_mountpoint);
    if !create && !std::path::Path::new(&mount.source).exists() {
        return Err(format!("bind source path does not exist: {}", mount.source));
    }
    Ok(())
}

fn check_volume(mount: &MountRequest) -> Result<(), String> {
    check_absent(mount.bind.is_some(), "BindOptions")?;
    if mount.source.is_empty() && mount.read_only {
        return Err("must not set ReadOnly mode when using anonymous volumes".to_owned());
    }
    let volume = mount.volume.as_ref();
    let subpath = volume.map_or("", |volume| volume.subpath.as_str());
    if subpath.starts_with('/') || subpath.split('/').any(|part| part == "..") {
        return Err("subpath must be a relative path within the volume".to_owned());
    }
    Ok(())
}

fn check_tmpfs(mount: &MountRequest) -> Result<(), String> {
    check_absent(mount.bind.is_some(), "BindOptions")?;
    check_absent(!mount.source.is_empty(), "Source")?;
    check_absent(mount.volume.is_some(), "VolumeOptions")?;
    let options = mount.tmpfs.as_ref().map(|tmpfs| tmpfs.options.as_slice());
    for option in options.unwrap_or_default() {
        match option.as_slice() {
            [name] | [name, _] if matches!(name.as_str(), "exec" | "noexec") => {}
            [name] | [name, _] => return Err(format!("invalid option: {name}")),
            _ => return Err("invalid option array length".to_owned()),
        }
    }
    Ok(())
}

/// The path without `.`, `..` and doubled slashes, by its text alone.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_short_forms_are_understood() {
        let bind = |source: &str, target: &str, mode: &str| Bind {
            source: source.into(),
            target: target.into(),
            mode: mode.into(),
        };
        assert_eq!(parse("/data").unwrap(), bind("", "/data", ""));
        assert_eq!(parse("/a:/b/").unwrap(), bind("/a", "/b", ""));
        assert_eq!(
            parse("vol:/b:ro,nocopy").unwrap(),
            bind("vol", "/b", "ro,nocopy")
        );
        let mode = parse_mode("ro,Z,rslave").unwrap();
        assert_eq!(
            (mode.read_only, mode.propagation),
            (true, Some(Propagation::Rslave))
        );
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        assert_eq!(
            refused("/a:b"),
            "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid \
             mount path: 'b' mount path must be absolute"
        );
        assert_eq!(
            refused("a"),
            "invalid volume specification: 'a': invalid mount config for type \"volume\": invalid \
             mount path: 'a' mount path must be absolute"
        );
        assert_eq!(
            refused("/a:/"),
            "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid \
             specification: destination can't be '/'"
        );
        assert_eq!(refused("/a:/b:q"), "invalid mode: q");
        assert_eq!(
            refused("a:b:c:d"),
            "invalid volume specification: 'a:b:c:d'"
        );
        assert!(parse_mode("ro,rw").is_err());
    }

    #[test]
    fn a_missing_source_of_a_long_mount_is_refused() {
        let mount = MountRequest {
            kind: MountType::Bind,
            source: "/no/such/path".into(),
            target: "/x".into(),
            ..MountRequest::default()
        };
        let text = "invalid mount config for type \"bind\": bind source path does not exist: \
                    /no/such/path";
        assert_eq!(check(&mount).unwrap_err().to_string(), text);
    }

    #[test]
    fn paths_are_cleaned_by_their_text() {
        assert_eq!(clean("//a/./b/../c/"), "/a/c");
        assert_eq!(clean("/.."), "/");
    }
}
