//! A command on a terminal of its own, driven like a person would.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::tools::found;

/// The request for a cursor position report (ECMA-48, DSR 6).
const ASK_CURSOR: &[u8] = b"\x1b[6n";

/// A running command and the master side of its terminal.
#[derive(Debug)]
pub struct Pty {
    child: Child,
    master: File,
    output: Arc<(Mutex<Screen>, Condvar)>,
    read: usize,
}

#[derive(Debug, Default)]
struct Screen {
    bytes: Vec<u8>,
    ended: bool,
}

impl Pty {
    /// Starts `command` with a terminal of 80 columns and 24 rows as its controlling terminal.
    #[track_caller]
    pub fn spawn(command: &Command) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(
            &*name,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .unwrap();
        tcsetwinsize(&master, size(80, 24)).unwrap();
        let mut on_terminal = Command::new(found("setsid"));
        on_terminal
            .arg("--ctty")
            .arg("--wait")
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => on_terminal.env(key, value),
                None => on_terminal.env_remove(key),
            };
        }
        let child = on_terminal
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave))
            .spawn()
            .unwrap();
        let master = File::from(master);
        let output = Arc::default();
        read_in_background(&master, Arc::clone(&output));
        Self {
            child,
            master,
            output,
            read: 0,
        }
    }

    /// Types.
    #[track_caller]
    pub fn send(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is shown after what was expected last; returns what came up to its end.
    ///
    /// # Panics
    /// When it is not shown within 30 seconds, or the command ended without it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        let (screen, changed) = &*self.output;
        let mut screen = screen.lock().unwrap();
        loop {
            let fresh = &screen.bytes[self.read..];
            if let Some(at) = fresh
                .windows(text.len())
                .position(|part| part == text.as_bytes())
            {
                let end = at + text.len();
                let shown = String::from_utf8_lossy(&fresh[..end]).into_owned();
                self.read += end;
                return shown;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !screen.ended && !left.is_zero(),
                "{text:?} is not shown after: {:?}",
                String::from_utf8_lossy(fresh)
            );
            screen = changed.wait_timeout(screen, left).unwrap().0;
        }
    }

    /// Changes the size of the terminal; the command gets SIGWINCH.
    pub fn resize(&self, columns: u16, rows: u16) {
        tcsetwinsize(&self.master, size(columns, rows)).unwrap();
    }

    /// Waits for the end; returns the exit code.
    ///
    /// # Panics
    /// When it has not ended after 30 seconds.
    #[track_caller]
    pub fn wait(mut self) -> i32 {
        crate::eventually_within(
            Duration::from_secs(30),
            "the command on the terminal ends",
            || self.child.try_wait().unwrap(),
        )
        .code()
        .unwrap_or(-1)
    }
}

/// Collects what the terminal shows, until its last process is gone.
fn read_in_background(master: &File, shared: Arc<(Mutex<Screen>, Condvar)>) {
    let mut reader = master.try_clone().unwrap();
    let mut answers = master.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        loop {
            // EIO once the last process on the terminal is gone.
            let count = reader.read(&mut buffer).unwrap_or(0);
            // A shell that asks where the cursor is gets an answer, as from any terminal.
            if buffer[..count]
                .windows(ASK_CURSOR.len())
                .any(|part| part == ASK_CURSOR)
            {
                answers.write_all(b"\x1b[1;1R").ok();
            }
            let (screen, changed) = &*shared;
            let mut screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
            screen.bytes.extend_from_slice(&buffer[..count]);
            screen.ended |= count == 0;
            changed.notify_all();
            if count == 0 {
                break;
            }
        }
    });
}

impl Drop for Pty {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
