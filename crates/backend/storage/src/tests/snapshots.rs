//! Containers' writable layers, with either driver.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::common::{self, Fixture, gzip, layer, packed};
use crate::{Change, ChangeKind, Driver, Error, Lease, Rootfs};
use arca_types::{ContainerId, DiffId};
use rustix::fs::{AtFlags, Mode, OFlags};

async fn image(fixture: &Fixture) -> (Lease, Vec<DiffId>) {
    let lease = fixture.storage.lease();
    let tree = tempfile::tempdir().unwrap();
    let at = |path: &str| tree.path().join(path);
    fs::create_dir_all(at("etc/conf.d")).unwrap();
    fs::create_dir_all(at("old/sub")).unwrap();
    fs::create_dir(at("data")).unwrap();
    for (path, content) in [
        ("etc/passwd", "root"),
        ("etc/conf.d/a", "a"),
        ("old/sub/f", "f"),
        ("data/1", "1"),
        ("data/2", "2"),
    ] {
        fs::write(at(path), content).unwrap();
    }
    symlink("etc/passwd", at("link")).unwrap();
    let bottom = fixture.ingest(&lease, &packed(&tree)).await.diff_id;
    let top = layer(&[
        ("etc/conf.d/b", "b"),
        ("etc/conf.d/.wh.a", ""),
        ("etc/shadow", "x"),
    ]);
    let top = fixture.ingest(&lease, &gzip(&top)).await.diff_id;
    (lease, vec![bottom, top])
}

/// The path by which the kernel reaches into a view.
fn inside(root: &OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()))
}

fn names(root: &OwnedFd, path: &str) -> Vec<String> {
    let entries = fs::read_dir(inside(root).join(path)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const DRIVERS: [Option<Driver>; 2] = [None, Some(Driver::Vfs)];

#[tokio::test]
async fn a_container_sees_its_image_and_keeps_what_it_writes() {
    for driver in DRIVERS {
        let mut fixture = Fixture::with(driver);
        let (lease, layers) = image(&fixture).await;
        let id = ContainerId::random();
        fixture.storage.prepare(&id, &layers).await.unwrap();
        let again = fixture.storage.prepare(&id, &layers).await.unwrap_err();
        assert!(matches!(again, Error::SnapshotExists(_)), "{again}");
        assert_eq!(fixture.storage.usage(&id).await.unwrap(), 0);

        let root = fixture.storage.open_rootfs(&id).await.unwrap();
        assert_eq!(names(&root, "etc/conf.d"), ["b"]);
        assert_eq!(
            names(&root, ""),
            [
                ".dockerenv",
                "data",
                "dev",
                "etc",
                "link",
                "old",
                "proc",
                "sys"
            ]
        );
        fs::write(inside(&root).join("data/new"), "12345").unwrap();
        drop(root);
        drop(lease);
        fixture.restart();

        let root = fixture.storage.open_rootfs(&id).await.unwrap();
        assert_eq!(common::read(&root, "data/new"), "12345");
        drop(root);
        assert_eq!(fixture.storage.usage(&id).await.unwrap(), 5, "{driver:?}");
        match fixture.storage.rootfs(&id).unwrap() {
            Rootfs::Overlay { lower, .. } => assert_eq!((lower.len(), driver), (3, None)),
            Rootfs::Directory(path) => assert!(path.join("data/new").exists()),
        }
        fixture.storage.remove(&id).await.unwrap();
        fixture.storage.remove(&id).await.unwrap();
        assert!(matches!(
            fixture.storage.rootfs(&id),
            Err(Error::NoSnapshot(_))
        ));
        fixture.until_idle().await;
        assert_eq!(fixture.count("snapshots"), 0);
    }
}

#[tokio::test]
async fn an_image_cannot_be_written_to() {
    let fixture = Fixture::new();
    let (_lease, layers) = image(&fixture).await;
    let root = fixture.storage.open_image(&layers).await.unwrap();
    let error = fs::write(inside(&root).join("data/new"), "x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let missing = vec![common::sha256(b"no such layer").into()];
    assert!(matches!(
        fixture.storage.open_image(&missing).await,
        Err(Error::NoLayer(_))
    ));
}

#[tokio::test]
async fn changes_are_told_as_dockerd_tells_them() {
    for driver in DRIVERS {
        let fixture = Fixture::with(driver);
        let (_lease, layers) = image(&fixture).await;
        let id = ContainerId::random();
        fixture.storage.prepare(&id, &layers).await.unwrap();
        assert_eq!(fixture.storage.changes(&id).await.unwrap(), []);

        let root = fixture.storage.open_rootfs(&id).await.unwrap();
        let at = |path: &str| inside(&root).join(path);
        fs::write(at("etc/passwd"), "changed").unwrap();
        fs::remove_file(at("etc/shadow")).unwrap();
        fs::remove_dir_all(at("old")).unwrap();
        fs::remove_dir_all(at("data")).unwrap();
        fs::create_dir(at("data")).unwrap();
        fs::write(at("data/2"), "2").unwrap();
        fs::create_dir_all(at("new/deep")).unwrap();
        fs::write(at("new/deep/file"), "x").unwrap();
        fs::set_permissions(at("etc/conf.d"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::remove_file(at("link")).unwrap();
        fs::create_dir(at("link")).unwrap();
        // Touched, but the same again.
        let (fd, flags) = (&root, AtFlags::empty());
        let now = rustix::fs::statat(fd, "etc/conf.d/b", flags)
            .unwrap()
            .st_mtime;
        assert_eq!(now, 1_000_000);
        rustix::fs::chmodat(fd, "etc/conf.d/b", Mode::from_raw_mode(0o644), flags).unwrap();
        drop(root);

        let found = fixture.storage.changes(&id).await.unwrap();
        let change = |path: &str, kind| Change {
            path: path.to_owned(),
            kind,
        };
        use ChangeKind::{Added, Deleted, Modified};
        let expected = [
            change("/data", Modified),
            change("/data/1", Deleted),
            change("/data/2", Modified),
            change("/etc", Modified),
            change("/etc/conf.d", Modified),
            change("/etc/passwd", Modified),
            change("/etc/shadow", Deleted),
            change("/link", Modified),
            change("/new", Added),
            change("/new/deep", Added),
            change("/new/deep/file", Added),
            change("/old", Deleted),
        ];
        assert_eq!(found, expected, "{driver:?}");
    }
}

#[tokio::test]
async fn a_copied_view_stays_while_it_is_read() {
    let fixture = Fixture::with(Some(Driver::Vfs));
    let (_lease, layers) = image(&fixture).await;
    let first = fixture.storage.open_image(&layers).await.unwrap();
    let second = fixture.storage.open_image(&layers).await.unwrap();
    drop(second);
    let third = fixture.storage.open_image(&layers).await.unwrap();
    fixture.storage.reclaimed().await.unwrap();
    assert_eq!(common::read(&first, "etc/conf.d/b"), "b");
    assert_eq!(common::read(&third, "etc/conf.d/b"), "b");
    assert_eq!(fixture.count("tmp"), 2);
}

#[tokio::test]
async fn an_overlay_of_many_layers_can_be_mounted() {
    let fixture = Fixture::new();
    let lease = fixture.storage.lease();
    let mut layers = Vec::new();
    for number in 0..128 {
        let archive = layer(&[(&format!("f{number}"), "x"), ("last", &number.to_string())]);
        layers.push(fixture.ingest(&lease, &archive).await.diff_id);
    }
    let id = ContainerId::random();
    fixture.storage.prepare(&id, &layers).await.unwrap();
    let root = fixture.storage.open_rootfs(&id).await.unwrap();
    assert_eq!(common::read(&root, "last"), "127");
    assert_eq!(common::read(&root, "f0"), "x");
    let flags = OFlags::PATH;
    assert!(rustix::fs::openat(&root, "f127", flags, Mode::empty()).is_ok());
}

#[tokio::test]
async fn a_view_leaves_the_work_directory_fit_for_the_next_mount() {
    let fixture = Fixture::new();
    let (_lease, layers) = image(&fixture).await;
    let id = ContainerId::random();
    fixture.storage.prepare(&id, &layers).await.unwrap();
    drop(fixture.storage.open_rootfs(&id).await.unwrap());
    let Rootfs::Overlay { work, .. } = fixture.storage.rootfs(&id).unwrap() else {
        panic!("not an overlay")
    };
    assert!(!work.join("work/incompat").exists());
    // As if arcad had been killed just after the mount.
    fs::create_dir_all(work.join("work/incompat/volatile")).unwrap();
    fixture.storage.rootfs(&id).unwrap();
    assert!(!work.join("work/incompat").exists());
    drop(fixture.storage.open_rootfs(&id).await.unwrap());
}
