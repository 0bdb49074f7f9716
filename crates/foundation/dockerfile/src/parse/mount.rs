//! `RUN --mount`.

use crate::csv::csv_fields;
use crate::error::{Error, MountError};
use crate::expand::ExpandError;
use crate::instruction::RawMount;
use crate::suggest::{hint, nearest};

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A directory that later builds find again.
    Cache,
    /// An empty file system in memory.
    Tmpfs,
    /// A secret of the client.
    Secret,
    /// The client's SSH agent.
    Ssh,
}

impl MountKind {
    const ALL: [Self; 5] = [
        Self::Bind,
        Self::Cache,
        Self::Tmpfs,
        Self::Secret,
        Self::Ssh,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

/// Who may use a cache at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody.
    Shared,
    /// One; others get a cache of their own.
    Private,
    /// One; others wait.
    Locked,
}

impl Sharing {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Shared, "shared"),
        (Self::Private, "private"),
        (Self::Locked, "locked"),
    ];
}

/// A `RUN --mount`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// `from`: a stage, an image or a named context; empty for the build context.
    pub from: String,
    /// `source`.
    pub source: String,
    /// `target`.
    pub target: String,
    /// Whether it can only be read.
    pub read_only: bool,
    /// `size` of a tmpfs in bytes, 0 without.
    pub size: i64,
    /// `id` of a cache, a secret or an agent.
    pub id: String,
    /// `sharing`, when given.
    pub sharing: Option<Sharing>,
    /// Whether the step fails without it.
    pub required: bool,
    /// The variable that holds a secret; an empty name means the secret's.
    pub env: Option<String>,
    /// Permissions, when given.
    pub mode: Option<u32>,
    /// Owner, when given.
    pub uid: Option<u32>,
    /// Group, when given.
    pub gid: Option<u32>,
}

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// What can be told of a mount before its variables are known: that it is a list, and where from.
pub(super) fn raw(text: String) -> Result<RawMount, Error> {
    let mut from = String::new();
    for field in csv_fields(&text).map_err(MountError::Csv)? {
        if let Some((key, value)) = field.split_once('=')
            && key.eq_ignore_ascii_case("from")
        {
            if value.find('$').is_some_and(|at| at + 1 != value.len()) {
                return Err(MountError::FromVariable.into());
            }
            from = value.to_owned();
        }
    }
    Ok(RawMount { text, from })
}

impl Mount {
    /// Reads a mount; `expand` gives the value of each field.
    ///
    /// # Errors
    /// A field is unknown, wrong, or not for this kind of mount.
    pub fn parse(
        raw: &RawMount,
        expand: &mut dyn FnMut(&str) -> Result<String, ExpandError>,
    ) -> Result<Self, MountError> {
        let mut mount = Self::default();
        let mut read_only = None;
        for field in csv_fields(&raw.text).map_err(MountError::Csv)? {
            match field.split_once('=') {
                Some((key, value)) => {
                    let value = expand(value)?;
                    let key = key.to_lowercase();
                    match key.as_str() {
                        "readonly" | "ro" => read_only = Some(boolean(&key, &value)?),
                        "readwrite" | "rw" => read_only = Some(!boolean(&key, &value)?),
                        _ => mount.set(&key, value, &field)?,
                    }
                }
                None => match field.to_lowercase().as_str() {
                    "readonly" | "ro" => read_only = Some(true),
                    "readwrite" | "rw" => read_only = Some(false),
                    "required" => mount.require("required", true)?,
                    _ => return Err(MountError::NoValue(field)),
                },
            }
        }
        let writable = matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs);
        mount.read_only = read_only.unwrap_or(!writable);
        mount.check()?;
        Ok(mount)
    }

    fn set(&mut self, key: &str, value: String, field: &str) -> Result<(), MountError> {
        match key {
            "type" => self.kind = kind(&value)?,
            "from" => self.from = value,
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "required" => {
                self.may_be_required(key)?;
                self.require(key, boolean(key, &value)?)?;
            }
            "size" if self.kind == MountKind::Tmpfs => {
                self.size = bytes(&value).ok_or(MountError::Value(key.to_owned(), value))?;
            }
            "size" => return Err(MountError::KeyForType(key.to_owned(), self.kind.name())),
            "id" => self.id = value,
            "sharing" => self.sharing = Some(sharing(&value)?),
            "mode" => self.mode = Some(number("mode", &value, 8)?),
            "uid" => self.uid = Some(number("uid", &value, 10)?),
            "gid" => self.gid = Some(number("gid", &value, 10)?),
            "env" => self.env = Some(value),
            _ => {
                let near = hint(nearest(key, KEYS));
                return Err(MountError::Key(key.to_owned(), field.to_owned(), near));
            }
        }
        Ok(())
    }

    fn may_be_required(&self, key: &str) -> Result<(), MountError> {
        match self.kind {
            MountKind::Secret | MountKind::Ssh => Ok(()),
            kind => Err(MountError::KeyForType(key.to_owned(), kind.name())),
        }
    }

    fn require(&mut self, key: &str, required: bool) -> Result<(), MountError> {
        self.may_be_required(key)?;
        self.required = required;
        Ok(())
    }

    /// What depends on several fields.
    fn check(&self) -> Result<(), MountError> {
        let owned = matches!(
            self.kind,
            MountKind::Secret | MountKind::Ssh | MountKind::Cache
        );
        for (name, given) in [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)] {
            if given.is_some() && !owned {
                return Err(MountError::NotAllowed(name, self.kind.name()));
            }
        }
        if self.kind == MountKind::Secret {
            if !self.from.is_empty() {
                return Err(MountError::SecretFrom);
            }
            if self.sharing.is_some() {
                return Err(MountError::SecretSharing);
            }
            if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() {
                return Err(MountError::SecretName);
            }
            if !self.source.is_empty() && !self.id.is_empty() {
                return Err(MountError::SecretSourceAndId);
            }
        }
        if self.sharing.is_some() && self.kind != MountKind::Cache {
            return Err(MountError::SharingForType(self.kind.name()));
        }
        Ok(())
    }
}

fn kind(value: &str) -> Result<MountKind, MountError> {
    let lower = value.to_lowercase();
    MountKind::ALL
        .into_iter()
        .find(|kind| kind.name() == lower)
        .ok_or_else(|| {
            let near = nearest(value, MountKind::ALL.map(MountKind::name));
            MountError::Type(value.to_owned(), hint(near))
        })
}

fn sharing(value: &str) -> Result<Sharing, MountError> {
    let lower = value.to_lowercase();
    let found = Sharing::ALL.into_iter().find(|(_, name)| *name == lower);
    found.map(|(sharing, _)| sharing).ok_or_else(|| {
        let near = nearest(value, Sharing::ALL.map(|(_, name)| name));
        MountError::Sharing(value.to_owned(), hint(near))
    })
}

/// The spellings of yes and no that Go has.
fn boolean(key: &str, value: &str) -> Result<bool, MountError> {
    crate::text::boolean(value).ok_or_else(|| MountError::Value(key.to_owned(), value.to_owned()))
}

fn number(key: &'static str, value: &str, radix: u32) -> Result<u32, MountError> {
    let plain = !value.starts_with('+');
    let number = u32::from_str_radix(value, radix).ok().filter(|_| plain);
    number.ok_or_else(|| MountError::Number(key, value.to_owned()))
}

/// A size such as `64m` in bytes, units being powers of 1024.
fn bytes(value: &str) -> Option<i64> {
    let at = value
        .find(|ch: char| !(ch.is_ascii_digit() || ch == '.'))
        .unwrap_or(value.len());
    let (number, unit) = value.split_at_checked(at)?;
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let bytes = number * 1024_f64.powi(power);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within range: just compared"
    )]
    (bytes < 9e18).then_some(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::{Mount, MountKind, Sharing, bytes, raw};

    fn parse(text: &str) -> Result<Mount, String> {
        let raw = raw(text.to_owned()).map_err(|error| error.to_string())?;
        Mount::parse(&raw, &mut |value| Ok(value.replace("$V", "v"))).map_err(|e| e.to_string())
    }

    #[test]
    fn every_field_is_read() {
        let cache = parse(
            "type=cache,target=/c/$V,id=x,sharing=locked,mode=0700,uid=1,gid=2,from=a,source=b",
        );

        assert_eq!(
            cache,
            Ok(Mount {
                kind: MountKind::Cache,
                from: "a".into(),
                source: "b".into(),
                target: "/c/v".into(),
                id: "x".into(),
                sharing: Some(Sharing::Locked),
                mode: Some(0o700),
                uid: Some(1),
                gid: Some(2),
                ..Mount::default()
            })
        );
        assert_eq!(
            parse("target=/x").map(|m| (m.kind, m.read_only)),
            Ok((MountKind::Bind, true))
        );
        assert_eq!(parse("target=/x,rw").map(|m| m.read_only), Ok(false));
        assert_eq!(
            parse("type=tmpfs,target=/t,size=1.5k").map(|m| m.size),
            Ok(1536)
        );
        assert_eq!(
            parse("type=secret,id=s,env=E,required").map(|m| (m.env, m.required)),
            Ok((Some("E".into()), true))
        );
    }

    #[test]
    fn mistakes_are_told_in_buildkits_words() {
        for (text, wanted) in [
            (
                "type=bin,target=/x",
                "unsupported mount type \"bin\" (did you mean bind?)",
            ),
            (
                "type=cache,target=/x,sharing=lock",
                "unsupported sharing value \"lock\" (did you mean locked?)",
            ),
            (
                "targt=/x",
                "unexpected key 'targt' in 'targt=/x' (did you mean target?)",
            ),
            ("foo", "invalid field 'foo' must be a key=value pair"),
            (
                "from=$X,target=/x",
                "'from' doesn't support variable expansion, define alias stage instead",
            ),
            (
                "required,target=/x",
                "unexpected key 'required' for mount type 'bind'",
            ),
            (
                "target=/x,mode=0700",
                "mode not allowed for \"bind\" type mounts",
            ),
            ("type=cache,target=/x,mode=9", "invalid value 9 for mode"),
            ("target=/x,ro=maybe", "invalid value for ro: maybe"),
            (
                "type=secret",
                "invalid secret mount. one of source, target required",
            ),
            (
                "type=secret,id=a,source=b",
                "both source and id can't be set",
            ),
            (
                "type=ssh,sharing=shared",
                "invalid cache sharing set for ssh mount",
            ),
            (
                "target=/x,\"",
                "failed to parse csv mounts: parse error on line 1, column 12: extraneous or missing \" in quoted-field",
            ),
        ] {
            assert_eq!(parse(text), Err(wanted.to_owned()), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("64m"), Some(64 << 20));
        assert_eq!(bytes("1 GiB"), Some(1 << 30));
        assert_eq!(bytes("x"), None);
        assert_eq!(bytes("1x"), None);
    }
}
