//! What an own engine holds of the host, compared before and after.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::arcad::{cgroup_parent, processes_naming};
use crate::engine::Engine;
use crate::poll::eventually_within;
use crate::tools::found;

/// What is released in the background is released within so long.
const SETTLE: Duration = Duration::from_secs(30);

/// Processes, mounts, namespaces, links, rules, cgroups, directories and open files of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<&'static str, Vec<String>>);

impl Snapshot {
    /// Looks at the host; only for an own engine.
    pub fn take(engine: &Engine) -> Self {
        let data = engine.data_root();
        let exec = engine.exec_root();
        let root = exec.parent().unwrap().to_owned();
        let mut all = BTreeMap::new();
        all.insert("processes", processes(&root));
        all.insert("mounts", mounts(&root));
        all.insert("network namespaces", entries(&exec.join("netns")));
        all.insert("shims", entries(&exec.join("shims")));
        all.insert("containers", entries(&data.join("containers")));
        all.insert("snapshots", entries(&data.join("snapshots")));
        all.insert(
            "links",
            lines(engine, "ip", &["-o", "link", "show"], link_name),
        );
        all.insert(
            "rules",
            lines(engine, "nft", &["list", "ruleset"], |line| {
                Some(line.to_owned())
            }),
        );
        all.insert("cgroups", cgroups(&cgroup_parent(&root)));
        all.insert("open files", open_files(engine.pid()));
        Self(all)
    }

    /// Waits up to 30 seconds until the host is again as it was at this snapshot.
    ///
    /// # Panics
    /// When it is not; the message lists what differs.
    #[track_caller]
    pub fn settled(&self, engine: &Engine) {
        self.settled_without(engine, &[]);
    }

    /// Like [`Snapshot::settled`], without the kinds of things that are named.
    ///
    /// # Panics
    /// When something else differs.
    #[track_caller]
    pub fn settled_without(&self, engine: &Engine, without: &[&str]) {
        let begin = Instant::now();
        eventually_within(SETTLE * 2, "a comparison", || {
            let mut differences = Self::take(engine).since(self);
            differences.retain(|line| !without.iter().any(|kind| line.starts_with(kind)));
            assert!(
                differences.is_empty() || begin.elapsed() < SETTLE,
                "the host is not as it was: {differences:#?}"
            );
            differences.is_empty().then_some(())
        });
    }

    /// What there is more of than `before`, one line each; empty when there is nothing. What has gone
    /// since then was on its way out when `before` was taken.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (what, now) in &self.0 {
            let then = &before.0[what];
            let more = now.iter().filter(|entry| !then.contains(entry));
            found.extend(more.map(|entry| format!("{what}: new: {entry}")));
            if *what == "open files" && now.len() != then.len() {
                found.push(format!("{what}: {} before, {} now", then.len(), now.len()));
            }
        }
        found
    }
}

fn processes(root: &Path) -> Vec<String> {
    let all: Vec<String> = processes_naming(root)
        .into_iter()
        .filter_map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some(format!(
                "{pid} {}",
                String::from_utf8_lossy(&line).replace('\0', " ")
            ))
        })
        .filter(|line| !line.contains("/arcad ") && !line.contains("/docker "))
        .collect();
    // There is one that answers DNS questions, and a new one when the engine was upgraded.
    let (names, mut others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|line| line.contains("/arca-dns "));
    others.extend((1..=names.len()).map(|number| format!("arca-dns {number}")));
    others
}

fn mounts(root: &Path) -> Vec<String> {
    let root = root.to_string_lossy().into_owned();
    let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.lines()
        .filter(|line| line.contains(&root))
        .map(str::to_owned)
        .collect()
}

fn entries(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn lines(
    engine: &Engine,
    program: &str,
    arguments: &[&str],
    keep: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let output = engine
        .command_beside(found(program))
        .args(arguments)
        .output();
    String::from_utf8_lossy(&output.unwrap().stdout)
        .lines()
        .filter_map(keep)
        .collect()
}

fn link_name(line: &str) -> Option<String> {
    Some(line.split(": ").nth(1)?.split('@').next()?.to_owned())
}

/// The cgroups of the engine's containers: directories named by a 64-digit ID below its parent.
fn cgroups(parent: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![(std::path::PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((directory, depth)) = left.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let id = name.trim_end_matches(".scope");
            let id = id.rsplit('-').next().unwrap_or(id);
            let path = entry.path().to_string_lossy().into_owned();
            if id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                found.extend(path.contains(parent).then_some(path));
            } else if depth < 4 {
                left.push((entry.path(), depth + 1));
            }
        }
    }
    found.sort();
    found
}

/// What the process has open, without what differs by chance (socket and pipe numbers).
fn open_files(pid: u32) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let mut found: Vec<String> = entries
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|target| {
            target
                .to_string_lossy()
                .split(":[")
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    found.sort();
    found
}
