//! A process that is killed while it writes loses nothing that it was told is committed.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use arca_store::{Batch, Durability, Record, Store};
use serde::{Deserialize, Serialize};

const PATH: &str = "ARCA_STORE_KILL_TEST";

#[derive(Debug, Serialize, Deserialize)]
struct Number(u64);

impl Record for Number {
    const TABLE: &'static str = "numbers";
    const VERSION: u32 = 1;
}

/// Not a test but the child of the one below: writes until it is killed, and says what it has written.
#[test]
fn child_that_writes() {
    let Ok(path) = std::env::var(PATH) else {
        return;
    };
    let store = Store::open(path).unwrap();
    let journal = store.journal::<u64>("events", 1_000_000).unwrap();
    let from = store.table::<Number>().load_all().unwrap().len() as u64;
    for number in from.. {
        let batch = Batch::new()
            .put(&format!("{number:09}"), &Number(number))
            .unwrap()
            .append(&journal, 0, &number)
            .unwrap();
        let durability = if number % 50 == 0 {
            Durability::Disk
        } else {
            Durability::Process
        };
        store.commit_blocking(batch, durability).unwrap();
        println!("committed={number}");
    }
}

#[test]
fn nothing_committed_is_lost_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("arca.db");
    for round in 1..=8_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = None;
        let mut told = 0;
        for line in lines {
            // The first line shares its line with the harness's own output.
            let line = line.unwrap_or_default();
            let Some((_, number)) = line.split_once("committed=") else {
                continue;
            };
            last = number.parse::<u64>().ok().or(last);
            told += 1;
            if told == 137 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        let store = Store::open(&path).unwrap();
        let numbers = store.table::<Number>().load_all().unwrap();
        assert!(numbers.len() as u64 > last.unwrap(), "lost a record");
        assert!(
            numbers
                .iter()
                .enumerate()
                .all(|(at, (_, number))| at as u64 == number.0)
        );
        assert!(store.check().unwrap().is_empty());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let journal = store.journal::<u64>("events", 1_000_000).unwrap();
        let entries = runtime.block_on(journal.scan(0, usize::MAX)).unwrap();
        assert_eq!(
            entries.len(),
            numbers.len(),
            "record and entry belong together"
        );
    }
}
