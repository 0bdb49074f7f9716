//! `Solve`: one build from its request to its results.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arca_build::graph::Edge;
use arca_build::session::NoSession;
use arca_build::{
    BuildResult, BuildSession, CacheExport, CacheImport, Entitlement, Exported, ExporterKind,
    ExporterSpec, JobRequest, Limits, SolveInput,
};
use tonic::Status;

use crate::build::Build;
use crate::definition;
use crate::history::Caller;
use crate::service::Service;
use crate::session::Body;
use crate::{api, error};

/// A request, read.
struct Asked {
    input: SolveInput,
    exporters: Vec<ExporterSpec>,
    exports: Vec<CacheExport>,
    /// The client is its own front end.
    gateway: bool,
}

/// Has something built, with `body` as a file of the client's. It goes on as a task of its own, so that it
/// is ended in good order when the client goes away.
pub(crate) async fn solve(
    service: Arc<Service>,
    request: api::SolveRequest,
    body: Option<Body>,
    caller: Option<Caller>,
) -> Result<api::SolveResponse, Status> {
    let record = service.builds.history.record(&request);
    let internal = request.internal;
    let (asked, build) = begin(&service, request, body).await?;
    service.builds.history.begin(record, &build.job, internal);
    service.builds.add(&build);
    let ending = Ending {
        service: Arc::clone(&service),
        build: Arc::clone(&build),
    };
    let work = tokio::spawn(async move {
        let outcome = run(&build, &asked).await;
        let history = &service.builds.history;
        history.end(&build, outcome.as_ref(), caller.as_ref());
        service.builds.remove(build.job.id());
        build.job.end();
        service
            .builds
            .history
            .keep(&service.builder, build.job.id());
        outcome.map(|done| done.response())
    });
    let done = work.await;
    drop(ending);
    done.unwrap_or_else(|_panicked| Err(Status::internal("the build was broken off")))
}

/// Cancels a build whose client has gone.
struct Ending {
    service: Arc<Service>,
    build: Arc<Build>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.service.builds.history.has_ended(self.build.job.id()) {
            self.build.job.cancel();
        }
    }
}

/// What came of a build.
pub(crate) struct Done {
    pub(crate) result: BuildResult,
    pub(crate) exported: Exported,
}

impl Done {
    fn response(self) -> api::SolveResponse {
        api::SolveResponse {
            exporter_response: self.exported.response.into_iter().collect(),
        }
    }
}

async fn run(build: &Build, asked: &Asked) -> Result<Done, Status> {
    let result = if asked.gateway {
        build.result().await?
    } else {
        let solved = build.job.solve(asked.input.clone()).await;
        solved.map_err(|e| error::status(&e))?
    };
    let exported = export(build, &result, asked).await?;
    Ok(Done { result, exported })
}

async fn export(build: &Build, result: &BuildResult, asked: &Asked) -> Result<Exported, Status> {
    let job = &build.job;
    if asked.exporters.is_empty() && asked.exports.is_empty() {
        // Nothing is made of it, but it has to work.
        for edge in result.refs.values().flatten() {
            job.evaluate(edge).await.map_err(|e| error::status(&e))?;
        }
        return Ok(Exported::default());
    }
    let exported = job.export(result, &asked.exporters, &asked.exports).await;
    exported.map_err(|e| error::status(&e))
}

async fn begin(
    service: &Arc<Service>,
    request: api::SolveRequest,
    body: Option<Body>,
) -> Result<(Asked, Arc<Build>), Status> {
    let session: Arc<dyn BuildSession> = match request.session.as_str() {
        "" => Arc::new(NoSession),
        id => service.sessions.find(id).await?,
    };
    let session = match body {
        Some(body) => body.with(session),
        None => session,
    };
    let job = service
        .builder
        .begin(JobRequest {
            id: request.r#ref.clone(),
            session,
            entitlements: entitlements(&request.entitlements)?,
            limits: Limits::default(),
        })
        .map_err(|e| error::status(&e))?;
    match read(service, request) {
        Ok(asked) => {
            let build = Build::new(job, &asked.input);
            Ok((asked, build))
        }
        Err(error) => {
            job.end();
            Err(error)
        }
    }
}

fn read(service: &Service, request: api::SolveRequest) -> Result<Asked, Status> {
    let api::SolveRequest {
        r#ref: _,
        definition,
        exporter_deprecated,
        exporter_attrs_deprecated,
        session: _,
        frontend,
        frontend_attrs,
        cache,
        entitlements: _,
        frontend_inputs,
        internal: _,
        source_policy,
        mut exporters,
        enable_session_exporter: _,
        source_policy_session,
    } = request;
    if source_policy.is_some() || !source_policy_session.is_empty() {
        return Err(Status::unimplemented("source policies are not supported"));
    }
    if exporters.is_empty() && !exporter_deprecated.is_empty() {
        exporters.push(api::Exporter {
            r#type: exporter_deprecated,
            attrs: exporter_attrs_deprecated,
        });
    }
    let epoch = frontend_attrs.get("build-arg:SOURCE_DATE_EPOCH").cloned();
    // Nothing to be built is something else than no word of what: then the client asks for it later.
    let gateway = definition.is_none() && frontend.is_empty();
    let definition = definition
        .filter(|definition| !definition.def.is_empty())
        .map(|definition| definition::edge(&definition, &service.builds))
        .transpose()?
        .flatten();
    let cache = cache.unwrap_or_default();
    if !cache.export_ref_deprecated.is_empty() || !cache.import_refs_deprecated.is_empty() {
        return Err(Status::invalid_argument(
            "cache options of before BuildKit 0.4 are not supported",
        ));
    }
    Ok(Asked {
        input: SolveInput {
            definition,
            frontend,
            frontend_attrs: frontend_attrs.into_iter().collect(),
            frontend_inputs: inputs(service, frontend_inputs)?,
            cache_imports: cache.imports.into_iter().map(import).collect(),
            evaluate: false,
        },
        exporters: exporters
            .into_iter()
            .map(|asked| exporter(asked, epoch.as_deref()))
            .collect::<Result<_, _>>()?,
        exports: cache
            .exports
            .into_iter()
            .map(cache_export)
            .collect::<Result<_, _>>()?,
        gateway,
    })
}

/// Named trees, as definitions.
pub(crate) fn inputs(
    service: &Service,
    definitions: HashMap<String, crate::pb::Definition>,
) -> Result<BTreeMap<String, Edge>, Status> {
    let mut inputs = BTreeMap::new();
    for (name, definition) in definitions {
        if let Some(edge) = definition::edge(&definition, &service.builds)? {
            inputs.insert(name, edge);
        }
    }
    Ok(inputs)
}

fn import(entry: api::CacheOptionsEntry) -> CacheImport {
    CacheImport {
        kind: entry.r#type,
        attrs: entry.attrs.into_iter().collect(),
    }
}

fn cache_export(entry: api::CacheOptionsEntry) -> Result<CacheExport, Status> {
    let export = CacheExport {
        kind: entry.r#type,
        attrs: entry.attrs.into_iter().collect(),
    };
    export.check().map_err(|e| error::status(&e))?;
    Ok(export)
}

/// Reproducible builds ask for their time by an argument of the Dockerfile; it is the outputs' as well.
fn exporter(exporter: api::Exporter, epoch: Option<&str>) -> Result<ExporterSpec, Status> {
    let kind = ExporterKind::parse(&exporter.r#type).ok_or_else(|| {
        let text = format!("exporter {:?} could not be found", exporter.r#type);
        Status::not_found(text)
    })?;
    let mut exporter = ExporterSpec {
        kind,
        attrs: exporter.attrs.into_iter().collect(),
    };
    if let Some(epoch) = epoch {
        let attr = exporter.attrs.entry("source-date-epoch".to_owned());
        attr.or_insert_with(|| epoch.to_owned());
    }
    exporter.check().map_err(|e| error::status(&e))?;
    Ok(exporter)
}

fn entitlements(names: &[String]) -> Result<BTreeSet<Entitlement>, Status> {
    let named = names.iter().map(|name| match name.as_str() {
        "network.host" => Ok(Entitlement::NetworkHost),
        "security.insecure" => Ok(Entitlement::SecurityInsecure),
        other => Err(Status::invalid_argument(format!(
            "unknown entitlement {other}"
        ))),
    });
    named.collect()
}
