//! `RUN`.

use arca_dockerfile::{CommandLine, Lexer, Run, RunNetwork, RunSecurity, Variables, heredoc};

use crate::Error;
use crate::frontend::convert::Converter;
use crate::frontend::described;
use crate::frontend::naming::{shown, summary, upper};
use crate::frontend::plan::Inputs;
use crate::frontend::stage::{Command, Stage, State};
use crate::graph::{
    BindMount, Exec, ExecMount, ExecMountKind, Metadata, NetworkMode, Op, SecurityMode, TmpfsMount,
};

/// The variables as people see them: those that hold secrets say nothing.
struct Masked<'a> {
    env: &'a dyn Variables,
    secret: Vec<String>,
}

impl Variables for Masked<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        if self.secret.iter().any(|secret| secret == name) {
            Some("****")
        } else {
            self.env.value(name)
        }
    }
}

/// A process and what its mounts use, while they are collected.
pub(super) struct Running {
    pub(super) exec: Exec,
    pub(super) inputs: Inputs,
}

/// What is run, once here-documents are where they belong.
struct Line {
    arguments: Vec<String>,
    /// What follows the instruction in the name of the vertex.
    suffix: String,
    /// A script that is to be a file of this name.
    script: Option<(String, String)>,
}

impl Converter<'_> {
    pub(super) fn run(
        &mut self,
        number: usize,
        stage: &mut Stage,
        command: &Command,
        run: &Run,
    ) -> Result<(), Error> {
        // A process may look at anything.
        self.stages.takes(number, "/");
        let instruction = &command.instruction;
        let line = line(&run.command, stage)?;
        let mut running = Running {
            exec: self.exec(stage, run, &line),
            inputs: Inputs::default(),
        };
        let Running { exec, inputs } = &mut running;
        exec.mounts.push(ExecMount {
            target: "/".to_owned(),
            kind: ExecMountKind::Bind(BindMount {
                input: inputs.index(stage.state.files),
                selector: String::new(),
                output: Some(0),
            }),
            read_only: false,
        });
        if let Some((name, text)) = &line.script {
            let path = format!("/{name}");
            let file = self.document(stage, &path, 0o755, text.clone().into_bytes());
            exec.mounts.push(ExecMount {
                target: "/dev/pipes/".to_owned(),
                kind: ExecMountKind::Bind(BindMount {
                    input: inputs.index(file),
                    ..BindMount::default()
                }),
                read_only: true,
            });
        }
        self.mounts(stage, command, run, &mut running)?;
        let Running { mut exec, inputs } = running;
        if self.options.shm_size > 0 {
            let kind = ExecMountKind::Tmpfs(TmpfsMount {
                size: self.options.shm_size,
            });
            exec.mounts.push(ExecMount {
                target: "/dev/shm".to_owned(),
                kind,
                read_only: false,
            });
        }
        in_order(&mut exec.mounts);
        let said = history(&stage.state, &line.arguments);
        let name = self.run_name(stage, &instruction.text, &line.suffix, &exec);
        let metadata = Metadata {
            description: described(&instruction.text),
            ..self.metadata(stage, name, instruction.lines)
        };
        let platform = stage.platform.clone();
        let op = Op::Exec(Box::new(exec));
        stage.state.files = Some(self.plan.op(op, inputs.into_vec(), platform, metadata));
        self.note(stage, said, true);
        Ok(())
    }

    fn exec(&self, stage: &Stage, run: &Run, line: &Line) -> Exec {
        let state = &stage.state;
        Exec {
            args: line.arguments.clone(),
            env: state.env.to_texts(),
            cwd: if state.dir.is_empty() {
                "/".to_owned()
            } else {
                state.dir.clone()
            },
            user: state.user.clone(),
            hostname: self.options.hostname.clone(),
            network: match run.network {
                RunNetwork::Default => self.network(),
                RunNetwork::None => NetworkMode::None,
                RunNetwork::Host => NetworkMode::Host,
            },
            security: match run.security {
                RunSecurity::Sandbox => SecurityMode::Sandbox,
                RunSecurity::Insecure => SecurityMode::Insecure,
            },
            extra_hosts: self.options.extra_hosts.clone(),
            ulimits: self.options.ulimits.clone(),
            cgroup_parent: self.options.cgroup_parent.clone(),
            proxy: self.options.proxy.clone(),
            remove_mount_stubs: true,
            ..Exec::default()
        }
    }

    fn run_name(&self, stage: &mut Stage, text: &str, suffix: &str, exec: &Exec) -> String {
        let lexer = Lexer {
            keep_quotes: true,
            keep_unset: true,
            ..self.lexer
        };
        let secret = exec
            .secret_env
            .iter()
            .map(|secret| secret.name.clone())
            .collect();
        let masked = Masked {
            env: &stage.state.env,
            secret,
        };
        let text = upper(&shown(&lexer, &format!("{text}{suffix}"), &masked));
        self.step_name(stage, &text)
    }
}

/// Mounts of files by their target; what comes from the client after them.
fn in_order(mounts: &mut [ExecMount]) {
    mounts.sort_by(|a, b| {
        let of_client = |mount: &ExecMount| match mount.kind {
            ExecMountKind::Secret(_) => 1,
            ExecMountKind::Ssh(_) => 2,
            _ => 0,
        };
        let targets = |mount: &ExecMount| match of_client(mount) {
            0 => mount.target.clone(),
            _ => String::new(),
        };
        (of_client(a), targets(a)).cmp(&(of_client(b), targets(b)))
    });
}

/// A command that is nothing but a here-document is a script: a file when it says what reads it, else
/// text for the shell. Other here-documents are the shell's business.
fn line(command: &CommandLine, stage: &Stage) -> Result<Line, Error> {
    let mut line = Line {
        arguments: command.arguments.clone(),
        suffix: String::new(),
        script: None,
    };
    if let Some(first) = command.heredocs.first() {
        let ([argument], true) = (command.arguments.as_slice(), command.shell) else {
            let arguments = command.arguments.join(" ");
            let text = format!("parsing produced an invalid run command: [{arguments}]");
            return Err(Error::Invalid(text));
        };
        if matches!(heredoc(argument), Ok(Some(_))) {
            line.suffix = format!(" ({})", summary(&first.content));
            if first.content.starts_with("#!") {
                line.arguments = vec![format!("/dev/pipes/{}", first.name)];
                line.script = Some((first.name.clone(), first.text()));
            } else {
                line.arguments = vec![first.text()];
            }
        } else {
            let documents = command.heredocs.iter();
            let documents = documents.map(|doc| format!("\n{}{}", doc.content, doc.name));
            line.arguments = vec![format!("{argument}{}", documents.collect::<String>())];
        }
    }
    if command.shell {
        line.arguments = stage.state.image.with_shell(&line.arguments);
    }
    Ok(line)
}

/// What the image's history says: the arguments that were there, each with the value it has, and the
/// command.
fn history(state: &State, arguments: &[String]) -> String {
    let mut shown: Vec<(&str, String)> = Vec::new();
    for (name, value) in &state.arguments {
        let value = state
            .env
            .value(name)
            .or(value.as_deref())
            .unwrap_or_default();
        let text = format!("{name}={value}");
        match shown.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = text,
            None => shown.push((name, text)),
        }
    }
    let mut words = vec!["RUN".to_owned()];
    if !shown.is_empty() {
        words.push(format!("|{}", shown.len()));
        words.extend(shown.into_iter().map(|(_, text)| text));
    }
    words.extend(arguments.iter().cloned());
    format!("{} # buildkit", words.join(" "))
}
