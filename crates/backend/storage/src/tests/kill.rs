//! A process that is killed at any moment leaves nothing behind and loses nothing that it told of.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use arca_store::Store;
use arca_types::ContainerId;

use super::common::{gzip, layer};
use crate::{Config, LayerSource, Roots, Storage};

const ROOT: &str = "ARCA_STORAGE_KILL_TEST";

fn open(root: &Path) -> Storage {
    let store = Store::open(root.join("arca.db")).unwrap();
    Storage::open(
        Config {
            root: root.to_owned(),
            driver: None,
            size: None,
        },
        store,
    )
    .unwrap()
}

/// Not a test but the child of the one below: works until it is killed, and tells what it has done.
#[tokio::test]
async fn child_that_works() {
    let Ok(root) = std::env::var(ROOT) else {
        return;
    };
    let storage = open(Path::new(&root));
    let process = std::process::id();
    for round in 0_u32.. {
        let lease = storage.lease();
        let files: Vec<String> = (0..20)
            .map(|file| format!("{process}-{round}-{file}"))
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|file| (file.as_str(), "content"))
            .collect();
        let mut ingest = storage.ingest_layer(&lease, LayerSource::default());
        ingest.write(gzip(&layer(&files)).into()).await.unwrap();
        let taken = ingest.finish().await.unwrap();
        println!("+layer {} {}", taken.diff_id, taken.blob);
        let id = ContainerId::random();
        storage
            .prepare(&id, std::slice::from_ref(&taken.diff_id))
            .await
            .unwrap();
        println!("+snapshot {id}");
        if round % 3 == 0 {
            storage.remove(&id).await.unwrap();
            println!("-snapshot {id}");
            drop(lease);
            // What is in other snapshots stays.
            storage.collect(&Roots::default()).await.unwrap();
            println!("-layer {} {}", taken.diff_id, taken.blob);
        }
    }
}

/// Runs the child until it has told so many things; returns what has to be there then.
fn run_and_kill(root: &Path, lines: usize) -> BTreeSet<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::kill::child_that_works", "--nocapture"])
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut there = BTreeSet::new();
    let mut told = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap_or_default();
        // The first line may share its line with the harness's own output.
        let Some(at) = line.find(['+', '-']) else {
            continue;
        };
        let (sign, thing) = line[at..].split_at(1);
        if !thing.starts_with("layer ") && !thing.starts_with("snapshot ") {
            continue;
        }
        match sign {
            "+" => there.insert(thing.to_owned()),
            _ => there.remove(thing),
        };
        told += 1;
        if told == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    there
}

#[tokio::test]
async fn whatever_the_moment_nothing_is_lost_or_left() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let mut expected = BTreeSet::new();
    for round in 0..12 {
        expected.extend(run_and_kill(root, 7 + 5 * round));
        let storage = open(root);
        storage.reclaimed().await.unwrap();
        let count = |name: &str| std::fs::read_dir(root.join(name)).unwrap().count();
        let (layers, blobs, snapshots) = {
            let state = storage.inner.state();
            (state.layers.len(), state.blobs.len(), state.snapshots.len())
        };
        assert_eq!(
            count("layers"),
            layers + 2,
            "a directory too many or too few"
        );
        assert_eq!(
            (count("blobs/sha256"), count("snapshots")),
            (blobs, snapshots)
        );
        assert_eq!((count("tmp"), count("trash")), (0, 0));
        let missing: Vec<&String> = expected
            .iter()
            .filter(|thing| !is_there(&storage, thing))
            .collect();
        // The last one may have been on its way out.
        assert!(missing.len() <= 1, "{missing:?}");
        storage.collect(&Roots::default()).await.unwrap();
        expected.retain(|thing| is_there(&storage, thing));
        for id in storage.snapshots() {
            storage.rootfs(&id).unwrap();
        }
    }
}

fn is_there(storage: &Storage, thing: &str) -> bool {
    match thing.split(' ').collect::<Vec<_>>().as_slice() {
        ["snapshot", id] => storage.snapshots().contains(&id.parse().unwrap()),
        ["layer", diff_id, blob] => {
            storage.layer(&diff_id.parse().unwrap()).is_some()
                && storage.blob(&blob.parse().unwrap()).is_some()
        }
        _ => panic!("{thing}"),
    }
}
