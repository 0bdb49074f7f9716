//! Small things that are the same on both sides.

use arca_build::FileStat;
use arca_build::graph::ProgressGroup;
use arca_build::progress::{Event, Log, Range, SourceFile, Status, VertexState, Warning};
use arca_types::{Platform, Timestamp};

use crate::{PbTimestamp, api, filesync, fsutil, pb};

pub(crate) fn time(time: Timestamp) -> PbTimestamp {
    PbTimestamp {
        seconds: time.seconds(),
        nanos: i32::try_from(time.nanoseconds()).unwrap_or(0),
    }
}

pub(crate) fn platform(platform: &pb::Platform) -> Platform {
    Platform::new(
        &platform.os,
        &platform.architecture,
        Some(platform.variant.as_str()),
    )
}

pub(crate) fn to_platform(platform: &Platform) -> pb::Platform {
    pb::Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
        ..pb::Platform::default()
    }
}

pub(crate) fn group(group: pb::ProgressGroup) -> ProgressGroup {
    let pb::ProgressGroup { id, name, weak } = group;
    ProgressGroup { id, name, weak }
}

fn to_group(group: &ProgressGroup) -> pb::ProgressGroup {
    pb::ProgressGroup {
        id: group.id.clone(),
        name: group.name.clone(),
        weak: group.weak,
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn stat(stat: &FileStat) -> fsutil::Stat {
    fsutil::Stat {
        path: stat.path.clone(),
        mode: filesync::mode::to_go(stat.mode),
        uid: stat.uid,
        gid: stat.gid,
        size: count(stat.size),
        mod_time: stat.modified,
        linkname: stat.link.clone(),
        devmajor: i64::from(stat.device_major),
        devminor: i64::from(stat.device_minor),
        xattrs: std::collections::HashMap::new(),
    }
}

/// Adds an event to what is told next.
pub(crate) fn add(response: &mut api::StatusResponse, event: &Event) {
    match event {
        Event::Vertex(state) => response.vertexes.push(vertex(state)),
        Event::Status(state) => response.statuses.push(part(state)),
        Event::Log(log) => response.logs.push(output(log)),
        Event::Warning(warning) => response.warnings.push(advice(warning)),
    }
}

fn vertex(state: &VertexState) -> api::Vertex {
    let inputs = state.inputs.iter();
    api::Vertex {
        digest: state.digest.as_str().to_owned(),
        inputs: inputs.map(|digest| digest.as_str().to_owned()).collect(),
        name: state.name.clone(),
        cached: state.cached,
        started: state.started.map(time),
        completed: state.completed.map(time),
        error: state.error.clone(),
        progress_group: state.group.as_ref().map(to_group),
    }
}

fn part(state: &Status) -> api::VertexStatus {
    api::VertexStatus {
        id: state.id.clone(),
        vertex: state.vertex.as_str().to_owned(),
        name: state.name.clone(),
        current: count(state.current),
        total: count(state.total),
        timestamp: Some(time(state.timestamp)),
        started: state.started.map(time),
        completed: state.completed.map(time),
    }
}

fn output(log: &Log) -> api::VertexLog {
    api::VertexLog {
        vertex: log.vertex.as_str().to_owned(),
        timestamp: Some(time(log.timestamp)),
        stream: i64::from(log.stream),
        msg: log.data.clone(),
    }
}

fn advice(warning: &Warning) -> api::VertexWarning {
    let vertex = warning.vertex.as_ref();
    let detail = warning.detail.iter();
    api::VertexWarning {
        vertex: vertex.map_or_else(String::new, |digest| digest.as_str().to_owned()),
        level: warning.level,
        short: warning.short.clone().into_bytes(),
        detail: detail.map(|line| line.clone().into_bytes()).collect(),
        url: warning.url.clone(),
        info: warning.source.as_ref().map(source),
        ranges: warning.ranges.iter().map(range).collect(),
    }
}

pub(crate) fn source(file: &SourceFile) -> pb::SourceInfo {
    pb::SourceInfo {
        filename: file.filename.clone(),
        data: file.data.clone(),
        definition: None,
        language: file.language.clone(),
    }
}

pub(crate) fn range(range: &Range) -> pb::Range {
    let position = |(line, character): (u32, u32)| pb::Position {
        line: i32::try_from(line).unwrap_or(i32::MAX),
        character: i32::try_from(character).unwrap_or(i32::MAX),
    };
    pb::Range {
        start: Some(position(range.start)),
        end: Some(position(range.end)),
    }
}

/// The other way round, for what a client warns of.
pub(crate) fn from_source(info: pb::SourceInfo) -> SourceFile {
    SourceFile {
        filename: info.filename,
        data: info.data,
        language: info.language,
    }
}

/// The other way round, for what a client warns of.
pub(crate) fn from_range(range: &pb::Range) -> Range {
    let position = |position: &Option<pb::Position>| {
        let number = |value: i32| u32::try_from(value).unwrap_or(0);
        position.as_ref().map_or((0, 0), |position| {
            (number(position.line), number(position.character))
        })
    };
    Range {
        start: position(&range.start),
        end: position(&range.end),
    }
}
