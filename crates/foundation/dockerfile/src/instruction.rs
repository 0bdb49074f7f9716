//! Instructions as checked values.

use crate::heredoc::Heredoc;
use crate::lines::Lines;
pub use crate::parse::words::Pair;

/// An instruction other than `FROM`, with what is needed to speak of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Its keyword as written.
    pub keyword: String,
    /// Its text as written: continued lines joined, no here-documents.
    pub text: String,
    /// Where it is, here-documents included.
    pub lines: Lines,
    /// The comments right above it.
    pub comments: Vec<String>,
    /// What it says.
    pub kind: Kind,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `ADD`.
    Add(Add),
    /// `ARG`.
    Arg(Vec<Arg>),
    /// `CMD`.
    Cmd(CommandLine),
    /// `COPY`.
    Copy(Copy),
    /// `ENTRYPOINT`.
    Entrypoint(CommandLine),
    /// `ENV`.
    Env(Vec<Pair>),
    /// `EXPOSE`: port specifications, sorted.
    Expose(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`.
    Label(Vec<Pair>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`: the instruction to run later, with its here-documents.
    Onbuild(String),
    /// `RUN`.
    Run(Run),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    Workdir(String),
}

/// One name of an `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// Its default, not expanded.
    pub default: Option<String>,
    /// What the comment above says of it.
    pub description: String,
}

/// What `COPY` and `ADD` move.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transfer {
    /// Paths, URLs and patterns.
    pub sources: Vec<String>,
    /// Here-documents that become files.
    pub documents: Vec<Document>,
    /// Where to.
    pub destination: String,
    /// `--chown`, empty without.
    pub chown: String,
    /// `--chmod`, empty without.
    pub chmod: String,
    /// `--link`.
    pub link: bool,
    /// `--exclude`.
    pub exclude: Vec<String>,
}

/// A here-document as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether variables in it are expanded.
    pub expand: bool,
}

/// `COPY`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copy {
    /// What to move, where to and how.
    pub transfer: Transfer,
    /// `--from`: a stage, an image or a named context; empty for the build context.
    pub from: String,
    /// `--parents`.
    pub parents: bool,
}

/// `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Add {
    /// What to move, where to and how.
    pub transfer: Transfer,
    /// `--checksum`, empty without.
    pub checksum: String,
    /// `--keep-git-dir`, when given.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`, when given.
    pub unpack: Option<bool>,
}

/// `CMD`, `ENTRYPOINT` and the command of `RUN`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine {
    /// The arguments, or the one text for the shell.
    pub arguments: Vec<String>,
    /// Whether a shell reads it: not in JSON form.
    pub shell: bool,
    /// Here-documents.
    pub heredocs: Vec<Heredoc>,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run.
    pub command: CommandLine,
    /// `--mount`s as written: see [`Mount::parse`](crate::Mount::parse).
    pub mounts: Vec<RawMount>,
    /// `--network`.
    pub network: RunNetwork,
    /// `--security`.
    pub security: RunSecurity,
}

/// A `RUN --mount` before expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMount {
    /// Its text.
    pub text: String,
    /// Its `from`, which may hold no variable.
    pub from: String,
}

/// `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunNetwork {
    /// As the build says.
    #[default]
    Default,
    /// No network.
    None,
    /// The host's.
    Host,
}

/// `RUN --security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunSecurity {
    /// As a container.
    #[default]
    Sandbox,
    /// With all privileges.
    Insecure,
}

/// `HEALTHCHECK`, durations in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", …]`.
    pub test: Vec<String>,
    /// `--interval`, 0 without.
    pub interval: i64,
    /// `--timeout`, 0 without.
    pub timeout: i64,
    /// `--start-period`, 0 without.
    pub start_period: i64,
    /// `--start-interval`, 0 without.
    pub start_interval: i64,
    /// `--retries`, 0 without.
    pub retries: i32,
}

/// A `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// `AS name`, in lower case; empty without.
    pub name: String,
    /// The base as written.
    pub base: String,
    /// `--platform` as written; empty without.
    pub platform: String,
    /// The keyword `FROM` as written.
    pub keyword: String,
    /// The `FROM` as written.
    pub text: String,
    /// Where the `FROM` is.
    pub lines: Lines,
    /// The comments right above it.
    pub comments: Vec<String>,
    /// What the comment above says of the stage.
    pub description: String,
    /// Its instructions.
    pub instructions: Vec<Instruction>,
}
