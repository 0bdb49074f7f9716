//! Changes to a configuration, as instructions of a Dockerfile (`changes` of import and commit).

use arca_dockerfile::{Env, Lexer};

use crate::config::{Healthcheck, RunConfig};
use crate::error::Error;

impl RunConfig {
    /// Applies instructions: `CMD`, `ENTRYPOINT`, `ENV`, `EXPOSE`, `HEALTHCHECK`, `LABEL`, `ONBUILD`,
    /// `STOPSIGNAL`, `USER`, `VOLUME`, `WORKDIR`.
    ///
    /// # Errors
    /// [`Error::ChangeCommand`] for another one, [`Error::Change`] for one that is malformed.
    pub fn apply(&mut self, changes: &[String]) -> Result<(), Error> {
        let mut has_command = false;
        for change in changes.iter().flat_map(|change| change.lines()) {
            let change = change.trim();
            if change.is_empty() {
                continue;
            }
            let (name, rest) = change
                .split_once(char::is_whitespace)
                .unwrap_or((change, ""));
            let name = name.to_ascii_uppercase();
            has_command |= name == "CMD";
            if name == "ENTRYPOINT" && !has_command {
                // Arguments of another program mean nothing to this one.
                self.cmd = None;
            }
            self.apply_one(&name, rest.trim())?;
        }
        Ok(())
    }

    fn apply_one(&mut self, name: &str, rest: &str) -> Result<(), Error> {
        let env = Env::from_texts(self.env.iter().flatten().map(String::as_str));
        match name {
            "CMD" => self.cmd = Some(command(rest)),
            "ENTRYPOINT" => self.entrypoint = Some(command(rest)),
            "ENV" => {
                for (key, value) in pairs(name, rest, &env)? {
                    self.set_env(&key, &value);
                }
            }
            "LABEL" => self
                .labels
                .get_or_insert_default()
                .extend(pairs(name, rest, &env)?),
            "EXPOSE" => {
                let ports = words(rest, &env)?
                    .into_iter()
                    .map(port)
                    .collect::<Result<Vec<_>, _>>()?;
                add_all(self.exposed_ports.get_or_insert_default(), ports);
            }
            "VOLUME" => {
                let paths = match json_words(rest) {
                    Some(paths) => expanded(&paths, &env)?,
                    None => words(rest, &env)?,
                };
                if paths.iter().any(String::is_empty) || paths.is_empty() {
                    return Err(Error::Change(
                        "VOLUME specified can not be an empty string".to_owned(),
                    ));
                }
                add_all(self.volumes.get_or_insert_default(), paths);
            }
            "USER" => self.user = one(name, rest, &env)?,
            "WORKDIR" => self.working_dir = directory(&self.working_dir, &one(name, rest, &env)?),
            "STOPSIGNAL" => self.stop_signal = Some(one(name, rest, &env)?),
            "ONBUILD" => self.on_build.get_or_insert_default().push(on_build(rest)?),
            "HEALTHCHECK" => self.healthcheck = Some(healthcheck(rest)?),
            other => return Err(Error::ChangeCommand(other.to_owned())),
        }
        Ok(())
    }

    fn set_env(&mut self, key: &str, value: &str) {
        let env = self.env.get_or_insert_default();
        let new = format!("{key}={value}");
        let same = env
            .iter_mut()
            .find(|old| old.split('=').next() == Some(key));
        match same {
            Some(old) => *old = new,
            None => env.push(new),
        }
    }
}

fn add_all(set: &mut Vec<String>, more: Vec<String>) {
    set.extend(more);
    set.sort();
    set.dedup();
}

fn requires(name: &str, what: &str) -> Error {
    Error::Change(format!("{name} requires {what}"))
}

fn one(name: &str, rest: &str, env: &Env) -> Result<String, Error> {
    match words(rest, env)?.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(requires(name, "exactly one argument")),
    }
}

fn json_words(rest: &str) -> Option<Vec<String>> {
    if rest.starts_with('[') {
        serde_json::from_str(rest).ok()
    } else {
        None
    }
}

/// A list in JSON is the command itself; anything else is for the shell.
fn command(rest: &str) -> Vec<String> {
    json_words(rest).unwrap_or_else(|| {
        ["/bin/sh", "-c", rest]
            .iter()
            .map(|word| (*word).to_owned())
            .collect()
    })
}

fn port(text: String) -> Result<String, Error> {
    let (number, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    let (low, high) = number.split_once('-').unwrap_or((number, number));
    let valid = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
    if valid(low) && valid(high) && matches!(protocol, "tcp" | "udp" | "sctp") {
        Ok(format!("{number}/{protocol}"))
    } else {
        Err(Error::Change(format!("invalid containerPort: {text}")))
    }
}

fn directory(current: &str, new: &str) -> String {
    if new.starts_with('/') {
        return new.to_owned();
    }
    format!("{}/{new}", current.trim_end_matches('/'))
}

fn on_build(rest: &str) -> Result<String, Error> {
    let trigger = rest
        .split_whitespace()
        .next()
        .unwrap_or("")
        .to_ascii_uppercase();
    match trigger.as_str() {
        "" => Err(requires("ONBUILD", "at least one argument")),
        "ONBUILD" => Err(Error::Change(
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned(),
        )),
        "MAINTAINER" | "FROM" => Err(Error::Change(format!(
            "{trigger} isn't allowed as an ONBUILD trigger"
        ))),
        _ => Ok(rest.to_owned()),
    }
}

fn healthcheck(rest: &str) -> Result<Healthcheck, Error> {
    let mut check = Healthcheck::default();
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        set_flag(&mut check, flag)?;
        rest = after.trim_start();
    }
    let (kind, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let arguments = arguments.trim();
    check.test = Some(match kind.to_ascii_uppercase().as_str() {
        "NONE" if arguments.is_empty() => vec!["NONE".to_owned()],
        "NONE" => {
            return Err(Error::Change(
                "HEALTHCHECK NONE takes no arguments".to_owned(),
            ));
        }
        "CMD" if arguments.is_empty() => {
            return Err(Error::Change(
                "Missing command after HEALTHCHECK CMD".to_owned(),
            ));
        }
        "CMD" => match json_words(arguments) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), arguments.to_owned()],
        },
        other => {
            return Err(Error::Change(format!(
                "Unknown type {other:?} in HEALTHCHECK (try CMD)"
            )));
        }
    });
    Ok(check)
}

fn set_flag(check: &mut Healthcheck, flag: &str) -> Result<(), Error> {
    let unknown = || Error::Change(format!("unknown flag: --{flag}"));
    let (name, value) = flag.split_once('=').ok_or_else(unknown)?;
    if name == "retries" {
        let retries: i64 = value.parse().ok().filter(|n| *n >= 0).ok_or_else(unknown)?;
        check.retries = retries;
        return Ok(());
    }
    let nanoseconds = crate::until::duration(value)
        .and_then(|duration| i64::try_from(duration.as_nanos()).ok())
        .ok_or_else(|| Error::Change(format!("time: invalid duration {value:?}")))?;
    match name {
        "interval" => check.interval = nanoseconds,
        "timeout" => check.timeout = nanoseconds,
        "start-period" => check.start_period = nanoseconds,
        "start-interval" => check.start_interval = nanoseconds,
        _ => return Err(unknown()),
    }
    Ok(())
}

/// Splits at blanks; quotes and backslashes keep them. They stay.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if quote.is_none() && character.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        word.push(character);
        match (character, quote) {
            ('\\', None | Some('"')) => word.extend(characters.next()),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(character),
            _ => {}
        }
    }
    words.extend(word);
    words
}

/// The words of a text, without quotes and with the values of variables.
fn words(text: &str, env: &Env) -> Result<Vec<String>, Error> {
    expanded(&split(text), env)
}

fn expanded(words: &[String], env: &Env) -> Result<Vec<String>, Error> {
    words.iter().map(|word| expand(word, env)).collect()
}

fn expand(word: &str, env: &Env) -> Result<String, Error> {
    let expanded = Lexer::new('\\').expand(word, env);
    let expanded = expanded.map_err(|error| Error::Change(error.to_string()))?;
    Ok(expanded.text)
}

/// `a=b "c d"=e`, or of old `a b c` for one name.
fn pairs(name: &str, rest: &str, env: &Env) -> Result<Vec<(String, String)>, Error> {
    let words = split(rest);
    let Some(first) = words.first() else {
        return Err(requires(name, "at least one argument"));
    };
    if !first.contains('=') {
        let (key, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| Error::Change(format!("{name} must have two arguments")))?;
        return Ok(vec![(expand(key, env)?, expand(value.trim(), env)?)]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some(("", _)) => Err(Error::Change(format!("{name} names can not be blank"))),
        Some((key, value)) => Ok((expand(key, env)?, expand(value, env)?)),
        None => Err(Error::Change(format!(
            "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
        ))),
    };
    words.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(changes: &[&str]) -> Result<RunConfig, String> {
        let mut config = RunConfig::default();
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        config
            .apply(&changes)
            .map_err(|error| error.to_string())
            .map(|()| config)
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = applied(&[
            "ENV A=b C=\"d e\"",
            "ENV A=x",
            "CMD foo bar",
            "LABEL a=b",
            "EXPOSE 80 53/udp",
            "VOLUME [\"/v\"]",
            "WORKDIR /a",
            "WORKDIR b",
            "user me",
            "HEALTHCHECK --interval=5s CMD true",
        ])
        .unwrap();
        assert_eq!(config.env.unwrap(), ["A=x", "C=d e"]);
        assert_eq!(config.cmd.unwrap(), ["/bin/sh", "-c", "foo bar"]);
        assert_eq!(config.exposed_ports.unwrap(), ["53/udp", "80/tcp"]);
        assert_eq!(config.volumes.unwrap(), ["/v"]);
        assert_eq!(
            (config.working_dir.as_str(), config.user.as_str()),
            ("/a/b", "me")
        );
        let check = config.healthcheck.unwrap();
        assert_eq!(
            (check.interval, check.test.unwrap().join(" ")),
            (5_000_000_000, "CMD-SHELL true".to_owned())
        );
    }

    #[test]
    fn variables_have_the_values_of_before() {
        let mut config = applied(&["ENV PATH=/bin S='a b'"]).unwrap();
        let changes = [
            "ENV PATH=/usr/bin:$PATH N='$S' Q=\"$S\" U=${X:-none}",
            "WORKDIR $PATH",
            "ENV OLD $S",
            "CMD echo $S",
        ];
        config.apply(&changes.map(str::to_owned)).unwrap();
        assert_eq!(
            config.env.unwrap(),
            [
                "PATH=/usr/bin:/bin",
                "S=a b",
                "N=$S",
                "Q=a b",
                "U=none",
                "OLD=a b"
            ]
        );
        assert_eq!(config.working_dir, "/usr/bin:/bin");
        assert_eq!(config.cmd.unwrap(), ["/bin/sh", "-c", "echo $S"]);
    }

    #[test]
    fn an_entrypoint_takes_the_arguments_of_before_with_it_but_not_those_it_comes_with() {
        let mut config = applied(&["CMD x"]).unwrap();
        config.apply(&["ENTRYPOINT [\"a\"]".to_owned()]).unwrap();
        assert_eq!(
            (config.entrypoint.unwrap().join(" "), config.cmd),
            ("a".to_owned(), None)
        );
        let config = applied(&["CMD [\"x\"]", "ENTRYPOINT [\"a\", \"b\"]"]).unwrap();
        assert_eq!(config.entrypoint.unwrap().join(" "), "a b");
        assert_eq!(config.cmd.unwrap(), ["x"]);
    }

    #[test]
    fn others_are_refused() {
        for (change, wanted) in [
            ("FOO x", "FOO is not a valid change command"),
            ("run x", "RUN is not a valid change command"),
            ("ENV", "ENV requires at least one argument"),
            ("ENV =x", "ENV names can not be blank"),
            ("EXPOSE 99999", "invalid containerPort: 99999"),
            ("USER a b", "USER requires exactly one argument"),
        ] {
            assert_eq!(applied(&[change]).unwrap_err(), wanted);
        }
    }
}
