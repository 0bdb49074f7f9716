//! Writing and reading back, as the shim and arcad do it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use arca_logging::{Batch, Progress, ReadOptions, Reader, Source, Writer, compress, log_files};
use arca_shim_proto::LogSpec;
use arca_types::Timestamp;

const DRIVERS: [&str; 2] = ["json-file", "local"];

fn spec(directory: &Path, driver: &str, options: &[(&str, &str)]) -> LogSpec {
    let mut all: BTreeMap<String, String> = [("compress".to_owned(), "false".to_owned())].into();
    all.extend(
        options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    );
    LogSpec {
        driver: driver.to_owned(),
        options: all,
        path: directory.join("c-json.log"),
        ..LogSpec::default()
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix(1_700_000_000 + second, 0)
}

fn read(spec: &LogSpec, options: ReadOptions) -> Vec<(Source, String)> {
    drain(&mut Reader::open(spec, options).unwrap()).0
}

/// Reads until there is nothing more for now.
fn drain(reader: &mut Reader) -> (Vec<(Source, String)>, Progress) {
    let mut batch = Batch::default();
    let mut found = Vec::new();
    loop {
        let progress = reader.next_batch(&mut batch).unwrap();
        for entry in batch.entries() {
            found.push((
                entry.source,
                String::from_utf8_lossy(entry.line).into_owned(),
            ));
        }
        if progress != Progress::Entries {
            return (found, progress);
        }
    }
}

fn texts(entries: &[(Source, String)]) -> Vec<&str> {
    entries.iter().map(|(_, text)| text.as_str()).collect()
}

fn write_numbers(writer: &mut Writer, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let line = format!("line {number}\n");
        writer
            .write(Source::Stdout, line.as_bytes(), at(number))
            .unwrap();
    }
    writer.flush().unwrap();
}

/// Compresses everything that is to be compressed.
fn compress_all(writer: &mut Writer) {
    while let Some(job) = writer.take_compression().unwrap() {
        compress(&job.input, &job.output).unwrap();
        writer.compression_done(true).unwrap();
    }
}

#[test]
fn streams_are_cut_into_lines_and_long_lines_into_parts() {
    for driver in DRIVERS {
        let directory = tempfile::tempdir().unwrap();
        let spec = spec(directory.path(), driver, &[]);
        let mut writer = Writer::open(&spec).unwrap();
        let long = "x".repeat(40_000);
        writer.write(Source::Stdout, b"one\ntw", at(1)).unwrap();
        writer.write(Source::Stderr, b"error\n", at(2)).unwrap();
        writer.write(Source::Stdout, b"o\n\n", at(3)).unwrap();
        writer
            .write(Source::Stdout, long.as_bytes(), at(4))
            .unwrap();
        writer.write(Source::Stdout, b"\nrest", at(5)).unwrap();
        writer.finish(Source::Stdout, at(6)).unwrap();
        writer.flush().unwrap();

        let entries = read(&spec, ReadOptions::default());
        let part = &long[..16 << 10];
        let end = format!("{}\n", &long[32 << 10..]);
        assert_eq!(
            texts(&entries),
            ["one\n", "error\n", "two\n", "\n", part, part, &end, "rest"]
        );
        assert_eq!(entries[1].0, Source::Stderr);
    }
}

#[test]
fn the_tail_is_found_across_rotated_and_compressed_files() {
    for driver in DRIVERS {
        for compressed in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let flag = if compressed { "true" } else { "false" };
            let options = [("max-size", "1000"), ("max-file", "50"), ("compress", flag)];
            let spec = spec(directory.path(), driver, &options);
            let mut writer = Writer::open(&spec).unwrap();
            write_numbers(&mut writer, 0..100);
            compress_all(&mut writer);
            write_numbers(&mut writer, 100..200);
            let files = log_files(&spec.path).unwrap();
            let gz = files
                .iter()
                .filter(|file| file.extension().is_some_and(|end| end == "gz"));
            assert_eq!(gz.count() > 0, compressed);

            for wanted in [0, 1, 5, 37, 150, 199, 200, 1000] {
                let options = ReadOptions {
                    tail: Some(wanted),
                    ..ReadOptions::default()
                };
                let first = 200 - i64::try_from(wanted).unwrap().min(200);
                let expected: Vec<_> = (first..200).map(|n| format!("line {n}\n")).collect();
                let found = read(&spec, options);
                assert_eq!(texts(&found), expected, "{driver} {compressed} {wanted}");
            }
        }
    }
}

#[test]
fn time_limits_cut_both_ends() {
    for driver in DRIVERS {
        let directory = tempfile::tempdir().unwrap();
        let spec = spec(
            directory.path(),
            driver,
            &[("max-size", "1000"), ("max-file", "9")],
        );
        write_numbers(&mut Writer::open(&spec).unwrap(), 0..30);
        let options = ReadOptions {
            since: Some(at(10)),
            until: Some(at(12)),
            ..ReadOptions::default()
        };
        assert_eq!(
            texts(&read(&spec, options)),
            ["line 10\n", "line 11\n", "line 12\n"]
        );
    }
}

#[test]
fn only_as_many_files_as_allowed_are_kept() {
    for (max_files, kept) in [("1", 1), ("3", 3)] {
        let directory = tempfile::tempdir().unwrap();
        let options = [("max-size", "1000"), ("max-file", max_files)];
        let spec = spec(directory.path(), "json-file", &options);
        write_numbers(&mut Writer::open(&spec).unwrap(), 0..200);
        assert_eq!(log_files(&spec.path).unwrap().len(), kept);
        let entries = read(&spec, ReadOptions::default());
        assert_eq!(entries.last().unwrap().1, "line 199\n");
    }
}

#[test]
fn a_follower_sees_every_entry_across_rotations() {
    for driver in DRIVERS {
        for compressed in ["false", "true"] {
            let directory = tempfile::tempdir().unwrap();
            let options = [
                ("max-size", "1000"),
                ("max-file", "9"),
                ("compress", compressed),
            ];
            let spec = spec(directory.path(), driver, &options);
            let options = ReadOptions {
                follow: true,
                ..ReadOptions::default()
            };
            let mut reader = Reader::open(&spec, options).unwrap();
            assert_eq!(drain(&mut reader), (vec![], Progress::Pending));
            let mut writer = Writer::open(&spec).unwrap();
            let mut seen = Vec::new();
            // Steps of less than a file, of more than one, and of several.
            for step in [0..5, 5..8, 8..30, 30..31, 31..80, 80..81] {
                write_numbers(&mut writer, step);
                compress_all(&mut writer);
                seen.extend(drain(&mut reader).0);
            }
            writer.write(Source::Stdout, b"last", at(99)).unwrap();
            writer.finish(Source::Stdout, at(99)).unwrap();
            writer.flush().unwrap();
            reader.finish();
            let (entries, progress) = drain(&mut reader);
            seen.extend(entries);
            let mut expected: Vec<_> = (0..81).map(|n| format!("line {n}\n")).collect();
            expected.push("last".to_owned());
            assert_eq!(texts(&seen), expected, "{driver} {compressed}");
            assert_eq!(progress, Progress::End);
        }
    }
}

#[test]
fn a_follower_is_woken_by_writing() {
    let directory = tempfile::tempdir().unwrap();
    let spec = spec(directory.path(), "json-file", &[]);
    let options = ReadOptions {
        follow: true,
        ..ReadOptions::default()
    };
    let mut reader = Reader::open(&spec, options).unwrap();
    assert_eq!(drain(&mut reader).1, Progress::Pending);
    write_numbers(&mut Writer::open(&spec).unwrap(), 0..1);
    let notifier = reader.notifier().unwrap();
    let mut watched = [rustix::event::PollFd::new(
        &notifier,
        rustix::event::PollFlags::IN,
    )];
    assert_eq!(rustix::event::poll(&mut watched, None), Ok(1));
}

#[test]
fn what_a_crash_has_torn_harms_no_other_entry() {
    for driver in DRIVERS {
        let directory = tempfile::tempdir().unwrap();
        let spec = spec(directory.path(), driver, &[]);
        write_numbers(&mut Writer::open(&spec).unwrap(), 0..3);
        let whole = std::fs::read(&spec.path).unwrap();
        std::fs::write(&spec.path, &whole[..whole.len() - 5]).unwrap();
        write_numbers(&mut Writer::open(&spec).unwrap(), 3..5);
        let entries = read(&spec, ReadOptions::default());
        assert_eq!(
            texts(&entries),
            ["line 0\n", "line 1\n", "line 3\n", "line 4\n"],
            "{driver}"
        );
    }
}

#[test]
fn a_compression_that_rotation_overtakes_ends_up_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let options = [
        ("max-size", "1000"),
        ("max-file", "3"),
        ("compress", "true"),
    ];
    let spec = spec(directory.path(), "json-file", &options);
    let mut writer = Writer::open(&spec).unwrap();
    write_numbers(&mut writer, 0..16);
    let job = writer.take_compression().unwrap().unwrap();
    write_numbers(&mut writer, 16..32);
    compress(&job.input, &job.output).unwrap();
    writer.compression_done(true).unwrap();
    assert!(directory.path().join("c-json.log.2.gz").exists());
    let entries = read(&spec, ReadOptions::default());
    assert_eq!(entries.len(), 32);
    // Now one that is dropped before it is done.
    let job = writer.take_compression().unwrap().unwrap();
    write_numbers(&mut writer, 32..90);
    compress(&job.input, &job.output).unwrap();
    writer.compression_done(true).unwrap();
    compress_all(&mut writer);
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 3);
}

#[test]
fn the_driver_none_keeps_nothing_and_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let spec = spec(directory.path(), "none", &[]);
    write_numbers(&mut Writer::open(&spec).unwrap(), 0..3);
    assert!(!spec.path.exists());
    let error = Reader::open(&spec, ReadOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "configured logging driver does not support reading"
    );
}

#[test]
fn without_blocking_everything_is_there_when_the_log_is_complete() {
    for driver in DRIVERS {
        let directory = tempfile::tempdir().unwrap();
        let options = [
            ("mode", "non-blocking"),
            ("max-size", "10k"),
            ("max-file", "9"),
            ("compress", "true"),
        ];
        let spec = spec(directory.path(), driver, &options);
        let mut writer = Writer::open(&spec).unwrap();
        write_numbers(&mut writer, 0..500);
        writer.complete().unwrap();
        let entries = read(&spec, ReadOptions::default());
        let expected: Vec<_> = (0..500).map(|n| format!("line {n}\n")).collect();
        assert_eq!(texts(&entries), expected, "{driver}");
        assert!(log_files(&spec.path).unwrap().len() > 1);
    }
}

#[test]
fn a_follower_that_is_told_of_the_end_reads_what_was_rotated_meanwhile() {
    for driver in DRIVERS {
        let directory = tempfile::tempdir().unwrap();
        let options = [("max-size", "1000"), ("max-file", "9")];
        let spec = spec(directory.path(), driver, &options);
        let options = ReadOptions {
            follow: true,
            ..ReadOptions::default()
        };
        let mut reader = Reader::open(&spec, options).unwrap();
        let mut writer = Writer::open(&spec).unwrap();
        write_numbers(&mut writer, 0..5);
        assert_eq!(drain(&mut reader).0.len(), 5);
        write_numbers(&mut writer, 5..60);
        reader.finish();
        let (entries, progress) = drain(&mut reader);
        assert_eq!((entries.len(), progress), (55, Progress::End), "{driver}");
    }
}
