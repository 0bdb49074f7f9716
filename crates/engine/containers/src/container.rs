//! The published state of a container: an immutable snapshot that readers share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arca_types::{ContainerId, ImageId, Timestamp};

use crate::model::{ContainerSpec, Health, HealthStatus, MountPoint, NetworkSettings};
use crate::state::{Before, Run, State};

/// A container as it was when its last change was saved. What inspect and list show comes from here.
#[derive(Debug, Clone)]
pub struct Container {
    /// ID.
    pub id: ContainerId,
    /// Name without the slash that the API puts in front.
    pub name: Arc<str>,
    /// When it was created.
    pub created: Timestamp,
    /// Image it was made from.
    pub image: ImageId,
    /// First word of the command.
    pub path: Arc<str>,
    /// The other words.
    pub args: Arc<[String]>,
    /// Configuration, merged with the image's.
    pub spec: Arc<ContainerSpec>,
    /// What it is doing.
    pub state: State,
    /// How its last run went.
    pub run: Run,
    /// How often the restart policy has started it since a client did.
    pub restart_count: u32,
    /// Health, if it runs and is probed.
    pub health: Option<Arc<Health>>,
    /// Mounts.
    pub mounts: Arc<[MountPoint]>,
    /// Network.
    pub network: Arc<NetworkSettings>,
    /// Storage driver, `overlay2`.
    pub driver: &'static str,
    /// Directory with its files.
    pub dir: Arc<Path>,
    /// How often its process has ended since this daemon knows it, and with what code last.
    pub ends: Ends,
}

/// Ends of the process as waiting clients count them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// How many there were.
    pub count: u64,
    /// Exit code of the last.
    pub exit_code: i32,
}

impl Container {
    /// Path of its `/etc/hostname`; empty before the first start.
    #[must_use]
    pub fn hostname_path(&self) -> PathBuf {
        self.file("hostname")
    }

    /// Path of its `/etc/hosts`; empty before the first start.
    #[must_use]
    pub fn hosts_path(&self) -> PathBuf {
        self.file("hosts")
    }

    /// Path of its `/etc/resolv.conf`; empty before the first start.
    #[must_use]
    pub fn resolv_conf_path(&self) -> PathBuf {
        self.file("resolv.conf")
    }

    /// Path of its log; empty before the first start and for drivers without a file of their own.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        match self.spec.host.log.driver.as_str() {
            "json-file" => self.file(&format!("{}-json.log", self.id)),
            _ => PathBuf::new(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        if self.run.started_at.is_zero() {
            PathBuf::new()
        } else {
            self.dir.join(name)
        }
    }

    /// Host name.
    #[must_use]
    pub fn hostname(&self) -> &str {
        if self.spec.hostname.is_empty() {
            self.id.short()
        } else {
            &self.spec.hostname
        }
    }

    /// `Status` of list: `Up 3 minutes (healthy)`, `Exited (0) 2 hours ago`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> String {
        let up = || human_duration(now.since(self.run.started_at));
        let ago = || human_duration(now.since(self.run.finished_at));
        match self.state {
            State::Paused(_) => format!("Up {} (Paused)", up()),
            State::Running(_) => match self.health.as_deref() {
                Some(health) if health.status == HealthStatus::Starting => {
                    format!("Up {} (health: starting)", up())
                }
                Some(health) => format!("Up {} ({})", up(), health.status.as_str()),
                None => format!("Up {}", up()),
            },
            State::Restarting | State::Starting(Before::Restarting) => {
                format!("Restarting ({}) {} ago", self.run.exit_code, ago())
            }
            State::Removing => "Removal In Progress".to_owned(),
            State::Dead => "Dead".to_owned(),
            State::Created | State::Starting(_) | State::Exited => {
                if self.run.started_at.is_zero() {
                    "Created".to_owned()
                } else if self.run.finished_at.is_zero() {
                    String::new()
                } else {
                    format!("Exited ({}) {} ago", self.run.exit_code, ago())
                }
            }
        }
    }

    /// `Command` of list.
    #[must_use]
    pub fn command(&self) -> String {
        if self.args.is_empty() {
            return self.path.to_string();
        }
        let mut words = vec![self.path.to_string()];
        words.extend(self.args.iter().map(|word| {
            if word.contains(' ') {
                format!("'{word}'")
            } else {
                word.clone()
            }
        }));
        words.join(" ")
    }
}

/// A duration in the words of Docker's clients: `About a minute`, `3 days`.
#[must_use]
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (s @ ..60, ..) => format!("{s} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, m @ ..60, _) => format!("{m} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, h @ ..48) => format!("{h} hours"),
        (_, _, h @ ..336) => format!("{} days", h / 24),
        (_, _, h @ ..1440) => format!("{} weeks", h / 24 / 7),
        (_, _, h @ ..17520) => format!("{} months", h / 24 / 30),
        (_, _, h) => format!("{} years", h / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_dockers_words() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(
                human_duration(Duration::from_secs(seconds)),
                words,
                "{seconds}"
            );
        }
    }
}
