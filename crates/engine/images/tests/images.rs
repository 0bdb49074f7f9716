//! Images come, are looked at, and go.

#![cfg(test)]

#[path = "../../../backend/registry/tests/common/mod.rs"]
mod common;
mod kit;

use std::sync::Arc;

use arca_images::{
    Auth, Error, Filters, ImportRequest, InspectOptions, PruneFilters, PullRequest, RemoveOptions,
    Removed, SaveRequest,
};
use arca_types::{Classify as _, ContainerId, ErrorKind, ImageId, Timestamp, chain};
use kit::{Engine, INDEX, MANIFEST, Sample, Shelf, Taker, collect, digest, stream, tar, text};
use tokio::sync::mpsc;

async fn served(samples: &[(&str, &Sample)]) -> (Engine, common::Server, String) {
    let shelf = Arc::new(Shelf::default());
    for (tag, sample) in samples {
        shelf.image("a/b", tag, sample);
    }
    let server = shelf.serve().await;
    let name = format!("{}/a/b", server.address);
    (Engine::new(), server, name)
}

fn untagged(name: &str) -> Removed {
    Removed::Untagged(name.to_owned())
}

fn force() -> RemoveOptions {
    RemoveOptions {
        force: true,
        ..RemoveOptions::default()
    }
}

fn container() -> ContainerId {
    ContainerId::random()
}

#[tokio::test]
async fn a_pulled_image_is_there_by_all_its_names() {
    let sample = Sample::new(&["one", "two"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let lines = engine.pull(&format!("{name}:v1")).await.unwrap();
    let lines: Vec<_> = lines.iter().map(text).collect();
    assert_eq!(lines[0], "v1: Pulling from a/b");
    let short = digest(&sample.blobs[0]).short().to_owned();
    for step in [
        "Pulling fs layer",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        "Pull complete",
    ] {
        assert!(
            lines.contains(&format!("{short}: {step}")),
            "{step}: {lines:?}"
        );
    }
    let end: Vec<_> = lines.iter().rev().take(2).rev().cloned().collect();
    let digest = sample.digest();
    assert_eq!(
        end,
        [
            format!("Digest: {digest}"),
            format!("Status: Downloaded newer image for {name}:v1")
        ]
    );
    let id = sample.id();
    for text in [
        format!("{name}:v1"),
        format!("{name}@{digest}"),
        id.clone(),
        id[7..19].to_owned(),
    ] {
        let image = engine.images.resolve(&text, None).await.unwrap();
        assert_eq!(image.id.to_string(), id, "{text}");
    }
    let inspected = engine
        .images
        .inspect(&format!("{name}:v1"), &InspectOptions::default())
        .await
        .unwrap();
    assert_eq!(inspected.repo_tags, [format!("{name}:v1")]);
    assert_eq!(inspected.repo_digests, [format!("{name}@{digest}")]);
    assert_eq!(inspected.size, 28);
    assert_eq!(inspected.config.config.cmd, Some(vec!["sh".to_owned()]));
    assert_eq!(inspected.last_tagged, None);
}

#[tokio::test]
async fn an_unchanged_pull_is_one_round_trip() {
    let sample = Sample::new(&["one"]);
    let (engine, server, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    let before = server.lines().len();
    let lines = engine.pull(&format!("{name}:v1")).await.unwrap();
    assert_eq!(server.lines()[before..], ["HEAD /v2/a/b/manifests/v1"]);
    let lines: Vec<_> = lines.iter().map(text).collect();
    assert_eq!(
        lines,
        [
            "v1: Pulling from a/b".to_owned(),
            format!("Digest: {}", sample.digest()),
            format!("Status: Image is up to date for {name}:v1")
        ]
    );
}

#[tokio::test]
async fn layers_that_are_here_are_not_fetched() {
    let (first, second) = (Sample::new(&["one"]), Sample::new(&["one", "two"]));
    let (engine, server, name) = served(&[("v1", &first), ("v2", &second)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    let before = server.lines().len();
    let lines = engine.pull(&format!("{name}:v2")).await.unwrap();
    let shared = digest(&first.blobs[0]);
    assert!(
        lines
            .iter()
            .map(text)
            .any(|line| line == format!("{}: Already exists", shared.short()))
    );
    assert!(
        !server.lines()[before..]
            .iter()
            .any(|line| line.contains(shared.as_str()))
    );
    let sizes: Vec<_> = engine
        .list(&[])
        .into_iter()
        .map(|summary| summary.shared_size)
        .collect();
    assert_eq!(sizes, [Some(14), Some(14)]);
}

#[tokio::test]
async fn two_pulls_at_a_time_fetch_each_layer_once() {
    let sample = Sample::new(&["one", "two", "three"]);
    let (engine, server, name) = served(&[("v1", &sample), ("v2", &sample)]).await;
    let (first, second) = (format!("{name}:v1"), format!("{name}:v2"));
    let (one, two) = tokio::join!(engine.pull(&first), engine.pull(&second));
    one.unwrap();
    two.unwrap();
    for blob in &sample.blobs {
        let digest = digest(blob).to_string();
        let fetched = server
            .lines()
            .iter()
            .filter(|line| line.contains(&digest))
            .count();
        assert_eq!(fetched, 1);
    }
    assert_eq!(engine.tags(), [first, second]);
}

#[tokio::test]
async fn all_tags_of_a_repository_are_pulled() {
    let sample = Sample::new(&["one"]);
    let (engine, _server, name) = served(&[("v1", &sample), ("v2", &sample)]).await;
    let lines = engine.pull(&name).await.unwrap();
    assert_eq!(
        text(lines.last().unwrap()),
        format!("Status: Downloaded newer image for {name}")
    );
    assert_eq!(engine.tags(), [format!("{name}:v1"), format!("{name}:v2")]);
}

#[tokio::test]
async fn the_hosts_platform_is_chosen_and_another_one_kept_beside_it() {
    let (host, other) = (
        Sample::with(&["one"], "amd64", ""),
        Sample::with(&["two"], "s390x", ""),
    );
    let shelf = Arc::new(Shelf::default());
    let index = shelf.index("a/b", "v1", &[("s390x", &other), ("amd64", &host)]);
    let server = shelf.serve().await;
    let engine = Engine::new();
    let name = format!("{}/a/b:v1", server.address);
    engine.pull(&name).await.unwrap();
    let id = |platform: Option<&str>| {
        let platform = platform.map(|platform| platform.parse().unwrap());
        let images = engine.images.clone();
        let name = name.clone();
        async move {
            images
                .resolve(&name, platform.as_ref())
                .await
                .map(|image| image.id.to_string())
        }
    };
    if std::env::consts::ARCH == "x86_64" {
        assert_eq!(id(None).await.unwrap(), host.id());
    }
    let error = id(Some("linux/s390x")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "image with reference {name} was found but its platform (linux/amd64) does not match the specified platform (linux/s390x)"
        )
    );
    engine.pull_for(&name, Some("linux/s390x")).await.unwrap();
    assert_eq!(id(Some("linux/s390x")).await.unwrap(), other.id());
    assert_eq!(id(None).await.unwrap(), host.id());
    let image = engine.images.resolve(&name, None).await.unwrap();
    assert_eq!(
        image.repo_digests,
        [format!("{}/a/b@{}", server.address, digest(&index))]
    );
    assert_eq!(
        engine.storage.read_blob(&digest(&index)).await.unwrap(),
        index
    );

    let error = engine
        .pull_for(&name, Some("linux/riscv64"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/riscv64 in the manifest list entries"
    );
    engine
        .images
        .remove(&name, &RemoveOptions::default())
        .await
        .unwrap();
    assert_eq!(engine.images.count(), 0);
}

#[tokio::test]
async fn an_image_for_another_platform_is_warned_of() {
    let sample = Sample::with(&["one"], "amd64", "");
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let lines = engine
        .pull_for(&format!("{name}:v1"), Some("linux/s390x"))
        .await
        .unwrap();
    assert_eq!(
        text(lines.last().unwrap()),
        format!(
            "WARNING: image with reference {name}:v1 was found but its platform (linux/amd64) does not match the specified platform (linux/s390x)"
        )
    );
}

/// What is left of an engine's images after a failure: nothing.
fn assert_nothing_is_left(engine: &Engine, sample: &Sample) {
    assert_eq!(engine.images.count(), 0);
    assert!(engine.storage.blob(&digest(&sample.config)).is_none());
    assert!(engine.storage.blob(&sample.digest()).is_none());
    for (layer, blob) in sample.layers.iter().zip(&sample.blobs) {
        assert!(engine.storage.layer(&digest(layer).into()).is_none());
        assert!(engine.storage.blob(&digest(blob)).is_none());
    }
}

#[tokio::test]
async fn content_that_is_not_what_it_says_leaves_nothing_behind() {
    let sample = Sample::new(&["one", "two"]);
    for (what, wanted) in [
        (
            "layer",
            format!(
                "filesystem layer verification failed for digest {}",
                digest(&sample.blobs[1])
            ),
        ),
        (
            "config",
            format!(
                "image config verification failed for digest {}",
                digest(&sample.config)
            ),
        ),
        (
            "manifest",
            format!(
                "manifest verification failed for digest {}",
                sample.digest()
            ),
        ),
    ] {
        let shelf = Arc::new(Shelf::default());
        shelf.image("a/b", "v1", &sample);
        let spoil = |bytes: &[u8]| {
            let mut spoilt = bytes.to_vec();
            let last = spoilt.len() - 1;
            spoilt[last] ^= 1;
            spoilt
        };
        match what {
            "layer" => shelf.blob("a/b", &digest(&sample.blobs[1]), &spoil(&sample.blobs[1])),
            "config" => shelf.blob("a/b", &digest(&sample.config), &spoil(&sample.config)),
            _ => {
                let spoilt = spoil(&sample.manifest);
                shelf.manifest("a/b", &sample.digest().to_string(), MANIFEST, &spoilt);
            }
        }
        let server = shelf.serve().await;
        let engine = Engine::new();
        let error = engine
            .pull(&format!("{}/a/b:v1", server.address))
            .await
            .unwrap_err();
        assert_eq!(chain(&error), wanted, "{what}");
        assert_nothing_is_left(&engine, &sample);
    }
}

#[tokio::test]
async fn lies_about_layers_are_refused() {
    let honest = Sample::new(&["one", "two"]);
    let config = String::from_utf8(honest.config.clone()).unwrap();
    let first = digest(&honest.layers[0]).to_string();
    let swapped = config.replacen(&first, &digest(b"x").to_string(), 1);
    let fewer = config
        .replacen(&format!("\"{first}\","), "", 1)
        .replace(r#"{"created_by":"ADD one"},"#, "");
    let none = r#"{"architecture":"amd64","os":"linux"}"#.to_owned();
    for (config, wanted) in [
        (
            swapped,
            format!(
                "invalid diffID for layer 0: expected \"{}\", got \"{first}\"",
                digest(b"x")
            ),
        ),
        (
            fewer,
            "the image has 2 layers and its configuration 1".to_owned(),
        ),
        (none, "invalid image JSON, no RootFS key".to_owned()),
    ] {
        let sample = Sample::of(config.into_bytes(), honest.layers.clone());
        let (engine, _server, name) = served(&[("v1", &sample)]).await;
        let error = engine.pull(&format!("{name}:v1")).await.unwrap_err();
        assert_eq!(chain(&error), wanted);
        assert_nothing_is_left(&engine, &sample);
    }
}

#[tokio::test]
async fn what_the_registry_does_not_have_is_not_found() {
    let sample = Sample::new(&["one"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let error = engine.pull(&format!("{name}:nosuch")).await.unwrap_err();
    assert_eq!(
        chain(&error),
        format!("manifest for {name}:nosuch not found: manifest unknown: manifest unknown")
    );
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_tag_that_moved_leaves_the_old_image_nameless() {
    let (old, new) = (Sample::new(&["one"]), Sample::new(&["one", "two"]));
    let shelf = Arc::new(Shelf::default());
    shelf.image("a/b", "v1", &old);
    let server = shelf.serve().await;
    let engine = Engine::new();
    let name = format!("{}/a/b:v1", server.address);
    engine.pull(&name).await.unwrap();
    shelf.image("a/b", "v1", &new);
    let lines = engine.pull(&name).await.unwrap();
    assert_eq!(
        text(lines.last().unwrap()),
        format!("Status: Downloaded newer image for {name}")
    );
    assert_eq!(
        engine
            .images
            .resolve(&name, None)
            .await
            .unwrap()
            .id
            .to_string(),
        new.id()
    );
    let dangling = engine.list(&[("dangling", "true")]);
    assert_eq!(dangling.len(), 1);
    assert_eq!(dangling[0].id.to_string(), old.id());
    assert_eq!(
        (dangling[0].repo_tags.len(), dangling[0].repo_digests.len()),
        (0, 1)
    );
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let sample = Sample::new(&["one", "two"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    let before = engine
        .images
        .resolve(&format!("{name}:v1"), None)
        .await
        .unwrap();
    let engine = engine.restart();
    engine.images.reclaim().await.unwrap();
    let after = engine
        .images
        .resolve(&format!("{name}:v1"), None)
        .await
        .unwrap();
    assert_eq!(before, after);
    for layer in &after.layers {
        assert!(engine.storage.layer(layer).is_some());
    }
}

#[tokio::test]
async fn what_a_crash_left_of_a_pull_is_reclaimed() {
    let sample = Sample::new(&["one"]);
    let engine = Engine::new();
    {
        let lease = engine.storage.lease();
        let source = arca_storage::LayerSource::default();
        let mut ingest = engine.storage.ingest_layer(&lease, source);
        ingest.write(sample.blobs[0].clone().into()).await.unwrap();
        ingest.finish().await.unwrap();
        engine
            .storage
            .put_blob(&lease, None, &sample.config)
            .await
            .unwrap();
    }
    let engine = engine.restart();
    engine.images.reclaim().await.unwrap();
    assert_nothing_is_left(&engine, &sample);
}

#[tokio::test]
async fn names_are_taken_one_by_one_and_the_image_with_the_last() {
    let sample = Sample::new(&["one", "two"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let v1 = format!("{name}:v1");
    engine.pull(&v1).await.unwrap();
    engine.images.tag(&v1, "other", "a").await.unwrap();
    let id = sample.id();
    let short = id[7..19].to_owned();
    let error = engine
        .images
        .remove(&short, &RemoveOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        (error.to_string(), error.kind()),
        (
            format!(
                "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            ),
            ErrorKind::Conflict
        )
    );
    let removed = engine
        .images
        .remove("other:a", &RemoveOptions::default())
        .await
        .unwrap();
    assert_eq!(removed, [untagged("other:a")]);
    let removed = engine
        .images
        .remove(&v1, &RemoveOptions::default())
        .await
        .unwrap();
    assert_eq!(
        removed[..2],
        [
            untagged(&v1),
            untagged(&format!("{name}@{}", sample.digest()))
        ]
    );
    assert_eq!(removed[2], Removed::Deleted(id));
    assert_eq!(removed.len(), 5, "two layers follow: {removed:?}");
    assert_eq!(
        removed[4],
        Removed::Deleted(digest(&sample.layers[0]).to_string())
    );
    assert_nothing_is_left(&engine, &sample);
}

#[tokio::test]
async fn containers_hold_their_image_in_dockerds_words() {
    let sample = Sample::new(&["one"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let v1 = format!("{name}:v1");
    engine.pull(&v1).await.unwrap();
    let id: ImageId = sample.id().parse().unwrap();
    let short = id.digest().short().to_owned();
    let user = container();
    engine.images.acquire(&id, &user).unwrap();
    let by = user.short();
    let refused = |name: String, options: RemoveOptions| {
        let images = engine.images.clone();
        async move {
            images
                .remove(&name, &options)
                .await
                .unwrap_err()
                .to_string()
        }
    };
    assert_eq!(
        refused(v1.clone(), RemoveOptions::default()).await,
        format!(
            "conflict: unable to remove repository reference \"{v1}\" (must force) - container {by} is using its referenced image {short}"
        )
    );
    assert_eq!(
        refused(short.clone(), RemoveOptions::default()).await,
        format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container {by}"
        )
    );
    engine.images.set_running(&user, true);
    assert_eq!(
        refused(short.clone(), force()).await,
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {by}"
        )
    );
    // By name and by force, the running image only loses its names.
    let removed = engine.images.remove(&v1, &force()).await.unwrap();
    assert_eq!(
        removed,
        [
            untagged(&v1),
            untagged(&format!("{name}@{}", sample.digest()))
        ]
    );
    assert_eq!(engine.images.count(), 1);
    assert_eq!(engine.list(&[])[0].containers, 1);
    engine.images.set_running(&user, false);
    let removed = engine.images.remove(&short, &force()).await.unwrap();
    assert_eq!(removed, [Removed::Deleted(id.to_string())]);
    assert!(matches!(
        engine.images.acquire(&id, &container()),
        Err(Error::NotFound(_))
    ));
}

#[tokio::test]
async fn unknown_and_malformed_names_are_refused_in_dockerds_words() {
    let engine = Engine::new();
    let unknown = digest(b"x").to_string();
    for (name, wanted) in [
        ("nosuch", "No such image: nosuch:latest".to_owned()),
        (&unknown, format!("No such image: {unknown}")),
        (
            "UPPER",
            "invalid reference format: repository name (library/UPPER) must be lowercase"
                .to_owned(),
        ),
    ] {
        let error = engine
            .images
            .remove(name, &RemoveOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), wanted);
        let error = engine.images.resolve(name, None).await.unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
}

#[tokio::test]
async fn prune_takes_what_nobody_uses() {
    let (one, two) = (Sample::new(&["one"]), Sample::new(&["two", "three"]));
    let (engine, _server, name) = served(&[("v1", &one), ("v2", &two)]).await;
    engine.pull(&name).await.unwrap();
    let filters = |pairs: &[(&str, &str)]| {
        let filters: Filters = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()]))
            .collect();
        PruneFilters::parse(&filters, Timestamp::from_unix(2_000_000_000, 0)).unwrap()
    };
    let pruned = engine.images.prune(&filters(&[])).await.unwrap();
    assert_eq!((pruned.removed.len(), pruned.reclaimed), (0, 0));
    let user = container();
    engine
        .images
        .acquire(&one.id().parse().unwrap(), &user)
        .unwrap();
    let all = filters(&[("dangling", "false")]);
    let pruned = engine.images.prune(&all).await.unwrap();
    assert_eq!(pruned.reclaimed, 30);
    assert_eq!(engine.tags(), [format!("{name}:v1")]);
    engine.images.release(&user);
    let unwanted = filters(&[("dangling", "false"), ("label!", "first=one")]);
    engine.images.prune(&unwanted).await.unwrap();
    assert_eq!(engine.images.count(), 1);
    engine.images.prune(&all).await.unwrap();
    assert_eq!(engine.images.count(), 0);
}

#[tokio::test]
async fn lists_are_filtered() {
    let (one, two) = (Sample::new(&["one"]), Sample::new(&["two", "three"]));
    let (engine, _server, name) = served(&[("v1", &one), ("v2", &two)]).await;
    engine.pull(&name).await.unwrap();
    engine
        .images
        .tag(&format!("{name}:v1"), "busybox", "")
        .await
        .unwrap();
    let tags = |filters: &[(&str, &str)]| -> Vec<String> {
        engine
            .list(filters)
            .into_iter()
            .flat_map(|summary| summary.repo_tags)
            .collect()
    };
    let (v1, v2) = (format!("{name}:v1"), format!("{name}:v2"));
    assert_eq!(tags(&[]), [&v2, &v1, "busybox:latest"]);
    assert_eq!(tags(&[("reference", "busy*")]), ["busybox:latest"]);
    assert_eq!(tags(&[("reference", &name)]), [v2.clone(), v1.clone()]);
    assert_eq!(tags(&[("label", "first=two")]), std::slice::from_ref(&v2));
    assert_eq!(tags(&[("before", &v2)]), [&v1, "busybox:latest"]);
    assert_eq!(tags(&[("since", &v1)]), std::slice::from_ref(&v2));
    assert_eq!(
        tags(&[("until", "2024-01-01T12:00:00")]),
        [&v1, "busybox:latest"]
    );
    assert!(tags(&[("dangling", "true")]).is_empty());
}

#[tokio::test]
async fn what_was_saved_loads_elsewhere_byte_for_byte() {
    let sample = Sample::new(&["one", "two"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    engine
        .images
        .tag(&format!("{name}:v1"), "busybox", "")
        .await
        .unwrap();
    let request = SaveRequest {
        names: vec![name.clone(), "busybox".to_owned()],
        platform: None,
    };
    let archive = collect(engine.images.save(&request).await.unwrap()).await;
    assert!(archive == collect(engine.images.save(&request).await.unwrap()).await);

    for archive in [archive.clone(), kit::gzip(&archive)] {
        let other = Engine::new();
        let told = other.load(archive).await.unwrap();
        assert_eq!(
            told,
            [
                format!("Loaded image: {name}:v1\n"),
                "Loaded image: busybox:latest\n".to_owned()
            ]
        );
        let image = other.images.resolve("busybox", None).await.unwrap();
        assert_eq!(image.id.to_string(), sample.id());
        assert_eq!(image.manifest.digest, sample.digest());
        for blob in sample
            .blobs
            .iter()
            .chain([&sample.config, &sample.manifest])
        {
            assert!(other.storage.read_blob(&digest(blob)).await.unwrap() == *blob);
        }
        let again = collect(other.images.save(&request).await.unwrap()).await;
        assert_eq!(
            again.len(),
            collect(engine.images.save(&request).await.unwrap())
                .await
                .len()
        );
    }
    let error = engine
        .images
        .save(&SaveRequest {
            names: vec!["nosuch".to_owned()],
            platform: None,
        })
        .await
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "No such image: nosuch");
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, path, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

#[tokio::test]
async fn archives_of_old_are_loaded() {
    let sample = Sample::new(&["one", "two"]);
    let hex = digest(&sample.config).hex().to_owned();
    let manifest = format!(
        r#"[{{"Config":"{hex}.json","RepoTags":["old:x"],"Layers":["aaa/layer.tar","bbb/layer.tar"]}}]"#
    );
    let archive = archive(&[
        ("aaa/layer.tar", &sample.layers[0]),
        ("aaa/json", b"{}"),
        ("bbb/layer.tar", &sample.layers[1]),
        (&format!("{hex}.json"), &sample.config),
        ("manifest.json", manifest.as_bytes()),
        ("repositories", b"{}"),
    ]);
    let engine = Engine::new();
    assert_eq!(
        engine.load(archive).await.unwrap(),
        ["Loaded image: old:x\n"]
    );
    let image = engine.images.resolve("old:x", None).await.unwrap();
    assert_eq!((image.id.to_string(), image.layers.len()), (sample.id(), 2));
    let event = engine
        .events()
        .await
        .into_iter()
        .find(|event| event.action == "load")
        .unwrap();
    assert_eq!(event.actor.attributes.get("name"), Some(&sample.id()));
    assert_eq!(
        event.actor.attributes.get("first").map(String::as_str),
        Some("one")
    );
}

#[tokio::test]
async fn a_layout_of_oci_is_loaded() {
    let sample = Sample::new(&["one"]);
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", digest(bytes).hex());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{}","size":{},"annotations":{{"io.containerd.image.name":"docker.io/library/x:y"}}}}]}}"#,
        sample.digest(),
        sample.manifest.len()
    );
    let members = [
        (
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        ),
        ("index.json".to_owned(), index.into_bytes()),
        (path(&sample.manifest), sample.manifest.clone()),
        (path(&sample.config), sample.config.clone()),
        (path(&sample.blobs[0]), sample.blobs[0].clone()),
    ];
    let members: Vec<(&str, &[u8])> = members
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
        .collect();
    let engine = Engine::new();
    assert_eq!(
        engine.load(archive(&members)).await.unwrap(),
        ["Loaded image: x:y\n"]
    );
    let image = engine.images.resolve("x:y", None).await.unwrap();
    assert_eq!(image.manifest.digest, sample.digest());
}

#[tokio::test]
async fn bad_archives_leave_nothing_behind() {
    let sample = Sample::new(&["one"]);
    let hex = digest(&sample.config).hex().to_owned();
    let config = format!("{hex}.json");
    let manifest = |layers: &str| {
        format!(r#"[{{"Config":"{config}","RepoTags":["x:y"],"Layers":[{layers}]}}]"#)
    };
    let two = manifest(r#""a/layer.tar","a/layer.tar""#);
    let missing = manifest(r#""b/layer.tar""#);
    let good = manifest(r#""a/layer.tar""#);
    let other = tar("other", "x");
    for (members, wanted) in [
        (
            vec![("a/layer.tar", sample.layers[0].as_slice())],
            "invalid archive: it has neither manifest.json nor index.json".to_owned(),
        ),
        (
            vec![
                ("a/layer.tar", &sample.layers[0]),
                (&config, &sample.config),
                ("manifest.json", two.as_bytes()),
            ],
            "invalid archive: invalid manifest, layers length mismatch: expected 1, got 2"
                .to_owned(),
        ),
        (
            vec![
                ("a/layer.tar", &sample.layers[0]),
                (&config, &sample.config),
                ("manifest.json", missing.as_bytes()),
            ],
            "b/layer.tar is not in the archive".to_owned(),
        ),
        (
            vec![
                ("a/layer.tar", &other),
                (&config, &sample.config),
                ("manifest.json", good.as_bytes()),
            ],
            format!(
                "invalid diffID for layer 0: expected \"{}\", got \"{}\"",
                digest(&sample.layers[0]),
                digest(&other)
            ),
        ),
    ] {
        let engine = Engine::new();
        let error = engine.load(archive(&members)).await.unwrap_err();
        assert_eq!(chain(&error), wanted);
        assert_nothing_is_left(&engine, &sample);
    }
}

#[tokio::test]
async fn a_blob_in_an_archive_has_to_have_its_digest() {
    let sample = Sample::new(&["one"]);
    let wrong = digest(&sample.config);
    let path = format!("blobs/sha256/{}", wrong.hex());
    for (content, wanted) in [
        (
            b"{}".as_slice(),
            format!("invalid archive: {path} has another digest"),
        ),
        (
            &sample.layers[0],
            format!("filesystem layer verification failed for digest {wrong}"),
        ),
    ] {
        let engine = Engine::new();
        let error = engine.load(archive(&[(&path, content)])).await.unwrap_err();
        assert_eq!(chain(&error), wanted);
        assert_nothing_is_left(&engine, &sample);
    }
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    let engine = Engine::new();
    assert!(engine.load(vec![1; 5000]).await.is_err());
    assert!(engine.load(Vec::new()).await.is_err());
}

#[tokio::test]
async fn a_file_system_is_imported() {
    let engine = Engine::new();
    let changes = ["CMD foo bar".to_owned(), "LABEL a=b".to_owned()];
    let request = ImportRequest::new("-", ("imp", "x"), "hello", &changes, None).unwrap();
    let (sink, mut lines) = mpsc::channel(10);
    let content = tar("etc/hostname", "box");
    let id = engine
        .images
        .import(&request, stream(kit::gzip(&content)), &sink)
        .await
        .unwrap();
    assert_eq!(text(&lines.recv().await.unwrap()), id.to_string());
    let inspected = engine
        .images
        .inspect("imp:x", &InspectOptions::default())
        .await
        .unwrap();
    assert_eq!(inspected.id, id);
    assert_eq!(inspected.layers, [digest(&content).into()]);
    assert_eq!(inspected.config.comment, "hello");
    assert_eq!(
        inspected.config.config.cmd.as_ref().unwrap().join(" "),
        "/bin/sh -c foo bar"
    );
    assert!(inspected.last_tagged.is_some());
    let history = engine.images.history("imp:x", None).await.unwrap();
    assert_eq!(
        (history.len(), history[0].size, history[0].id.clone()),
        (1, 3, Some(id))
    );
    for (repo, changes, wanted) in [
        (
            "IMP",
            vec![],
            "invalid reference format: repository name (library/IMP) must be lowercase",
        ),
        (
            "imp",
            vec!["RUN x".to_owned()],
            "RUN is not a valid change command",
        ),
    ] {
        let error = ImportRequest::new("-", (repo, ""), "", &changes, None).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
}

#[tokio::test]
async fn history_begins_with_the_last_step() {
    let sample = Sample::new(&["one", "two"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    let history = engine
        .images
        .history(&format!("{name}:v1"), None)
        .await
        .unwrap();
    let steps: Vec<_> = history
        .iter()
        .map(|item| {
            (
                item.created_by.as_str(),
                item.size,
                item.id.is_some(),
                item.tags.is_some(),
            )
        })
        .collect();
    assert_eq!(
        steps,
        [("ADD two", 14, true, true), ("ADD one", 14, false, false)]
    );
}

#[tokio::test]
async fn events_have_dockerds_attributes() {
    let sample = Sample::new(&["one"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let v1 = format!("{name}:v1");
    engine.pull(&v1).await.unwrap();
    engine.images.tag(&v1, "x", "y").await.unwrap();
    engine
        .images
        .remove("x:y", &RemoveOptions::default())
        .await
        .unwrap();
    engine
        .images
        .remove(&v1, &RemoveOptions::default())
        .await
        .unwrap();
    let id = sample.id();
    let events: Vec<_> = engine
        .events()
        .await
        .into_iter()
        .map(|event| {
            let name = event
                .actor
                .attributes
                .get("name")
                .cloned()
                .unwrap_or_default();
            (
                event.action,
                event.actor.id,
                name,
                event.actor.attributes.contains_key("first"),
            )
        })
        .collect();
    let event = |action: &str, id: &str, name: &str, labels: bool| {
        (action.to_owned(), id.to_owned(), name.to_owned(), labels)
    };
    assert_eq!(
        events,
        [
            event("pull", &v1, &name, true),
            event("tag", &id, "x:y", true),
            event("untag", &id, &id, true),
            event("untag", &id, &id, true),
            event("untag", &id, &id, true),
            event("delete", &id, &id, false),
        ]
    );
}

#[tokio::test]
async fn documents_in_disguise_are_refused() {
    let shelf = Arc::new(Shelf::default());
    shelf.manifest(
        "a/b",
        "old",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        br#"{"schemaVersion":1}"#,
    );
    shelf.manifest(
        "a/b",
        "both",
        INDEX,
        br#"{"schemaVersion":2,"manifests":[],"config":{}}"#,
    );
    let server = shelf.serve().await;
    let engine = Engine::new();
    let name = format!("{}/a/b", server.address);
    let error = engine.pull(&format!("{name}:old")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("[DEPRECATION NOTICE] Docker Image Format v1"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::InvalidParameter);
    assert!(engine.pull(&format!("{name}:both")).await.is_err());
}

#[tokio::test]
async fn a_registry_is_asked_what_it_has() {
    let sample = Sample::new(&["one"]);
    let (engine, _server, name) = served(&[("v1", &sample)]).await;
    let name = format!("{name}:v1");
    let found = engine
        .images
        .distribution(&name, Auth::Anonymous)
        .await
        .unwrap();
    assert_eq!(found.descriptor.digest, sample.digest());
    assert_eq!(
        (
            found.platforms.len(),
            found.platforms[0].architecture.as_str()
        ),
        (1, "amd64")
    );
    assert_eq!(engine.images.count(), 0);
}

#[tokio::test]
async fn a_file_system_is_imported_from_an_address() {
    let content = tar("etc/hostname", "box");
    let served = content.clone();
    let server = common::Server::start(move |request| match request.path.as_str() {
        "/rootfs.tar" => common::Reply::new(200, served.clone()),
        _ => common::Reply::new(404, "nope"),
    })
    .await;
    let engine = Engine::new();
    let (sink, mut lines) = mpsc::channel(10);
    let address = format!("{}/rootfs.tar", server.address);
    let request = ImportRequest::new(&address, ("imp", ""), "", &[], None).unwrap();
    engine
        .images
        .import_from(&request, &address, &sink)
        .await
        .unwrap();
    assert_eq!(
        text(&lines.recv().await.unwrap()),
        format!("Downloading from {address}")
    );
    let inspected = engine
        .images
        .inspect("imp", &InspectOptions::default())
        .await
        .unwrap();
    assert_eq!(inspected.layers, [digest(&content).into()]);
    assert_eq!(inspected.config.comment, format!("Imported from {address}"));
    let wrong = format!("{}/x", server.address);
    let error = engine
        .images
        .import_from(&request, &wrong, &sink)
        .await
        .unwrap_err();
    assert_eq!(
        chain(&error),
        format!("failed to GET http://{wrong} with status 404 Not Found: nope")
    );
}

/// A server whose answers to requests for one blob wait until they are let go.
async fn held(sample: &Sample, blob: &[u8]) -> (common::Server, std::sync::mpsc::Sender<()>) {
    let shelf = Arc::new(Shelf::default());
    shelf.image("a/b", "v1", sample);
    let (release, held) = std::sync::mpsc::channel();
    let held = std::sync::Mutex::new(held);
    let path = digest(blob).to_string();
    let server = common::Server::start(move |request| {
        if request.path.contains(&path) {
            held.lock().unwrap().recv().ok();
        }
        shelf.answer(request)
    })
    .await;
    (server, release)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pull_that_is_given_up_leaves_nothing_and_does_not_end_another() {
    let sample = Sample::new(&["one", "two"]);
    let (server, release) = held(&sample, &sample.blobs[1]).await;
    let engine = Engine::new();
    let name = format!("{}/a/b:v1", server.address);
    let request = PullRequest::new(&name, "", None, Auth::Anonymous).unwrap();
    let pull = |images: arca_images::Images| {
        let request = request.clone();
        let (sink, lines) = mpsc::channel(100);
        (
            tokio::spawn(async move { images.pull(&request, &sink).await }),
            lines,
        )
    };
    let ((first, mut first_lines), (second, mut second_lines)) =
        (pull(engine.images.clone()), pull(engine.images.clone()));
    let short = digest(&sample.blobs[1]).short().to_owned();
    for lines in [&mut first_lines, &mut second_lines] {
        while text(&lines.recv().await.unwrap()) != format!("{short}: Pulling fs layer") {}
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    release.send(()).unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(
        engine
            .images
            .resolve(&name, None)
            .await
            .unwrap()
            .id
            .to_string(),
        sample.id()
    );
    engine
        .images
        .remove(&name, &RemoveOptions::default())
        .await
        .unwrap();

    let (alone, mut lines) = pull(engine.images.clone());
    while text(&lines.recv().await.unwrap()) != format!("{short}: Pulling fs layer") {}
    alone.abort();
    assert!(alone.await.unwrap_err().is_cancelled());
    drop(release);
    engine.images.reclaim().await.unwrap();
    assert_nothing_is_left(&engine, &sample);
}

#[tokio::test]
async fn what_was_pulled_is_pushed_byte_for_byte() {
    let sample = Sample::new(&["one", "two"]);
    let taker = Arc::new(Taker::default());
    taker.shelf.image("a/b", "v1", &sample);
    let server = taker.serve().await;
    let (engine, host) = (Engine::new(), server.address);
    engine.pull(&format!("{host}/a/b:v1")).await.unwrap();
    let (from, to) = (format!("{host}/a/b:v1"), format!("{host}/c"));
    engine.images.tag(&from, &to, "v2").await.unwrap();
    *taker.refusals.lock().unwrap() = 2;
    let (lines, outcome) = engine.push(&format!("{to}:v2")).await;
    outcome.unwrap();
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("Retrying in 1 second")),
        "{lines:?}"
    );
    let last = format!("pushed v2: {}", sample.digest());
    assert_eq!(*lines.last().unwrap(), last);
    let taken = taker.taken.lock().unwrap();
    assert_eq!(taken["/v2/c/manifests/v2"], sample.manifest);
    for blob in sample.blobs.iter().chain([&sample.config]) {
        assert_eq!(taken[&format!("/v2/c/blobs/{}", digest(blob))], *blob);
    }
    assert!(server.lines().iter().any(|line| line.contains("from=a/b")));
}

#[tokio::test]
async fn an_index_is_pushed_whole_when_all_of_it_is_here() {
    let amd64 = Sample::with(&["one"], "amd64", "");
    let arm64 = Sample::with(&["one", "two"], "arm64", "");
    let taker = Arc::new(Taker::default());
    let samples = [("amd64", &amd64), ("arm64", &arm64)];
    let index = taker.shelf.index("a/b", "multi", &samples);
    let server = taker.serve().await;
    let (engine, name) = (Engine::new(), format!("{}/a/b:multi", server.address));
    engine.pull_for(&name, Some("linux/amd64")).await.unwrap();
    let (lines, outcome) = engine.push(&name).await;
    outcome.unwrap();
    let instead = format!("{} instead of {}", amd64.digest(), digest(&index));
    assert_eq!(*lines.last().unwrap(), instead);
    let pushed = |tag: &str| taker.taken.lock().unwrap()[tag].clone();
    assert_eq!(pushed("/v2/a/b/manifests/multi"), amd64.manifest);

    engine.pull_for(&name, Some("linux/arm64")).await.unwrap();
    let (lines, outcome) = engine.push(&name).await;
    outcome.unwrap();
    let last = format!("pushed multi: {}", digest(&index));
    assert_eq!(*lines.last().unwrap(), last);
    assert_eq!(pushed("/v2/a/b/manifests/multi"), index);
    let arm64 = (
        format!("/v2/a/b/manifests/{}", arm64.digest()),
        arm64.manifest,
    );
    assert_eq!(pushed(&arm64.0), arm64.1);
}

#[tokio::test]
async fn layers_that_are_not_compressed_are_once() {
    let taker = Arc::new(Taker::default());
    let server = taker.serve().await;
    let (engine, name) = (Engine::new(), format!("{}/made", server.address));
    let request = ImportRequest::new("-", (&name, "x"), "", &[], None).unwrap();
    let (sink, _lines) = mpsc::channel(100);
    let archive = stream(tar("file", &"content ".repeat(10_000)));
    engine
        .images
        .import(&request, archive, &sink)
        .await
        .unwrap();
    let (first, outcome) = engine.push(&format!("{name}:x")).await;
    outcome.unwrap();
    assert!(
        first.iter().any(|line| line.ends_with(": Pushed")),
        "{first:?}"
    );
    let manifest = taker.taken.lock().unwrap()["/v2/made/manifests/x"].clone();
    let manifest = String::from_utf8(manifest).unwrap();
    assert!(manifest.contains("layer.v1.tar+gzip"), "{manifest}");

    // What the push made is kept: the next one knows what the registry has, and a collection leaves it.
    engine.images.reclaim().await.unwrap();
    let engine = engine.restart();
    let (again, outcome) = engine.push(&format!("{name}:x")).await;
    outcome.unwrap();
    assert!(
        again
            .iter()
            .any(|line| line.ends_with("Layer already exists")),
        "{again:?}"
    );
    assert_eq!(again.last(), first.last());
    let patches = server
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("PATCH"));
    assert_eq!(patches.count(), 1);
}

#[tokio::test]
async fn a_registry_that_refuses_is_not_asked_again() {
    let sample = Sample::new(&["one"]);
    let server = common::Server::start(move |request| match request.method.as_str() {
        "HEAD" => common::Reply::new(404, ""),
        "POST" => common::Reply::new(
            403,
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
        ),
        _ => common::Reply::new(200, "{}"),
    })
    .await;
    let (engine, source, name) = served(&[("v1", &sample)]).await;
    engine.pull(&format!("{name}:v1")).await.unwrap();
    drop(source);
    let to = format!("{}/x", server.address);
    engine
        .images
        .tag(&format!("{name}:v1"), &to, "y")
        .await
        .unwrap();
    let (_, outcome) = engine.push(&format!("{to}:y")).await;
    let error = outcome.unwrap_err();
    assert!(chain(&error).starts_with("denied"), "{}", chain(&error));
    let posts = server
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("POST"));
    assert_eq!(posts.count(), 1);
}
