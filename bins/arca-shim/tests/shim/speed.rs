//! How long things take. Run by hand: `cargo test -p arca-shim -- --ignored --nocapture speed`.

use std::time::{Duration, Instant};

use crate::bed::{Bed, Wish, client, interactive, read_all, send_all, until};
use arca_logging::{Batch, Progress, ReadOptions, Reader, Render};

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures and asserts nothing"]
async fn starting_and_entering() {
    let mut bed = Bed::new();
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        let begun = Instant::now();
        let (id, _) = bed.start(&["true"], &Wish::default(), vec![]).await;
        starts.push(begun.elapsed());
        bed.end(&id).await;
        ends.push(begun.elapsed());
    }
    println!(
        "start {:?}, start to removed {:?}",
        median(starts),
        median(ends)
    );
    let (id, _) = bed
        .start(&["sleep", "1000"], &Wish::default(), vec![])
        .await;
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        let (ours, attached) = client(true);
        let begun = Instant::now();
        bed.exec(&id, &["true"], false, Some(attached))
            .await
            .unwrap();
        starts.push(begun.elapsed());
        let output = read_all(ours);
        bed.next().await;
        output.join().unwrap();
        ends.push(begun.elapsed());
    }
    println!("exec {:?}, to its end {:?}", median(starts), median(ends));
    let pid = shim_pid(&bed, &id);
    let memory = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    for name in ["Rss:", "Pss:", "Private_Dirty:", "Private_Clean:"] {
        println!(
            "{}",
            memory.lines().find(|line| line.starts_with(name)).unwrap()
        );
    }
    let begun = Instant::now();
    bed.kill(&id).await;
    println!("kill to removed {:?}", begun.elapsed());
}

/// Processor time of the shim in user and kernel mode, in hundredths of a second.
fn cpu(bed: &Bed, id: &arca_types::ContainerId) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", shim_pid(bed, id))).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    format!("user {} system {}", fields[11], fields[12])
}

fn shim_pid(bed: &Bed, id: &arca_types::ContainerId) -> i64 {
    let path = bed
        .root
        .path()
        .join("shims")
        .join(id.as_str())
        .join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    state["shim_pid"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures and asserts nothing"]
async fn moving_bytes() {
    let mut bed = Bed::new();
    let line = "x".repeat(99);
    let script = format!("yes {line} | head -n 2000000; read end");
    let begun = Instant::now();
    let (id, _) = bed
        .start(&["sh", "-c", &script], &interactive(), vec![])
        .await;
    let spec = bed.spec(&id, &[], &Wish::default()).log;
    until(&spec.path, |path| {
        path.metadata().unwrap().len() >= 330_000_000
    })
    .await;
    println!(
        "200 MB of log: {:?}, shim {}",
        begun.elapsed(),
        cpu(&bed, &id)
    );
    bed.kill(&id).await;

    let begun = Instant::now();
    let mut reader = Reader::open(&spec, ReadOptions::default()).unwrap();
    let (mut batch, mut out) = (Batch::default(), Vec::new());
    let mut render = Render::default();
    (render.stdout, render.stderr, render.framed) = (true, true, true);
    let (mut entries, mut bytes) = (0, 0);
    while reader.next_batch(&mut batch).unwrap() == Progress::Entries {
        out.clear();
        render.append(&batch, &mut out);
        entries += batch.len();
        bytes += out.len();
    }
    println!(
        "reading {entries} entries, {bytes} bytes back: {:?}",
        begun.elapsed()
    );

    let (id, _) = bed
        .start(&["sleep", "1000"], &Wish::default(), vec![])
        .await;
    for _ in 0..3 {
        let (ours, attached) = client(true);
        let begun = Instant::now();
        bed.exec(&id, &["cat"], false, Some(attached))
            .await
            .unwrap();
        let sent = send_all(&ours, vec![7; 200 << 20]);
        let output = read_all(ours);
        sent.join().unwrap();
        output.join().unwrap();
        println!(
            "200 MB through exec: {:?}, shim {}",
            begun.elapsed(),
            cpu(&bed, &id)
        );
        bed.next().await;
    }
    bed.kill(&id).await;
}
