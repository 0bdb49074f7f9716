//! The instructions that change the image's configuration and no files.

use arca_dockerfile::{
    CommandLine, Healthcheck, Instruction, Lines, Pair, Rule, exposed_ports, format_duration,
    quoted, quoted_character, quoted_list,
};
use arca_types::Signal;

use super::invalid;
use crate::Error;
use crate::frontend::checks;
use crate::frontend::convert::Converter;
use crate::frontend::image;
use crate::frontend::stage::Stage;

impl Converter<'_> {
    pub(super) fn env(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        pairs: &[Pair],
    ) -> Result<(), Error> {
        let pairs = self.expand_pairs(stage, instruction.lines, pairs)?;
        let mut said = String::from("ENV");
        for pair in &pairs {
            self.check_legacy(instruction, pair);
            checks::secret_name(self, "ENV", &pair.name, instruction.lines);
            said.push_str(&format!(" {}={}", pair.name, pair.value));
            stage.state.env.set(&pair.name, &pair.value);
            stage.state.image.set_env(&pair.name, &pair.value);
        }
        self.note(stage, said, false);
        Ok(())
    }

    pub(super) fn label(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        pairs: &[Pair],
    ) -> Result<(), Error> {
        let pairs = self.expand_pairs(stage, instruction.lines, pairs)?;
        let mut said = String::from("LABEL");
        for pair in pairs {
            self.check_legacy(instruction, &pair);
            said.push_str(&format!(" {}={}", pair.name, pair.value));
            stage
                .state
                .image
                .config
                .labels
                .insert(pair.name, pair.value);
        }
        self.note(stage, said, false);
        Ok(())
    }

    /// All variables have the values from before the instruction.
    fn expand_pairs(
        &mut self,
        stage: &Stage,
        lines: Lines,
        pairs: &[Pair],
    ) -> Result<Vec<Pair>, Error> {
        let mut done = Vec::with_capacity(pairs.len());
        for pair in pairs {
            done.push(Pair {
                name: self.expand(stage, lines, &pair.name)?,
                value: self.expand(stage, lines, &pair.value)?,
                legacy: pair.legacy,
            });
        }
        Ok(done)
    }

    fn check_legacy(&mut self, instruction: &Instruction, pair: &Pair) {
        if pair.legacy {
            let name = &instruction.keyword;
            let text = format!(
                "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
            );
            self.linter
                .report(Rule::LegacyKeyValueFormat, &[instruction.lines], text);
        }
    }

    pub(super) fn cmd(&mut self, stage: &mut Stage, instruction: &Instruction, line: &CommandLine) {
        checks::once(
            self,
            &instruction.keyword,
            &mut stage.state.cmd,
            instruction.lines,
        );
        let arguments = self.command_line(stage, instruction, line);
        let said = format!("CMD {}", quoted_list(&arguments));
        stage.state.image.config.cmd = arguments;
        stage.state.image.config.args_escaped = true;
        self.note(stage, said, false);
    }

    pub(super) fn entrypoint(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        line: &CommandLine,
    ) {
        checks::once(
            self,
            &instruction.keyword,
            &mut stage.state.entrypoint,
            instruction.lines,
        );
        let arguments = self.command_line(stage, instruction, line);
        let said = format!("ENTRYPOINT {}", quoted_list(&arguments));
        stage.state.image.config.entrypoint = arguments;
        // The arguments of the base's entry point are none of this one.
        if stage.state.cmd.is_none() {
            stage.state.image.config.cmd.clear();
        }
        self.note(stage, said, false);
    }

    fn command_line(
        &mut self,
        stage: &Stage,
        instruction: &Instruction,
        line: &CommandLine,
    ) -> Vec<String> {
        if !line.shell {
            return line.arguments.clone();
        }
        if stage.state.image.config.shell.is_empty() {
            let text = format!(
                "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
                instruction.keyword
            );
            self.linter
                .report(Rule::JsonArgsRecommended, &[instruction.lines], text);
        }
        stage.state.image.with_shell(&line.arguments)
    }

    pub(super) fn healthcheck(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        check: &Healthcheck,
    ) {
        checks::once(
            self,
            &instruction.keyword,
            &mut stage.state.healthcheck,
            instruction.lines,
        );
        let retries = u32::try_from(check.retries).unwrap_or_default();
        let [interval, timeout, start_period, start_interval] = [
            check.interval,
            check.timeout,
            check.start_period,
            check.start_interval,
        ]
        .map(|duration| quoted(&format_duration(duration)));
        // BuildKit prints the structure as if all of it were text.
        let said = format!(
            "HEALTHCHECK &{{{} {interval} {timeout} {start_period} {start_interval} {}}}",
            quoted_list(&check.test),
            quoted_character(retries)
        );
        stage.state.image.config.healthcheck = Some(image::Healthcheck {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries.into(),
        });
        self.note(stage, said, false);
    }

    pub(super) fn expose(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        ports: &[String],
    ) -> Result<(), Error> {
        let mut exposed = Vec::new();
        for word in ports {
            let done = self
                .lexer
                .expand(word, &stage.state.env)
                .map_err(|error| invalid(&error))?;
            for word in &done.words {
                exposed.extend(self.exposed(instruction, word)?);
            }
        }
        let said = format!("EXPOSE [{}]", exposed.join(" "));
        stage.state.image.config.exposed_ports.extend(exposed);
        self.note(stage, said, false);
        Ok(())
    }

    fn exposed(&mut self, instruction: &Instruction, word: &str) -> Result<Vec<String>, Error> {
        let lines = [instruction.lines];
        let port = exposed_ports(word).map_err(|error| Error::Invalid(error.to_string()))?;
        if port.odd_case {
            let text =
                format!("Defined protocol '{word}' in EXPOSE instruction should be lowercase");
            self.linter.report(Rule::ExposeProtoCasing, &lines, text);
        }
        if port.host_part {
            let text = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
            );
            self.linter.report(Rule::ExposeInvalidFormat, &lines, text);
        }
        Ok(port.ports)
    }

    pub(super) fn user(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        user: &str,
    ) -> Result<(), Error> {
        let user = self.expand(stage, instruction.lines, user)?;
        let said = format!("USER {user}");
        stage.state.user.clone_from(&user);
        stage.state.image.config.user = user;
        self.note(stage, said, false);
        Ok(())
    }

    pub(super) fn volume(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        paths: &[String],
    ) -> Result<(), Error> {
        let paths = self.expand_all(stage, instruction.lines, paths)?;
        if paths.iter().any(String::is_empty) {
            let text = "VOLUME specified can not be an empty string";
            return Err(Error::Invalid(text.to_owned()));
        }
        let said = format!("VOLUME [{}]", paths.join(" "));
        stage.state.image.config.volumes.extend(paths);
        self.note(stage, said, false);
        Ok(())
    }

    pub(super) fn stop_signal(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        signal: &str,
    ) -> Result<(), Error> {
        let signal = self.expand(stage, instruction.lines, signal)?;
        signal
            .parse::<Signal>()
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let said = format!("STOPSIGNAL {signal}");
        stage.state.image.config.stop_signal = signal;
        self.note(stage, said, false);
        Ok(())
    }

    pub(super) fn shell(&mut self, stage: &mut Stage, shell: &[String]) {
        let said = format!("SHELL [{}]", shell.join(" "));
        stage.state.image.config.shell = shell.to_vec();
        self.note(stage, said, false);
    }

    pub(super) fn maintainer(&mut self, stage: &mut Stage, author: &str) {
        author.clone_into(&mut stage.state.image.author);
        self.note(stage, format!("MAINTAINER {author}"), false);
    }
}
