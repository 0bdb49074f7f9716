//! What a container is doing, and what may follow. Pure: effects live with the operations.
//!
//! The page `docs/design/containers.md` shows the machine. The table of the tests below is its
//! reference: every state with every input.

use arca_types::Timestamp;
use serde::{Deserialize, Serialize};

/// The live init process of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process ID on the host.
    pub pid: u32,
}

/// What a container goes back to when a start fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Before {
    /// It had never run.
    Created,
    /// It had run, and ended.
    Exited,
    /// It had ended, and the restart policy starts it again: it counts as running all the while.
    Restarting,
}

/// What the container is doing: exactly one at a time, so no flag can contradict another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Has never run.
    Created,
    /// Resources are being prepared.
    Starting(Before),
    /// The init process is alive.
    Running(Process),
    /// The init process is alive, and everything of the container is frozen.
    Paused(Process),
    /// Has ended, and will be started again when a delay is over.
    Restarting,
    /// Has ended.
    Exited,
    /// Is being taken apart.
    Removing,
    /// Could not be taken apart; removing it may be tried again.
    Dead,
}

/// What may happen to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Request: a start by a client, or by the restart policy.
    Start,
    /// Fact: the process runs.
    Started(Process),
    /// Fact: it could not be started, and what was set up is taken back.
    StartFailed,
    /// Request: freeze.
    Pause,
    /// Request: go on.
    Unpause,
    /// Fact: the process has ended, and the restart policy does not apply.
    Ended,
    /// Fact: the process has ended, and a restart is due later.
    EndedToRestart,
    /// Request: the restart that is due is called off.
    CallOff,
    /// Request: take it apart.
    Remove,
    /// Fact: something of it could not be removed.
    RemoveFailed,
}

/// The input is not allowed in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

impl State {
    /// Returns the state that follows `input`.
    ///
    /// # Errors
    /// [`Refused`] when `input` is not allowed now; nothing has changed then.
    pub fn after(self, input: Input) -> Result<Self, Refused> {
        match (self, input) {
            (Self::Created, Input::Start) => Ok(Self::Starting(Before::Created)),
            (Self::Exited, Input::Start) => Ok(Self::Starting(Before::Exited)),
            (Self::Restarting, Input::Start) => Ok(Self::Starting(Before::Restarting)),
            (Self::Starting(_), Input::Started(process)) => Ok(Self::Running(process)),
            (Self::Starting(Before::Created), Input::StartFailed) => Ok(Self::Created),
            (Self::Starting(Before::Exited | Before::Restarting), Input::StartFailed)
            | (Self::Restarting, Input::CallOff)
            | (Self::Starting(_) | Self::Running(_) | Self::Paused(_), Input::Ended) => {
                Ok(Self::Exited)
            }
            (Self::Running(process), Input::Pause) => Ok(Self::Paused(process)),
            (Self::Paused(process), Input::Unpause) => Ok(Self::Running(process)),
            (Self::Starting(_) | Self::Running(_) | Self::Paused(_), Input::EndedToRestart) => {
                Ok(Self::Restarting)
            }
            (Self::Created | Self::Exited | Self::Restarting | Self::Dead, Input::Remove) => {
                Ok(Self::Removing)
            }
            (Self::Removing, Input::RemoveFailed) => Ok(Self::Dead),
            _ => Err(Refused),
        }
    }

    /// The live process, if there is one.
    #[must_use]
    pub fn process(self) -> Option<Process> {
        match self {
            Self::Running(process) | Self::Paused(process) => Some(process),
            _ => None,
        }
    }

    /// What `State.Running` of inspect says: also true while paused or waiting for a restart.
    #[must_use]
    pub fn is_running(self) -> bool {
        matches!(
            self,
            Self::Running(_)
                | Self::Paused(_)
                | Self::Restarting
                | Self::Starting(Before::Restarting)
        )
    }

    /// What `State.Restarting` of inspect says.
    #[must_use]
    pub fn is_restarting(self) -> bool {
        matches!(self, Self::Restarting | Self::Starting(Before::Restarting))
    }

    /// The word that inspect and list show (`ContainerState.Status`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created | Self::Starting(Before::Created) => "created",
            Self::Starting(Before::Exited) | Self::Exited => "exited",
            Self::Running(_) => "running",
            Self::Paused(_) => "paused",
            Self::Restarting | Self::Starting(Before::Restarting) => "restarting",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }
}

/// How the last run went, or goes: what outlives the states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// When the process was started; zero before the first time.
    pub started_at: Timestamp,
    /// When it ended; zero before the first time.
    pub finished_at: Timestamp,
    /// Exit code; 0 while it runs.
    pub exit_code: i32,
    /// Whether the kernel killed something in it for lack of memory.
    pub oom_killed: bool,
    /// Why it could not be started, or why it was given up; empty otherwise.
    pub error: String,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            started_at: Timestamp::ZERO,
            finished_at: Timestamp::ZERO,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Process = Process { pid: 7 };
    const STATES: [State; 10] = [
        State::Created,
        State::Starting(Before::Created),
        State::Starting(Before::Exited),
        State::Starting(Before::Restarting),
        State::Running(P),
        State::Paused(P),
        State::Restarting,
        State::Exited,
        State::Removing,
        State::Dead,
    ];
    const INPUTS: [Input; 10] = [
        Input::Start,
        Input::Started(P),
        Input::StartFailed,
        Input::Pause,
        Input::Unpause,
        Input::Ended,
        Input::EndedToRestart,
        Input::CallOff,
        Input::Remove,
        Input::RemoveFailed,
    ];

    /// One line a state, one letter an input: the state that follows, or `-` for refused.
    /// c created, C starting for the first time, S starting again, T by policy, r running, p paused,
    /// t restarting, e exited, m removing, d dead.
    const TABLE: [(char, &str); 10] = [
        ('c', "C-------m-"),
        ('C', "-rc--et---"),
        ('S', "-re--et---"),
        ('T', "-re--et---"),
        ('r', "---p-et---"),
        ('p', "----ret---"),
        ('t', "T------em-"),
        ('e', "S-------m-"),
        ('m', "---------d"),
        ('d', "--------m-"),
    ];

    fn letter(state: State) -> char {
        let index = STATES.iter().position(|s| *s == state).unwrap();
        TABLE[index].0
    }

    #[test]
    fn every_state_and_input_is_as_in_the_table() {
        for (state, (name, row)) in STATES.into_iter().zip(TABLE) {
            assert_eq!(letter(state), name);
            for (input, expected) in INPUTS.into_iter().zip(row.chars()) {
                let found = state.after(input).map_or('-', letter);
                assert_eq!(found, expected, "{state:?} after {input:?}");
            }
        }
    }

    #[test]
    fn a_restarting_container_counts_as_running_and_has_no_process() {
        assert!(State::Restarting.is_running());
        assert_eq!(State::Restarting.process(), None);
        assert!(!State::Starting(Before::Created).is_running());
    }
}
