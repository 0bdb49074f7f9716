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
        ["", ..] => return Err(invalid(String::new())),
        [target] => ("", target, ""),
        // A path with a mode, and nothing that is mounted there.
        [_, mode] if !mode.is_empty() && parse_mode(mode).is_ok() => {
            return Err(invalid(String::new()));
        }
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(invalid(String::new())),
    };
    let understood = parse_mode(mode)?;
    let kind = if source.starts_with('/') {
        MountType::Bind
    } else {
        MountType::Volume
    };
    let bad = |reason: &str| invalid(format!(": {}", within(kind, reason)));
    if target.is_empty() {
        return Err(bad("field Target must not be empty"));
    }
    if !target.starts_with('/') {
        return Err(bad(&format!(
            "invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    if clean(target) == "/" {
        return Err(bad("invalid specification: destination can't be '/'"));
    }
    if kind == MountType::Bind && understood.no_copy {
        return Err(bad("field VolumeOptions must not be specified"));
    }
    if kind == MountType::Volume && understood.propagation.is_some() {
        return Err(bad("field BindOptions must not be specified"));
    }
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
    let (mut access, mut label, mut consistency) = (0, 0, 0);
    for option in text.split(',').filter(|_| !text.is_empty()) {
        match option {
            "ro" => {
                mode.read_only = true;
                access += 1;
            }
            "rw" => access += 1,
            // Labels of SELinux; there is nothing to label without it.
            "z" | "Z" => label += 1,
            // They mean something where files are shared with a virtual machine.
            "consistent" | "cached" | "delegated" | "default" => consistency += 1,
            "nocopy" if !mode.no_copy => mode.no_copy = true,
            other => match Propagation::parse(other) {
                Some(propagation) if mode.propagation.is_none() => {
                    mode.propagation = Some(propagation);
                }
                _ => return Err(invalid()),
            },
        }
    }
    if access > 1 || label > 1 || consistency > 1 {
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
    if text.is_empty() {
        let text = "volumes-from specification cannot be an empty string";
        return Err(Error::Invalid(text.to_owned()));
    }
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    let understood = parse_mode(mode)?;
    // How mounts spread, and what was copied into them, is settled where they come from.
    if understood.propagation.is_some() || understood.no_copy {
        return Err(Error::Invalid(format!("invalid mode: {mode}")));
    }
    Ok((container, understood))
}

/// Checks a mount in the long form.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn check(mount: &MountRequest) -> Result<(), Error> {
    let kind = mount.kind;
    let options = [
        (mount.bind.is_some(), MountType::Bind, "BindOptions"),
        (mount.volume.is_some(), MountType::Volume, "VolumeOptions"),
        (mount.tmpfs.is_some(), MountType::Tmpfs, "TmpfsOptions"),
    ];
    for (given, of, name) in options {
        if given && of != kind {
            let text = format!("{name} must not be specified on mount type \"{kind}\"");
            return Err(Error::Invalid(text));
        }
    }
    let reason = check_target(&mount.target).and_then(|()| {
        check_absent(
            mount.image.is_some() && kind != MountType::Image,
            "ImageOptions",
        )?;
        match kind {
            MountType::Bind => check_bind(mount),
            MountType::Volume => check_volume(mount),
            MountType::Tmpfs => check_tmpfs(mount),
            MountType::Image => check_image(mount),
        }
    });
    reason.map_err(|reason| Error::Invalid(within(kind, &reason)))
}

fn within(kind: MountType, reason: &str) -> String {
    format!("invalid mount config for type \"{kind}\": {reason}")
}

/// Checks where something is mounted.
///
/// # Errors
/// The reason, in dockerd's words.
pub(crate) fn check_place(target: &str) -> Result<(), String> {
    check_absolute(target)?;
    if clean(target) == "/" {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    Ok(())
}

fn check_target(target: &str) -> Result<(), String> {
    if target.is_empty() {
        return Err("field Target must not be empty".to_owned());
    }
    check_place(target)
}

/// Refuses a relative path; says why.
fn check_absolute(path: &str) -> Result<(), String> {
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

fn check_source(mount: &MountRequest) -> Result<(), String> {
    if mount.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    Ok(())
}

fn check_bind(mount: &MountRequest) -> Result<(), String> {
    check_source(mount)?;
    check_absolute(&mount.source)?;
    let bind = mount.bind.as_ref();
    if bind.is_some_and(|bind| bind.read_only_non_recursive && bind.read_only_force_recursive) {
        let text =
            "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive";
        return Err(text.to_owned());
    }
    let create = bind.is_some_and(|bind| bind.create_mountpoint);
    if !create && !std::path::Path::new(&mount.source).exists() {
        return Err(format!("bind source path does not exist: {}", mount.source));
    }
    Ok(())
}

fn check_volume(mount: &MountRequest) -> Result<(), String> {
    if mount.source.is_empty() && mount.read_only {
        return Err("must not set ReadOnly mode when using anonymous volumes".to_owned());
    }
    let volume = mount.volume.as_ref();
    let subpath = volume.map_or("", |volume| volume.subpath.as_str());
    if mount.source.is_empty() && !subpath.is_empty() {
        return Err("must not set Subpath when using anonymous volumes".to_owned());
    }
    check_subpath(subpath)
}

fn check_tmpfs(mount: &MountRequest) -> Result<(), String> {
    check_absent(!mount.source.is_empty(), "Source")?;
    let options = mount.tmpfs.iter().flat_map(|tmpfs| &tmpfs.options);
    for words in options {
        match &words[..] {
            [word] if matches!(word.as_str(), "exec" | "noexec") => {}
            [word] | [word, _] => return Err(format!("invalid option: {word}")),
            _ => return Err("invalid option array length".to_owned()),
        }
    }
    Ok(())
}

fn check_image(mount: &MountRequest) -> Result<(), String> {
    check_source(mount)?;
    let image = mount.image.as_ref();
    check_subpath(image.map_or("", |image| image.subpath.as_str()))
}

/// A part of a volume is named from its root, and never leads above it.
fn check_subpath(path: &str) -> Result<(), String> {
    let mut depth = 0_usize;
    let mut inside = !path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => inside = false,
            },
            _ => depth += 1,
        }
    }
    if inside {
        Ok(())
    } else {
        Err("subpath must be a relative path within the volume".to_owned())
    }
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
        assert_eq!(refused("/a:ro"), "invalid volume specification: '/a:ro'");
        assert_eq!(refused("a::b"), "invalid mode: b");
        assert_eq!(
            refused("/a:/b:nocopy"),
            "invalid volume specification: '/a:/b:nocopy': invalid mount config for type \"bind\": \
             field VolumeOptions must not be specified"
        );
        assert_eq!(
            refused("vol:/b:rshared"),
            "invalid volume specification: 'vol:/b:rshared': invalid mount config for type \
             \"volume\": field BindOptions must not be specified"
        );
        for mode in ["ro,rw", "ro,ro", "z,Z", "cached,delegated", "rro", "copy"] {
            assert!(parse_mode(mode).is_err(), "{mode}");
        }
        for from in ["", "a:b", "a:rslave", "a:nocopy", "a:b:c"] {
            assert!(parse_volumes_from(from).is_err(), "{from}");
        }
    }

    #[test]
    fn a_subpath_stays_inside() {
        for path in ["a/..", ".", "", "a//b", "./a"] {
            check_subpath(path).unwrap();
        }
        for path in ["/a", "..", "a/../../b"] {
            check_subpath(path).unwrap_err();
        }
    }

    #[test]
    fn long_mounts_are_checked_in_dockers_words() {
        let mount = |kind: MountType| MountRequest {
            kind,
            source: "/".into(),
            target: "/x".into(),
            ..MountRequest::default()
        };
        let volume = |source: &str, subpath: &str| MountRequest {
            source: source.into(),
            volume: Some(crate::model::VolumeOptions {
                subpath: subpath.into(),
                ..Default::default()
            }),
            ..mount(MountType::Volume)
        };
        let tmpfs = |options: &[&str]| MountRequest {
            source: String::new(),
            tmpfs: Some(crate::model::TmpfsOptions {
                options: vec![options.iter().map(|word| (*word).to_owned()).collect()],
                ..Default::default()
            }),
            ..mount(MountType::Tmpfs)
        };
        let of = |what: &str| format!("invalid mount config for type {what}");
        for (mount, text) in [
            (
                MountRequest {
                    volume: Some(Default::default()),
                    ..mount(MountType::Bind)
                },
                "VolumeOptions must not be specified on mount type \"bind\"".to_owned(),
            ),
            (
                MountRequest {
                    image: Some(Default::default()),
                    ..mount(MountType::Bind)
                },
                of("\"bind\": field ImageOptions must not be specified"),
            ),
            (
                volume("", "a"),
                of("\"volume\": must not set Subpath when using anonymous volumes"),
            ),
            (
                volume("vol", "a/../../b"),
                of("\"volume\": subpath must be a relative path within the volume"),
            ),
            (tmpfs(&["foo"]), of("\"tmpfs\": invalid option: foo")),
            (tmpfs(&["uid", "1"]), of("\"tmpfs\": invalid option: uid")),
            (tmpfs(&[]), of("\"tmpfs\": invalid option array length")),
            (
                MountRequest {
                    source: String::new(),
                    ..mount(MountType::Image)
                },
                of("\"image\": field Source must not be empty"),
            ),
        ] {
            assert_eq!(check(&mount).unwrap_err().to_string(), text);
        }
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
