//! From statements to checked instructions.

use super::flags::{FlagKind, Flags};
use super::healthcheck::healthcheck;
use super::mount;
use super::source::{Arguments, Statement};
use super::transfer::{add, copy};
use super::words::Pair;
use crate::error::Error;
use crate::instruction::{
    Arg, CommandLine, Instruction, Kind, Run, RunNetwork, RunSecurity, Stage,
};
use crate::lint::{Linter, structure};
use crate::suggest::{hint, nearest_ignoring_case};

/// All keywords.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Checks a `FROM`.
pub(super) fn stage(statement: &Statement, linter: &mut Linter) -> Result<Stage, Error> {
    let words = words(statement);
    structure::from(statement, words, linter);
    let (base, name) = match words {
        [base] => (base, String::new()),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (base, stage_name(name)?),
        _ => return Err(Error::FromArguments),
    };
    let flags = Flags::parse(&statement.flags, &[("platform", FlagKind::Text)])?;
    if !name.is_empty() {
        structure::description("FROM", &[&name], statement, linter);
    }
    Ok(Stage {
        base: base.clone(),
        platform: flags.text_or_empty("platform"),
        keyword: statement.keyword.clone(),
        text: statement.text.trim().to_owned(),
        lines: statement.lines,
        comments: statement.comments.clone(),
        description: description(&statement.comments, &name),
        name,
        instructions: Vec::new(),
    })
}

fn stage_name(written: &str) -> Result<String, Error> {
    let name = written.to_lowercase();
    let rest = |ch: char| matches!(ch, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
    if name.starts_with(|ch: char| ch.is_ascii_lowercase()) && name.chars().all(rest) {
        Ok(name)
    } else {
        Err(Error::StageName(written.to_owned()))
    }
}

/// Checks any other instruction.
pub(super) fn instruction(
    statement: &Statement,
    linter: &mut Linter,
) -> Result<Instruction, Error> {
    Ok(Instruction {
        keyword: statement.keyword.clone(),
        text: statement.text.trim().to_owned(),
        lines: statement.lines,
        comments: statement.comments.clone(),
        kind: kind(statement, linter)?,
    })
}

fn kind(statement: &Statement, linter: &mut Linter) -> Result<Kind, Error> {
    let keyword = statement.keyword.to_ascii_lowercase();
    Ok(match keyword.as_str() {
        "add" => add(statement)?,
        "arg" => arg(statement, linter)?,
        "cmd" => Kind::Cmd(flagless(statement).map(|()| command_line(statement))?),
        "copy" => copy(statement)?,
        "entrypoint" => Kind::Entrypoint(flagless(statement).map(|()| command_line(statement))?),
        "env" => Kind::Env(pairs(statement, "ENV")?),
        "expose" => expose(statement)?,
        "healthcheck" => Kind::Healthcheck(healthcheck(statement)?),
        "label" => Kind::Label(pairs(statement, "LABEL")?),
        "maintainer" => {
            structure::maintainer(statement, linter);
            Kind::Maintainer(one(statement, "MAINTAINER")?)
        }
        "onbuild" => Kind::Onbuild(onbuild(statement)?),
        "run" => Kind::Run(run(statement)?),
        "shell" => shell(statement)?,
        "stopsignal" => match words(statement) {
            [signal] => Kind::StopSignal(signal.clone()),
            _ => return Err(Error::ExactlyOneArgument("STOPSIGNAL")),
        },
        "user" => Kind::User(one(statement, "USER")?),
        "volume" => volume(statement)?,
        "workdir" => Kind::Workdir(one(statement, "WORKDIR")?),
        _ => {
            let near = nearest_ignoring_case(&statement.keyword, KEYWORDS);
            let hint = hint(near.as_deref());
            return Err(Error::UnknownInstruction(statement.keyword.clone(), hint));
        }
    })
}

/// The words, or the items of a JSON array.
pub(super) fn words(statement: &Statement) -> &[String] {
    match &statement.arguments {
        Arguments::Words(words) | Arguments::Json(words) => words,
        _ => &[],
    }
}

fn flagless(statement: &Statement) -> Result<(), Error> {
    Ok(Flags::none(&statement.flags)?)
}

/// The one argument of an instruction without flags.
fn one(statement: &Statement, keyword: &'static str) -> Result<String, Error> {
    let [argument] = words(statement) else {
        return Err(Error::ExactlyOneArgument(keyword));
    };
    flagless(statement)?;
    Ok(argument.clone())
}

fn pairs(statement: &Statement, keyword: &'static str) -> Result<Vec<Pair>, Error> {
    flagless(statement)?;
    match &statement.arguments {
        Arguments::Pairs(pairs) if pairs.iter().any(|pair| pair.name.is_empty()) => {
            Err(Error::BlankName(keyword))
        }
        Arguments::Pairs(pairs) if !pairs.is_empty() => Ok(pairs.clone()),
        _ => Err(Error::AtLeastOneArgument(keyword)),
    }
}

fn arg(statement: &Statement, linter: &mut Linter) -> Result<Kind, Error> {
    let words = words(statement);
    if words.is_empty() {
        return Err(Error::AtLeastOneArgument("ARG"));
    }
    let mut args = Vec::new();
    for word in words {
        let (name, default) = match word.split_once('=') {
            Some(("", _)) => return Err(Error::BlankName("ARG")),
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let description = description(&statement.comments, name);
        args.push(Arg {
            name: name.to_owned(),
            default,
            description,
        });
    }
    let names: Vec<&str> = args.iter().map(|arg| arg.name.as_str()).collect();
    structure::description("ARG", &names, statement, linter);
    Ok(Kind::Arg(args))
}

/// What the comments say of `name`: the rest of the line that begins with it.
fn description(comments: &[String], name: &str) -> String {
    if name.is_empty() {
        return String::new();
    }
    let of_name = |line: &String| {
        line.strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(' '))
            .map(str::to_owned)
    };
    comments.iter().find_map(of_name).unwrap_or_default()
}

fn command_line(statement: &Statement) -> CommandLine {
    let (arguments, shell) = match &statement.arguments {
        Arguments::Json(items) => (items.clone(), false),
        _ => (words(statement).to_vec(), true),
    };
    CommandLine {
        arguments,
        shell,
        heredocs: statement.heredocs.clone(),
    }
}

fn run(statement: &Statement) -> Result<Run, Error> {
    let allowed = [
        ("mount", FlagKind::List),
        ("network", FlagKind::Text),
        ("security", FlagKind::Text),
    ];
    let flags = Flags::parse(&statement.flags, &allowed)?;
    let mounts = flags
        .list("mount")
        .into_iter()
        .map(mount::raw)
        .collect::<Result<_, _>>()?;
    let network = match flags.text("network") {
        None | Some("default") => RunNetwork::Default,
        Some("none") => RunNetwork::None,
        Some("host") => RunNetwork::Host,
        Some(other) => return Err(Error::Network(other.to_owned())),
    };
    let security = match flags.text("security") {
        None | Some("sandbox") => RunSecurity::Sandbox,
        Some("insecure") => RunSecurity::Insecure,
        Some(other) => return Err(Error::Security(other.to_owned())),
    };
    Ok(Run {
        command: command_line(statement),
        mounts,
        network,
        security,
    })
}

fn expose(statement: &Statement) -> Result<Kind, Error> {
    let mut ports = words(statement).to_vec();
    if ports.is_empty() {
        return Err(Error::AtLeastOneArgument("EXPOSE"));
    }
    flagless(statement)?;
    ports.sort();
    Ok(Kind::Expose(ports))
}

fn volume(statement: &Statement) -> Result<Kind, Error> {
    let words = words(statement);
    if words.is_empty() {
        return Err(Error::AtLeastOneArgument("VOLUME"));
    }
    flagless(statement)?;
    let paths: Vec<String> = words.iter().map(|path| path.trim().to_owned()).collect();
    if paths.iter().any(String::is_empty) {
        return Err(Error::EmptyVolume);
    }
    Ok(Kind::Volume(paths))
}

fn shell(statement: &Statement) -> Result<Kind, Error> {
    flagless(statement)?;
    match &statement.arguments {
        Arguments::Json(items) | Arguments::Words(items) if items.is_empty() => {
            Err(Error::AtLeastOneArgument("SHELL"))
        }
        Arguments::Json(items) => Ok(Kind::Shell(items.clone())),
        _ => Err(Error::NotJson("SHELL")),
    }
}

fn onbuild(statement: &Statement) -> Result<String, Error> {
    let Arguments::Trigger(keyword, _) = &statement.arguments else {
        return Err(Error::AtLeastOneArgument("ONBUILD"));
    };
    flagless(statement)?;
    let keyword = keyword.to_uppercase();
    match keyword.as_str() {
        "ONBUILD" => return Err(Error::OnbuildChain),
        "MAINTAINER" | "FROM" => return Err(Error::OnbuildTrigger(keyword)),
        _ => {}
    }
    let text = statement.text.trim_start();
    let text = text.get("ONBUILD".len()..).unwrap_or_default().trim_start();
    let documents = statement.heredocs.iter();
    let documents: String = documents
        .map(|doc| format!("\n{}{}", doc.content, doc.name))
        .collect();
    Ok(format!("{text}{documents}"))
}
