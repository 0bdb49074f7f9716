//! How much memory an own engine takes while it does something.

use std::path::PathBuf;

use crate::engine::Engine;

/// The resident memory of an own arcad, from a moment on. Of another engine nothing is known.
#[derive(Debug)]
pub struct Memory {
    process: Option<PathBuf>,
    before: u64,
}

impl Memory {
    /// Begins to watch.
    pub fn watch(engine: &Engine) -> Self {
        let process = engine
            .is_own()
            .then(|| PathBuf::from(format!("/proc/{}", engine.pid())));
        if let Some(process) = &process {
            // The most there was is forgotten (proc_pid_clear_refs(5)).
            std::fs::write(process.join("clear_refs"), "5").unwrap();
        }
        let mut memory = Self { process, before: 0 };
        memory.before = memory.field("VmRSS:");
        memory
    }

    /// By how many KiB it has grown at most since then; 0 when nothing is known.
    pub fn grown(&self) -> u64 {
        self.most().saturating_sub(self.before)
    }

    /// What it took at most since then, its program included, in KiB; 0 when nothing is known.
    pub fn most(&self) -> u64 {
        self.field("VmHWM:")
    }

    fn field(&self, name: &str) -> u64 {
        let Some(process) = &self.process else {
            return 0;
        };
        let text = std::fs::read_to_string(process.join("status")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}
