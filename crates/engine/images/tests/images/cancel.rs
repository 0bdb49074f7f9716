//! Pulls that are given up.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use arca_images::{Auth, Error, PullRequest, RemoveOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::kit::{Engine, Sample, digest, text};
use crate::shelf::Shelf;
use crate::{assert_nothing_is_left, common};

/// Holds up answers while it is closed.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.changed.notify_all();
    }

    fn pass(&self) {
        tokio::task::block_in_place(|| {
            let mut open = self.open.lock().unwrap();
            while !*open {
                open = self
                    .changed
                    .wait(open)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        });
    }
}

/// A server whose answers to requests for blobs among `held` wait at the gate.
async fn gated(samples: &[(&str, &Sample)], held: &[&[u8]]) -> (common::Server, Arc<Gate>) {
    let shelf = Arc::new(Shelf::default());
    for (tag, sample) in samples {
        shelf.image("a/b", tag, sample);
    }
    let paths: Vec<_> = held.iter().map(|blob| digest(blob).to_string()).collect();
    let gate = Arc::new(Gate::default());
    let closed = Arc::clone(&gate);
    let server = common::Server::start(move |request| {
        if paths.iter().any(|path| request.path.contains(path)) {
            closed.pass();
        }
        shelf.answer(request)
    })
    .await;
    (server, gate)
}

/// A pull that has joined everybody else who waits for its last layer.
async fn joined(engine: &Engine, name: &str, sample: &Sample) -> JoinHandle<Result<(), Error>> {
    let request = PullRequest::new(name, "", None, Auth::Anonymous).unwrap();
    let (sink, mut lines) = mpsc::channel(100);
    let images = engine.images.clone();
    let pull = tokio::spawn(async move { images.pull(&request, &sink).await });
    let last = digest(sample.blobs.last().unwrap());
    let wanted = format!("{}: Pulling fs layer", last.short());
    while text(&lines.recv().await.unwrap()) != wanted {}
    tokio::spawn(async move { while lines.recv().await.is_some() {} });
    pull
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pull_that_is_given_up_leaves_nothing_and_does_not_end_another() {
    let sample = Sample::new(&["one", "two"]);
    let (server, gate) = gated(&[("v1", &sample)], &[&sample.blobs[1]]).await;
    let engine = Engine::new();
    let name = format!("{}/a/b:v1", server.address);
    let first = joined(&engine, &name, &sample).await;
    let second = joined(&engine, &name, &sample).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.set(true);
    second.await.unwrap().unwrap();
    let found = engine.images.resolve(&name, None).await.unwrap();
    assert_eq!(found.id.to_string(), sample.id());
    let options = RemoveOptions::default();
    engine.images.remove(&name, &options).await.unwrap();

    gate.set(false);
    let alone = joined(&engine, &name, &sample).await;
    alone.abort();
    assert!(alone.await.unwrap_err().is_cancelled());
    gate.set(true);
    engine.images.reclaim().await.unwrap();
    assert_nothing_is_left(&engine, &sample);
}

/// Twenty pulls of five images that share layers, of which a seed says which ones are given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_layer_is_fetched_once_whoever_gives_up() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let samples: Vec<_> = (0..5).map(|at| Sample::new(&names[at..at + 3])).collect();
    let tags = ["v0", "v1", "v2", "v3", "v4"];
    let tagged: Vec<_> = tags.iter().copied().zip(&samples).collect();
    let held: Vec<&[u8]> = samples
        .iter()
        .flat_map(|sample| sample.blobs.iter().map(Vec::as_slice))
        .collect();
    for seed in 1_u64..=8 {
        let (server, gate) = gated(&tagged, &held).await;
        let engine = Engine::new();
        let mut random = seed;
        let mut pulls = Vec::new();
        for number in 0..20 {
            let (tag, sample) = tagged[number % 5];
            let name = format!("{}/a/b:{tag}", server.address);
            pulls.push((number, joined(&engine, &name, sample).await));
        }
        for (number, pull) in &pulls {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // The last ones stay, so that somebody waits for each layer.
            if *number < 15 && random >> 63 == 1 {
                pull.abort();
            }
        }
        gate.set(true);
        for (_, pull) in pulls {
            match pull.await {
                Ok(outcome) => outcome.unwrap(),
                Err(error) => assert!(error.is_cancelled()),
            }
        }
        for blob in &held {
            let path = format!("GET /v2/a/b/blobs/{}", digest(blob));
            let times = server.lines().iter().filter(|line| **line == path).count();
            assert_eq!(times, 1, "seed {seed}: {path}");
        }
        for (tag, _) in &tagged {
            let name = format!("{}/a/b:{tag}", server.address);
            let options = RemoveOptions::default();
            engine.images.remove(&name, &options).await.unwrap();
        }
        engine.assert_empty().await;
    }
}
