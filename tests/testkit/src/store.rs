//! What an own engine keeps of images, looked at from outside.

use std::process::Command;

use serde_json::{Value, json};

use crate::engine::Engine;
use crate::poll::eventually;
use crate::tools::built;

/// How often what is repeated is repeated: `ARCA_TEST_ROUNDS`, else `default`.
pub fn rounds(default: u64) -> u64 {
    let rounds = std::env::var("ARCA_TEST_ROUNDS").ok();
    rounds.and_then(|text| text.parse().ok()).unwrap_or(default)
}

impl Engine {
    /// How many blobs and layers an own engine keeps, when everything in the background has ended.
    #[track_caller]
    pub fn kept_content(&self) -> [usize; 2] {
        let count = |name: &str| match std::fs::read_dir(self.data_root().join(name)) {
            Ok(entries) => entries.count(),
            Err(_) => 0,
        };
        eventually("nothing is half done", || {
            (count("tmp") + count("trash") == 0).then_some(())
        });
        // The two layers that are always there are no image's.
        [count("blobs/sha256"), count("layers") - 2]
    }

    /// Fails unless all content that an own engine keeps is what its digest says.
    #[track_caller]
    pub fn assert_content_is_sound(&self) {
        let (status, answer) = self.http().post("/arca/images/verify", &Value::Null);
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["Damaged"], json!([]), "{answer}");
    }

    /// The operator's tool, for an own engine, as a command that is not started yet.
    pub fn arca_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(built("arca"));
        command
            .args(arguments)
            .arg("--socket")
            .arg(self.http().socket());
        if arguments.contains(&"doctor") {
            command.arg("--data-root").arg(self.data_root());
            command.arg("--exec-root").arg(self.exec_root());
        }
        command
    }

    /// Runs the operator's tool. Returns its code and what it wrote.
    #[track_caller]
    pub fn arca(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.arca_command(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text + &errors)
    }
}
