//! Images go.

use arca_images::{Error, Filters, PruneFilters, RemoveOptions, Removed};
use arca_types::{Classify as _, ErrorKind, ImageId, Timestamp};

use crate::kit::{Engine, Sample, digest};
use crate::{assert_nothing_is_left, container, force, served, untagged};

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
async fn one_platform_goes_and_the_name_keeps_the_other() {
    let (amd, arm) = (
        Sample::with(&["base", "amd"], "amd64", ""),
        Sample::with(&["base", "arm"], "arm64", ""),
    );
    let shelf = std::sync::Arc::new(crate::shelf::Shelf::default());
    shelf.index("a/b", "v1", &[("amd64", &amd), ("arm64", &arm)]);
    let server = shelf.serve().await;
    let engine = Engine::new();
    let name = format!("{}/a/b:v1", server.address);
    for platform in ["linux/amd64", "linux/arm64"] {
        engine.pull_for(&name, Some(platform)).await.unwrap();
    }
    let only = |platform: &str| RemoveOptions {
        platforms: vec![platform.parse().unwrap()],
        ..RemoveOptions::default()
    };
    let removed = engine
        .images
        .remove(&name, &only("linux/arm64"))
        .await
        .unwrap();
    assert_eq!(removed.first(), Some(&Removed::Deleted(arm.id())));
    let left = engine.images.resolve(&name, None).await.unwrap();
    assert_eq!(left.id.to_string(), amd.id());
    assert_eq!(left.repo_digests.len(), 1);
    assert!(
        engine
            .storage
            .blob(&crate::kit::digest(&arm.blobs[1]))
            .is_none()
    );
    assert!(
        engine
            .storage
            .blob(&crate::kit::digest(&amd.blobs[0]))
            .is_some()
    );
    let again = engine.images.remove(&name, &only("linux/arm64")).await;
    assert!(matches!(
        again,
        Err(arca_images::Error::WrongPlatform { .. })
    ));
    engine
        .images
        .remove(&name, &only("linux/amd64"))
        .await
        .unwrap();
    engine.assert_empty().await;
}
