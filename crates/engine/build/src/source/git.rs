//! Git repositories, by the program `git`.
//!
//! The program runs with an empty environment and without any configuration, hooks or helpers; nothing that
//! a client or a repository says is ever read as an option or run.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use arca_types::{Digest, random_hex};
use base64::Engine as _;
use tokio::process::Command;

use super::Content;
use super::ssh::Ssh;
use crate::graph::{GitSource, digest_json};
use crate::material::Material;
use crate::session::Secret;
use crate::solve::{Step, blocking};
use crate::{Error, Tree};

/// How long one call of git may take.
const DEADLINE: Duration = Duration::from_secs(600);

/// Settings that every call gets.
const SETTINGS: [&str; 10] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "credential.helper=",
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.http.allow=always",
    "protocol.git.allow=always",
    "protocol.ssh.allow=always",
    "safe.directory=*",
];

pub(super) async fn key(step: &Step, source: &GitSource) -> Result<Digest, Error> {
    let commit = resolve(step, source).await?;
    let url = match source.reference.as_str() {
        "" => source.remote.clone(),
        reference => format!("{}#{reference}", source.remote),
    };
    step.job.has_used(Material::Git {
        url,
        commit: commit.clone(),
    });
    step.source.put(Content::Commit(commit.clone()));
    Ok(digest_json(&(
        "git",
        commit,
        &source.subdir,
        source.keep_git_dir,
        source.skip_submodules,
        // The directory `.git` says where it came from.
        source.keep_git_dir.then_some(&source.remote),
    )))
}

pub(super) async fn run(step: &Step, source: &GitSource) -> Result<Tree, Error> {
    let commit = match step.source.take() {
        Some(Content::Commit(commit)) => commit,
        _ => resolve(step, source).await?,
    };
    let work = Checkout::new(step)?;
    let git = Git::new(step, source, &work).await?;
    let repository = work.0.join("tree");
    blocking({
        let repository = repository.clone();
        move || std::fs::create_dir_all(&repository).map_err(Error::file("create", &repository))
    })
    .await?;
    git.run(
        &repository,
        &["init", "--quiet", "--initial-branch=master", "."],
    )
    .await?;
    let fetch = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--end-of-options",
        &source.remote,
    ];
    let by_commit = git
        .run(&repository, &[&fetch[..], &[&commit]].concat())
        .await;
    if by_commit.is_err() {
        // Not every server gives out commits by their ID.
        let fetch = [
            "fetch",
            "--quiet",
            "--tags",
            "--end-of-options",
            &source.remote,
        ];
        let all = "+refs/heads/*:refs/remotes/origin/*";
        git.run(&repository, &[&fetch[..], &[all]].concat()).await?;
    }
    git.run(
        &repository,
        &["checkout", "--quiet", "--detach", &commit, "--"],
    )
    .await?;
    if !source.skip_submodules && repository.join(".gitmodules").exists() {
        let update = [
            "submodule",
            "--quiet",
            "update",
            "--init",
            "--recursive",
            "--depth=1",
        ];
        git.run(&repository, &update).await?;
    }
    let tree = finish(source, repository).await?;
    let tree = Tree::of_directory(tree, Arc::default(), work);
    step.layered(&tree).await
}

/// Leaves what is wanted of a checkout.
async fn finish(source: &GitSource, repository: PathBuf) -> Result<PathBuf, Error> {
    let (subdir, keep) = (source.subdir.clone(), source.keep_git_dir);
    blocking(move || {
        if !keep {
            let git = repository.join(".git");
            std::fs::remove_dir_all(&git).map_err(Error::file("remove", &git))?;
        }
        if matches!(subdir.trim_matches('/'), "" | ".") {
            return Ok(repository);
        }
        let root =
            arca_archive::open_root(&repository).map_err(Error::errno("open", &repository))?;
        let root = std::os::fd::AsFd::as_fd(&root);
        let at = crate::fs::edit::resolved(root, subdir.as_bytes())?;
        match crate::fs::digest::stat_of(root, &at)? {
            Some(stat) if crate::fs::path::is_dir(&stat) => {
                use std::os::unix::ffi::OsStrExt as _;
                Ok(repository.join(std::ffi::OsStr::from_bytes(&at)))
            }
            Some(_) => Err(Error::Invalid(format!(
                "git subdir {subdir} is not a directory"
            ))),
            None => Err(Error::NotFound(format!(
                "failed to open git subdir {subdir}: not found"
            ))),
        }
    })
    .await
}

/// The commit that the reference stands for now.
async fn resolve(step: &Step, source: &GitSource) -> Result<String, Error> {
    check(source)?;
    let checked = |commit: &str| {
        if commit.starts_with(&source.checksum) {
            return Ok(commit.to_owned());
        }
        let expected = &source.checksum;
        Err(Error::Failed(format!(
            "expected checksum to match {expected}, got {commit}"
        )))
    };
    if is_commit(&source.reference) {
        return checked(&source.reference);
    }
    let work = Checkout::new(step)?;
    let git = Git::new(step, source, &work).await?;
    let wanted = match source.reference.as_str() {
        "" => "HEAD",
        name => name,
    };
    let peeled = format!("{wanted}^{{}}");
    let list = [
        "ls-remote",
        "--end-of-options",
        &source.remote,
        wanted,
        &peeled,
    ];
    let listed = git.run(&work.0, &list).await?;
    let found = choose(&listed, wanted).ok_or_else(|| {
        Error::NotFound(format!(
            "repository does not contain ref {wanted}, output: {listed:?}"
        ))
    })?;
    checked(&found)
}

/// Picks the commit out of what `git ls-remote` says.
fn choose(listed: &str, wanted: &str) -> Option<String> {
    let lines: Vec<(&str, &str)> = listed
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(commit, _)| is_commit(commit))
        .collect();
    let candidates = [
        format!("refs/tags/{wanted}^{{}}"),
        format!("{wanted}^{{}}"),
        format!("refs/tags/{wanted}"),
        format!("refs/heads/{wanted}"),
        wanted.to_owned(),
    ];
    candidates.iter().find_map(|name| {
        let found = lines.iter().find(|(_, found)| found == name);
        found.map(|(commit, _)| (*commit).to_owned())
    })
}

/// Is it a whole ID of a commit?
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Refuses what git could take for something else.
fn check(source: &GitSource) -> Result<(), Error> {
    let invalid = |what: &str| Err(Error::Invalid(format!("invalid git {what}")));
    let remote = &source.remote;
    if remote.starts_with('-') || remote.contains(['\n', '\0']) || remote.contains("::") {
        return invalid("remote");
    }
    let schemes = ["https://", "http://", "git://", "ssh://"];
    let known = schemes.iter().any(|scheme| remote.starts_with(scheme));
    // user@host:path
    let scp = !remote.contains("://")
        && remote
            .split_once(':')
            .is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    if !known && !scp {
        return invalid("remote: unsupported transport");
    }
    let host = remote
        .split_once("://")
        .map_or(remote.as_str(), |(_, rest)| rest);
    if host.starts_with('-') || host.split('@').any(|part| part.starts_with('-')) {
        return invalid("remote");
    }
    let reference = &source.reference;
    let odd =
        |ch: char| ch.is_control() || matches!(ch, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    if reference.starts_with('-') || reference.contains(odd) || reference.contains("..") {
        return invalid("reference");
    }
    Ok(())
}

/// A directory for one call; it goes with this.
#[derive(Debug)]
struct Checkout(PathBuf);

impl Checkout {
    fn new(step: &Step) -> Result<Self, Error> {
        let path = step.job.0.service.root().join("git").join(random_hex(8));
        std::fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "a checkout is left behind");
        }
    }
}

/// How git is called for one source.
struct Git {
    home: PathBuf,
    /// Value of the header `Authorization`; never an argument, which others could see.
    authorization: Option<String>,
    remote: String,
    ssh: Option<Ssh>,
}

impl Git {
    async fn new(step: &Step, source: &GitSource, work: &Checkout) -> Result<Self, Error> {
        let ssh = Ssh::new(step, source, &work.0).await?;
        let name = |own: &str, default: &str| if own.is_empty() { default } else { own }.to_owned();
        let session = step.job.session();
        let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).trim().to_owned();
        let header = name(&source.auth_header_secret, "GIT_AUTH_HEADER");
        let token = name(&source.auth_token_secret, "GIT_AUTH_TOKEN");
        let authorization = match session.secret(&header).await? {
            Some(secret) => Some(text(&secret)),
            None => session.secret(&token).await?.map(|secret| {
                let pair = format!("x-access-token:{}", text(&secret));
                let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
                format!("basic {encoded}")
            }),
        };
        Ok(Self {
            home: work.0.clone(),
            authorization,
            remote: source.remote.clone(),
            ssh,
        })
    }

    async fn run(&self, directory: &Path, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Command::new("git");
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", &self.home)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_SSH_COMMAND", "false")
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(ssh) = &self.ssh {
            ssh.apply(&mut command);
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        if let Some(authorization) = &self.authorization {
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env(
                    "GIT_CONFIG_KEY_0",
                    format!("http.{}.extraHeader", self.remote),
                )
                .env(
                    "GIT_CONFIG_VALUE_0",
                    format!("Authorization: {authorization}"),
                );
        }
        let output = tokio::time::timeout(DEADLINE, command.args(arguments).output());
        let output = match output.await {
            Ok(output) => output.map_err(Error::file("run", "git"))?,
            Err(_elapsed) => return Err(Error::Failed("git took too long".to_owned())),
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let status = output.status.code().unwrap_or(-1);
        Err(Error::Failed(format!(
            "git stderr:\n{}: exit status {status}",
            said.trim_end()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(remote: &str, reference: &str) -> GitSource {
        GitSource {
            remote: remote.to_owned(),
            reference: reference.to_owned(),
            ..GitSource::default()
        }
    }

    #[test]
    fn nothing_that_git_would_take_for_an_option_or_a_command_is_let_through() {
        for remote in [
            "--upload-pack=touch /tmp/x",
            "ext::sh -c touch% /tmp/x",
            "file:///etc",
            "/etc",
            "ssh://-oProxyCommand=x/y",
            "https://h/x\n",
            "-x@host:path",
        ] {
            assert!(check(&source(remote, "main")).is_err(), "{remote}");
        }
        for reference in ["--upload-pack=x", "a b", "a..b", "a^{}", "a:b"] {
            assert!(
                check(&source("https://host/r", reference)).is_err(),
                "{reference}"
            );
        }
        for remote in ["https://host/r.git", "git@host:r.git", "ssh://git@host/r"] {
            assert!(
                check(&source(remote, "refs/heads/main")).is_ok(),
                "{remote}"
            );
        }
    }

    #[test]
    fn tags_come_before_branches_and_stand_for_their_commits() {
        let commit = |digit: char| digit.to_string().repeat(40);
        let listed = format!(
            "{}\trefs/heads/v1\n{}\trefs/tags/v1\n{}\trefs/tags/v1^{{}}\n",
            commit('1'),
            commit('2'),
            commit('3')
        );
        assert_eq!(choose(&listed, "v1"), Some(commit('3')));
        assert_eq!(choose(&listed, "refs/heads/v1"), Some(commit('1')));
        assert_eq!(choose(&listed, "v2"), None);
    }
}
