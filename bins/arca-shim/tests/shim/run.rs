//! Running containers: exit codes, output, input, sessions.

use std::io::{Read, Write};

use crate::bed::{Bed, Wish, client, expect, interactive, read_all, send_all, tty, unframe, until};
use arca_runtime::{AttachEnd, Happening};
use arca_types::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_and_all_output_are_there_at_the_end() {
    let mut bed = Bed::new();
    let script = "echo out; echo err >&2; exec sh -c 'yes line | head -n 50000; exit 7'";
    let (ours, attached) = client(true);
    let output = read_all(ours);
    let (id, started) = bed
        .start(&["sh", "-c", script], &Wish::default(), vec![attached])
        .await;
    let status = bed.end(&id).await;
    assert_eq!((status.code, status.signal), (7, None));
    let log = bed.logged(&id);
    assert!(log.starts_with("out\n") || log.starts_with("err\n"));
    assert_eq!(log.len(), 8 + 5 * 50_000);
    let (stdout, stderr) = unframe(&output.join().unwrap());
    assert_eq!(
        (stdout.len(), stderr.as_slice()),
        (4 + 5 * 50_000, &b"err\n"[..])
    );
    for session in started.sessions {
        assert_eq!(session.ended().await, AttachEnd::Ended);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_told_as_128_and_its_number() {
    let mut bed = Bed::new();
    let (id, started) = bed
        .start(&["sleep", "1000"], &Wish::default(), vec![])
        .await;
    assert!(bed.runtime.pids(&id).await.unwrap().contains(&started.pid));
    assert!(bed.runtime.stats(&id).await.unwrap().memory.usage > 0);
    bed.runtime.kill(&id, None, Signal::KILL).await.unwrap();
    let status = bed.end(&id).await;
    assert_eq!((status.code, status.signal), (137, Some(9)));
    let error = bed.runtime.kill(&id, None, Signal::KILL).await.unwrap_err();
    assert_eq!(error.to_string(), format!("container {id} is not running"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_leaves_nothing() {
    let bed = Bed::new();
    let id = arca_types::ContainerId::random();
    let (ours, attached) = client(true);
    let spec = bed.spec(&id, &["nosuch"], &Wish::default());
    let error = bed
        .runtime
        .start(&id, spec, vec![attached])
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), Some(127), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("failed to create shim task: "),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("exec: \"nosuch\": executable file not found in $PATH")
    );
    assert!(!bed.root.path().join("shims").join(id.as_str()).exists());
    assert_eq!(read_all(ours).join().unwrap(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn input_ends_when_the_client_closes_its_side_and_output_goes_on() {
    let mut bed = Bed::new();
    let (mut ours, mut attached) = client(true);
    attached.spec.early = b"early\n".to_vec();
    let (id, _) = bed
        .start(
            &["sh", "-c", "cat; echo done"],
            &interactive(),
            vec![attached],
        )
        .await;
    ours.write_all(b"hello\n").unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let (stdout, _) = unframe(&read_all(ours).join().unwrap());
    assert_eq!(stdout, b"early\nhello\ndone\n");
    assert_eq!(bed.end(&id).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_megabytes_come_back_as_they_were_sent() {
    let mut bed = Bed::new();
    let mut data = vec![0; 200 << 20];
    for (index, word) in data.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(
            &(index as u64)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_le_bytes(),
        );
    }
    let (id, _) = bed
        .start(&["sleep", "1000"], &Wish::default(), vec![])
        .await;
    let (ours, attached) = client(true);
    let begun = std::time::Instant::now();
    bed.exec(&id, &["cat"], false, Some(attached))
        .await
        .unwrap();
    let sent = send_all(&ours, data.clone());
    let output = read_all(ours);
    sent.join().unwrap();
    let output = output.join().unwrap();
    println!("exec cat of 200 MB: {:?}", begun.elapsed());
    assert!(unframe(&output).0 == data);
    assert!(matches!(bed.next().await, Happening::ExecExited(exit) if exit.status.code == 0));
    bed.kill(&id).await;

    let (ours, attached) = client(false);
    let mut wish = interactive();
    wish.log_options = [("max-size", "10m"), ("max-file", "3"), ("compress", "true")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let (id, _) = bed.start(&["cat"], &wish, vec![attached]).await;
    data.truncate(20 << 20);
    let sent = send_all(&ours, data.clone());
    let output = read_all(ours);
    sent.join().unwrap();
    assert!(output.join().unwrap() == data);
    assert_eq!(bed.end(&id).await.code, 0);
    // The shim goes on until the rotated files are compressed.
    let rotated = bed.log(&id).with_extension("log.2.gz");
    until(&rotated, std::path::Path::exists).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_its_size_and_detach_keys() {
    let mut bed = Bed::new();
    let (mut ours, attached) = client(false);
    let script = "stty size; while read line; do stty size; done";
    let (id, started) = bed
        .start(&["sh", "-c", script], &tty(), vec![attached])
        .await;
    expect(&mut ours, "30 90\r\n");
    let size = arca_runtime::ConsoleSize {
        width: 100,
        height: 40,
    };
    bed.runtime.resize(&id, None, size).await.unwrap();
    ours.write_all(b"\n").unwrap();
    expect(&mut ours, "40 100\r\n");
    ours.write_all(&[16]).unwrap();
    ours.write_all(&[17]).unwrap();
    let mut rest = Vec::new();
    ours.read_to_end(&mut rest).unwrap();
    for session in started.sessions {
        assert_eq!(session.ended().await, AttachEnd::Detached);
    }
    // Somebody else may go on.
    let (mut other, attached) = client(false);
    bed.runtime.attach(&id, None, attached).await.unwrap();
    other.write_all(b"\n").unwrap();
    expect(&mut other, "40 100\r\n");
    bed.kill(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_clients_see_the_same_and_a_vanished_one_holds_up_nobody() {
    let mut bed = Bed::new();
    let (first, attached) = client(true);
    let (lost, vanishing) = client(true);
    let script = "read line; yes line | head -n 400000; echo end";
    let wish = interactive();
    let (id, _) = bed
        .start(&["sh", "-c", script], &wish, vec![attached, vanishing])
        .await;
    let (mut second, attached) = client(true);
    bed.runtime.attach(&id, None, attached).await.unwrap();
    // It never reads, and goes away when the container waits for it.
    second.write_all(b"go\n").unwrap();
    let first = read_all(first);
    let second = read_all(second);
    drop(lost);
    let status = bed.end(&id).await;
    assert_eq!(status.code, 0);
    let (one, two) = (
        unframe(&first.join().unwrap()).0,
        unframe(&second.join().unwrap()).0,
    );
    assert_eq!(one.len(), 5 * 400_000 + 4);
    assert_eq!(one, two);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_gets_everything_after_the_end() {
    let mut bed = Bed::new();
    let (ours, attached) = client(true);
    let script = "yes line | head -n 100000";
    let (id, _) = bed
        .start(&["sh", "-c", script], &Wish::default(), vec![attached])
        .await;
    // Nothing is read until the container is gone, if what it wrote fits.
    assert_eq!(bed.end(&id).await.code, 0);
    let (stdout, _) = unframe(&read_all(ours).join().unwrap());
    assert_eq!(stdout.len(), 500_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_has_its_own_exit_code_and_errors() {
    let mut bed = Bed::new();
    let (id, _) = bed
        .start(&["sleep", "1000"], &Wish::default(), vec![])
        .await;
    let (ours, attached) = client(true);
    let script = "echo out; echo err >&2; exit 3";
    let (exec, started) = bed
        .exec(&id, &["sh", "-c", script], false, Some(attached))
        .await
        .unwrap();
    let (stdout, stderr) = unframe(&read_all(ours).join().unwrap());
    assert_eq!(
        (stdout.as_slice(), stderr.as_slice()),
        (&b"out\n"[..], &b"err\n"[..])
    );
    let Happening::ExecExited(exit) = bed.next().await else {
        panic!("no end of the exec");
    };
    assert_eq!((exit.exec, exit.status.code), (exec, 3));
    assert_eq!(started.session.unwrap().ended().await, AttachEnd::Ended);

    let error = bed.exec(&id, &["nosuch"], false, None).await.unwrap_err();
    assert_eq!(error.exit_code(), Some(127));
    assert!(
        error
            .to_string()
            .contains("exec: \"nosuch\": executable file not found in $PATH")
    );
    // Others that hold the output open are not waited for.
    let (ours, attached) = client(true);
    let script = "sleep 1000 & echo hi";
    bed.exec(&id, &["sh", "-c", script], false, Some(attached))
        .await
        .unwrap();
    assert_eq!(unframe(&read_all(ours).join().unwrap()).0, b"hi\n");
    bed.kill(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_paused_and_goes_on() {
    let mut bed = Bed::new();
    let (mut ours, attached) = client(true);
    let (id, _) = bed.start(&["cat"], &interactive(), vec![attached]).await;
    bed.runtime.pause(&id).await.unwrap();
    assert!(bed.runtime.pause(&id).await.is_err());
    bed.runtime.resume(&id).await.unwrap();
    ours.write_all(b"on\n").unwrap();
    expect(&mut ours, "on\n");
    let limits = serde_json::json!({ "pids": { "limit": 50 } });
    bed.runtime.update(&id, &limits).await.unwrap();
    assert_eq!(bed.runtime.stats(&id).await.unwrap().pids.limit, Some(50));
    bed.kill(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn want_of_memory_is_told() {
    let mut bed = Bed::new();
    let wish = Wish {
        memory: Some(16 << 20),
        ..Wish::default()
    };
    // The program is killed for want of memory, and it is the init process.
    let (id, _) = bed
        .start(&["sh", "-c", "exec tail /dev/zero"], &wish, vec![])
        .await;
    let mut told = false;
    loop {
        match bed.next().await {
            Happening::Oom => told = true,
            Happening::Exited(status) => {
                assert!(status.oom_killed && told);
                assert_eq!(status.code, 137);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    bed.runtime.remove(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_detaches_without_reading_holds_up_nobody() {
    let mut bed = Bed::new();
    let (mut ours, attached) = client(false);
    let script = "stty raw; read line; yes line | head -n 400000";
    let (id, started) = bed
        .start(&["sh", "-c", script], &tty(), vec![attached])
        .await;
    ours.write_all(b"go\n").unwrap();
    expect(&mut ours, "line");
    ours.write_all(&[16, 17]).unwrap();
    assert_eq!(bed.end(&id).await.code, 0);
    drop(ours);
    for session in started.sessions {
        assert_eq!(session.ended().await, AttachEnd::Detached);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it needs a program with runc's command line, named by ARCA_TEST_RUNC"]
async fn a_foreign_runtime_runs_containers_too() {
    let mut bed = Bed::new();
    let mut wish = interactive();
    wish.runtime = arca_runtime::RuntimeKind::Binary {
        path: std::env::var_os("ARCA_TEST_RUNC").unwrap().into(),
        args: vec![],
    };
    let (mut ours, attached) = client(true);
    let script = "cat; exit 5";
    let (id, _) = bed
        .start(&["sh", "-c", script], &wish, vec![attached])
        .await;
    let (theirs, exec_client) = client(true);
    bed.exec(&id, &["echo", "hi"], false, Some(exec_client))
        .await
        .unwrap();
    assert_eq!(unframe(&read_all(theirs).join().unwrap()).0, b"hi\n");
    bed.runtime.pause(&id).await.unwrap();
    bed.runtime.resume(&id).await.unwrap();
    let error = bed.exec(&id, &["nosuch"], false, None).await.unwrap_err();
    assert_eq!(error.exit_code(), Some(127), "{error}");
    ours.write_all(b"x\n").unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(unframe(&read_all(ours).join().unwrap()).0, b"x\n");
    assert_eq!(bed.end(&id).await.code, 5);

    let mut terminal = tty();
    terminal.runtime = wish.runtime.clone();
    let (mut ours, attached) = client(false);
    let (id, _) = bed
        .start(&["sh", "-c", "stty size; cat"], &terminal, vec![attached])
        .await;
    expect(&mut ours, "30 90\r\n");
    bed.kill(&id).await;

    let id = arca_types::ContainerId::random();
    let spec = bed.spec(&id, &["nosuch"], &wish);
    let error = bed.runtime.start(&id, spec, vec![]).await.unwrap_err();
    assert_eq!(error.exit_code(), Some(127), "{error}");
}
