//! What is left when arcad or the shim is gone.

use std::io::Write;

use crate::bed::{Bed, Wish, client, expect, interactive, open, read_all, unframe};
use arca_runtime::{AdoptedState, Happening};

/// Makes the bed's runtime one that has just been started over what the last one left.
async fn restart(bed: &mut Bed) -> Vec<arca_runtime::Adopted> {
    bed.runtime.close().await;
    bed.runtime = open(bed.root.path());
    bed.events = bed.runtime.subscribe();
    bed.runtime.adopt(false).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_and_its_sessions_survive_arcad() {
    let mut bed = Bed::new();
    let (mut ours, attached) = client(true);
    let (id, started) = bed.start(&["cat"], &interactive(), vec![attached]).await;
    let (mut exec_side, attached) = client(true);
    let (exec, exec_started) = bed
        .exec(&id, &["cat"], false, Some(attached))
        .await
        .unwrap();

    let adopted = restart(&mut bed).await;
    assert_eq!(adopted.len(), 1);
    let AdoptedState::Live {
        pid,
        at,
        paused,
        ref execs,
        ..
    } = adopted[0].state
    else {
        panic!("{adopted:?}");
    };
    assert_eq!((pid, at, paused), (started.pid, started.at, false));
    assert_eq!(*execs, [(exec, exec_started.pid)]);

    ours.write_all(b"still here\n").unwrap();
    expect(&mut ours, "still here\n");
    exec_side.write_all(b"me too\n").unwrap();
    exec_side.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(unframe(&read_all(exec_side).join().unwrap()).0, b"me too\n");
    assert!(matches!(bed.next().await, Happening::ExecExited(_)));

    let (new, attached) = client(true);
    bed.exec(&id, &["echo", "new"], false, Some(attached))
        .await
        .unwrap();
    assert_eq!(unframe(&read_all(new).join().unwrap()).0, b"new\n");
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(bed.end(&id).await.code, 0);
    assert_eq!(bed.logged(&id), "still here\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_without_arcad_is_found_later() {
    let mut bed = Bed::new();
    let (mut ours, attached) = client(true);
    let script = "read line; echo bye; exit 4";
    let (id, _) = bed
        .start(&["sh", "-c", script], &interactive(), vec![attached])
        .await;
    bed.runtime.close().await;
    ours.write_all(b"now\n").unwrap();
    assert_eq!(unframe(&read_all(ours).join().unwrap()).0, b"bye\n");
    let adopted = restart(&mut bed).await;
    let AdoptedState::Ended { status, .. } = adopted[0].state else {
        panic!("{adopted:?}");
    };
    assert_eq!(status.code, 4);
    assert_eq!(bed.logged(&id), "bye\n");
    bed.runtime.remove(&id).await.unwrap();
    assert!(bed.runtime.adopt(false).await.unwrap().is_empty());
}

/// The number of the shim's process.
fn shim_of(bed: &Bed, id: &arca_types::ContainerId) -> rustix::process::Pid {
    let path = bed
        .root
        .path()
        .join("shims")
        .join(id.as_str())
        .join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let pid = i32::try_from(state["shim_pid"].as_i64().unwrap()).unwrap();
    rustix::process::Pid::from_raw(pid).unwrap()
}

/// Waits for a process to end.
async fn gone(pid: i32) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let Ok(process) = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) else {
        return;
    };
    let limit = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let wait = move || poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit));
    let ended = tokio::task::spawn_blocking(wait).await.unwrap();
    assert_eq!(ended, Ok(1), "process {pid} is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_is_noticed_and_its_container_ends() {
    let mut bed = Bed::new();
    let (id, started) = bed
        .start(&["sleep", "1000"], &Wish::default(), vec![])
        .await;
    let kill = rustix::process::Signal::KILL;
    rustix::process::kill_process(shim_of(&bed, &id), kill).unwrap();
    let Happening::ShimLost { reason, status } = bed.next().await else {
        panic!("the loss was not noticed");
    };
    assert!(reason.contains("signal: 9"), "{reason}");
    assert_eq!(status.code, 137);
    gone(started.pid).await;
    bed.runtime.remove(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_killed_while_arcad_was_away_is_noticed_when_it_is_back() {
    let mut bed = Bed::new();
    let (id, started) = bed
        .start(&["sleep", "1000"], &Wish::default(), vec![])
        .await;
    bed.runtime.close().await;
    let kill = rustix::process::Signal::KILL;
    rustix::process::kill_process(shim_of(&bed, &id), kill).unwrap();
    let adopted = restart(&mut bed).await;
    assert!(matches!(adopted[0].state, AdoptedState::Lost { status, .. } if status.code == 137));
    gone(started.pid).await;
    bed.runtime.remove(&id).await.unwrap();
}
