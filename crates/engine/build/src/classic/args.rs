//! Values of `ARG`s.

use std::collections::{BTreeMap, BTreeSet};

use arca_dockerfile::Env;

/// Names that need no `ARG`, and are kept out of history and cache.
const BUILT_IN: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The `ARG`s of a build.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// What the client says.
    given: BTreeMap<String, Option<String>>,
    /// Those before the first `FROM`.
    global: BTreeMap<String, Option<String>>,
    /// Those of the stage, with their defaults.
    stage: BTreeMap<String, Option<String>>,
    /// All that any `ARG` names.
    named: BTreeSet<String>,
}

impl Arguments {
    pub(super) fn new(given: BTreeMap<String, Option<String>>) -> Self {
        Self {
            given,
            ..Self::default()
        }
    }

    /// A stage begins.
    pub(super) fn begin_stage(&mut self) {
        self.stage.clear();
    }

    pub(super) fn add_global(&mut self, name: &str, default: Option<String>) {
        self.named.insert(name.to_owned());
        self.global.insert(name.to_owned(), default);
    }

    /// `ARG` in a stage: without a default it has that of before the first `FROM`.
    pub(super) fn add(&mut self, name: &str, default: Option<String>) {
        self.named.insert(name.to_owned());
        let default = default.or_else(|| self.global_value(name));
        self.stage.insert(name.to_owned(), default);
    }

    fn global_value(&self, name: &str) -> Option<String> {
        let default = self.global.get(name)?;
        self.given_or(name, default)
    }

    /// A name without a value (`--build-arg NAME` where the client has no such variable) says nothing.
    fn given_or(&self, name: &str, default: &Option<String>) -> Option<String> {
        let given = self.given.get(name).cloned().flatten();
        given.or_else(|| default.clone())
    }

    /// What `FROM` may use.
    pub(super) fn globals(&self) -> Env {
        let mut env = Env::new();
        for name in self.global.keys() {
            if let Some(value) = self.global_value(name) {
                env.set(name.clone(), value);
            }
        }
        env
    }

    /// The values in the stage.
    fn values(&self) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        for name in BUILT_IN {
            if let Some(Some(value)) = self.given.get(name) {
                values.insert(name.to_owned(), value.clone());
            }
        }
        for (name, default) in &self.stage {
            if let Some(value) = self.given_or(name, default) {
                values.insert(name.clone(), value);
            }
        }
        values
    }

    /// The values that the variables of the image leave: `NAME=value`.
    pub(super) fn beside(&self, env: &[String]) -> Vec<String> {
        let set = |name: &str| {
            let mut names = env.iter().filter_map(|variable| variable.split_once('='));
            names.any(|(found, _)| found == name)
        };
        self.values()
            .into_iter()
            .filter(|(name, _)| !set(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// Variables and values, for expansion.
    pub(super) fn environment(&self, env: &[String]) -> Env {
        let mut all = Env::from_texts(env.iter().map(String::as_str));
        for variable in self.beside(env) {
            let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
            all.set(name, value);
        }
        all
    }

    /// The command as history and cache have it: with the values that it may have used.
    pub(super) fn prefix(&self, values: &[String], command: &[String]) -> Vec<String> {
        let counts = |variable: &&String| {
            let name = variable.split('=').next().unwrap_or_default();
            self.named.contains(name) || !BUILT_IN.contains(&name)
        };
        if values.is_empty() {
            return command.to_vec();
        }
        let mut shown: Vec<String> = values.iter().filter(counts).cloned().collect();
        shown.sort();
        let mut prefixed = vec![format!("|{}", shown.len())];
        prefixed.extend(shown);
        prefixed.extend(command.iter().cloned());
        prefixed
    }

    /// What the client says and nothing uses.
    pub(super) fn unused(&self) -> Vec<&str> {
        let names = self.given.keys().map(String::as_str);
        names
            .filter(|name| !self.named.contains(*name) && !BUILT_IN.contains(name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_the_client_the_stage_and_from_before_the_first_stage() {
        let given = BTreeMap::from([
            ("A".to_owned(), Some("1".to_owned())),
            ("N".to_owned(), None),
            ("HTTP_PROXY".to_owned(), Some("p".to_owned())),
            ("unused".to_owned(), Some(String::new())),
        ]);
        let mut arguments = Arguments::new(given);
        arguments.add_global("G", Some("g".to_owned()));
        arguments.add("A", Some("0".to_owned()));
        arguments.add("N", Some("n".to_owned()));
        arguments.add("G", None);
        let beside = arguments.beside(&["X=y".to_owned()]);
        assert_eq!(beside, ["A=1", "G=g", "HTTP_PROXY=p", "N=n"]);
        assert_eq!(
            arguments.beside(&["A=env".to_owned()]),
            ["G=g", "HTTP_PROXY=p", "N=n"]
        );
        let command = arguments.prefix(&beside, &["sh".to_owned()]);
        assert_eq!(command, ["|3", "A=1", "G=g", "N=n", "sh"]);
        assert_eq!(arguments.unused(), ["unused"]);
    }
}
