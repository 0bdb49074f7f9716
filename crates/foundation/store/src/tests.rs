//! Records and journals in a database of their own.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Batch, Durability, Error, Record, Store};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cat {
    name: String,
    lives: u32,
}

impl Record for Cat {
    const TABLE: &'static str = "cats";
    const VERSION: u32 = 2;

    fn upgrade(version: u32, mut value: Value) -> Result<Value, serde_json::Error> {
        if version == 1
            && let Some(cat) = value.as_object_mut()
        {
            cat.insert("lives".to_owned(), json!(9));
        }
        Ok(value)
    }
}

/// What the first release wrote into the same table.
#[derive(Debug, Serialize, Deserialize)]
struct OldCat {
    name: String,
}

impl Record for OldCat {
    const TABLE: &'static str = "cats";
    const VERSION: u32 = 1;
}

fn cat(name: &str) -> Cat {
    Cat {
        name: name.to_owned(),
        lives: 9,
    }
}

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("arca.db")).unwrap();
    (dir, store)
}

#[tokio::test]
async fn records_are_there_after_a_restart() {
    let (dir, store) = open();
    let batch = Batch::new()
        .put("a", &cat("tom"))
        .unwrap()
        .put("b", &cat("kit"))
        .unwrap();
    store.commit(batch, Durability::Disk).await.unwrap();
    store
        .commit(Batch::new().delete::<Cat>("b"), Durability::Process)
        .await
        .unwrap();
    drop(store);

    let store = Store::open(dir.path().join("arca.db")).unwrap();

    assert_eq!(
        store.table::<Cat>().load_all().unwrap(),
        [("a".to_owned(), cat("tom"))]
    );
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

#[test]
fn a_table_that_was_never_written_is_empty() {
    let (_dir, store) = open();
    assert!(store.table::<Cat>().load_all().unwrap().is_empty());
    assert_eq!(store.table::<Cat>().get("a").unwrap(), None);
}

#[test]
fn an_old_record_is_upgraded_and_a_newer_one_refused() {
    let (_dir, store) = open();
    let old = Batch::new()
        .put(
            "a",
            &OldCat {
                name: "tom".to_owned(),
            },
        )
        .unwrap();
    store.commit_blocking(old, Durability::Process).unwrap();
    assert_eq!(store.table::<Cat>().get("a").unwrap(), Some(cat("tom")));

    let new = Batch::new().put("a", &cat("tom")).unwrap();
    store.commit_blocking(new, Durability::Process).unwrap();
    let refused = store.table::<OldCat>().get("a").unwrap_err();
    assert!(
        matches!(
            refused,
            Error::TooNew {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_second_process_is_kept_out() {
    let (dir, _store) = open();
    let refused = Store::open(dir.path().join("arca.db")).unwrap_err();
    assert!(matches!(refused, Error::Locked(_)), "{refused}");
}

#[test]
fn what_is_not_a_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("arca.db");
    std::fs::write(
        &path,
        "certainly not a database, but long enough to be looked at".repeat(100),
    )
    .unwrap();
    assert!(matches!(Store::open(&path), Err(Error::Database { .. })));
}

#[tokio::test]
async fn concurrent_commits_all_arrive() {
    let (_dir, store) = open();
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let batch = Batch::new()
                    .put(&format!("{number:03}"), &cat("tom"))
                    .unwrap();
                let durability = if number % 2 == 0 {
                    Durability::Disk
                } else {
                    Durability::Process
                };
                store.commit(batch, durability).await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(store.table::<Cat>().load_all().unwrap().len(), 200);
}

#[tokio::test]
async fn the_journal_numbers_without_gaps_and_goes_on_after_a_restart() {
    let (dir, store) = open();
    let journal = store.journal::<String>("events", 1000).unwrap();
    for number in 0..300_i64 {
        journal.post(number, &format!("e{number}")).await.unwrap();
    }
    assert_eq!(journal.flush().await.unwrap(), 300);
    let mut cursor = 0;
    let mut seen = Vec::new();
    loop {
        let entries = journal.scan(cursor, 64).await.unwrap();
        let Some(last) = entries.last() else { break };
        cursor = last.sequence;
        seen.extend(entries.into_iter().map(|entry| entry.sequence));
    }
    assert_eq!(seen, (1..=300).collect::<Vec<u64>>());
    assert_eq!(journal.cursor_at(250).await.unwrap(), 250);
    assert_eq!(journal.cursor_at(i64::MAX).await.unwrap(), 300);
    drop(journal);
    drop(store);

    let store = Store::open(dir.path().join("arca.db")).unwrap();
    let journal = store.journal::<String>("events", 1000).unwrap();
    journal.append(300, &"next".to_owned()).await.unwrap();
    let entries = journal.scan(299, 10).await.unwrap();
    let texts: Vec<_> = entries
        .iter()
        .map(|entry| (entry.sequence, entry.value.as_str()))
        .collect();
    assert_eq!(texts, [(300, "e299"), (301, "next")]);
}

#[tokio::test]
async fn the_journal_drops_its_oldest_entries() {
    let (_dir, store) = open();
    let journal = store.journal::<u32>("events", 100).unwrap();
    for number in 0..1000 {
        journal.post(i64::from(number), &number).await.unwrap();
    }
    journal.flush().await.unwrap();
    let kept = journal.scan(0, 10_000).await.unwrap();
    assert!((100..=112).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last().unwrap().sequence, 1000);
}

#[tokio::test]
async fn a_record_and_an_entry_are_committed_together() {
    let (_dir, store) = open();
    let journal = store.journal::<String>("events", 100).unwrap();
    let mut watch = journal.watch();
    let batch = Batch::new()
        .put("a", &cat("tom"))
        .unwrap()
        .append(&journal, 5, &"made a cat".to_owned())
        .unwrap();
    store.commit(batch, Durability::Disk).await.unwrap();
    watch.changed().await.unwrap();
    assert_eq!(*watch.borrow_and_update(), 1);
    assert_eq!(store.table::<Cat>().get("a").unwrap(), Some(cat("tom")));
}

/// Not an assertion about time, but shows it with `--nocapture`.
#[tokio::test]
async fn many_records_load_at_once() {
    let (dir, store) = open();
    let mut batch = Batch::new();
    for number in 0..100 {
        batch = batch
            .put(&number.to_string(), &cat(&"x".repeat(8000)))
            .unwrap();
    }
    store.commit(batch, Durability::Disk).await.unwrap();
    let journal = store.journal::<String>("events", 10_000).unwrap();
    let start = Instant::now();
    for _ in 0..1000 {
        journal.append(0, &"y".repeat(500)).await.unwrap();
    }
    println!("1000 appends awaited: {:?}", start.elapsed());
    drop(journal);
    drop(store);
    let start = Instant::now();
    let store = Store::open(dir.path().join("arca.db")).unwrap();
    let records = store.table::<Cat>().load_all().unwrap();
    println!("open and load: {:?}", start.elapsed());
    assert_eq!(records.len(), 100);
    let shared = Arc::new(store);
    drop(shared);
}
