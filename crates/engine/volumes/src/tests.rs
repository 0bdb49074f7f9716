//! Volumes on a real file system, with a real store.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use arca_events::Events;
use arca_store::Store;
use arca_types::{ContainerId, SystemClock};

use crate::{Config, CreateRequest, Error, Filter, Volumes};

fn open(root: &Path) -> Volumes {
    let store = Store::open(root.join("db")).unwrap();
    let clock = Arc::new(SystemClock);
    let events = Events::open(&store, clock.clone(), 100).unwrap();
    Volumes::open(
        Config {
            root: root.join("volumes"),
            ..Config::default()
        },
        &store,
        events,
        clock,
    )
    .unwrap()
}

fn named(name: &str) -> CreateRequest {
    CreateRequest {
        name: Some(name.to_owned()),
        ..CreateRequest::default()
    }
}

fn filter(name: &str, value: &str) -> BTreeMap<String, Vec<String>> {
    [(name.to_owned(), vec![value.to_owned()])].into()
}

#[tokio::test]
async fn a_volume_is_made_once_and_survives_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let first = {
        let volumes = open(root.path());
        let first = volumes.create(named("data")).await.unwrap();
        assert_eq!(volumes.create(named("data")).await.unwrap(), first);
        first
    };
    let volumes = open(root.path());
    assert_eq!(volumes.get("data").unwrap(), first);
    let mode = std::fs::metadata(volumes.path("data"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[tokio::test]
async fn a_volume_in_use_stays() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    volumes.create(named("data")).await.unwrap();
    let container = ContainerId::random();
    volumes.acquire("data", &container).unwrap();

    let error = volumes.remove("data", true).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("remove data: volume is in use - [{container}]")
    );

    volumes.release("data", &container);
    volumes.remove("data", false).await.unwrap();
    assert!(!volumes.path("data").exists());
    assert!(matches!(
        volumes.remove("data", false).await,
        Err(Error::NotFound(_))
    ));
    volumes.remove("data", true).await.unwrap();
}

#[tokio::test]
async fn only_anonymous_volumes_are_pruned_unless_all_are_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    volumes.create(named("kept")).await.unwrap();
    let anonymous = volumes.create(CreateRequest::default()).await.unwrap();
    std::fs::write(volumes.path(&anonymous.name).join("file"), b"12345").unwrap();

    let pruned = volumes.prune(&Filter::default()).await.unwrap();
    assert_eq!(
        (pruned.names, pruned.bytes),
        (vec![anonymous.name.clone()], 5)
    );

    let all = Filter::for_prune(filter("all", "true")).unwrap();
    assert_eq!(volumes.prune(&all).await.unwrap().names, ["kept"]);
}

#[tokio::test]
async fn what_is_unused_is_dangling() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    volumes.create(named("used")).await.unwrap();
    volumes.create(named("free")).await.unwrap();
    volumes.acquire("used", &ContainerId::random()).unwrap();
    let names = |value| {
        let filter = Filter::for_list(filter("dangling", value)).unwrap();
        let listed = volumes.list(&filter).unwrap();
        listed
            .into_iter()
            .map(|listed| listed.volume.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (names("true"), names("false")),
        (vec!["free".to_owned()], vec!["used".to_owned()])
    );
}

#[tokio::test]
async fn names_drivers_and_options_are_checked() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    assert!(matches!(
        volumes.create(named("x")).await,
        Err(Error::NameTooShort(_))
    ));
    assert!(matches!(
        volumes.create(named("../x")).await,
        Err(Error::NameInvalid(_))
    ));
    let driver = CreateRequest {
        driver: Some("nfs".to_owned()),
        ..named("data")
    };
    assert!(matches!(
        volumes.create(driver).await,
        Err(Error::Driver { .. })
    ));
    let options = Some([("type".to_owned(), "tmpfs".to_owned())].into());
    let option = CreateRequest {
        options,
        ..named("data")
    };
    assert!(matches!(
        volumes.create(option).await,
        Err(Error::MissingOption { .. })
    ));
    assert!(matches!(volumes.get("data"), Err(Error::NotFound(_))));
}

#[tokio::test]
async fn an_empty_volume_gets_what_the_image_has() {
    let root = tempfile::tempdir().unwrap();
    let image = root.path().join("image");
    std::fs::create_dir_all(image.join("srv/data")).unwrap();
    std::fs::set_permissions(image.join("srv/data"), PermissionsExt::from_mode(0o1770)).unwrap();
    std::os::unix::fs::chown(image.join("srv/data"), Some(33), Some(44)).unwrap();
    std::fs::write(image.join("srv/data/index"), b"hello").unwrap();
    let volumes = open(root.path());
    volumes.create(named("data")).await.unwrap();
    let copy = |path: &str| {
        let image = arca_archive::open_root(&image).unwrap();
        volumes.copy_up("data", image, path.to_owned())
    };

    copy("/not/there").await.unwrap();
    copy("/srv/data").await.unwrap();

    let data = std::fs::metadata(volumes.path("data")).unwrap();
    assert_eq!(
        (data.mode() & 0o7777, data.uid(), data.gid()),
        (0o1770, 33, 44)
    );
    let file = volumes.path("data").join("index");
    assert_eq!(std::fs::read(&file).unwrap(), b"hello");

    std::fs::write(&file, b"changed").unwrap();
    copy("/srv/data").await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"changed");
}

#[tokio::test]
async fn a_removal_that_was_cut_short_is_finished_or_taken_back() {
    let root = tempfile::tempdir().unwrap();
    {
        let volumes = open(root.path());
        for name in ["begun", "lost"] {
            volumes.create(named(name)).await.unwrap();
        }
        std::fs::write(volumes.path("begun").join("file"), b"kept").unwrap();
    }
    let at = |name: &str| root.path().join("volumes").join(name);
    std::fs::rename(at("begun"), at(".deleted-0123456789abcdef-begun")).unwrap();
    std::fs::create_dir_all(at(".deleted-0123456789abcdef-gone/_data")).unwrap();
    std::fs::remove_dir_all(at("lost")).unwrap();

    let volumes = open(root.path());

    assert_eq!(
        std::fs::read(volumes.path("begun").join("file")).unwrap(),
        b"kept"
    );
    assert!(volumes.path("lost").is_dir());
    assert!(!at("gone").exists());
    assert!(matches!(volumes.get("gone"), Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_volume_that_was_never_recorded_leaves_no_directory() {
    let root = tempfile::tempdir().unwrap();
    {
        open(root.path()).create(named("whole")).await.unwrap();
    }
    let at = |name: &str| root.path().join("volumes").join(name);
    for name in ["half", "whole"] {
        std::fs::write(at(&format!(".making-{name}")), "").unwrap();
    }
    std::fs::create_dir_all(at("half/_data")).unwrap();
    // No note: whoever put it there may want it.
    std::fs::create_dir_all(at("found/_data")).unwrap();
    std::fs::write(at("found/_data/f"), "theirs").unwrap();

    let volumes = open(root.path());

    assert!(!at("half").exists() && at("whole/_data").exists());
    assert!(!at(".making-half").exists() && !at(".making-whole").exists());
    volumes.create(named("found")).await.unwrap();
    let kept = std::fs::read(volumes.path("found").join("f")).unwrap();
    assert_eq!(kept, b"theirs");
}

#[tokio::test]
async fn data_that_are_elsewhere_are_never_pruned() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    let far = [("type", "tmpfs"), ("device", "tmpfs")];
    let options = far.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let elsewhere = CreateRequest {
        options: Some(options.into()),
        ..named("elsewhere")
    };
    volumes.create(elsewhere).await.unwrap();
    volumes.create(named("here")).await.unwrap();
    let all = Filter::for_prune(filter("all", "true")).unwrap();
    assert_eq!(volumes.prune(&all).await.unwrap().names, ["here"]);
    assert_eq!(volumes.size("elsewhere").await.unwrap(), None);
    volumes.remove("elsewhere", false).await.unwrap();
}

#[tokio::test]
async fn what_is_made_and_removed_is_told() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    let events = volumes.0.events.clone();
    let everything = arca_events::Filter::default();
    let mut told = events
        .subscribe(arca_events::Range::default(), everything)
        .await
        .unwrap();
    volumes.create(named("data")).await.unwrap();
    volumes.create(named("data")).await.unwrap();
    volumes.remove("data", false).await.unwrap();
    volumes.prune(&Filter::default()).await.unwrap();
    for (action, id) in [("create", "data"), ("destroy", "data"), ("prune", "")] {
        let event = told.next().await.unwrap().unwrap();
        assert_eq!(
            (event.action.as_str(), event.actor.id.as_str()),
            (action, id)
        );
    }
}
