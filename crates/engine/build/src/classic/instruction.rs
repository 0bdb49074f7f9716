//! Instructions that change the configuration.

use std::os::fd::AsFd as _;

use arca_dockerfile::{Arg, CommandLine, Healthcheck, Kind, Pair, exposed_ports, format_duration};

use super::stage::Build;
use crate::Error;
use crate::fs::{digest, edit, path};
use crate::solve::blocking;

/// What BuildKit alone can do.
pub(super) fn requires_buildkit(option: &str) -> Error {
    Error::Invalid(format!(
        "the --{option} option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/ to learn how to build images with BuildKit enabled"
    ))
}

impl Build {
    /// Does one instruction.
    pub(super) async fn instruction(&mut self, kind: &Kind) -> Result<(), Error> {
        match kind {
            Kind::Run(run) => self.run_command(run).await,
            Kind::Copy(copy) => self.copy(copy).await,
            Kind::Add(add) => self.add_files(add).await,
            Kind::Workdir(path) => self.workdir(path).await,
            Kind::Env(pairs) => self.env(pairs).await,
            Kind::Label(pairs) => {
                let pairs = self.expand_pairs(pairs)?;
                self.label(pairs).await
            }
            Kind::Arg(arguments) => self.arg(arguments).await,
            Kind::Cmd(command) => self.cmd(command).await,
            Kind::Entrypoint(command) => self.entrypoint(command).await,
            Kind::Expose(ports) => self.expose(ports).await,
            Kind::Healthcheck(check) => self.healthcheck(check).await,
            Kind::Maintainer(author) => {
                self.state.author.clone_from(author);
                self.commit_config(&format!("MAINTAINER {author}")).await
            }
            Kind::Onbuild(trigger) => {
                let list = self.state.run.on_build.get_or_insert_default();
                list.push(trigger.clone());
                self.commit_config(&format!("ONBUILD {trigger}")).await
            }
            Kind::Shell(shell) => {
                self.state.run.shell = Some(shell.clone());
                let shown = shell.join(" ");
                self.commit_config(&format!("SHELL [{shown}]")).await
            }
            Kind::StopSignal(signal) => {
                let signal = self.expand(signal)?;
                signal
                    .parse::<arca_types::Signal>()
                    .map_err(|_unknown| Error::Invalid(format!("invalid signal: {signal}")))?;
                self.state.run.stop_signal = Some(signal.clone());
                self.commit_config(&format!("STOPSIGNAL {signal}")).await
            }
            Kind::User(user) => {
                let user = self.expand(user)?;
                self.state.run.user.clone_from(&user);
                self.commit_config(&format!("USER {user}")).await
            }
            Kind::Volume(paths) => self.volume(paths).await,
        }
    }

    fn expand_pairs(&self, pairs: &[Pair]) -> Result<Vec<Pair>, Error> {
        let expand = |pair: &Pair| {
            Ok(Pair {
                name: self.expand(&pair.name)?,
                value: self.expand(&pair.value)?,
                legacy: pair.legacy,
            })
        };
        pairs.iter().map(expand).collect()
    }

    async fn env(&mut self, pairs: &[Pair]) -> Result<(), Error> {
        // All values are those from before the instruction.
        let pairs = self.expand_pairs(pairs)?;
        let mut comment = "ENV".to_owned();
        let env = self.state.run.env.get_or_insert_default();
        for pair in pairs {
            let variable = format!("{}={}", pair.name, pair.value);
            comment.push(' ');
            comment.push_str(&variable);
            let prefix = format!("{}=", pair.name);
            match env.iter_mut().find(|old| old.starts_with(&prefix)) {
                Some(old) => *old = variable,
                None => env.push(variable),
            }
        }
        self.commit_config(&comment).await
    }

    pub(super) async fn label(&mut self, pairs: Vec<Pair>) -> Result<(), Error> {
        let mut comment = "LABEL".to_owned();
        let labels = self.state.run.labels.get_or_insert_default();
        for pair in pairs {
            comment.push_str(&format!(" {}={}", pair.name, pair.value));
            labels.insert(pair.name, pair.value);
        }
        self.commit_config(&comment).await
    }

    async fn arg(&mut self, arguments: &[Arg]) -> Result<(), Error> {
        let mut comment = "ARG".to_owned();
        for argument in arguments {
            let default = argument.default.as_ref();
            let default = default.map(|text| self.expand(text)).transpose()?;
            comment.push(' ');
            comment.push_str(&argument.name);
            if let Some(default) = &default {
                comment.push('=');
                comment.push_str(default);
            }
            self.args.add(&argument.name, default);
        }
        self.commit_config(&comment).await
    }

    /// The words of a command, with the shell where one reads it.
    pub(super) fn words(&self, command: &CommandLine) -> Vec<String> {
        if !command.shell {
            return command.arguments.clone();
        }
        let mut words = self.shell();
        words.push(command.arguments.join(" "));
        words
    }

    async fn cmd(&mut self, command: &CommandLine) -> Result<(), Error> {
        let words = self.words(command);
        let comment = format!("CMD {}", quoted_list(&words));
        self.state.run.cmd = Some(words);
        self.state.has_command = true;
        self.commit_config(&comment).await
    }

    async fn entrypoint(&mut self, command: &CommandLine) -> Result<(), Error> {
        let words = if command.arguments.is_empty() {
            Vec::new()
        } else {
            self.words(command)
        };
        let comment = format!("ENTRYPOINT {}", quoted_list(&words));
        self.state.run.entrypoint = Some(words);
        if !self.state.has_command {
            // Arguments of another program mean nothing to this one.
            self.state.run.cmd = None;
        }
        self.commit_config(&comment).await
    }

    async fn expose(&mut self, ports: &[String]) -> Result<(), Error> {
        let mut words = Vec::new();
        for port in ports {
            words.extend(self.expand_words(port)?);
        }
        words.sort();
        let list = self.state.run.exposed_ports.get_or_insert_default();
        for word in &words {
            let exposed = exposed_ports(word).map_err(|error| Error::Invalid(error.to_string()))?;
            for port in exposed.ports {
                if !list.contains(&port) {
                    list.push(port);
                }
            }
        }
        list.sort();
        self.commit_config(&format!("EXPOSE {}", words.join(" ")))
            .await
    }

    async fn volume(&mut self, paths: &[String]) -> Result<(), Error> {
        let mut expanded = Vec::new();
        for path in paths {
            let path = self.expand(path)?;
            if path.is_empty() {
                let text = "VOLUME specified can not be an empty string";
                return Err(Error::Invalid(text.to_owned()));
            }
            expanded.push(path);
        }
        self.refuse_files(expanded.clone()).await?;
        let list = self.state.run.volumes.get_or_insert_default();
        for path in &expanded {
            if !list.contains(path) {
                list.push(path.clone());
            }
        }
        list.sort();
        self.commit_config(&format!("VOLUME [{}]", expanded.join(" ")))
            .await
    }

    /// Volumes are directories, and lie over directories.
    async fn refuse_files(&self, paths: Vec<String>) -> Result<(), Error> {
        let image = self.state.image.as_ref();
        let layers = image.map(|image| image.layers.clone()).unwrap_or_default();
        let storage = self.builder.0.storage();
        let root = storage.open_layers(&layers).await.map_err(Error::Storage)?;
        blocking(move || {
            for path in &paths {
                let at = edit::resolved(root.as_fd(), path.as_bytes())?;
                let there = digest::stat_of(root.as_fd(), &at)?;
                if there.is_some_and(|stat| !path::is_dir(&stat)) {
                    return Err(Error::Failed(format!(
                        "cannot mount volume over existing file, file exists {path}"
                    )));
                }
            }
            Ok(())
        })
        .await
    }

    async fn healthcheck(&mut self, check: &Healthcheck) -> Result<(), Error> {
        let comment = format!(
            "HEALTHCHECK &{{[{}] {} {} {} {} {}}}",
            check.test.join(" "),
            format_duration(check.interval),
            format_duration(check.timeout),
            format_duration(check.start_period),
            format_duration(check.start_interval),
            check.retries
        );
        self.state.run.healthcheck = Some(arca_images::Healthcheck {
            test: Some(check.test.clone()),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: i64::from(check.retries),
        });
        self.commit_config(&comment).await
    }
}

/// A list as Go's `%q` writes it.
fn quoted_list(words: &[String]) -> String {
    let quoted: Vec<String> = words
        .iter()
        .map(|word| arca_dockerfile::quoted(word))
        .collect();
    format!("[{}]", quoted.join(" "))
}
